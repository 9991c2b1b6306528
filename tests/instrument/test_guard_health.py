"""The guard: what changed, which snapshots earned their health, and what the autopilot makes of it. Pure values."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from steering_parts import ScriptedJudge, diagnosis, incident

from tuimon.control.commands import Command, Who
from tuimon.control.revision import Revisions
from tuimon.instrument.autopilot import Autopilot
from tuimon.instrument.ending import ending
from tuimon.instrument.guard import HORIZON, Guard, Health, changes, chunk_of, is_alarming, keys
from tuimon.instrument.mailbox import Earned, Mailbox, Voided
from tuimon.instrument.stopping import TrainingStopped
from tuimon.record.chunk import Mark
from tuimon.record.rundir import create_run
from tuimon.record.segments import LogReader, LogWriter, ProbeRow, Row, TensorRow, WeightRow

ITEMS = [
    TensorRow(1, np.array([1, math.inf], np.float32), np.array([True, True]), None),
    TensorRow(2, np.array([1, math.nan], np.float32), np.array([True, False]), np.array([0.1, 0.2], np.float32)),
    WeightRow(2, np.array([3, math.nan], np.float32), np.array([True, True])),
    ProbeRow(2, np.array([50, math.inf, 0.5], np.float32), np.array([True, True, False])),
    Row(1, 10.0, {"loss": 1.0}), Row(2, 11.0, {"loss": math.nan, "mine": -math.inf}),
    Mark(2, "override", {"lr_scale": 0.1, "clip": None}), Row(3, 12.0, {"mine": 3.0}),
]


def test_the_guard_judges_exactly_what_a_reader_of_the_log_would(tmp_path):
    run = create_run("same", tmp_path)
    writer = LogWriter(run.metrics, attempt=1, from_step=0, tensors=2, probes=3)
    writer.append(ITEMS)
    writer.close()
    (read,) = LogReader(run.metrics).poll()
    made = chunk_of(ITEMS, 2, 3)
    assert made.steps.tolist() == read.steps.tolist()
    assert made.times.tolist() == read.times.tolist()
    assert set(made.columns) == set(read.columns)
    for name in made.columns:
        assert made.present[name].tolist() == read.present[name].tolist()
        np.testing.assert_array_equal(made.measured(name)[1], read.measured(name)[1])
    np.testing.assert_array_equal(made.tensors.grad_seen, read.tensors.grad_seen)
    np.testing.assert_array_equal(made.tensors.update, read.tensors.update)
    np.testing.assert_array_equal(
        made.tensors.grad[made.tensors.grad_seen], read.tensors.grad[read.tensors.grad_seen])
    for ours, theirs in ((made.probes, read.probes), (made.weights, read.weights)):
        assert len(theirs) == 1
        np.testing.assert_array_equal(ours.steps, theirs.steps)
        np.testing.assert_array_equal(ours.values, theirs.values)
        np.testing.assert_array_equal(ours.seen, theirs.seen)
    assert made.marks == tuple(m for m in read.marks if m.kind != "attempt")


def test_a_stretch_without_rows_is_a_chunk_too():
    chunk = chunk_of([Mark(5, "note", {})], 3)
    assert len(chunk) == 0
    assert chunk.tensors.grad.shape == (0, 3)
    assert len(chunk.marks) == 1


def _changes(before, after):
    return [(c, i.severity) for c, i in changes(keys(diagnosis(0, *before)), keys(diagnosis(0, *after)))]


def test_incidents_open_worsen_and_resolve_once_each():
    warning, critical = incident(onset=5, severity="warning"), incident(onset=5)
    over = incident(onset=5, resolved=9)
    assert _changes([], [warning]) == [("opened", "warning")]
    assert _changes([warning], [warning]) == []
    assert _changes([warning], [critical]) == [("worsened", "critical")]
    assert _changes([critical], [over]) == [("resolved", "critical")]
    assert _changes([over], [over]) == []
    assert _changes([], [over]) == [("opened", "critical"), ("resolved", "critical")]
    assert _changes([warning], [over]) == [("worsened", "critical"), ("resolved", "critical")]
    assert _changes([over], [over, incident(onset=20)]) == [("opened", "critical")]


def test_health_is_earned_by_a_clean_horizon_and_not_before():
    health = Health()
    health.captured(20)
    assert health.review(diagnosis(20 + HORIZON - 1)) == []
    assert health.review(diagnosis(20 + HORIZON)) == [Earned(20)]
    assert health.review(diagnosis(200)) == []


@pytest.mark.parametrize("severity", ["warning", "critical"])
def test_an_incident_within_the_horizon_costs_a_snapshot_its_health(severity):
    health = Health()
    health.captured(20)
    trouble = incident(onset=30, detected=33, severity=severity)
    assert health.review(diagnosis(35, trouble)) == []
    assert health.review(diagnosis(35 + HORIZON, trouble)) == []


def test_an_incident_that_was_over_before_costs_nothing_and_neither_does_mere_information():
    health = Health()
    health.captured(20)
    found = diagnosis(60, incident(onset=5, resolved=19), incident("plateau", onset=25, severity="info"))
    assert health.review(found) == [Earned(20)]


def test_a_run_that_is_merely_slow_keeps_its_snapshots():
    slow = replace(incident("throughput-drop", onset=10, severity="warning"), category="throughput")
    health = Health()
    health.captured(20)
    assert health.review(diagnosis(60, slow)) == [Earned(20)]
    assert not is_alarming(slow)


def test_a_run_that_began_with_wide_weights_may_go_back_to_later_ones():
    health = Health()
    health.captured(20)
    assert health.review(diagnosis(60, incident("bad-init", onset=1, severity="warning"))) == [Earned(20)]


def test_an_incident_found_late_voids_what_was_captured_since_its_onset_healthy_or_not():
    health = Health()
    for step in (20, 40, 60, 80):
        health.captured(step)
    assert health.review(diagnosis(90)) == [Earned(20), Earned(40)]
    late = incident(onset=35, detected=95)
    assert health.review(diagnosis(95, late)) == [Voided(34)]
    assert health.review(diagnosis(200, late)) == []


def test_an_onset_that_is_dated_back_voids_more_and_the_initial_state_is_never_voided():
    health = Health(first=0)
    health.captured(20)
    health.captured(40)
    assert health.review(diagnosis(45, incident(onset=30, detected=45))) == [Voided(29)]
    assert health.review(diagnosis(46, incident(onset=0, detected=45))) == [Voided(0)]


def test_a_rolled_back_snapshot_is_no_candidate_any_more():
    health = Health()
    for step in (20, 40):
        health.captured(step)
    health.gone_after(20)
    assert health.review(diagnosis(100)) == [Earned(20)]


@given(st.data())
def test_no_snapshot_is_ever_healthy_with_an_alarm_between_it_and_its_horizon(data):
    onset = data.draw(st.integers(1, 150))
    delay = data.draw(st.integers(0, HORIZON - 1))
    length = data.draw(st.integers(0, 60))
    health, healthy = Health(), set()
    for step in range(1, 250):
        detected = onset + delay
        open_ = step >= detected
        over = detected + length if step >= detected + length else None
        found = [incident(onset=onset, detected=detected, resolved=over)] if open_ else []
        if step % 20 == 0 and (not open_ or over is not None):
            health.captured(step)
        for news in health.review(diagnosis(step, *found)):
            if isinstance(news, Earned):
                healthy.add(news.step)
            else:
                healthy = {s for s in healthy if s <= news.after_step}
        if open_:
            assert not any(onset <= s < detected for s in healthy)
    assert healthy
    assert not any(s <= detected + length and s + HORIZON >= onset for s in healthy - set(range(onset)))


def test_the_guard_learns_of_snapshots_from_their_events():
    guard = Guard(ScriptedJudge(), 0)
    guard.notice("snapshot", {"snapshot_step": 20})
    guard.notice("snapshot", {"snapshot_step": 40})
    guard.notice("snapshot-void", {"after_step": 20})
    _, news = guard.feed([Row(100, 0.0, {})])
    assert news == [Earned(20)]


def _pilot(policy="rescue", **more):
    pilot = Autopilot(policy, Who("ada"), attempt=3, **more)
    pilot.notice("state", 1, {"state": "running"})
    return pilot


def _outcome(pilot, command, result, step=0, why=""):
    pilot.notice("command", step, {"id": command.id, "verb": command.verb, "outcome": result, "why": why})


def test_what_a_rescue_does_not_treat_is_held_not_rescued():
    pilot = _pilot()
    untreatable = incident("vanishing-gradients", onset=40, treatable=False)
    assert pilot.decide(diagnosis(50, untreatable), 7.0).verb == "hold"
    both = _pilot().decide(diagnosis(50, untreatable, incident(onset=41)), 7.0)
    assert both.verb == "rescue"


def test_only_a_running_run_is_commanded_and_one_order_at_a_time():
    pilot, found = _pilot(), diagnosis(50, incident(onset=40))
    pilot.notice("state", 1, {"state": "paused"})
    assert pilot.decide(found, 7.0) is None
    pilot.notice("state", 1, {"state": "running"})
    command = pilot.decide(found, 7.0)
    assert (command.verb, command.attempt, command.issued, command.who.user) == ("rescue", 3, 7.0, "ada")
    assert pilot.decide(found, 8.0) is None
    assert pilot.decide(diagnosis(60, incident(onset=40), incident("divergence", onset=55)), 8.0) is None


def test_warnings_and_what_is_over_give_no_orders():
    found = diagnosis(50, incident(onset=40, severity="warning"), incident("divergence", onset=10, resolved=30))
    assert _pilot().decide(found, 0.0) is None


def test_after_anybodys_rescue_nothing_is_ordered_until_warm_up_and_horizon_are_over():
    pilot = _pilot()
    pilot.notice("rescue", 50, {"tick": "warmup", "steps": 20})
    assert pilot.decide(diagnosis(50 + 20 + HORIZON - 1, incident(onset=40)), 0.0) is None
    assert pilot.decide(diagnosis(50 + 20 + HORIZON, incident(onset=40)), 0.0).verb == "rescue"


def test_a_refused_rescue_becomes_a_hold():
    pilot, found = _pilot(), diagnosis(50, incident(onset=40))
    _outcome(pilot, pilot.decide(found, 0.0), "refused")
    hold = pilot.decide(found, 0.0)
    assert hold.verb == "hold"
    _outcome(pilot, hold, "applied")
    assert pilot.decide(found, 0.0) is None
    assert pilot.decide(diagnosis(90, incident(onset=40), incident("divergence", onset=80)), 0.0).verb == "hold"


def test_a_rescue_that_stood_back_after_a_persons_act_is_none_in_vain_and_what_was_done_gets_its_horizon():
    pilot, found = _pilot(), lambda step: diagnosis(step, incident(onset=40))
    asked = pilot.decide(found(50), 0.0)
    assert asked.base_rev == ""   # nothing was ordered yet
    _outcome(pilot, Command("persons", "set-lr-scale", {"scale": 0.5}), "applied", 51)
    revisions = Revisions(lambda: 0.0)
    revisions.applied(Command("persons", "set-lr-scale", {"scale": 0.5}, who=Who("ada", 1000, "desk", 7, "viewer")), 51)
    _outcome(pilot, asked, "refused", 51, revisions.against(replace(asked, who=Who("ada", 1000, "desk", 8, "guard"))))
    assert pilot.decide(found(51 + HORIZON - 1), 0.0) is None
    seen = "persons"
    for step in range(51 + HORIZON, 54 + HORIZON):
        again = pilot.decide(found(step), 0.0)
        assert (again.verb, again.base_rev) == ("rescue", seen)
        _outcome(pilot, again, "applied", step)
        seen = again.id
    assert pilot.decide(found(60 + HORIZON), 0.0).verb == "hold"   # after three that were done


@pytest.mark.parametrize(("can_hold", "then"), [(True, "hold"), (False, "stop")])
def test_there_are_at_most_three_rescues_and_no_hold_that_nobody_could_end(can_hold, then):
    pilot, verbs = _pilot(can_hold=can_hold), []
    for step in range(50, 60):
        command = pilot.decide(diagnosis(step, incident(onset=40)), 0.0)
        if command:
            verbs.append(command.verb)
            _outcome(pilot, command, "applied")
    assert verbs == ["rescue"] * 3 + [then]


def test_a_letter_is_never_missed_between_looking_and_scheduling():
    box = Mailbox()
    box.schedule(100)
    assert box.due == 100
    box.post(Earned(20))
    assert box.due == 0
    box.schedule(100)
    assert box.due == 0
    assert box.next() == Earned(20)
    assert box.next() is None
    box.schedule(100)
    assert box.due == 100


@pytest.mark.parametrize(("error", "stopping", "state"), [
    (None, False, "finished"), (None, True, "stopped"), (TrainingStopped(3), True, "stopped"),
    (KeyboardInterrupt(), False, "stopped"), (SystemExit(0), False, "finished"), (SystemExit(None), True, "stopped"),
    (SystemExit(2), False, "crashed"), (RuntimeError("x" * 1000), False, "crashed"), (MemoryError(), True, "crashed"),
])
def test_how_a_run_ended_is_told_from_what_ended_it(error, stopping, state):
    found, text = ending(error, stopping=stopping)
    assert found == state
    assert text is None or len(text) <= 500
    assert (text is not None) == (state == "crashed" or isinstance(error, KeyboardInterrupt))
