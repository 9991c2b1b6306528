"""A sparkline strip keeps extremes, marks what is not finite, and stays aligned."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tuimon.diagnosis.axes import XAxis
from tuimon.viewer.charts.raster import columns_of
from tuimon.viewer.charts.series import EMPTY, Series
from tuimon.viewer.charts.spark import BAD, NONE, SparkSpec, draw, levels
from tuimon.viewer.glyphs import ASCII, BRAILLE, GLYPHS

X = XAxis(0, 99)


def spec(values, *, log=False, label="loss", value="4.71", state="warning", note="2.03 – 10.9"):
    return SparkSpec(label, value, state, Series.of(np.arange(len(values)), values), note, log)


def test_the_strip_as_a_picture():
    rows = [spec(np.linspace(9, 1, 80)), spec(np.full(80, 1.0), label="grad norm", value="212", state=None, note="")]
    assert draw(rows, 60, 2, X, BRAILLE).lines == [
        " loss         4.71 ▲  ██▇▇▆▆▆▅▅▄▃▃▂▂▁▁▁      2.03 – 10.9    ",
        " grad norm     212    ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁                     ",
    ]


def test_extremes_of_crowded_cells_survive_upwards_and_downwards():
    values = np.full(100, 5.0)
    values[33], values[66] = 9.0, 1.0
    found = levels(spec(values), X, 10)
    assert found[3] == 7 and found[6] == 0
    assert sum(found == 7) == 1 and sum(found == 0) == 1


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=100), st.integers(2, 60))
@example([1.0, 1.0, 0.0, 32.0], 50)   # the greatest is left out of the limits, and shares its cell with the least
def test_the_greatest_value_is_the_highest_bar_and_the_least_the_lowest(values, width):
    found = levels(spec(values), X, width)
    at = columns_of(np.arange(len(values)), 0, 99, width)
    top, bottom = at[int(np.argmax(values))], at[int(np.argmin(values))]
    if max(values) - min(values) > 1e-2 * max(map(abs, values)) and len(values) < 4:
        assert found[top] == 7
        assert found[bottom] == 0 or top == bottom
    assert found[top] == found[found < BAD].max()


def test_what_is_not_finite_is_marked_in_its_cell():
    values = np.full(100, 1.0)
    values[50] = np.nan
    row = draw([spec(values, note="")], 80, 1, X, ASCII)
    assert [run.text.strip() for run in row.rows[0] if run.role == "critical"] == ["X"]


def test_a_constant_is_a_low_line_and_a_jump_of_a_percent_is_no_cliff_on_a_log_axis():
    assert set(levels(spec([3e-4] * 100), X, 20)) == {0}
    assert levels(spec([1.0] * 50 + [1.01] * 50, log=True), X, 20).max() <= 1


def test_sparse_samples_stand_until_the_next_and_end_with_the_last():
    sparse = SparkSpec("val", "", None, Series.of([0, 50], [1.0, 2.0]))
    assert levels(sparse, X, 10).tolist() == [0, 0, 0, 0, 0, 7, NONE, NONE, NONE, NONE]


def test_columns_of_all_rows_line_up_and_words_go_before_bars_do():
    rows = [spec([1.0, 2.0], label=label) for label in ("loss", "update ratio", "lr")]
    wide = draw(rows, 80, 3, X).lines
    assert len({line.index("4.71") for line in wide}) == 1 and all("10.9" in line for line in wide)
    assert not any("10.9" in line for line in draw(rows, 40, 3, X).lines)


@pytest.mark.parametrize("glyphs", GLYPHS.values(), ids=lambda g: g.name)
@given(width=st.integers(-1, 50), height=st.integers(-1, 5),
       values=st.lists(st.sampled_from([0.0, 1.0, -1.0, 1e30, np.nan, np.inf]), max_size=9), log=st.booleans())
def test_any_size_and_any_values_make_a_picture_of_that_size(glyphs, width, height, values, log):
    found = draw([spec(values, log=log), SparkSpec("none", "–", None, EMPTY)], width, height, X, glyphs)
    assert {len(line) for line in found.lines} == {max(1, width)}
    assert found.height == max(1, height)


def test_bars_stay_where_they_are_while_their_number_changes_its_length():
    starts = {draw([spec(np.full(80, 1.0), label="update ratio", value=value)], 60, 1, X, BRAILLE).lines[0].index("▁")
              for value in ("212", "9.9e-4", "0.00133", "3.1e-4")}
    assert len(starts) == 1
