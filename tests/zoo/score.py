"""What is right and wrong in what a judge said of a run, by its label. Pure.

Found: at or after the onset, an alarm of at least a warning (info, where the best cause is a rule that never says more)
that names the fault, what goes with it, or what it brings about or comes from. A judge that names no cause has found
whatever it raises a new alarm at. An alarm that was raised before the onset has found nothing.

First cause: what is told first once the story has settled, 64 steps after it was found, or at the end of the run;
where nothing stands any more, what stood last. One of the two must be right.

False: in a healthy run every warning that the label does not allow; in a sick one every warning before the onset.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tests.zoo.judges import Alarm, Judge, Said, Telling
from tests.zoo.recording import Label, Recording
from tuimon.diagnosis.causes import CAUSES
from tuimon.diagnosis.model import Severity

SETTLED: Final = 64
"""Steps after the first alarm at which the story counts as told."""
INFO_BY_NATURE: Final = frozenset({"outlier-batch", "clip-saturated"})
"""Rules that never say more than info: what they find is worth a line, and no alarm."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one judge fared with one run. None where the question does not arise."""

    kind: str
    seed: int
    healthy: bool
    healthy_steps: int
    """Steps before the onset; all, of a healthy run."""
    alarmed_steps: int
    """How many of those were in alarm."""
    false_warnings: tuple[Alarm, ...]
    """Warnings or worse while all was well."""
    false_criticals: tuple[Alarm, ...]
    found: Alarm | None = None
    found_at: int | None = None
    delay: int | None = None
    """Steps from the onset to the alarm."""
    right_at_once: bool | None = None
    """Whether the right cause was told first in the very step of the alarm."""
    right_first: bool | None = None
    right_among_two: bool | None = None
    right_layer: bool | None = None
    onset_error: int | None = None
    """Steps between the onset that was said and the true one."""
    in_time: bool | None = None
    """Of a catastrophic fault: found before the run was lost, or in the very step where that is the first faulty one."""
    strange: tuple[Alarm, ...] = ()
    """Warnings or worse after the onset that have nothing to do with the fault."""


def outcome(recording: Recording, said: Said, judge: Judge) -> Outcome:
    """Hold what was said against the label."""
    label = recording.label
    steps = [int(step) for chunk in recording.chunks for step in chunk.steps]
    well = steps if label.healthy else [step for step in steps if label.onset is not None and step < label.onset]
    false = tuple(alarm for alarm in said.alarms if _is_false(alarm, label))
    common = {
        "kind": label.kind, "seed": recording.seed, "healthy": label.healthy, "healthy_steps": len(well),
        "alarmed_steps": len(set(said.alarmed) & set(well)), "false_warnings": false,
        "false_criticals": tuple(a for a in false if a.critical is not None and _before_onset(a.critical, label)),
    }
    return Outcome(**common) if label.healthy else Outcome(**common, **_of_the_fault(label, said, judge))


def related(label: Label) -> frozenset[str]:
    """The slugs that have to do with the fault: its causes, what may go with it, what they bring about or come from."""
    own = {*label.causes, *label.also}
    brought = {slug for cause in label.causes for slug in CAUSES.get(cause, ())}
    behind = {cause for cause, slugs in CAUSES.items() if own.intersection(slugs)}
    return frozenset(own | brought | behind)


def needed(label: Label) -> Severity:
    """The severity from which an alarm counts."""
    return "info" if label.causes and label.causes[0] in INFO_BY_NATURE else "warning"


def _before_onset(step: int, label: Label) -> bool:
    return label.healthy or (label.onset is not None and step < label.onset)


def _is_false(alarm: Alarm, label: Label) -> bool:
    if alarm.warned is None or not _before_onset(alarm.warned, label):
        return False
    return not (label.healthy and alarm.cause in label.also)


def _of_the_fault(label: Label, said: Said, judge: Judge) -> dict[str, object]:
    """All that is asked about a planted fault."""
    alarms = list(_that_count(label, said))
    if not alarms:
        missed = False if judge.names_causes else None
        return {
            "right_at_once": missed, "right_first": missed, "right_among_two": missed,
            "right_layer": False if label.layer and judge.names_causes else None,
            "in_time": _in_time(None, label),
            "strange": _strange(label, said),
        }
    at, found = min(alarms, key=lambda pair: pair[0])
    right = next((a for _, a in alarms if a.cause in label.causes), found)
    stories = [story for story in (_settled(said, at, at + SETTLED), _settled(said, at, said.last)) if story]
    return {
        "found": found, "found_at": at,
        "delay": None if label.onset is None else at - label.onset,
        "onset_error": None if label.onset is None else abs(right.onset - label.onset),
        "in_time": _in_time(at, label),
        "strange": _strange(label, said),
        **(_causes(label, stories, _settled(said, at, at)) if judge.names_causes else {}),
    }


def _in_time(at: int | None, label: Label) -> bool | None:
    if not label.catastrophic or label.lost is None:
        return None
    return at is not None and (at < label.lost or at == label.lost == label.onset)


def _that_count(label: Label, said: Said) -> Iterator[tuple[int, Alarm]]:
    """The alarms that have found the fault, each with the step at which it had."""
    to_do_with = related(label)
    for alarm in said.alarms:
        at = alarm.reached(needed(label))
        if at is not None and not _before_onset(at, label) and (alarm.cause is None or alarm.cause in to_do_with):
            yield at, alarm


def _strange(label: Label, said: Said) -> tuple[Alarm, ...]:
    to_do_with = related(label)
    return tuple(
        a for a in said.alarms
        if a.warned is not None and not _before_onset(a.warned, label) and a.cause and a.cause not in to_do_with
    )


def _settled(said: Said, after: int, at: int) -> Telling | None:
    """What stood at a step; where nothing did, what stood last since `after`."""
    ends = [*(telling.step for telling in said.tellings[1:]), said.last + 1]
    return next((
        telling for telling, end in reversed(list(zip(said.tellings, ends, strict=False)))
        if telling.told and telling.step <= at and (telling.step >= after or end > after)
    ), None)


def _causes(label: Label, stories: list[Telling], at_once: Telling | None) -> dict[str, object]:
    def right(telling: Telling, among: int) -> bool:
        return any(told.cause in label.causes for told in telling.told[:among])

    def right_place(telling: Telling) -> bool:
        return next((told.layer == label.layer for told in telling.told if told.cause in label.causes), False)

    return {
        "right_at_once": at_once is not None and right(at_once, 1),
        "right_first": any(right(story, 1) for story in stories),
        "right_among_two": any(right(story, 2) for story in stories),
        "right_layer": any(map(right_place, stories)) if label.layer else None,
    }
