"""What each judge says of a run, in one shape: alarms, and what was told first at which step. Pure.

Ours is fed row by row, so that what it says at a step was known at that step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from tests.zoo.recording import Recording
from tuimon.diagnosis.engine import State, diagnose, feed, start
from tuimon.diagnosis.model import SEVERITIES, Diagnosis, Incident, Severity
from tuimon.record.chunk import Chunk


@dataclass(frozen=True, slots=True)
class Alarm:
    """One incident, whoever raised it."""

    name: str
    """Ours: the rule's slug. A baseline: its own word for it."""
    cause: str | None
    """The slug of ours that it amounts to; None where the judge names no cause."""
    severity: Severity
    """The worst it became."""
    onset: int
    """When it is said to have begun."""
    opened: int
    """When it was found, at whatever severity."""
    warned: int | None = None
    """First step at which it was a warning or worse; None where it never was."""
    critical: int | None = None
    """First step at which it was critical."""
    layer: str | None = None
    confidence: str = ""
    why: str = ""

    def reached(self, severity: Severity) -> int | None:
        """First step at which it was at least this severe."""
        return {"info": self.opened, "warning": self.warned, "critical": self.critical}[severity]


class Told(NamedTuple):
    """A cause, and where it is said to be."""

    cause: str | None
    layer: str | None


class Telling(NamedTuple):
    """What stands from a step on, in the order in which it is told."""

    step: int
    told: tuple[Told, ...]


class Said(NamedTuple):
    """All that a judge said of one run."""

    alarms: tuple[Alarm, ...]
    """In the order in which they were opened."""
    tellings: tuple[Telling, ...]
    """Whenever it changed; () told is that nothing stands."""
    alarmed: tuple[int, ...]
    """Steps at which a warning or worse stood (ours), or fired (a baseline)."""
    last: int
    """The last step of the run."""


class Judge(NamedTuple):
    """Somebody who judges runs."""

    name: str
    names_causes: bool
    listen: Callable[[Recording], Said]


# ---------------------------------------------------------------------- ours


def ours(recording: Recording) -> Said:
    """What tuimon's rules say, row by row."""
    state = start(recording.context)
    course = _Course()
    step = 0
    for chunk in recording.chunks:
        for piece in single_rows(chunk):
            state = feed(state, piece)
            step = int(piece.steps[-1]) if len(piece) else step
            course.look(state, step)
    return course.said(state, step)


def single_rows(chunk: Chunk) -> Iterator[Chunk]:
    """The same stretch, row by row; whole where the steps go back within it (rows of tensors are placed by step)."""
    if len(chunk) < 2 or bool(np.any(np.diff(chunk.steps) <= 0)):
        return iter((chunk,))
    return chunk.pieces(list(range(1, len(chunk))))


def order_of_telling(diagnosis: Diagnosis) -> tuple[Told, ...]:
    """The root cause of what leads, then what leads, then the rest as listed: each rule once.

    A root that is no more than info is not told before an alarm.
    """
    standing = diagnosis.open_incidents
    by_rule = {incident.rule: incident for incident in standing}
    leading = diagnosis.leading
    order = {_root(leading, by_rule): None} if leading else {}
    order |= dict.fromkeys(incident.rule for incident in standing)
    return tuple(Told(slug, by_rule[slug].layer) for slug in order)


def _root(incident: Incident, by_rule: dict[str, Incident]) -> str:
    least = min(SEVERITIES.index(incident.severity), SEVERITIES.index("warning"))
    seen = {incident.rule}
    while (cause := by_rule.get(incident.cause or "")) and cause.rule not in seen:
        if SEVERITIES.index(cause.severity) < least:
            break
        incident = cause
        seen.add(incident.rule)
    return incident.rule


class _Course:
    """How the incidents of a run came, grew and went."""

    def __init__(self) -> None:
        self._reached: dict[tuple[str, int], dict[Severity, int]] = {}
        self._before: object = None
        self._tellings: list[Telling] = []
        self._alarmed: list[int] = []

    def look(self, state: State, step: int) -> None:
        """After a row."""
        if any(rule.episode and rule.episode.severity != "info" for rule in state.rules):
            self._alarmed.append(step)
        now = tuple(
            (len(rule.past), episode and (episode.severity, episode.onset, episode.layer))
            for rule in state.rules for episode in (rule.episode,)
        )
        if now == self._before:
            return
        self._before = now
        passed = []                                           # what came and went within one row
        for rule in state.rules:
            for i, incident in enumerate(rule.past):
                if (rule.slug, i) not in self._reached:
                    self._note(rule.slug, i, incident.severity, step)
                    passed.append(Told(rule.slug, incident.layer))
            if rule.episode:
                self._note(rule.slug, len(rule.past), rule.episode.severity, step)
        told = order_of_telling(diagnose(state))
        self._tell(step, tuple(dict.fromkeys((*told, *passed))))
        self._tell(step, told)

    def _tell(self, step: int, told: tuple[Told, ...]) -> None:
        if not self._tellings or self._tellings[-1].told != told:
            self._tellings.append(Telling(step, told))

    def _note(self, slug: str, which: int, severity: Severity, step: int) -> None:
        reached = self._reached.setdefault((slug, which), {})
        for level in SEVERITIES[:SEVERITIES.index(severity) + 1]:
            reached.setdefault(level, step)

    def said(self, state: State, last: int) -> Said:
        """At the end of the run."""
        standing = {incident.rule: incident for incident in diagnose(state).open_incidents}
        alarms = []
        for rule in state.rules:
            ended: Sequence[Incident] = (*rule.past, *([standing[rule.slug]] if rule.slug in standing else []))
            alarms += [_alarm(incident, self._reached[rule.slug, i]) for i, incident in enumerate(ended)]
        alarms.sort(key=lambda alarm: alarm.opened)
        return Said(tuple(alarms), tuple(self._tellings), tuple(self._alarmed), last)


def _alarm(incident: Incident, reached: dict[Severity, int]) -> Alarm:
    return Alarm(
        incident.rule, incident.rule, incident.severity, incident.onset_step, incident.detected_step,
        reached.get("warning"), reached.get("critical"), incident.layer, incident.confidence, incident.why,
    )


OURS: Final = Judge("tuimon", True, ours)
