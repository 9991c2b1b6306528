"""What a chart tells it tells without colour, too, in every glyph set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import synthetic
from test_app_overview import has_charts, panel

from tuimon.diagnosis.axes import XAxis, fit
from tuimon.viewer.charts.chart import ChartSpec, VMark, area, draw
from tuimon.viewer.charts.heat import HeatSpec
from tuimon.viewer.charts.heat import draw as draw_strip
from tuimon.viewer.charts.picture import Picture
from tuimon.viewer.charts.series import Series
from tuimon.viewer.charts.spec import tagged
from tuimon.viewer.glyphs import GLYPHS, GlyphSet
from tuimon.viewer.places.guide.miniatures import MINIATURES
from tuimon.viewer.places.guide.miniatures import spec as miniature

SETS = pytest.mark.parametrize("glyphs", GLYPHS.values(), ids=GLYPHS)
MARKS = (("onset", "critical"), ("onset", "warning"), ("event", "mark"), ("rollback", "mark"), ("cursor", "cursor"),
         ("rise", "warning"), ("fall", "info"), ("snapshot", "good"), ("best", "data-2"))


def cells(picture: Picture) -> list[str]:
    return ["".join(run.text for run in row) for row in picture.rows]


def chart(*marks: VMark, glyphs: GlyphSet) -> list[str]:
    line = Series.of(np.arange(0, 101), np.zeros(101))
    spec, x = ChartSpec("loss", series=(line,), marks=marks), XAxis(0, 100)
    return cells(draw(spec, 60, 12, x, fit(None, spec.extent, x, log=False), glyphs))


@SETS
def test_every_kind_of_mark_has_a_look_of_its_own(glyphs):
    bare = chart(glyphs=glyphs)
    looks = set()
    for kind, role in MARKS:
        rows = chart(VMark(50, kind, role), glyphs=glyphs)
        changed = {(y, x) for y, row in enumerate(rows) for x, cell in enumerate(row) if cell != bare[y][x]}
        (column,) = {x for y, x in changed if y < area(60, 12).top + area(60, 12).height + 1}
        looks.add("".join(row[column] for row in rows[1:-2]))
    assert len(looks) == len(MARKS)


@SETS
def test_an_onset_and_an_event_look_different_where_there_is_no_axis_to_stand_on(glyphs):
    strips = set()
    for kind in ("onset", "event", "rollback"):
        spec = HeatSpec("layers", ("a",), np.arange(1, 101), np.ones((100, 1)), marks=(VMark(50, kind, "mark"),))
        strips.add(tuple(cells(draw_strip(spec, 60, 3, XAxis(0, 100), glyphs))))
    assert len(strips) == 3


@SETS
def test_a_letter_stands_at_the_last_value_that_is_in_sight_and_rather_where_nothing_is_drawn(glyphs):
    steps = np.arange(0, 101)
    low, high = Series.of(steps, np.zeros(101)), Series.of(steps[::10], np.ones(11), "data-2")
    whole, part = tagged(high, "v", 100), tagged(high, "v", 55)
    assert (whole[0].step, part[0].step, tagged(Series.of((), ()), "v", 9)) == (100, 50, ())
    spec, x = ChartSpec("loss", series=(low, high), tags=tagged(replace(high), "v", 55)), XAxis(0, 100)
    rows = cells(draw(spec, 60, 12, x, fit(None, spec.extent, x, log=False), glyphs))
    without = cells(draw(replace(spec, tags=()), 60, 12, x, fit(None, spec.extent, x, log=False), glyphs))
    ((y, column),) = [(y, x) for y, row in enumerate(rows) for x, cell in enumerate(row) if cell != without[y][x]]
    assert (rows[y][column], without[y][column]) == ("v", " ")


def test_two_lines_of_a_miniature_have_a_letter_each_that_its_title_explains():
    for curves in MINIATURES.values():
        for curve in curves:
            chart, *_ = miniature(curve, 1.0)
            assert [tag.word for tag in chart.tags] == (["a", "b"] if len(curve.metrics) > 1 else [])
            assert all(f"({tag.word})" in curve.title for tag in chart.tags)


@pytest.mark.parametrize("glyphs", GLYPHS.values(), ids=GLYPHS)
async def test_in_the_loss_place_lines_and_marks_are_told_apart_by_what_the_legend_says(glyphs):
    async with panel(synthetic.exploding(), (120, 40), glyphs=glyphs) as p:
        await p.until("xploding gradients")
        await p.pilot.press("a")
        text = await p.until(lambda t: "its best" in t and "upwards" in t)
        legend = next(row for row in text.splitlines() if "its best" in row)
        line = glyphs.across * 2
        assert f"{line}v validation" in legend and f"{glyphs.best} its best" in legend
        assert f"{glyphs.turn}{glyphs.over} change upwards" in legend
        rows = text.splitlines()
        axis = next(row for row in rows[1:] if glyphs.axis_corner + glyphs.across * 9 in row)
        assert axis.count(glyphs.best) == 1 and axis.count(glyphs.snapshot) == 1 and glyphs.over in axis
        assert any("v" in row[10:] for row in rows[2:rows.index(axis)])


async def test_the_overview_says_which_line_is_validation():
    async with panel(synthetic.exploding(), (120, 40)) as p:
        text = await p.until(lambda t: has_charts(t) and "validation 1" in t)
        top = next(i for i, row in enumerate(text.splitlines()) if "validation" in row)
        assert any("v" in row[:60] for row in text.splitlines()[top + 1:top + 9])
