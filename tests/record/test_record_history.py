"""History: extremes survive thinning at every size, and a resumed attempt supersedes what it redoes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuimon.record import history as module
from tuimon.record.chunk import Chunk, Mark, TensorRows
from tuimon.record.history import History, thin
from tuimon.record.thinning import Blocks, thin_blocks
from tuimon.record.track import narrow


def history_of(values, cuts=()) -> History:
    whole = Chunk.of(loss=list(values))
    found = History()
    for piece in whole.pieces([c for c in cuts if c <= len(whole)]):
        found.extend(piece)
    return found


SERIES = st.lists(st.one_of(st.floats(-1e6, 1e6), st.sampled_from([math.nan, math.inf, -math.inf])), min_size=1, max_size=400)


@given(SERIES, st.integers(1, 50), st.lists(st.integers(0, 400), max_size=4), st.booleans())
@settings(max_examples=200, deadline=None)
def test_minimum_maximum_and_non_finite_survive_thinning(values, columns, cuts, by_pyramid):
    direct = module.DIRECT
    module.DIRECT = 0 if by_pyramid else direct
    try:
        got = history_of(values, cuts).thin("loss", 1, len(values), columns)
    finally:
        module.DIRECT = direct
    finite = [v for v in values if math.isfinite(v)]
    assert len(got) <= columns
    assert bool(got.bad.any()) == (len(finite) < len(values))
    if finite:
        assert narrow(np.nanmin(got.low, keepdims=True)) == narrow(np.array([min(finite)]))
        assert narrow(np.nanmax(got.high, keepdims=True)) == narrow(np.array([max(finite)]))
    else:
        assert np.isnan(got.low).all()
    assert (np.diff(got.steps) > 0).all()


@given(SERIES, st.integers(1, 60), st.integers(0, 40), st.integers(1, 500), st.lists(st.integers(1, 400), max_size=6), st.integers(1, 9))
@settings(max_examples=300, deadline=None)
def test_thinning_goes_on_as_if_it_began_anew(values, columns, first, last, cuts, every):
    """Over any window, for steps with gaps, however the data come in."""
    last, found, before = max(first, last), History(), None
    for piece in Chunk.of(np.arange(1, len(values) + 1) * every, loss=list(values)).pieces(sorted(c for c in cuts if c <= len(values))):
        found.extend(piece)
        anew = found.thin("loss", first, last, columns)
        on = anew if before is None else found.thin_on(before, "loss", first, last, columns)
        for name in ("steps", "low", "high", "last", "bad"):
            np.testing.assert_array_equal(getattr(on, name), getattr(anew, name), err_msg=name)
        before = on


@given(st.lists(SERIES.map(lambda values: values[0]), max_size=30), st.integers(0, 9), st.integers(0, 60), st.integers(0, 60),
       st.integers(0, 20))
def test_few_points_are_thinned_as_many_are(values, every, first, last, columns):
    steps, first = np.arange(len(values), dtype=np.int64) * (every + 1), min(first, last)
    few = thin(steps, np.array(values, np.float64), first, last, columns)
    many = thin_blocks(Blocks.of(steps, np.array(values, np.float64)), first, last, columns)
    np.testing.assert_array_equal(few.table, many.table)


def test_whoever_thins_on_is_told_when_rows_are_superseded():
    found = history_of(range(100))
    found.extend(Chunk.of([101], marks=(Mark(100, "note"),), loss=[7.0]))
    assert found.cuts == 0
    found.extend(Chunk.of([61], marks=(Mark(60, "attempt"),), loss=[7.0]))
    assert found.cuts == 1


def test_the_pyramid_and_the_direct_way_agree_on_a_long_run():
    rng = np.random.default_rng(0)
    values = rng.normal(size=50_000)
    values[31_234] = 99.0
    values[40_000] = np.nan
    grown = history_of(values, cuts=[1, 17, 5_000, 33_333])
    by_pyramid = grown.thin("loss", 1, 50_000, 100)
    direct = thin(np.arange(1, 50_001), values, 1, 50_000, 100)
    assert np.nanmax(by_pyramid.high) == np.nanmax(direct.high) == 99.0
    assert by_pyramid.bad.sum() == 1
    off = np.abs(np.argmax(by_pyramid.high) - np.argmax(direct.high))
    assert off <= 1
    assert np.allclose(by_pyramid.low, direct.low, atol=1.5)


def test_a_resumed_attempt_supersedes_what_lies_after_its_checkpoint():
    found = history_of(range(100))
    tensors = TensorRows(np.array([10, 50, 90]), np.zeros((3, 1), np.float32), np.zeros((3, 1), np.float32), np.ones((3, 1), bool))
    found.extend(Chunk(np.zeros(0, np.int64), np.zeros(0), {}, {}, tensors))
    found.extend(Chunk.of([61, 62], marks=(Mark(60, "attempt", {"number": 2, "from_step": 60}),), loss=[7.0, 8.0]))
    assert found.series("loss").steps.tolist() == [*range(1, 61), 61, 62]
    assert found.series("loss").values[-2:].tolist() == [7.0, 8.0]
    assert found.tensor_rows().steps.tolist() == [10, 50]
    assert found.last_step == 62


def test_superseding_keeps_the_pyramid_right():
    found = history_of(range(10_000))
    found.extend(Chunk.of(np.arange(5_001, 45_001), marks=(Mark(5_000, "attempt"),), loss=[0.0] * 40_000))
    got = found.thin("loss", 1, 45_000, 45)
    assert np.nanmax(got.high) == 4_999
    assert got.high[10:].max() == 0


def test_what_was_never_measured_is_empty_not_nan():
    found = history_of([1.0, 2.0])
    assert found.value("val_loss") is None
    assert len(found.series("val_loss")) == 0
    assert len(found.thin("val_loss", 1, 10, 5)) == 0
    assert len(found.thin("loss", 5, 1, 5)) == 0
    assert found.names == ("loss",)


def test_sparse_values_keep_their_own_steps():
    found = History()
    found.extend(Chunk.of(loss=[1.0, 2.0, 3.0], update_ratio=[None, 1e-3, None]))
    assert found.series("update_ratio").steps.tolist() == [2]
    assert found.value("loss") == 3.0


@pytest.mark.parametrize("cuts", [[], [0], [1], [3], [1, 1, 2]])
def test_pieces_put_together_are_the_whole(cuts):
    tensors = TensorRows(np.array([2, 3]), np.ones((2, 1), np.float32), np.ones((2, 1), np.float32), np.ones((2, 1), bool))
    whole = Chunk.of(loss=[1.0, 2.0, 3.0], tensors=tensors, marks=(Mark(0, "attempt"), Mark(2, "note"), Mark(3, "note")))
    parts = list(whole.pieces(cuts))
    assert [s for p in parts for s in p.steps] == [1, 2, 3]
    assert [s for p in parts for s in p.tensors.steps] == [2, 3]
    assert [m.step for p in parts for m in p.marks] == [0, 2, 3]


def test_tensor_rows_that_an_attempt_does_again_are_the_new_ones_and_whoever_held_the_old_ones_is_told():
    def rows(steps, value):
        full = np.full((len(steps), 2), value, np.float32)
        return Chunk.of(steps, loss=[1.0] * len(steps), tensors=TensorRows(
            np.array(steps), full, full, np.ones(full.shape, bool)))

    history = History()
    for first in range(1, 60, 7):
        history.extend(rows(list(range(first, first + 7)), 1.0))
    held = history.tensor_revision
    history.extend(Chunk.of([], loss=[], marks=(Mark(30, "attempt"),)))
    history.extend(rows([31, 32], 5.0))
    assert history.tensor_revision != held
    now = history.tensor_rows()
    assert now.steps.tolist() == list(range(1, 33))
    assert now.grad[:, 0].tolist() == [1.0] * 30 + [5.0] * 2
    history.extend(Chunk.of([33], loss=[1.0], tensors=TensorRows(
        np.array([33]), *[np.ones((1, 3), np.float32)] * 2, np.ones((1, 3), bool))))
    assert history.tensor_rows().grad.shape == (1, 3)   # of another table: the rows before cannot be read with it


@given(st.lists(st.integers(1, 300), min_size=1, max_size=60, unique=True), st.integers(1, 300), st.integers(0, 60), st.integers(0, 50))
@settings(deadline=None)
def test_a_window_comes_with_what_leads_into_it_and_out_of_it(at, first, length, lead):
    steps, last = sorted(at), first + length
    found = History()
    found.extend(Chunk.of(np.array(steps), loss=[float(s) for s in steps]))
    got = found.around("loss", first, last, 1000, lead).steps.tolist()
    inside = [s for s in steps if first <= s <= last]
    before, after = [s for s in steps if s < first], [s for s in steps if s > last]
    assert [s for s in got if first <= s <= last] == inside
    assert [s for s in got if s > last] == after[:1]
    assert got[:1] <= before[-1:] or not before   # at least the nearest
    assert set(before) >= {s for s in got if s < first} >= {s for s in before if s >= first - lead}


def test_of_what_was_never_measured_there_is_nothing_around():
    assert len(History().around("loss", 5, 10, 100, 20)) == 0
