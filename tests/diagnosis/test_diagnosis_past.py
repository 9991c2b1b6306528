"""A diagnosis as it stood at an earlier step is the one that was made there."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from labelled_curves import calm
from test_diagnosis_engine import PROBED, eventful

from tuimon.diagnosis.engine import Engine
from tuimon.diagnosis.model import Diagnosis, Incident, RunContext
from tuimon.diagnosis.notebook import NotebookEngine
from tuimon.diagnosis.past import as_of, stood
from tuimon.diagnosis.stored import recalled, stored
from tuimon.diagnosis.tellings import MOST, RECENT, Tellings, put_away
from tuimon.record.chunk import Chunk


def grown() -> Chunk:
    """At step 200 a norm that is no number, worth a word; at 220 a loss, a warning; from 250 on all of both: the end."""
    columns, _ = calm(300)
    columns["grad_norm"][199] = columns["loss"][219] = math.nan
    columns["grad_norm"][249:], columns["loss"][249:] = [math.nan] * 51, [math.nan] * 51
    return Chunk.of(**columns)


def worded(word: str) -> str:
    """Of memory that grows it says how much."""
    return re.sub(r"[\d.]+", "", word)


def named(incident: Incident) -> tuple[object, ...]:
    """All of an incident that is exact at every step."""
    return (incident.rule, incident.severity, incident.confidence, incident.onset_step, incident.detected_step, incident.state,
            incident.resolved_step, incident.headline, worded(incident.word), incident.cause)


EVERY = 3
RUNS = {"grown": (grown, RunContext(), Engine), "eventful": (eventful, PROBED, Engine), "notebook": (grown, RunContext(), NotebookEngine)}


@cache
def course(run: str) -> tuple[dict[int, Diagnosis], Diagnosis]:
    """What was said after every third row, and at last."""
    made, context, make = RUNS[run]
    engine, then, chunk = make(context), {}, made()
    for piece in chunk.pieces(list(range(EVERY, len(chunk), EVERY))):
        engine.feed(piece)
        said = engine.diagnosis
        if said.steps not in {mark.step for mark in chunk.marks}:   # these stand behind the row of their step
            then[said.steps] = said
    return then, said


def test_what_began_as_a_remark_and_became_critical_is_a_remark_before_and_a_warning_between():
    _, now = course("grown")
    for step, severity in ((210, "info"), (240, "warning"), (260, "critical")):
        past = as_of(now, step)
        (incident,) = (i for i in past.incidents if i.rule == "non-finite")
        assert (incident.severity, past.verdict) == (severity, severity)
        assert {b.category: b.severity for b in past.badges}["numerics"] == severity
    assert [e.metric for i in as_of(now, 210).open_incidents for e in i.evidence] == ["grad_norm"]


@pytest.mark.parametrize("run", RUNS)
def test_at_every_step_the_past_is_what_was_said_then(run):
    then, now = course(run)
    for step, said in then.items():
        past = as_of(now, step, context=RUNS[run][1])
        assert sorted(map(named, past.incidents), key=str) == sorted(map(named, said.incidents), key=str), step
        assert [i.rule for i in past.open_incidents] == [i.rule for i in said.open_incidents], step
        assert [(b.severity, worded(b.word), b.since) for b in past.badges if b.severity] == [
            (b.severity, worded(b.word), b.since) for b in said.badges if b.severity], step


def test_the_numbers_of_the_past_are_never_older_than_half_of_what_it_had_lasted_and_never_from_later():
    then, now = course("eventful")
    compared = 0
    for incident in now.incidents:
        for step, telling in incident.before:
            if step in then:
                (said,) = (i for i in then[step].open_incidents if i.rule == incident.rule)
                assert (said.why, repr(said.evidence)) == (telling.why, repr(telling.evidence))
                compared += 1
        for step in range(incident.detected_step, incident.resolved_step or now.steps):
            at = max(at for at, _ in incident.before if at <= step)
            assert step - at <= max(1, (step - incident.detected_step) // 2) + 16   # rules that look at blocks come late
            told = stood(incident, step, now.steps)
            assert repr(told) == repr(replace([one for when, one in incident.before if when == at][-1], cause=incident.cause))
    assert compared > 15


def test_before_it_was_found_an_incident_is_not_told_though_it_had_begun():
    _, now = course("grown")
    late = next(i for i in now.incidents if i.onset_step < i.detected_step)
    assert all(i.rule != late.rule for i in as_of(now, late.detected_step - 1).incidents)
    assert any(i.rule == late.rule for i in as_of(now, late.detected_step).incidents)
    assert stood(late, late.onset_step, now.steps) == replace(late.before[0][1], cause=late.cause)


def test_where_it_is_not_over_the_newest_step_says_what_is_said_now():
    _, now = course("grown")
    assert repr(as_of(now, now.steps, context=RunContext()).open_incidents) == repr(now.open_incidents)


def test_what_is_remembered_keeps_how_it_was_told():
    _, now = course("grown")
    again = recalled(json.loads(json.dumps(stored(now))))
    assert repr(again) == repr(now)
    assert all(i.before for i in again.open_incidents)


def test_an_incident_that_lasts_a_million_steps_is_told_some_twenty_times():
    incident = replace(course("grown")[1].incidents[0], before=())
    told = Tellings()
    for step in [*range(1, 100), *range(100, 1_000_000, 50)]:
        if told.is_due(step, "warning", "high"):
            told.keep(step, replace(incident, severity="warning", confidence="high"))
    assert len(told.told) == 21
    for step in range(1_000_000, 1_000_400):
        confidence = ("low", "high")[step % 2]
        if told.is_due(step, "warning", confidence):
            told.keep(step, replace(incident, severity="warning", confidence=confidence))
    assert len(told.told) == MOST
    assert told.is_due(1_000_400, "critical", "high")


def test_rows_ahead_are_told_as_if_they_had_been_looked_at():
    incident = replace(course("grown")[1].incidents[0], before=())
    told = Tellings()
    told.keep(7, incident)
    ahead = told.due_among(range(8, 200))
    for step, due in zip(range(8, 200), ahead.tolist(), strict=True):
        assert told.is_due(step, incident.severity, incident.confidence) == due
        if due:
            told.keep(step, incident)
    assert np.flatnonzero(ahead).tolist() == [0, 1, 3, 7, 15, 31, 63, 127]
    again = Tellings()
    again.keep(7, incident)
    assert again.due_among(range(-40, 200)).tolist() == [False] * 48 + ahead.tolist()


def test_of_many_that_are_over_the_older_ones_keep_how_bad_they_were():
    incident = next(i for i in course("grown")[1].incidents if len({t.severity for _, t in i.before}) > 1)
    past: list[Incident] = []
    for _ in range(3 * RECENT):
        put_away(past, incident)
    assert sum(len(i.before) == len(incident.before) for i in past) == RECENT
    assert [t.severity for _, t in past[0].before] == ["info", "warning", "critical"]
