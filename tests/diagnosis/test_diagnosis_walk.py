"""Calm stretches are passed over: nobody looks at them, and nothing that is judged is changed by that."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labelled_curves import calm, layered

from tuimon.diagnosis.baseline import KEPT, SETTLED, Baseline
from tuimon.diagnosis.engine import Engine, diagnose, feed, start
from tuimon.diagnosis.model import RunContext
from tuimon.diagnosis.outlook import SHORTEST
from tuimon.diagnosis.rows import WATCHED
from tuimon.diagnosis.rules import RULES
from tuimon.diagnosis.statistics import Blocks, Cusum, Ewma, slope
from tuimon.record.chunk import Chunk, Mark, TensorRows

ROWS = 1500


def everything(seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray], np.random.Generator]:
    """Every column that rules watch, calm, each with a rhythm of its own."""
    rng = np.random.default_rng(seed)
    t = np.arange(ROWS)
    columns = {name: np.exp(rng.normal(0, 0.1, ROWS)) for name in WATCHED}
    columns |= {name: np.array(values) for name, values in calm(ROWS, seed)[0].items()}
    columns["lr"] = [columns["lr"], 3e-3 * np.minimum(1, (t + 1) / 300) * (0.55 + 0.45 * np.cos(np.pi * t / ROWS))][seed % 2]
    columns["loss_scale"], columns["skipped"] = 2.0 ** (10 + t // 700), np.zeros(ROWS)
    columns["changed"], columns["clipped"] = np.full(ROWS, 0.9), np.full(ROWS, (0.3, 1.0)[seed % 2])
    columns["tokens"] = np.where(t < ROWS - 400, 8192.0, 4096.0)
    present = {name: np.ones(ROWS, np.bool_) for name in columns}
    for name, every in (("val_loss", 50), ("update_ratio", (1, 8)[seed % 2]), ("changed", 8), ("update_norm", 8), ("memory", 20),
                        ("slowest_step_time", 16), ("median_step_time", 16), ("slowest_rank", 16),
                        ("strays", 8), ("stray_rank", 8), ("checked_tensor", 8)):
        present[name] = t % every == every - 1
    return columns, present, rng


def upset(columns: dict[str, np.ndarray], at: int, kind: int) -> None:
    """One of the things that may happen, from a row on."""
    some = slice(at, at + 30)
    if kind == 0:
        columns["loss"][some] += np.linspace(0, 6, len(columns["loss"][some]))
    elif kind == 1:
        columns["grad_norm"][some] *= 1.5 ** np.arange(len(columns["loss"][some]))
    elif kind == 2:
        columns["loss"][at:at + 2] = math.nan
    elif kind == 3:
        columns["loss"][at] += 5
        columns["grad_norm"][at] *= 20
    elif kind == 4:
        columns["lr"][some] *= 30
        columns["update_ratio"][some] *= 30
    elif kind == 5:
        columns["lr"][some] = 0.0
    elif kind == 6:
        columns["skipped"][some] = 1.0
    elif kind == 7:
        columns["changed"][at:] = 0.05
    elif kind == 8:
        columns["update_ratio"][at:] *= 1e-3
    else:
        columns["loss"][at:] *= 0.5


def tensors(seed: int, rng: np.random.Generator, at: int) -> TensorRows:
    """Per-tensor rows of four layers, of which one goes wrong."""
    every = (1, 8, 20)[seed % 3]
    steps = np.arange(every, ROWS + 1, every)
    grad = 0.01 * np.exp(rng.normal(0, 0.1, (len(steps), 4))).astype(np.float32)
    update, seen = 0.01 * grad, np.ones_like(grad, np.bool_)
    update[1::2] = np.nan
    bad = slice(at // every, None)
    if seed % 5 == 0:
        grad[bad, 0] *= 1e-5
    elif seed % 5 == 1:
        grad[bad, 1], seen[bad, 1] = np.nan, False
    elif seed % 5 == 2:
        update[at // every * 2 // 2::2, 3] = 0
    elif seed % 5 == 3:
        grad[at // every, 2] = np.inf
    else:
        grad[bad, 2] *= 3e-3
    return TensorRows(steps, grad, update, seen)


@settings(max_examples=settings.default.max_examples // 4)   # each is 1,500 rows, three times
@given(st.integers(0, 1000), st.lists(st.tuples(st.integers(200, ROWS - 40), st.integers(0, 9)), max_size=4),
       st.lists(st.tuples(st.integers(200, ROWS), st.sampled_from(["rollback", "override", "attempt", "note"])), max_size=3),
       st.lists(st.integers(0, ROWS), max_size=4))
def test_what_is_passed_over_is_judged_as_if_it_had_been_looked_at_row_by_row(seed, upsets, marks, cuts):
    columns, present, rng = everything(seed)
    for at, kind in upsets:
        upset(columns, at, kind)
    placed = tuple(Mark(step, kind, {"to_step": step - 150} if kind == "rollback" else {}) for step, kind in sorted(marks))
    chunk = Chunk(np.arange(1, ROWS + 1), np.zeros(ROWS), columns, present, tensors(seed, rng, 700), placed)
    context = layered(4) if seed % 2 else RunContext(total_steps=ROWS, layers=layered(4).layers)
    together, cut, single = Engine(context), Engine(context), Engine(context)
    together.feed(chunk)
    for piece in chunk.pieces(cuts):
        cut.feed(piece)
    for piece in chunk.pieces(list(range(SHORTEST - 1, ROWS, SHORTEST - 1))):
        single.feed(piece)
    assert repr(together.diagnosis) == repr(single.diagnosis)
    assert repr(cut.diagnosis) == repr(single.diagnosis)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.slug)
def test_each_rule_alone_says_the_same_of_rows_that_are_passed_over(rule):
    columns, present, rng = everything(1)
    for kind in range(10):
        upset(columns, 300 + 110 * kind, kind)
    chunk = Chunk(np.arange(1, ROWS + 1), np.zeros(ROWS), columns, present, tensors(1, rng, 700))
    together, single = start(layered(4), (rule,)), start(layered(4), (rule,))
    together = feed(together, chunk)
    for piece in chunk.pieces(list(range(20, ROWS, 20))):
        single = feed(single, piece)
    assert repr(diagnose(together)) == repr(diagnose(single))


APART = {"seen", "rows", "profiles", "disturbances", "_at", "context", "layers", "activations", "ahead", "low", "quiet"}
"""What holds the stretch itself, or counts on beyond where it matters."""


def inside(of: object) -> object:
    """All that something remembers, as text."""
    if isinstance(of, Baseline):
        return of.count, of.middle, of.scale, of.usual(), of.ranges.told
    names = [*getattr(type(of), "__slots__", ()), *getattr(of, "__dict__", ())]
    if names and type(of).__module__.startswith("tuimon"):
        return {name: inside(getattr(of, name)) for name in names if name not in APART and hasattr(of, name)}
    return {key: inside(value) for key, value in of.items()} if isinstance(of, dict) else repr(of)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("end", [900, 1100, ROWS])
def test_signals_and_rules_remember_what_looking_at_every_row_would_have_taught_them(seed, end):
    columns, present, rng = everything(seed)
    for kind in (0, 3, 7):
        upset(columns, 350 + 40 * kind, kind)
    rows = Chunk(np.arange(1, ROWS + 1), np.zeros(ROWS), columns, present, tensors(seed, rng, ROWS - 40))
    chunk = next(rows.pieces([end]))
    together, single = start(layered(4)), start(layered(4))
    together = feed(together, chunk)
    for piece in chunk.pieces(list(range(20, end, 20))):
        single = feed(single, piece)
    assert together.taken_singly < 0.8 * end
    assert inside(together.signals) == inside(single.signals)
    for mine, other in zip(together.rules, single.rules, strict=True):
        assert inside(mine) == inside(other), mine.slug


def test_of_a_calm_run_one_row_in_nine_is_looked_at_and_rules_are_hardly_called():
    called = [0, 0]

    def counted(rule):
        def row(self, now):
            called[0] += 1
            rule.row(self, now)

        def profile(self, found, now):
            called[1] += 1
            rule.profile(self, found, now)

        mine = {"row": row} | ({"profile": profile} if "profile" in vars(rule) else {})
        return type(rule.__name__, (rule,), mine)

    n = 8000
    columns, rows = calm(n, layers=4)
    columns["loss"] = list(2.0 + np.exp(-np.arange(n) / 3000) + np.random.default_rng(0).normal(0, 0.03, n))
    state = feed(start(layered(4), tuple(map(counted, RULES))), Chunk.of(**columns, tensors=rows))
    assert diagnose(state).verdict == "healthy"
    assert state.taken_singly < 0.13 * n
    assert called[0] < 0.8 * n          # 4.4 a row where each is taken by itself
    assert called[1] < 0.5 * len(rows)  # 5 a per-tensor row


@pytest.mark.parametrize("slug", ["plateau", "no-learning", "learning-rate-too-low"])
def test_an_incident_that_lasts_does_not_make_every_row_one_to_look_at(slug):
    n = 12_000
    columns, _ = calm(n)
    rng = np.random.default_rng(0)
    if slug == "plateau":
        columns["loss"] = list(2 + 3 * np.exp(-np.arange(n) / 80) + rng.normal(0, 0.003, n))
    else:
        columns["loss"] = list(4 + rng.normal(0, 0.003, n))
        columns["update_ratio"] = [v * (1e-3 if slug == "learning-rate-too-low" else 1) for v in columns["update_ratio"]]
    state = feed(start(RunContext()), Chunk.of(**columns))
    assert slug in {i.rule for i in diagnose(state).open_incidents}
    assert state.taken_singly < 0.25 * n


@settings(max_examples=30)
@given(st.integers(0, 1 << 32), st.sampled_from([None, 1.4, 0.05]), st.booleans(), st.sampled_from(["calm", "heavy", "rounded", "two"]))
def test_a_baseline_foresees_what_it_will_learn_to_the_last_bit(seed, clip, detrend, kind):
    rng = np.random.default_rng(seed)
    before, n = int(rng.integers(SETTLED, 3 * KEPT)), int(rng.integers(1, KEPT + 1))
    values = {"calm": lambda m: rng.normal(2, 0.03, m), "heavy": lambda m: rng.standard_t(1.5, m),
              "rounded": lambda m: np.round(rng.normal(0, 1, m), 1),
              "two": lambda m: np.where(rng.random(m) < 0.3, 5.0, 2.0)}[kind](before + n)
    learning = Baseline(detrend=detrend, clip=clip)
    for step in range(before):
        learning.learn(step, values[step])
    ahead = copy.deepcopy(learning)
    middles, scales = ahead.foresee(np.arange(before, before + n), values[before:])
    at, judged = before, []
    while at < before + n:
        upto = min(before + n, at + int(rng.integers(1, 60)))
        for step in range(at, upto):
            judged.append((learning.middle, learning.scale))
            learning.learn(step, values[step])
        ahead.pass_over(upto - at)
        assert (ahead.count, ahead.middle, ahead.scale, ahead.usual(), ahead.ranges.told) == (
            learning.count, learning.middle, learning.scale, learning.usual(), learning.ranges.told)
        at = upto
    assert judged == list(zip(middles.tolist(), scales.tolist(), strict=True))
    back = int(rng.integers(before - SETTLED, before + n))
    ahead.forget_after(back)
    learning.forget_after(back)
    assert (ahead.count, ahead.usual()) == (learning.count, learning.usual())


@given(st.lists(st.floats(-5, 40), min_size=1, max_size=200), st.integers(0, 100))
def test_sums_and_means_foresee_what_they_will_add_up_to(values, first):
    cusum, mean = Cusum(), Ewma(0.2, 0.0)
    for step, value in enumerate(values[:first]):
        cusum.add(step, value)
        mean.add(value)
    rest = values[first:]
    sums, lifts = cusum.foresee(np.array(rest))
    assert mean.foresee(rest) == [mean.add(value) for value in rest]
    lifted = -1
    for i, value in enumerate(rest):
        lifted = i if cusum.add(first + i, value) else lifted
        assert (cusum.value, lifted) == (sums[i], lifts[i])


@given(st.integers(3, 400), st.integers(0, 1 << 32), st.floats(-1e3, 1e3), st.floats(1e-3, 10))
def test_the_slope_of_blocks_is_that_of_their_means_at_any_length_also_after_going_back(n, seed, level, noise):
    rng = np.random.default_rng(seed)
    blocks = Blocks()
    for step, value in enumerate(rng.normal(level, noise, 16 * (n + 20))):
        blocks.add(step, value)
    blocks.forget_after(16 * n - 1)
    assert len(blocks.means) == n
    assert blocks.lowest == min(blocks.means)
    size = max(3, n // 2)
    for found, exact in zip(blocks.slope(size), slope(blocks.means[-size:]), strict=True):
        assert found == pytest.approx(exact, rel=1e-6, abs=1e-7 * noise)
