"""A diagnosis as it stood at an earlier step. Pure.

What had not been found by then is not told, although it may have begun: a person looks back to see what they would have
seen. Of what had been found, how bad it was is known of every step; its numbers are those of when it was last told
anew, never older than half of what it had lasted (see `tellings`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection
from dataclasses import replace

from tuimon.diagnosis.causes import ANY, with_causes
from tuimon.diagnosis.engine import in_order
from tuimon.diagnosis.model import Category, Course, Diagnosis, Incident, RunContext, Usual, badge


def as_of(diagnosis: Diagnosis, step: int, unmeasured: Collection[Category] = (),
          context: RunContext = ANY) -> Diagnosis:
    """What was known at a step. What could not be looked at is that of today, but for the categories `unmeasured`."""
    found = [stood(i, step, diagnosis.steps) for i in diagnosis.incidents if i.detected_step <= step]
    there = in_order([i for i in found if i.state == "open"], context=context)
    over = [i for i in found if i.state == "resolved"]
    badges = tuple(badge(b.category, there, known=b.category not in unmeasured and (
        b.severity is not None or b.word != "waiting")) for b in diagnosis.badges)
    usual = {name: then for name, course in diagnosis.once.items() if (then := _usual(course, step)) is not None}
    return replace(diagnosis, steps=min(step, diagnosis.steps), incidents=with_causes((*there, *over), context),
                   badges=badges, usual=usual)


def stood(incident: Incident, step: int, judged: int) -> Incident:
    """An incident as it was told at a step, open until its end; before it was found, as it was when it was.

    `judged`: the step up to which it is known.
    """
    if step >= (judged if incident.resolved_step is None else incident.resolved_step):
        return incident
    told = next((told for at, told in reversed(incident.before) if at <= step), None)
    if told is None:   # to come; or found and over at one step, or told by an earlier version
        told = incident.before[0][1] if incident.before else incident.reopened()
    return replace(told, cause=incident.cause)


def _usual(course: Course, step: int) -> Usual | None:
    """What was usual at a step."""
    at = bisect_right(course, step, key=lambda told: told[0])
    return course[at - 1][1] if at else None
