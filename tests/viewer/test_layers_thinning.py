"""Rows thinned while they come are what thinning all of them at once gives, and nothing is computed twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuimon.viewer.places.layers.learned import Learned
from tuimon.viewer.places.layers.sources import Rows
from tuimon.viewer.places.layers.thinning import HEAT_ROWS, Thinner

LAYERS = 3


class Told:
    """A run's rows, and which of them were read."""

    def __init__(self, count: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.steps = np.cumsum(rng.integers(1, 4, count))
        self.values = rng.random((count, LAYERS)).astype(np.float32)
        self.seen = rng.random((count, LAYERS)) > 0.2
        self.values[rng.random((count, LAYERS)) > 0.98] = np.nan
        self.read_rows = 0

    def read(self, which):
        values, seen = self.values[which], self.seen[which]
        self.read_rows += len(values)
        return values, seen

    def take(self, thinner, first, end, known=None):
        return thinner.take(self.steps[:known or end], first, end, LAYERS, self.read)


def same(a, b):
    for name in ("steps", "low", "high", "seen", "bad"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    np.testing.assert_array_equal(a.last[a.seen], b.last[b.seen])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 900), min_size=1, max_size=8), st.integers(0, 400))
def test_growing_gives_what_all_at_once_gives(pieces, first):
    told, thinner = Told(sum(pieces) + first), Thinner()
    end = first
    for piece in pieces:
        end += piece
        same(told.take(thinner, first, end), told.take(Thinner(), first, end))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2999), st.integers(1, 3000)), min_size=2, max_size=6))
def test_windows_that_move_and_zoom_give_what_they_give_afresh(windows):
    told, thinner = Told(3000), Thinner()
    for first, length in windows:
        end = min(3000, first + length)
        same(told.take(thinner, first, end, 3000), told.take(Thinner(), first, end, 3000))


def test_extremes_and_the_last_value_of_every_row_survive():
    told = Told(5000)
    grid = told.take(Thinner(), 0, 5000)
    assert HEAT_ROWS // 2 < len(grid) <= HEAT_ROWS
    fine = told.seen & np.isfinite(told.values)
    for layer in range(LAYERS):
        assert np.nanmin(grid.low[:, layer]) == told.values[fine[:, layer], layer].min()
        assert np.nanmax(grid.high[:, layer]) == told.values[fine[:, layer], layer].max()
        assert grid.bad[:, layer].any() == (told.seen & ~np.isfinite(told.values))[:, layer].any()
        rows = np.flatnonzero(told.seen[:, layer])
        np.testing.assert_equal(grid.column(layer).value[-1], told.values[rows[-1], layer])
    assert grid.steps[-1] == told.steps[-1]


def test_a_new_row_costs_a_row_not_the_run():
    told, thinner = Told(5000), Thinner()
    told.take(thinner, 0, 4100)
    told.read_rows = 0
    for end in range(4101, 4204):
        told.take(thinner, 0, end)
    assert told.read_rows < 103 * 16


def test_rows_that_a_resumed_run_did_again_are_read_again():
    told, thinner = Told(600), Thinner()
    told.take(thinner, 0, 600)
    told.steps[300:] += 7
    told.values[300:] *= 2
    same(told.take(thinner, 0, 600), told.take(Thinner(), 0, 600))


def test_what_was_handed_out_does_not_change():
    told, thinner = Told(3000), Thinner()
    before = told.take(thinner, 0, 2051)
    kept = before.low.copy(), before.last.copy()
    for end in range(2052, 2100):
        told.take(thinner, 0, end)
    np.testing.assert_array_equal(before.low, kept[0])
    np.testing.assert_array_equal(before.last, kept[1])


def test_nothing_in_a_window_is_an_empty_grid():
    assert len(Told(10).take(Thinner(), 5, 5, 10)) == 0


def rows(told, end):
    return Rows(("a", "b", "c"), told.steps[:end], told.read, lambda _: told.read)


@pytest.mark.parametrize("seed", range(3))
def test_the_usual_is_the_median_of_what_was_before_and_is_learned_as_it_comes(seed):
    told, learned = Told(700, seed), Learned()
    for end in range(5, 700, 9):
        found = learned.take(rows(told, end), None)
        fresh = Learned().take(rows(told, end), None)
        np.testing.assert_array_equal(found, fresh)
    values = np.where(told.seen[:200] & np.isfinite(told.values[:200]), told.values[:200], np.nan)
    before = int(told.steps[200])
    np.testing.assert_allclose(learned.take(rows(told, 695), before), np.nanmedian(values, axis=0), rtol=1e-6)
    told.read_rows = 0
    learned.take(rows(told, 699), before)
    assert told.read_rows == 0   # what was before an onset is known
