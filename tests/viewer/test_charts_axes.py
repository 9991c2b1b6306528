"""Axes stay put while they can, and one wild value cannot spoil them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tuimon.diagnosis.axes import LABEL, WIDE_DECADES, XAxis, YAxis, column_of, columns_of, fit, is_wide, nice_step
from tuimon.viewer.charts.series import EMPTY, Series

X = XAxis(0, 1000)


def axis(values, previous=None, *, log=False, robust=True, x=X):
    return fit(previous, [Series.of(np.arange(len(values)), values)], x, log=log, robust=robust)


def test_the_step_axis_grows_in_round_steps_of_about_a_quarter():
    seen, x = [], XAxis()
    for step in range(1, 1001):
        x = x.grown(step)
        if not seen or seen[-1] != x.last:
            seen.append(x.last)
    assert seen == [10, 12.5, 16, 20, 25, 32, 40, 50, 64, 80, 100, 125, 160, 200, 250, 320, 400, 500, 640, 800, 1000]


@given(st.integers(1, 10**9), st.integers(0, 10**6))
def test_the_step_axis_holds_its_last_step_and_wastes_little(step, first):
    x = XAxis(first, first + 10).grown(first + step)
    assert x.last >= first + step
    assert step < 10 or step >= 0.77 * (x.last - first)
    assert x.grown(first + step) == x


def test_step_labels_are_whole_and_grouped():
    assert [t.label for t in XAxis(0, 2500).ticks(50)] == ["0", "500", "1,000", "1,500", "2,000", "2,500"]
    assert [t.label for t in XAxis(0, 3).ticks(80)] == ["0", "1", "2", "3"]


@pytest.mark.parametrize(("low", "high", "log", "labels"), [
    (0.0, 10.0, False, ["0", "2", "4", "6", "8", "10"]),
    (0.0, 0.03, False, ["0", "0.01", "0.02", "0.03"]),
    (0.0, 3e-4, False, ["0", "1e-4", "2e-4", "3e-4"]),
    (0.0, 250_000.0, False, ["0", "5e4", "1e5", "1.5e5", "2e5", "2.5e5"]),
    (130_001.0, 130_132.0, False, ["130050", "130100"]),
    (-1.0, 3.0, True, ["0.1", "1", "10", "100", "1e3"]),
    (-4.0, -0.4, True, ["1e-4", "1e-3", "0.01", "0.1"]),
    (-6.0, 0.0, True, ["1e-6", "1e-4", "0.01", "1"]),
    (-0.5, 0.5, True, ["0.5", "1", "2"]),
    (3.01, 3.2, True, ["1,200", "1,400"]),
])
def test_ticks_are_round_and_their_labels_of_one_form(low, high, log, labels):
    assert [t.label for t in YAxis(low, high, log).ticks(5)] == labels


@pytest.mark.parametrize(("low", "high", "labels"), [(-0.8, 0.8, ["0.3", "1", "3"]), (-0.7, 0.5, ["0.2", "0.5", "1", "2"])])
def test_a_log_axis_of_few_rows_has_labels_all_along_and_not_only_at_its_upper_end(low, high, labels):
    assert [t.label for t in YAxis(low, high, log=True).ticks(4)] == labels


def test_a_log_axis_of_two_labels_has_two_where_decades_allow_it():
    assert [t.label for t in YAxis(-3.7, -0.4, log=True).ticks(2)] == ["1e-3", "0.1"]


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 12))
def test_labels_fit_their_gutter_and_tell_ticks_apart(low, length, most):
    assume(length > 1e-3 * abs(low))
    ticks = YAxis(low, low + length).ticks(most)
    assert len(ticks) <= most + 1
    assert all(len(t.label) <= LABEL for t in ticks)
    assert len({t.label for t in ticks}) == len(ticks)
    for tick in ticks:
        assert float(tick.label.replace(",", "")) == pytest.approx(tick.at, abs=1e-6 * length)


@given(st.floats(1e-9, 1e9), st.integers(1, 20))
def test_a_nice_step_is_1_2_or_5_and_just_large_enough(length, most):
    step = nice_step(length, most)
    assert round(step / 10 ** math.floor(math.log10(step) + 1e-9), 6) in {1, 2, 5}
    assert length / step <= most * (1 + 1e-6)


def test_the_value_axis_stays_while_data_fit_it():
    first = axis([2.0, 4.0, 3.0])
    assert axis([2.0, 4.0, 3.0, 3.9, 2.1], first) is first


def test_the_value_axis_grows_on_overflow_with_room_on_that_side():
    first = axis([2.0, 4.0])
    grown = axis([2.0, 4.0, 6.0], first)
    assert grown.high >= 6.3
    assert axis([2.0, 4.0, 6.0, 6.2], grown) is grown


def test_the_value_axis_shrinks_only_when_data_fill_less_than_40_percent():
    first = axis([0.0, 10.0])
    assert axis([1.0, 6.0], first) is first
    assert axis([1.0, 3.0], first).high < 5


def test_a_quiet_signal_on_a_log_axis_does_not_make_it_wander():
    y, seen = None, set()
    rng = np.random.default_rng(1)
    for n in range(10, 300):
        y = axis(1.0 + 0.05 * rng.standard_normal(n), y, log=True)
        seen.add(y)
    assert len(seen) == 1


def test_one_wild_value_does_not_flatten_the_rest():
    values = np.r_[np.linspace(4, 2, 500), 1e30, np.linspace(2, 1.9, 400)]
    assert axis(values).high < 6
    assert axis(values, log=True).high < 1.5
    assert axis(-values).low > -6


def test_real_excursions_stay_inside():
    loss = np.r_[np.linspace(10, 2, 300), 40.0, np.full(300, 2.0)]
    assert axis(loss).high >= 40
    rate = np.r_[np.full(195, 3e-4), np.full(5, 3e-2)]
    assert axis(rate, robust=False).high >= 3e-2
    norm = np.r_[np.full(500, 1.0), 1e8]
    assert axis(norm, log=True).high >= 8


def test_what_is_not_positive_never_sets_limits_on_a_log_axis():
    y = axis([1.0, 0.0, -5.0, 2.0, np.nan, np.inf], log=True)
    assert -1 < y.low < 0 < y.high < 1


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("values", [[], [np.nan], [np.inf, -np.inf], [0.0], [7.0], [7.0] * 50, [1e30], [1e-30], [-3.0],
                                    [1e308, -1e308], [5e-324], [1.0, 1.0 + 1e-15]])
def test_odd_data_still_make_a_usable_axis(values, log):
    y = axis(values, log=log)
    assert math.isfinite(y.low) and math.isfinite(y.high) and y.high > y.low
    y.ticks(5)
    units = y.units(np.array([v for v in values if math.isfinite(v)]))
    assert all(y.low <= unit <= y.high for unit in units if np.isfinite(unit) and abs(unit) < 1e300)


def test_nothing_visible_keeps_the_axis_there_was():
    first = axis([2.0, 4.0])
    assert fit(first, [EMPTY], X, log=False) is first
    assert fit(None, [], X, log=True) == YAxis(-1, 1, log=True)


def test_only_what_is_visible_counts():
    assert axis(np.r_[np.full(100, 50.0), np.full(100, 2.0)], x=XAxis(100, 200)).high < 10


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=80), st.lists(st.floats(-1e9, 1e9), max_size=20))
def test_without_cutting_every_value_is_inside_whatever_came_before(values, more):
    y = axis(values, robust=False)
    y = axis(values + more, y, robust=False)
    assert y.low <= min(values + more) and max(values + more) <= y.high


@given(st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=40))
def test_a_growing_history_becomes_wide_once_and_stays_so(values):
    told = [is_wide(v, v) for v in (np.array(values[:n]) for n in range(1, len(values) + 1))]
    assert told == sorted(told)
    assert told[-1] == (math.log10(max(values)) - math.log10(min(values)) > WIDE_DECADES)


@pytest.mark.parametrize("values", [[], [np.nan], [2.0, 3.0], [np.inf, 2.0], [1e3, 0.0, 2.0], [-2.0, 1e3]])
def test_nothing_a_constant_and_what_is_not_positive_are_not_wide(values):
    assert not is_wide(np.array(values), np.array(values))


@given(st.integers(-10, 10**7), st.integers(0, 10**6), st.integers(1, 10**6), st.integers(1, 500))
def test_one_step_falls_into_the_column_that_it_falls_into_among_many(step, first, length, count):
    assert column_of(step, first, first + length, count) == columns_of(np.array([step]), first, first + length, count)[0]
