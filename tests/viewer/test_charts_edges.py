"""A window of steps is cut out of a line: at its edges the line goes on, and its average does not begin anew."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tuimon.diagnosis.axes import XAxis, fit
from tuimon.viewer.charts.chart import ELSEWHERE, ChartSpec, draw
from tuimon.viewer.charts.series import Series


def words(spec: ChartSpec, first: float, last: float) -> str:
    x = XAxis(first, last)
    return "\n".join(draw(spec, 60, 12, x, fit(None, spec.extent, x, log=spec.log)).lines)


@pytest.mark.parametrize("log", [False, True])
def test_between_two_rare_samples_stands_the_line_that_joins_them(log):
    rare = ChartSpec("update ratio", series=(Series.of([100, 200], [1.0, 2.0]),), log=log, waiting="waiting for the first")
    text = words(rare, 140, 150)
    assert any("⠀" < sign <= "⣿" for sign in text)
    assert "waiting" not in text


def test_where_nothing_was_measured_the_chart_does_not_wait_for_the_first():
    rare = ChartSpec("update ratio", series=(Series.of([100, 200], [1.0, 2.0]),), waiting="waiting for the first")
    assert ELSEWHERE in words(rare, 300, 310)
    assert "waiting for the first" in words(replace(rare, series=(Series.of([], []),)), 300, 310)


def test_the_line_of_the_past_and_that_of_what_came_after_have_no_gap():
    one = Series.of([100, 200, 300], [1.0, 2.0, 3.0])
    assert one.since(250).steps.tolist() == [200, 300]
    assert one.since(50).steps.tolist() == [100, 200, 300]
