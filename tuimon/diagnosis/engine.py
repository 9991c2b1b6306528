"""The engine: a fold of chunks into a diagnosis. Pure; the same whatever the chunks' sizes.

`start` makes a state, `feed` consumes one and hands it on (the state given is not to be used again: what changes in it
changes in place), `diagnose` reads it. Rows, per-tensor rows, probe rows and marks are taken in the order in which
they happened: one by one where a rule wants to look, and those between, at which no rule would, in one go (see
`outlook`). Both leave the same state, so where the log was cut cannot matter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from tuimon.diagnosis.causes import ANY, causes_first, with_causes
from tuimon.diagnosis.model import (
    CATEGORIES,
    SEVERITIES,
    Badge,
    Diagnosis,
    Incident,
    NotEvaluated,
    RunContext,
    badge,
)
from tuimon.diagnosis.rule import Rule
from tuimon.diagnosis.rules import RULES
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.walk import State
from tuimon.record.chunk import Chunk, Mark

SLUGS: Final = tuple(rule.slug for rule in RULES)
KEPT: Final = 500
"""Resolved incidents that are kept, the newest."""


def start(context: RunContext, rules: Sequence[type[Rule]] = RULES) -> State:
    """The state before the first step."""
    return State(Signals(context), tuple(rule(context) for rule in rules))


def feed(state: State, chunk: Chunk) -> State:
    """Take in a stretch of the run. Consumes `state`."""
    with np.errstate(over="ignore", invalid="ignore"):   # near the greatest numbers sums overflow: no news for people
        state.load(chunk)
        at = 0
        for position, mark in [*placed(chunk.steps.tolist(), chunk.marks), (len(chunk), None)]:
            state.take(at, position, None if mark is None else mark.step)
            at = position
            if mark is not None:
                state.mark(mark)
    return state


def placed(steps: Sequence[int], marks: Sequence[Mark]) -> Iterator[tuple[int, Mark]]:
    """Each mark with the index of the row before which it stands.

    That is before the first greater step; an attempt that goes back stands where the steps go back.
    """
    at = 0
    for mark in marks:
        while at < len(steps) and steps[at] <= mark.step:
            if at and steps[at] <= steps[at - 1] and mark.kind == "attempt":
                break
            at += 1
        back = next((i for i in range(at + 1, len(steps)) if steps[i] <= steps[i - 1]), None)
        if mark.kind == "attempt" and back is not None and steps[back] > mark.step >= steps[back] - 1:
            at = back
        yield at, mark


def diagnose(state: State) -> Diagnosis:
    """What is judged by now. Does not change the state."""
    now = state.signals
    if not (now.step or now.attempt_rows or now.tensor_rows or now.activations.rows):
        return Diagnosis.nothing()
    current = [rule.incident(now) for rule in state.rules if rule.episode]
    past = sorted((i for rule in state.rules for i in rule.past), key=lambda i: i.resolved_step or 0)[-KEPT:]
    waiting = tuple(
        NotEvaluated(rule.slug, needs) for rule in state.rules if not rule.episode and (needs := rule.waits_for(now))
    )
    told = (
        *in_order(current, [rule.slug for rule in state.rules], now.context),
        *sorted(past, key=lambda i: (-SEVERITIES.index(i.severity), i.onset_step)),
    )
    return Diagnosis(now.step, with_causes(told, now.context), waiting, _badges(state, current, waiting), now.usual(),
                     {name: base.ranges.told for name, base in now.bases.items()})


def in_order(current: Sequence[Incident], slugs: Sequence[str] = SLUGS, context: RunContext = ANY) -> list[Incident]:
    """Open incidents as they are told: worst first; of equals, causes first. `slugs` of the rules, causes first."""
    order = {slug: i for i, slug in enumerate(slugs)}
    return causes_first(sorted(current, key=lambda i: _telling(i, current, order)), context)


def _telling(incident: Incident, current: Sequence[Incident], order: dict[str, int]) -> tuple[int, int, int]:
    """Where it stands unless one of those told brought it about. A NaN out of a calm run stands first."""
    rank = order.get(incident.rule, len(order))   # of a later version
    if incident.rule == "non-finite" and all(
            incident.onset_step <= i.onset_step for i in current if i.severity == "critical"):
        rank = -1
    return -SEVERITIES.index(incident.severity), rank, incident.onset_step


def _badges(state: State, current: Sequence[Incident], waiting: Sequence[NotEvaluated]) -> tuple[Badge, ...]:
    silent = {n.rule for n in waiting}
    looked = {rule.category for rule in state.rules if rule.slug not in silent}
    return tuple(badge(category, current, known=category in looked) for category in CATEGORIES)


class Engine:
    """The fold with its state inside, for whoever feeds as the run goes on."""

    def __init__(self, context: RunContext, rules: Sequence[type[Rule]] = RULES) -> None:
        self._state = start(context, rules)

    def feed(self, chunk: Chunk) -> None:
        """Take in the next stretch."""
        self._state = feed(self._state, chunk)

    @property
    def diagnosis(self) -> Diagnosis:
        """What is judged by now."""
        return diagnose(self._state)
