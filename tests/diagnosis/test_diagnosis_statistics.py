"""The statistics under the rules: robust, exact in their growth, able to go back."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled_curves import calm, layered

from tuimon.diagnosis.baseline import Baseline
from tuimon.diagnosis.context import context_of
from tuimon.diagnosis.engine import Engine
from tuimon.diagnosis.judging import judge
from tuimon.diagnosis.layers import Layers
from tuimon.diagnosis.model import RunContext
from tuimon.diagnosis.rates import Rates
from tuimon.diagnosis.statistics import Blocks, Cusum, Ewma, median, middle, robust_scale, slope
from tuimon.diagnosis.wording import fold, number, rate
from tuimon.formats import chunk_of, layers_of, read
from tuimon.record.chunk import Chunk, TensorRows
from tuimon.record.liveness import identity
from tuimon.record.rundir import RunInfo, create_run
from tuimon.record.segments import LogWriter, Row
from tuimon.record.tensors import TensorEntry


def rows_of_tensors(grad):
    grad = np.asarray(grad, np.float32)
    return TensorRows(np.arange(1, len(grad) + 1), grad, np.ones_like(grad), ~np.isnan(grad))


def learned(values, **options):
    base = Baseline(**options)
    for step, value in enumerate(values, 1):
        base.learn(step, value)
    return base


@pytest.mark.parametrize(("n", "window"), [(5, 5), (16, 16), (31, 16), (40, 20), (104, 52), (107, 52), (256, 128), (1_600, 128)])
def test_the_window_is_half_of_what_was_seen_from_16_to_128(n, window):
    values = list(np.random.default_rng(n).normal(0, 1, n))
    base = Baseline(clip=math.inf)
    for step, value in enumerate(values):
        base.learn(step, value)
    upto = n if n < 64 else n - n % 8  # found anew at every eighth value from there on
    assert base.middle == pytest.approx(float(np.median(values[upto - window:upto])))


def test_the_scale_is_that_of_the_noise_and_not_of_the_trend():
    rng = np.random.default_rng(0)
    base = learned(5 - 0.01 * np.arange(400) + rng.normal(0, 0.1, 400), detrend=True)
    assert base.scale == pytest.approx(0.1, rel=0.25)


def test_a_spike_cannot_raise_its_own_baseline():
    rng = np.random.default_rng(0)
    values = rng.normal(2, 0.1, 300)
    spiked = values.copy()
    spiked[200:230] = 1e6
    assert learned(spiked).middle == pytest.approx(learned(values).middle, abs=0.1)


def test_a_genuine_shift_is_absorbed_in_time():
    assert learned([2.0 + 0.01 * (i % 7) for i in range(300)] + [3.0 + 0.01 * (i % 7) for i in range(600)]).middle > 2.9


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300), st.data())
def test_going_back_to_a_step_gives_the_baseline_of_that_step(values, data):
    step = data.draw(st.integers(1, len(values)))
    then, later = learned(values[:step], clip=1.0), learned(values, clip=1.0)
    later.forget_after(step)
    assert (later.count, later.middle, later.usual()) == (then.count, then.middle, then.usual())


def test_going_back_beyond_memory_is_knowing_nothing():
    base = learned([1.0] * 4000)
    base.forget_after(100)
    assert (base.count, base.ready, base.usual()) == (0, False, None)


def test_scales_have_floors():
    assert learned([2.0] * 50).scale == pytest.approx(2e-3)
    assert learned([0.0] * 50).scale > 0
    assert learned([round(v, 1) for v in np.random.default_rng(0).normal(5, 0.02, 200)]).scale >= 5e-3
    assert robust_scale(np.array([1.0, 2.0, 3.0, 4.0, 100.0]), detrend=False) == pytest.approx(1.4826)


def test_the_cusum_remembers_where_it_left_zero_and_is_held_at_twice_its_limit():
    cusum = Cusum()
    for step, z in enumerate([0, 0, 9, 9, 9, 9, 9], 1):
        cusum.add(step, z)
    assert (cusum.alarm, cusum.rose, cusum.value) == (True, 3, 10.0)
    for step in range(8, 40):
        cusum.add(step, 9)
    assert cusum.value == 16.0
    for step in range(40, 60):
        cusum.add(step, 0)
    assert (cusum.value, cusum.rose, cusum.alarm) == (0.0, None, False)


def test_small_statistics():
    ewma = Ewma(0.5)
    assert [ewma.add(v) for v in (4.0, 0.0, 0.0)] == [4.0, 2.0, 1.0]
    assert slope([1.0, 3.0, 5.0]) == (pytest.approx(2.0), pytest.approx(0.0))
    assert median([3.0, math.nan, 1.0]) == 3.0
    assert math.isnan(median([]))
    blocks = Blocks()
    full = [blocks.add(i, float(i)) for i in range(40)]
    assert (full.count(True), blocks.means, blocks.steps) == (2, [7.5, 23.5], [0, 16])
    blocks.forget_after(15)
    assert blocks.means == [7.5]


def test_the_learning_rate_tells_its_growth_and_where_it_began():
    rates = Rates()
    for step in range(1, 61):
        rates.add(step, 3e-3 if step < 50 else 3e-3 * 1.5 ** (step - 49))
    growth, since, low = rates.growth()
    assert (round(growth, 3), since, low) == (round(1.5 ** 11, 3), 50, 3e-3)
    assert rates.warming
    assert Rates().growth()[0] == 1.0


def test_layers_are_measured_in_rms_and_unknown_tables_are_refused():
    layers, two = Layers(layered(3)), rows_of_tensors([[1, 1]])
    found = layers.profiles(rows_of_tensors([[10, 20, np.nan]])).row(0)
    assert found.rms[:2].tolist() == [1.0, 2.0]
    assert math.isnan(found.rms[2])
    assert layers.profiles(two) is None
    assert Layers(layered(0)).profiles(two) is None


@given(st.lists(st.integers(1, 20), min_size=1, max_size=6), st.integers(0, 1 << 32))
def test_a_row_of_layers_is_the_same_alone_and_among_others(sizes, seed):
    rng = np.random.default_rng(seed)
    ends = np.cumsum(sizes)
    layers = Layers(RunContext(layers={f"blocks.{i}": tuple(range(end - n, end)) for i, (n, end) in enumerate(zip(sizes, ends, strict=True))}))
    grad = np.exp(rng.normal(0, 2, (40, ends[-1])))
    together = layers.profiles(rows_of_tensors(grad)).rms
    assert all((layers.profiles(rows_of_tensors(grad[i:i + 1])).rms == together[i]).all() for i in range(40))


@pytest.mark.parametrize(("value", "text"), [
    (212.4, "212"), (1.1, "1.10"), (0.0612, "0.0612"), (3e-4, "3.0e-4"), (12345, "1.2e4"), (math.nan, "NaN"), (-math.inf, "-inf"),
    (0, "0"), (-2.5, "-2.50"),
])
def test_numbers_have_three_digits(value, text):
    assert number(value) == text


def test_rates_and_folds_read_as_people_write_them():
    assert (rate(0.03), rate(2.5e-4), rate(0.0), rate(math.nan)) == ("3e-2", "2.5e-4", "0", "NaN")
    assert (fold(190.4), fold(3.21), fold(1e9), fold(math.inf)) == ("190x", "3.2x", "1.0e9x", "infinitely many times")


def test_records_become_chunks_with_per_layer_rows():
    records = [
        {"step": 3, "loss": "nan", "g": {"a": 1.0, "b": "inf"}}, {"step": 4, "loss": 2.0, "lr": 1e-3},
        {"step": 5, "loss": None, "layer_grad_norm": {"b": 2.0}},
    ]
    chunk = chunk_of(records)
    assert math.isnan(chunk.columns["loss"][0])
    assert chunk.measured("loss")[0].tolist() == [3, 4]
    assert chunk.tensors.grad_seen.tolist() == [[True, True], [False, True]]
    assert layers_of(records).layers == {"a": (0,), "b": (1,)}
    assert len(chunk_of([])) == 0


def test_the_context_of_a_run_groups_its_trained_tensors():
    entries = (TensorEntry("embed.weight", (10, 4), "float32"), TensorEntry("blocks.0.w", (4, 4), "float32"),
               TensorEntry("blocks.0.b", (4,), "float32"), TensorEntry("frozen.w", (2,), "bfloat16", trained=False))
    context = context_of(RunInfo("r", identity(), optimizer="AdamW", eps=1e-8, vocab_size=50, tensors=entries))
    assert context.layers == {"embed": (0,), "blocks.0": (1, 2)}
    assert context.tensor_sizes == (40, 16, 4, 2)
    assert context.dtypes == ("float32",)
    assert (context.optimizer, context.eps, context.vocab_size) == ("AdamW", 1e-8, 50)


@pytest.mark.parametrize("rules", ["tuimon", "notebook"])
def test_a_run_directory_is_judged_like_its_values(tmp_path, rules):
    columns, _ = calm(120)
    columns["loss"][100:] = [math.nan] * 20
    run = create_run("judged", tmp_path)
    writer = LogWriter(run.metrics, attempt=1, from_step=0, tensors=0)
    writer.append([Row(i + 1, float(i), {k: v[i] for k, v in columns.items()}) for i in range(120)])
    writer.close()
    reading = read(run.path)
    diagnosis = judge(reading.chunks, reading.context, rules)
    assert (diagnosis.steps, diagnosis.verdict) == (120, "critical")
    assert diagnosis.leading.onset_step == 101


def test_a_state_can_be_copied_and_both_go_on():
    columns, _ = calm(100)
    engine = Engine(layered(2))
    engine.feed(Chunk.of(**columns))
    other = copy.deepcopy(engine)
    other.feed(Chunk.of([101, 102], loss=[math.nan, math.nan]))
    assert (engine.diagnosis.verdict, other.diagnosis.verdict) == ("healthy", "critical")


@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=60))
def test_the_middle_of_a_few_numbers_is_their_median(values):
    assert middle(values) == np.median(values)
