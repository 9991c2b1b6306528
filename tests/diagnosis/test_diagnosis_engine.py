"""The engine's laws: cuts do not matter, marks mean what they say, healthy again is visible, JSON is strict."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled_curves import calm, judged, layered, needs_curves, of_rule, tiny

from tuimon.diagnosis.engine import Engine, diagnose, feed, placed, start
from tuimon.diagnosis.model import Diagnosis, RunContext, diagnosis_json
from tuimon.diagnosis.notebook import NotebookEngine
from tuimon.diagnosis.rules import RULES
from tuimon.record.chunk import Chunk, Mark, ProbeRows, TensorRows
from tuimon.record.probes import ProbeEntry

ODD = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -1.0, 1e-300, 1e300, 50.0, None])


ROWS = 900


def slowing(n: int, seed: int) -> dict[str, list]:
    """From step 501 on a run that waits for data, for one of its ranks, and is slower for it; its memory leaks."""
    noise, t = np.exp(np.random.default_rng(seed).normal(0, 0.05, n)), np.arange(n)
    took = noise * np.where(t < 500, 1.0, 2.5)
    found = {"step_time": took, "data_time": took * np.where(t < 500, 0.05, 0.6), "tokens": np.full(n, 4096.0),
             "memory": 1e9 + 2e6 * np.maximum(0, t - 330) + 1e6 * noise, "slowest_step_time": took,
             "median_step_time": noise, "slowest_rank": np.where(t < 500, t % 4, 3)}
    found["throughput"] = found["tokens"] / took
    return {name: list(map(float, values)) for name, values in found.items()}


def eventful(seed: int = 0) -> Chunk:
    """A run in which nearly everything happens: explosion, rollback, override, NaN, resume, fading layers, slowness."""
    columns, tensors = calm(ROWS, seed, layers=4)
    columns |= slowing(ROWS, seed)
    for i in range(180, 200):
        columns["loss"][i] += 0.4 * (i - 179)
        columns["grad_norm"][i] *= 1.6 ** (i - 179)
        columns["update_ratio"][i] = 0.06
        columns["lr"][i] = 0.3
    columns["loss"][300] = columns["loss"][301] = math.nan
    columns["grad_norm"][302] = math.inf
    tensors.grad[24:, 0] *= 1e-6
    sampled = np.arange(7, 421, 7)
    late = np.clip((sampled - 60) / 100, 0, 1)[:, None]
    inside = np.concatenate((  # attention collapses, units fall silent, the output logits drift
        10 ** (3.2 * late * [0.2, 1]), 10 ** (-2 * late * [0.2, 1]), 0.95 * late * [0.3, 1], 2.0 ** (sampled / 40)[:, None],
    ), 1).astype(np.float32)
    inside[[20, 44], 0] = np.nan, np.inf
    probes = ProbeRows(sampled, inside, np.random.default_rng(seed).random(inside.shape) < 0.95)
    marks = (
        Mark(0, "attempt", {"number": 1, "from_step": 0}), Mark(200, "rollback", {"from_step": 200, "to_step": 170}),
        Mark(200, "override", {"lr_scale": 0.1, "clip": 1.0}), Mark(250, "note", {"text": "hello"}),
        Mark(310, "attempt", {"number": 2, "from_step": 310}),
    )
    return Chunk.of(tensors=tensors, probes=probes, marks=marks, **columns)


PROBED = replace(layered(4), probes=tuple(
    ProbeEntry(*entry) for entry in (
        ("blocks.0", "attention_logit"), ("blocks.1", "attention_logit"), ("blocks.0", "attention_entropy"),
        ("blocks.1", "attention_entropy"), ("blocks.0", "dead_units"), ("blocks.1", "dead_units"), ("", "logit_scale"))))


def same(a: Diagnosis, b: Diagnosis) -> bool:
    return repr(a) == repr(b)       # NaN is equal to itself in words


@settings(max_examples=settings.default.max_examples // 4)   # each is a whole run, twice
@given(st.lists(st.integers(0, ROWS), max_size=12), st.integers(0, 3))
def test_where_the_log_was_cut_does_not_matter(cuts, seed):
    chunk, context = eventful(seed), PROBED
    whole, pieces = Engine(context), Engine(context)
    whole.feed(chunk)
    for piece in chunk.pieces(cuts):
        pieces.feed(piece)
        assert isinstance(pieces.diagnosis, Diagnosis)
    assert same(whole.diagnosis, pieces.diagnosis)
    assert len(whole.diagnosis.incidents) >= 8
    assert {"throughput-drop", "data-starved", "memory-growth", "straggler", "attention-collapse", "dead-units", "logit-drift"} <= {
        i.rule for i in whole.diagnosis.incidents}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.slug)
def test_each_rule_alone_says_the_same_fed_step_by_step(rule):
    chunk, context = eventful(), PROBED
    whole, single = start(context, (rule,)), start(context, (rule,))
    whole = feed(whole, chunk)
    for piece in chunk.pieces(list(range(1, len(chunk)))):
        single = feed(single, piece)
    assert same(diagnose(whole), diagnose(single))


@needs_curves
@settings(max_examples=4)
@given(cuts=st.lists(st.integers(0, 1000), max_size=40))
@pytest.mark.parametrize("name", ["lrbump30x", "nores_sigmoid_8l", "lr1e-5", "shuffle_labels"])
def test_recorded_runs_too_may_be_cut_anywhere(name, cuts):
    chunk, context = tiny(name)
    engine = Engine(context)
    for piece in chunk.pieces(cuts):
        engine.feed(piece)
    assert same(engine.diagnosis, judged(chunk, context))


@settings(max_examples=60)
@given(st.lists(st.tuples(*[st.one_of(ODD, st.floats(0, 10))] * 4), max_size=80), st.lists(st.integers(0, 80), max_size=5))
def test_any_values_at_all_are_judged_and_printed(rows, cuts):
    columns = {name: [row[i] for row in rows] for i, name in enumerate(("loss", "grad_norm", "update_ratio", "lr"))}
    loss, norm, ratio, lr = columns.values()
    columns |= {"grad_param_ratio": ratio, "step_time": loss, "data_time": norm, "tokens": ratio, "throughput": lr,
                "memory": loss, "slowest_step_time": loss, "median_step_time": norm, "slowest_rank": ratio}
    columns |= dict.fromkeys(("attention_logit", "attention_entropy", "dead_units", "logit_scale"), loss)
    chunk = Chunk.of(list(range(1, len(rows) + 1)), **columns)
    for make in (Engine, NotebookEngine):
        whole, cut = make(RunContext(vocab_size=50)), make(RunContext(vocab_size=50))
        whole.feed(chunk)
        for piece in chunk.pieces([c for c in cuts if c <= len(rows)]):
            cut.feed(piece)
        assert same(whole.diagnosis, cut.diagnosis)
        json.dumps(diagnosis_json(whole.diagnosis, source="s", state="running"), allow_nan=False)


def test_nothing_fed_is_nothing_judged():
    engine = Engine(RunContext())
    engine.feed(Chunk.empty())
    assert engine.diagnosis == Diagnosis.nothing()
    assert engine.diagnosis.verdict == "healthy"


def test_a_constant_run_raises_no_alarm_but_that_it_does_not_learn():
    diagnosis = judged(Chunk.of(loss=[2.5] * 400, grad_norm=[1.0] * 400, update_ratio=[1e-3] * 400))
    assert {i.rule for i in diagnosis.incidents} == {"no-learning"}


def explosion(after: int = 60) -> tuple[dict[str, list], int]:
    columns, _ = calm(200)
    for i in range(180, 200):
        columns["loss"][i] += 0.5 * (i - 179)
        columns["grad_norm"][i] *= 1.6 ** (i - 179)
        columns["lr"][i] = 0.3
        columns["update_ratio"][i] = 0.08
    return columns, after


def test_a_jump_of_the_learning_rate_is_said_and_does_not_mute_the_explosion():
    columns, _ = explosion()
    diagnosis = judged(Chunk.of(**columns))
    leading = diagnosis.leading
    assert (leading.rule, leading.severity, diagnosis.verdict) == ("exploding-gradients", "critical", "critical")
    assert 180 <= leading.onset_step <= 183
    assert leading.detected_step <= 188
    assert leading.confidence == "high"
    assert "learning rate grew 100x from step 181" in leading.why
    assert "lower the learning rate from 3e-1 back to 3e-3, where it was before it grew" in leading.next
    assert {"loss-spike", "learning-rate-too-high"} <= {i.rule for i in diagnosis.open_incidents[1:]}
    badges = {b.category: b.word for b in diagnosis.badges}
    assert (badges["gradients"], badges["updates"], badges["numerics"]) == ("exploding", "schedule", "ok")


def test_after_a_rollback_the_run_is_healthy_again_within_about_thirty_steps_and_its_usual_is_what_it_was():
    columns, _ = explosion()
    engine = Engine(RunContext())
    engine.feed(Chunk.of(**{k: v[:180] for k, v in columns.items()}))
    before = engine.diagnosis.usual
    engine.feed(Chunk.of(list(range(181, 201)), **{k: v[180:] for k, v in columns.items()}))
    assert engine.diagnosis.verdict == "critical"
    engine.feed(Chunk.of([], loss=[], marks=(
        Mark(200, "rollback", {"to_step": 180}), Mark(200, "override", {"lr_scale": 0.1, "clip": 1.0}))))
    assert engine.diagnosis.usual == before
    rest, _ = calm(60, seed=9, loss=columns["loss"][:1] * 0 + list(2.3 + np.random.default_rng(1).normal(0, 0.03, 60)))
    verdicts = []
    for i in range(60):
        engine.feed(Chunk.of([201 + i], **{k: [v[i]] for k, v in rest.items()}))
        verdicts.append(engine.diagnosis.verdict)
    assert verdicts[20] == "critical"
    assert set(verdicts[32:]) == {"healthy"}
    resolved = of_rule(engine.diagnosis, "exploding-gradients")[0]
    assert resolved.state == "resolved"
    assert 228 <= resolved.resolved_step <= 233


def test_without_the_rollback_mark_the_bad_stretch_stays_out_of_the_baseline_while_it_is_critical():
    columns, _ = explosion()
    diagnosis = judged(Chunk.of(**columns))
    assert diagnosis.usual["grad_norm"].high < 1.5


def test_a_rollback_to_the_initial_weights_starts_anew_and_raises_no_alarm():
    columns, _ = explosion()
    again, _ = calm(200, seed=5)
    engine = Engine(RunContext())
    engine.feed(Chunk.of(**columns, marks=()))
    engine.feed(Chunk.of(list(range(201, 401)), **again, marks=(Mark(200, "rollback", {"to_step": 0}),)))
    assert engine.diagnosis.verdict == "healthy"
    assert all(i.detected_step <= 200 for i in engine.diagnosis.incidents)


def test_a_resumed_attempt_ends_what_was_open_and_learns_its_own_baselines():
    columns, _ = explosion()
    engine = Engine(RunContext())
    engine.feed(Chunk.of(**columns))
    engine.feed(Chunk.of([171], loss=[8.0], grad_norm=[30.0], marks=(Mark(170, "attempt", {"number": 2, "from_step": 170}),)))
    assert engine.diagnosis.verdict == "healthy"
    assert all(i.state == "resolved" and i.resolved_step == 200 for i in engine.diagnosis.incidents)
    assert "The run was started again." in engine.diagnosis.incidents[0].why
    assert not engine.diagnosis.usual


def test_an_attempt_within_a_chunk_stands_where_the_steps_go_back():
    steps = [98, 99, 100, 91, 92]
    marks = (Mark(90, "attempt", {"from_step": 90}), Mark(91, "note", {}))
    assert [at for at, _ in placed(steps, marks)] == [3, 4]
    assert [at for at, _ in placed([1, 2, 3], (Mark(0, "attempt"), Mark(2, "override"), Mark(9, "note")))] == [0, 2, 3]


def test_an_override_leaves_the_baselines_alone():
    columns, _ = calm(200)
    plain, marked = judged(Chunk.of(**columns)), judged(Chunk.of(**columns, marks=(Mark(150, "override", {"lr_scale": 0.1}),)))
    assert same(plain, marked)


def test_a_rule_that_cannot_look_says_what_it_waits_for():
    columns, _ = calm(10)
    waiting = {n.rule: n.needs for n in judged(Chunk.of(loss=columns["loss"])).not_evaluated}
    assert waiting["exploding-gradients"] == ("grad_norm",)
    assert waiting["vanishing-gradients"] == ("per-tensor gradients",)
    assert waiting["learning-rate-too-high"] == ("update_ratio",)
    assert waiting["loss-spike"] == ("16 values of loss",)
    assert "early-divergence" not in waiting
    full, tensors = calm(300, layers=4)
    left = {n.rule: n.needs for n in judged(Chunk.of(**full, tensors=tensors), layered(4)).not_evaluated}
    assert left == {"loss-scale-collapse": ("loss_scale",), "overfitting": ("val_loss",),
                    "clip-saturated": ("256 values of grad_norm after the first 100",),
                    "low-precision-stagnation": ("changed",), "not-updating": ("5 measured updates per tensor",),
                    "throughput-drop": ("step_time",), "data-starved": ("data_time", "step_time"),
                    "memory-growth": ("memory",), "straggler": ("what several ranks log",),
                    "desynchronised-replicas": ("what several ranks that hold the same weights log",),
                    "plateau": ("1,522 more values of loss, to tell a plateau from noise",),
                    "attention-collapse": ("attention_logit or attention_entropy (activation probes)",),
                    "dead-units": ("dead_units (activation probes)",),
                    "logit-drift": ("logit_scale (activation probes)",)}


def test_a_nan_out_of_a_calm_run_leads_and_names_the_layer():
    columns, tensors = calm(200, layers=4)
    columns["loss"][189:] = [math.nan] * 11
    columns["grad_norm"][189:] = [math.nan] * 11
    tensors.grad[18:, 2] = np.nan
    leading = judged(Chunk.of(**columns, tensors=tensors), layered(4)).leading
    assert (leading.rule, leading.onset_step, leading.layer, leading.severity) == ("non-finite", 190, "blocks.2", "critical")


@pytest.mark.parametrize("loss", [[0.0, 1e-300, 50.0, 1.0], [-1.0, 2.0, 3.0, 90.0, 90.0], [5e-324] * 20 + [9.0] * 20])
def test_a_story_can_be_told_of_numbers_that_cannot_be_divided_by(loss):
    json.dumps(diagnosis_json(judged(Chunk.of(loss=loss, grad_norm=loss)), source="s", state="running"), allow_nan=False)


def test_a_nan_that_came_before_the_storm_leads_it():
    columns, _ = calm(200)
    columns["loss"][150:152] = [math.nan] * 2
    columns["grad_norm"][160:] = [50.0] * 40
    assert [i.rule for i in judged(Chunk.of(**columns)).open_incidents][:2] == ["exploding-gradients", "gradient-instability"]
    columns["loss"][150:] = [math.nan] * 50
    assert judged(Chunk.of(**columns)).leading.rule == "non-finite"


def test_a_loss_scale_that_collapses_leads_the_nan_that_it_explains():
    columns, _ = calm(200)
    for name in ("loss", "grad_norm"):
        columns[name][150:] = [math.nan] * 50
    scale = [2.0**max(-20, 16 - max(0, step - 150)) for step in range(200)]
    diagnosis = judged(Chunk.of(**columns, loss_scale=scale, skipped=[float(step >= 150) for step in range(200)]))
    assert [i.rule for i in diagnosis.open_incidents][:2] == ["loss-scale-collapse", "non-finite"]
    assert diagnosis.open_incidents[1].cause == "loss-scale-collapse"


def test_the_first_steps_of_a_storm_are_taken_out_of_the_baseline_again():
    columns, _ = calm(200)
    before = judged(Chunk.of(**{k: v[:180] for k, v in columns.items()})).usual["grad_norm"]
    columns["grad_norm"][180:] = [30.0] * 20
    assert judged(Chunk.of(**columns)).usual["grad_norm"] == before


def test_tensor_and_probe_rows_of_another_table_are_left_alone():
    rows = TensorRows(np.arange(10), np.ones((10, 2), np.float32), np.ones((10, 2), np.float32), np.ones((10, 2), np.bool_))
    probes = ProbeRows(np.arange(10), np.full((10, 3), 0.99, np.float32), np.ones((10, 3), np.bool_))
    assert judged(Chunk.of(loss=[1.0] * 10, tensors=rows, probes=probes), replace(PROBED, layers=layered(5).layers)).verdict == "healthy"
