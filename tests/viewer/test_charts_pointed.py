"""What stands beside and under the lines of a chart can be read, however close they are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.diagnosis import axes
from tuimon.diagnosis.axes import XAxis
from tuimon.viewer.charts.chart import ChartSpec, VMark, area, draw
from tuimon.viewer.charts.series import Series
from tuimon.viewer.charts.spark import SparkSpec
from tuimon.viewer.charts.spark import draw as draw_sparks
from tuimon.viewer.glyphs import ASCII, BRAILLE

X = XAxis(0, 300)


def lines(*marks: VMark, width: int = 60, height: int = 12, values: float | None = 1.0) -> list[str]:
    series = Series.of(np.arange(1, 301), np.full(300, values) if values is not None else np.linspace(9, 1, 300))
    spec = ChartSpec("loss", series=(series,), marks=marks)
    return draw(spec, width, height, X, axes.fit(None, spec.series, X, log=False), ASCII).lines


def labels(*marks: VMark, width: int = 60) -> list[str]:
    return lines(*marks, width=width)[-2].strip("| ").split()


def test_the_step_under_the_crosshair_takes_the_place_of_labels_that_it_would_touch():
    assert labels() == ["0", "100", "200"]
    assert labels(VMark(212, "cursor")) == ["0", "100", "212"]
    assert labels(VMark(150, "cursor")) == ["0", "100", "150", "200"]


def test_of_the_moment_and_a_crosshair_beside_it_the_crosshair_is_told():
    assert labels(VMark(212, "cursor", heavy=True), VMark(214, "cursor")) == ["0", "100", "214"]
    assert labels(VMark(120, "cursor", heavy=True), VMark(160, "cursor")) == ["0", "120", "160", "200"]


@given(st.lists(st.integers(1, 300), max_size=3), st.integers(24, 120))
def test_labels_are_whole_steps_with_space_between_them_wherever_the_cursors_are(at, width):
    found = labels(*(VMark(step, "cursor") for step in at), width=width)
    ticks = {tick.label for tick in X.ticks(area(width, 12).width)}
    assert all(label in ticks or label in {str(step) for step in at} for label in found)
    assert not at or str(at[-1]) in found


def test_the_moment_and_the_crosshair_look_different_without_colour():
    one, other = VMark(1, "cursor"), VMark(1, "cursor", heavy=True)
    assert one.line(ASCII) != other.line(ASCII)
    assert one.line(BRAILLE) != other.line(BRAILLE)
    assert VMark(1, "snapshot").line(BRAILLE) is None


def test_a_word_stands_beside_its_line_where_it_fits_before_the_next_one():
    far = lines(VMark(100, "onset", word="exploding"), VMark(250, "rollback", word="rolled back"))
    assert any(": exploding" in line for line in far)
    assert not any("rolled" in line for line in far)   # it would run into the frame
    near = lines(VMark(100, "onset", word="exploding"), VMark(120, "rollback"))
    assert not any("exploding" in line for line in near)


def test_a_word_goes_below_what_stands_in_its_way_and_is_left_out_where_nothing_is_free():
    assert ": exploding" in lines(VMark(20, "onset", word="exploding"), values=1.0)[1]
    falling = lines(VMark(4, "onset", word="exploding"), values=None)
    assert not any("exploding" in line for line in falling[1:2])
    low = lines(VMark(100, "onset", word="exploding"), height=6)
    assert not any("exploding" in line for line in low)


@pytest.mark.parametrize("heavy", [False, True])
def test_strips_show_the_moment_and_the_crosshair_too(heavy):
    series = Series.of(np.arange(1, 301), np.linspace(1, 9, 300))
    spec = SparkSpec("loss", "4.71", None, series, marks=(VMark(150, "cursor", heavy=heavy),))
    (row,) = draw_sparks((spec,), 60, 1, X, ASCII).lines
    assert row.count("[" if heavy else "|") == 1
