"""An outcome is what the definitions say: found, first, in time, false."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.zoo.judges import OURS, Alarm, Judge, Said, Telling, Told, order_of_telling, ours
from tests.zoo.recording import Label, Recording
from tests.zoo.score import outcome, related
from tests.zoo.summary import summary
from tuimon.diagnosis.model import Diagnosis, Incident, RunContext
from tuimon.record.chunk import Chunk, Mark

SICK = Label("sick", False, ("exploding-gradients",), ("clip-saturated",), 101, "blocks.1", True, 130)
WELL = Label("well", True, (), ("bad-init",), None, None, False, None)
NAMELESS = Judge("nameless", False, ours)


def run(label: Label, n: int = 300) -> Recording:
    return Recording(label, 10, "gpt", "AdamW", RunContext(), (Chunk.of(loss=[1.0] * n),))


def alarm(name: str, warned: int | None, *, critical: int | None = None, onset: int = 100, layer: str | None = None,
          opened: int | None = None) -> Alarm:
    severity = "critical" if critical else "warning" if warned else "info"
    return Alarm(name, name, severity, onset, opened or warned or critical or 0, warned, critical, layer)


def said(*alarms: Alarm, told: tuple[tuple[int, tuple[str, ...]], ...] = (), alarmed: tuple[int, ...] = ()) -> Said:
    layers = {a.name: a.layer for a in alarms}
    tellings = tuple(Telling(step, tuple(Told(slug, layers.get(slug)) for slug in slugs)) for step, slugs in told)
    return Said(alarms, tellings, alarmed, 300)


def test_a_fault_found_in_time_with_its_cause_and_layer():
    story = ((105, ("exploding-gradients", "loss-spike")),)
    found = outcome(run(SICK), said(alarm("exploding-gradients", 105, critical=105, layer="blocks.1"), told=story), OURS)
    assert (found.found_at, found.delay, found.onset_error, found.in_time) == (105, 4, 1, True)
    assert found.right_at_once
    assert found.right_first
    assert found.right_among_two
    assert found.right_layer
    assert (found.healthy_steps, found.false_warnings, found.strange) == (100, (), ())


def test_an_alarm_from_before_the_onset_is_false_and_finds_nothing():
    early = alarm("exploding-gradients", 90, critical=95)
    found = outcome(run(SICK), said(early, told=((90, ("exploding-gradients",)),), alarmed=(90, 95, 110)), OURS)
    assert (found.found, found.right_first, found.in_time) == (None, False, False)
    assert (found.false_warnings, found.false_criticals, found.alarmed_steps) == ((early,), (early,), 2)


def test_an_alarm_that_has_nothing_to_do_with_the_fault_finds_nothing():
    odd = alarm("overfitting", 110)
    found = outcome(run(SICK), said(odd, told=((110, ("overfitting",)),)), OURS)
    assert found.found is None
    assert found.strange == (odd,)
    assert "overfitting" not in related(SICK)
    assert {"loss-spike", "lr-schedule-fault", "clip-saturated"} <= related(SICK)


def test_info_finds_only_what_is_info_by_nature():
    line = alarm("outlier-batch", None, opened=102)
    assert outcome(run(replace(SICK, causes=("outlier-batch",))), said(line), OURS).found_at == 102
    assert outcome(run(replace(SICK, also=("outlier-batch",))), said(line), OURS).found is None


@pytest.mark.parametrize(("told", "at_once", "first", "two"), [
    (((105, ("loss-spike", "exploding-gradients")), (150, ("exploding-gradients", "loss-spike"))), False, True, True),
    (((105, ("loss-spike", "exploding-gradients")), (250, ("exploding-gradients",))), False, True, True),
    (((105, ("exploding-gradients",)), (150, ("loss-spike", "divergence", "exploding-gradients"))), True, False, False),
    (((105, ("loss-spike", "exploding-gradients")),), False, False, True),
    (((105, ("exploding-gradients",)), (110, ())), True, True, True),
    (((99, ("loss-spike", "exploding-gradients")), (110, ())), False, False, True),
    (((99, ("exploding-gradients",)), (100, ()), (105, ("loss-spike",)), (107, ())), False, False, False),
])
def test_the_first_cause_is_what_is_told_first_once_the_story_has_settled_or_at_the_end(told, at_once, first, two):
    found = outcome(run(SICK), said(alarm("loss-spike", 105), told=told), OURS)
    assert (found.right_at_once, found.right_first, found.right_among_two) == (at_once, first, two)


def test_a_run_lost_before_it_was_told_is_not_in_time():
    late = said(alarm("non-finite", 130, critical=130), told=((130, ("non-finite",)),))
    assert outcome(run(SICK), late, OURS).in_time is False
    assert outcome(run(replace(SICK, catastrophic=False, lost=None)), late, OURS).in_time is None
    assert outcome(run(replace(SICK, onset=130)), late, OURS).in_time is True
    assert outcome(run(replace(SICK, onset=129, lost=129)), late, OURS).in_time is False
    assert outcome(run(SICK), said(), OURS).in_time is False


def test_of_a_judge_that_names_no_cause_none_is_asked():
    shout = replace(alarm("z-score", 120), cause=None)
    found = outcome(run(SICK), said(shout), NAMELESS)
    assert (found.found_at, found.right_first, found.right_layer) == (120, None, None)
    assert outcome(run(SICK), said(), NAMELESS).right_first is None


def test_in_a_healthy_run_every_warning_is_false_but_those_allowed():
    wrong, allowed, info = alarm("plateau", 200), alarm("bad-init", 1), alarm("oscillation", None, opened=50)
    found = outcome(run(WELL), said(wrong, allowed, info), OURS)
    assert (found.false_warnings, found.false_criticals, found.healthy_steps) == ((wrong,), (), 300)
    assert found.found is None


def test_many_outcomes_make_shares_rates_and_medians():
    story = ((105, ("exploding-gradients",)),)
    found = outcome(run(SICK), said(alarm("exploding-gradients", 105), told=story), OURS)
    slow = outcome(run(SICK), said(alarm("loss-spike", 121), told=((121, ("loss-spike",)),)), OURS)
    missed = outcome(run(SICK), said(), OURS)
    noisy = outcome(run(WELL), said(alarm("plateau", 200)), OURS)
    of = summary([found, slow, missed, noisy])
    assert (of.found.count, of.found.of, of.first.count, of.first.of) == (2, 3, 1, 3)
    assert (of.in_time.count, of.in_time.of, of.delay) == (2, 3, 12)
    assert (of.warnings.count, of.warnings.steps) == (1, 600)
    assert of.warnings.per == pytest.approx(1e4 / 600)
    low, high = of.warnings.interval
    assert low < of.warnings.per < high


def explosion() -> Chunk:
    rng = np.random.default_rng(0)
    t = np.arange(200)
    loss = 2.0 + 3.0 * np.exp(-t / 80) + rng.normal(0, 0.03, 200)
    grad = np.exp(rng.normal(0, 0.1, 200))
    loss[180:] += 0.5 * np.arange(1, 21)
    grad[180:] *= 1.6 ** np.arange(1, 21)
    return Chunk.of(loss=list(loss), grad_norm=list(grad), lr=[3e-3] * 200, marks=(Mark(0, "attempt", {"number": 1}),))


def test_ours_says_at_each_step_what_was_known_then():
    chunk = explosion()
    label = Label("explodes", False, ("exploding-gradients",), (), 181, None, True, 200)
    found = ours(Recording(label, 0, "gpt", "AdamW", RunContext(), (chunk,)))
    first = next(a for a in found.alarms if a.name == "exploding-gradients")
    assert first.warned == first.opened
    assert 181 <= first.warned <= 188
    cut = ours(Recording(label, 0, "gpt", "AdamW", RunContext(), tuple(chunk.pieces([first.warned]))[:1]))
    assert first.warned in {a.warned for a in cut.alarms}
    assert [t for t in found.tellings if t.step <= first.warned] == list(cut.tellings)
    assert set(found.alarmed) == set(range(min(a.warned for a in found.alarms if a.warned), 201))
    scored = outcome(Recording(label, 0, "gpt", "AdamW", RunContext(), (chunk,)), found, OURS)
    assert scored.right_first
    assert scored.in_time


def test_what_comes_and_goes_within_one_row_is_told_too():
    rng = np.random.default_rng(0)
    loss = 2.0 + rng.normal(0, 0.03, 200)
    loss[150] = 9.0
    found = ours(Recording(WELL, 0, "gpt", "AdamW", RunContext(), (Chunk.of(loss=list(loss)),)))
    assert [a.name for a in found.alarms] == ["outlier-batch"]
    assert ("outlier-batch",) in [tuple(t.cause for t in telling.told) for telling in found.tellings]
    assert found.tellings[-1].told == ()
    assert not math.isnan(found.alarms[0].onset)


def incident(rule: str, severity: str, cause: str | None = None) -> Incident:
    return Incident(rule, "T1", "loss", severity, "open", 1, 2, None, None, "high", "", "", (), (), "", cause=cause)


@pytest.mark.parametrize(("standing", "told"), [
    ((incident("exploding-gradients", "critical", "lr-schedule-fault"), incident("plateau", "warning"),
      incident("lr-schedule-fault", "warning")), ("lr-schedule-fault", "exploding-gradients", "plateau")),
    ((incident("early-divergence", "critical", "bad-init"), incident("bad-init", "info")), ("early-divergence", "bad-init")),
    ((incident("plateau", "info", "oscillation"), incident("oscillation", "info", "plateau")), ("oscillation", "plateau")),
    ((incident("loss-drift", "warning", "loss-spike"),), ("loss-drift",)),
])
def test_a_root_cause_is_told_first_unless_it_is_less_than_a_warning(standing, told):
    found = order_of_telling(Diagnosis(9, standing, (), (), {}))
    assert tuple(one.cause for one in found) == told
