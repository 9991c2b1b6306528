"""Golden pairs of the rules that look inside the model: attention, silent units, output logits."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled_curves import calm, judged, layered, needs_curves, of_rule, tiny

from tuimon.diagnosis.growth import growth
from tuimon.diagnosis.manual import MEASURED, PARTS, page
from tuimon.diagnosis.model import RunContext
from tuimon.record.chunk import Chunk, Mark, ProbeRows
from tuimon.record.probes import ProbeEntry

ROWS, EVERY = 40, 10
LAYERS = 3


def series(*points: float, layers: int = LAYERS, at: int = 1) -> np.ndarray:
    """(ROWS, layers): one layer goes through the points, evenly spaced in the logarithm; the others stay at the first."""
    path = np.exp(np.interp(np.linspace(0, len(points) - 1, ROWS), range(len(points)), np.log(points)))
    found = np.full((ROWS, layers), float(points[0]))
    found[:, at if layers > 1 else 0] = path
    return found


def run(total=None, marks=(), columns=None, seen=None, **quantities: np.ndarray):
    """A calm run of 400 steps with a probe row every ten, judged."""
    known, _ = calm(max([ROWS, *map(len, quantities.values())]) * EVERY)
    entries = tuple(ProbeEntry(f"blocks.{i}" if values.shape[1] > 1 else "", name)
                    for name, values in quantities.items() for i in range(values.shape[1]))
    values = np.concatenate(list(quantities.values()), 1).astype(np.float32) if quantities else np.zeros((0, 0))
    there = np.ones(values.shape, np.bool_) if seen is None else seen
    probes = ProbeRows(np.arange(1, len(values) + 1) * EVERY, values, there)
    context = dataclasses.replace(layered(LAYERS), probes=entries, total_steps=total)
    return judged(Chunk.of(**known | (columns or {}), probes=probes, marks=marks), context)


def only(diagnosis, slug):
    found = of_rule(diagnosis, slug)
    assert len(found) == 1, diagnosis.incidents
    return found[0]


# ---------------------------------------------------------------------- attention-collapse

LOGITS, ENTROPIES = series(1, 1, 30, 400), series(1, 1, 0.5, 0.01)


def test_attention_that_becomes_a_choice_is_told_with_its_layer_and_both_numbers():
    found = only(run(attention_logit=LOGITS, attention_entropy=ENTROPIES), "attention-collapse")
    assert (found.severity, found.layer, found.confidence, found.state) == ("warning", "blocks.1", "high", "open")
    first_both = int(np.flatnonzero((LOGITS[:, 1] > 100) & (ENTROPIES[:, 1] < 0.05))[0] + 1) * EVERY
    left = int(np.flatnonzero((LOGITS[:, 1] > 50) | (ENTROPIES[:, 1] < 0.5))[0] + 1) * EVERY
    assert (found.onset_step, found.detected_step) == (left, first_both + 2 * EVERY)
    assert left < first_both
    assert "In blocks.1 attention has an entropy of 1.0 % of its maximum (at first 100 %)" in found.why
    assert "attention logits reach 400 (at first 1.00;" in found.why
    assert [(e.metric, e.limit) for e in found.evidence] == [("attention_logit", 100.0), ("attention_entropy", 0.05)]
    assert found.next[0] == "lower the learning rate from 3e-3 to 3e-4"


def test_what_is_over_is_told_with_the_layer_and_the_numbers_of_its_worst_moment():
    """blocks.1 is worst, blocks.2 recovers last."""
    logits, entropies = np.full((ROWS, LAYERS), 1.0), np.full((ROWS, LAYERS), 1.0)
    logits[10:20, 1], entropies[10:20, 1] = 400, 0.01
    logits[15:30, 2], entropies[15:30, 2] = 150, 0.03
    found = only(run(attention_logit=logits, attention_entropy=entropies), "attention-collapse")
    assert (found.state, found.layer) == ("resolved", "blocks.1")
    assert "In blocks.1 attention had an entropy of 1.0 % of its maximum" in found.why
    assert "attention logits reached 400" in found.why
    shares = np.full((ROWS, LAYERS), 0.1)
    shares[22:30, 1], shares[22:36, 2] = 0.99, 0.93
    silent = only(run(dead_units=shares), "dead-units")
    assert (silent.state, silent.layer) == ("resolved", "blocks.1")
    assert "99 % of the units of blocks.1 answered" in silent.why


@pytest.mark.parametrize("quantities", [
    {"attention_logit": series(1, 30, 90), "attention_entropy": ENTROPIES},
    {"attention_logit": LOGITS, "attention_entropy": series(1, 0.5, 0.2)},
    {"attention_logit": series(400, 400), "attention_entropy": series(0.02, 0.02)},
    {"attention_entropy": series(0.06, 0.06, 0.04)},
    {"attention_logit": series(1, 150)},
    {"attention_logit": series(350, 400)},
], ids=["quiet logits", "wide attention", "narrow from the start", "always narrow", "logits alone", "logits that began so"])
def test_one_sign_alone_or_a_beginning_that_was_no_better_is_no_collapse(quantities):
    assert not run(**quantities).incidents


@pytest.mark.parametrize("quantities", [
    {"attention_entropy": ENTROPIES}, {"attention_logit": series(1, 1, 600)},
    {"attention_entropy": series(1, 0.01, layers=1)}, {"attention_logit": series(2, 900, layers=1)},
], ids=["entropies", "logits", "entropy of the model", "logit of the model"])
def test_where_only_one_of_the_two_is_measured_it_is_judged_by_that_with_less_confidence(quantities):
    found = only(run(**quantities), "attention-collapse")
    assert (found.severity, found.confidence) == ("warning", "medium")


def test_collapse_beyond_a_thousand_is_critical_and_says_where_float16_ends():
    found = only(run(attention_logit=series(1, 1, 4e4), attention_entropy=series(1, 1, 0.001)), "attention-collapse")
    assert (found.severity, found.evidence[0].limit) == ("critical", 1e3)
    assert "float16 ends at 65,504" in found.why


def test_two_sampled_rows_are_not_enough_and_a_third_is():
    def short(rows):
        logits, entropies = np.ones((ROWS, LAYERS)), np.ones((ROWS, LAYERS))
        logits[20:20 + rows, 1], entropies[20:20 + rows, 1] = 500, 0.01
        return of_rule(run(attention_logit=logits, attention_entropy=entropies), "attention-collapse")

    assert not short(2)
    (found,) = short(3)
    assert (found.onset_step, found.state, found.resolved_step) == (210, "resolved", 260)
    assert "Back among ordinary values by step 260" in found.why


def test_a_layer_that_is_not_measured_in_every_row_keeps_its_streak():
    seen = np.ones((ROWS, 2 * LAYERS), np.bool_)
    seen[1::2] = False
    seen[1::2, 0] = True
    assert only(run(seen=seen, attention_logit=LOGITS, attention_entropy=ENTROPIES), "attention-collapse").layer == "blocks.1"


def test_logits_that_keep_doubling_are_told_before_attention_collapses_where_the_run_is_long_enough():
    logits, wide = series(55, 160), series(0.5, 0.5)
    found = only(run(total=20_000, attention_logit=logits, attention_entropy=wide), "attention-collapse")
    assert (found.headline, found.word, found.severity) == ("Attention logits keep growing", "growing", "warning")
    assert "entropy" not in found.why
    assert not run(total=ROWS * EVERY + 50, attention_logit=logits, attention_entropy=wide).incidents


# ---------------------------------------------------------------------- dead-units


def test_units_that_fall_silent_are_told_with_their_layer_and_what_they_were():
    found = only(run(dead_units=series(0.1, 0.1, 0.97, 0.97)), "dead-units")
    assert (found.severity, found.layer, found.state) == ("warning", "blocks.1", "open")
    assert "97 % of the units of blocks.1 answer to no token of the sample; at first 10 % were silent" in found.why
    assert found.next[0].startswith(f"go back to a checkpoint from before step {found.onset_step}")


@pytest.mark.parametrize(("shares", "severity"), [
    (series(0.2, 0.5, 0.77), None), (series(0.75, 0.88), None), (series(0.7, 0.7), None),
    (series(0.3, 0.3, 0.87, 0.87), "info"), (series(0.95, 0.97), "info"), (series(0.3, 300.0), None),
])
def test_silence_is_judged_against_the_layers_own_beginning_and_never_critical(shares, severity):
    diagnosis = run(dead_units=shares)
    assert [i.severity for i in diagnosis.incidents] == ([severity] if severity else [])


def test_units_that_are_silent_while_the_run_settles_and_wake_again_are_nothing():
    shares = np.full((ROWS, LAYERS), 0.1)
    shares[10:19, 1] = 0.98
    assert not run(dead_units=shares).incidents
    shares[21:30, 1] = 0.98
    assert only(run(dead_units=shares), "dead-units").state == "resolved"


# ---------------------------------------------------------------------- logit-drift


def test_output_logits_that_keep_doubling_are_told_with_what_precision_makes_of_them():
    found = only(run(total=5_000, logit_scale=series(5, 5, 20, 90, layers=1), logit_mean=-series(5, 5, 20, 80, layers=1)),
                 "logit-drift")
    assert (found.severity, found.layer, found.word) == ("warning", None, "drifting")
    assert "Near 90.0 numbers in bfloat16 are 0.500 apart" in found.why
    assert "a common shift (mean logit -80.0)" in found.why
    assert found.next[0].startswith("add a z-loss")


@pytest.mark.parametrize("scale", [series(90, 90, layers=1), series(5, 45, layers=1), series(60, 100, layers=1)])
def test_a_level_that_is_large_but_stands_is_none_of_it(scale):
    assert not run(total=5_000, logit_scale=scale).incidents


def test_logits_that_grow_on_and_on_are_one_incident_and_when_they_stop_it_is_over():
    grown = 5 * 2 ** (np.arange(80) / 12)
    still = only(run(total=20_000, logit_scale=grown[:, None]), "logit-drift")
    assert (still.state, still.severity) == ("open", "warning")
    stands = np.concatenate((grown[:60], grown[59] + np.resize([0.0, 1.0, -1.0], 50)))
    over = only(run(total=20_000, logit_scale=stands[:, None]), "logit-drift")
    assert (over.state, over.onset_step) == ("resolved", still.onset_step)
    assert "it stands at" in over.why
    drop = series(5, 5, 20, 90, layers=1)
    drop[-1] = 30
    assert only(run(total=5_000, logit_scale=drop), "logit-drift").state == "resolved"


def test_logits_that_double_fast_while_the_loss_breaks_away_are_the_cause_long_before_they_are_large():
    scale = series(4, 4, 4, 24, layers=1)
    loss = calm(ROWS * EVERY)[0]["loss"]
    broken = [v + max(0, step - 300) / 40 for step, v in enumerate(loss, 1)]
    diagnosis = run(total=400, columns={"loss": broken}, logit_scale=scale)
    found = only(diagnosis, "logit-drift")
    left = int(np.flatnonzero(scale[:, 0] > 6)[0] + 1) * EVERY
    assert (found.severity, found.onset_step) == ("warning", left)
    assert found.evidence[0].value < 30
    assert [i.rule for i in diagnosis.open_incidents if i.cause is None] == ["logit-drift"]
    assert not run(total=400, logit_scale=scale).incidents
    assert not of_rule(run(total=400, columns={"loss": broken}, logit_scale=series(4, 4, 4, 7, layers=1)), "logit-drift")


# ---------------------------------------------------------------------- what they have in common


def test_a_resumed_attempt_begins_anew_and_a_rollback_counts_anew():
    quantities = {"attention_logit": LOGITS, "attention_entropy": ENTROPIES}
    over = only(run(marks=(Mark(390, "attempt", {"number": 2, "from_step": 390}),), **quantities), "attention-collapse")
    assert (over.state, over.resolved_step) == ("resolved", 390)
    back = only(run(marks=(Mark(395, "rollback", {"from_step": 395, "to_step": 300}),), **quantities), "attention-collapse")
    assert back.state == "open"


def test_without_probes_the_rules_say_what_they_need_and_with_too_few_rows_how_many():
    waiting = {n.rule: n.needs for n in run().not_evaluated}
    assert waiting["attention-collapse"] == ("attention_logit or attention_entropy (activation probes)",)
    assert waiting["dead-units"] == ("dead_units (activation probes)",)
    assert waiting["logit-drift"] == ("logit_scale (activation probes)",)
    known, _ = calm(40)
    few = judged(Chunk.of(**known, dead_units=[0.1] * 4 + [None] * 36, logit_scale=[5.0] * 40), RunContext())
    waiting = {n.rule: n.needs for n in few.not_evaluated}
    assert waiting["dead-units"] == ("5 sampled rows of dead_units",)
    assert "logit-drift" not in waiting
    assert dict.fromkeys(b.category for b in few.badges if b.word == "ok").keys() >= {"activations"}


def test_scalar_columns_of_another_tool_are_judged_without_a_layer():
    known, _ = calm(400)
    logits, entropies = np.repeat(LOGITS[:, 1], 10), np.repeat(ENTROPIES[:, 1], 10)
    found = only(judged(Chunk.of(**known, attention_logit=logits, attention_entropy=entropies)), "attention-collapse")
    assert found.layer is None
    assert "In the model attention has" in found.why


def test_scalars_beside_probes_are_not_taken_twice():
    plain = run(dead_units=series(0.1, 0.1, 0.97, 0.97))
    both = run(dead_units=series(0.1, 0.1, 0.97, 0.97), columns={"dead_units": [0.99] * 400})
    assert of_rule(plain, "dead-units") == of_rule(both, "dead-units") != []


def test_steps_that_are_too_large_are_told_when_they_show_inside_the_model_only():
    columns = {"update_ratio": [3e-2] * 400}
    assert not run(columns=columns, dead_units=series(0.1, 0.3)).incidents
    diagnosis = run(columns=columns, dead_units=series(0.1, 0.95, 0.97), attention_logit=LOGITS, attention_entropy=ENTROPIES)
    high = only(diagnosis, "learning-rate-too-high")
    assert "units have fallen silent" in high.why
    assert high.onset_step == 1
    assert only(diagnosis, "attention-collapse").cause == "learning-rate-too-high"


@needs_curves
def test_a_learning_rate_that_ruins_attention_is_told_as_one_event():
    found = {i.rule: i for i in judged(*tiny("lr1e-1")).incidents}
    assert {slug: i.cause for slug, i in found.items()} == {
        "learning-rate-too-high": None, "attention-collapse": "learning-rate-too-high", "dead-units": "attention-collapse"}
    assert found["learning-rate-too-high"].onset_step == 0
    assert found["attention-collapse"].severity == "critical"
    assert found["attention-collapse"].detected_step <= 60


@pytest.mark.parametrize("slug", ["attention-collapse", "dead-units", "logit-drift"])
def test_each_has_its_page(slug):
    found = page(slug)
    assert found.category == "activations"
    assert set(found.parts) == set(PARTS) - {MEASURED}


# ---------------------------------------------------------------------- growth


@given(st.lists(st.floats(1e-6, 1e6), min_size=3, max_size=25), st.randoms())
def test_growth_is_that_of_the_reversed_series_turned_round_and_never_both_certain(values, shuffled):
    there = growth(range(len(values)), values)
    back = growth(range(len(values)), values[::-1])
    assert 0 <= there.chance <= 1
    assert there.chance >= 0.5 or back.chance >= 0.5
    assert there.doubles_in > 0


def test_a_doubling_series_is_known_for_its_time_and_one_odd_value_does_not_sway_it():
    steps = [50 * i for i in range(20)]
    values = [2.0 ** (step / 300) for step in steps]
    assert growth(steps, values).doubles_in == pytest.approx(300)
    assert growth(steps, values).chance < 1e-6
    values[10] = math.inf
    assert growth(steps, values).doubles_in == pytest.approx(300, rel=0.1)
    assert growth(steps, [1.0] * 20).chance == 1.0
    assert growth(steps, [1.0, math.nan] * 10).doubles_in == math.inf
