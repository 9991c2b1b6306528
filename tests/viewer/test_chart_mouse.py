"""Charts under the mouse: a click points, the wheel zooms around the step below it, pulling moves along the steps."""

from __future__ import annotations

import re

import synthetic
from test_app_overview import has_charts, panel
from textual import events
from textual.widget import Widget

from tuimon.viewer.widgets.chart import ChartPanel


def column_of(chart: ChartPanel, step: int) -> int:
    """The first column of a chart in which a step stands."""
    return next(x for x in range(chart.size.width) if chart.step_at(x) >= step)


def wheel(kind: type[events.MouseEvent], widget: Widget, x: int, y: int) -> events.MouseEvent:
    return kind(widget, x, y, 0, 0, 0, shift=False, meta=False, ctrl=False)


async def test_lists_are_chosen_from_by_a_click_and_the_wheel_does_what_the_arrows_do():
    async with panel(synthetic.exploding(), (120, 40)) as p:
        await p.until("Exploding gradients")
        await p.pilot.press("i")
        await p.until("What to do")
        listed = p.app.screen.query_one("#list")
        first, second = ("│ ▸ " in row for row in p.text.splitlines()[2:4])
        assert (first, second) == (True, False)
        await p.pilot.click("#list", offset=(30, 2))
        await p.until(lambda t: "│ ▸ " in t.splitlines()[3])
        listed.post_message(wheel(events.MouseScrollUp, listed, 30, 5))
        await p.until(lambda t: "│ ▸ " in t.splitlines()[2])
        listed.post_message(wheel(events.MouseScrollDown, listed, 30, 5))
        await p.until(lambda t: "│ ▸ " in t.splitlines()[3])
        await p.pilot.click("#list", offset=(30, 0))   # its heading
        await p.pilot.press("g")
        await p.until("▸ Reading the panel")
        await p.pilot.click("#chapters", offset=(8, 3))
        await p.until("▸ Vanishing gradients")
        text = p.app.screen.query_one("#lesson-text")
        seen = p.app.screen.look.line
        text.post_message(wheel(events.MouseScrollDown, text, 8, 3))
        await p.until(lambda _: p.app.screen.look.line == seen + 3)


async def test_a_click_points_the_wheel_zooms_and_pulling_moves_every_chart_along():
    async with panel(synthetic.exploding()) as p:
        await p.until(lambda t: "Exploding gradients" in t and has_charts(t))
        chart = p.app.screen.query_one("#chart-0", ChartPanel)
        x = column_of(chart, 100)
        step = chart.step_at(x)
        await p.pilot.click("#chart-0", offset=(x, 4))
        text = await p.until(f"at {step}")
        assert text.count(f"at {step}") == 4   # the value of every chart
        assert p.app.wanted.window.is_whole

        for _ in range(3):
            chart.post_message(wheel(events.MouseScrollUp, chart, x, 4))
        await p.until(lambda _: p.app.current.span[1] - p.app.current.span[0] < 80)
        first, last = p.app.current.span
        assert first <= step <= last
        assert abs(chart.step_at(x) - step) <= 2   # what is under the mouse stays there

        await p.pilot.mouse_down("#chart-0", offset=(x, 4))
        await p.pilot.hover("#chart-0", offset=(x - 10, 4))
        await p.pilot.mouse_up("#chart-0", offset=(x - 10, 4))
        await p.until(lambda _: p.app.current.span[0] > first)
        assert abs(chart.step_at(x - 10) - step) <= 2   # it is pulled along with the mouse
        assert p.app.wanted.cursor == step   # pulling is no click

        for _ in range(6):
            chart.post_message(wheel(events.MouseScrollDown, chart, x, 4))
        await p.until(lambda _: p.app.wanted.window.is_whole)
        await p.pilot.press("escape")
        await p.until(lambda t: not re.search(r" at \d+ ", t))


async def test_pulling_where_every_step_is_in_sight_changes_nothing():
    async with panel(synthetic.healthy()) as p:
        await p.until(lambda t: "Healthy" in t and has_charts(t))
        await p.pilot.mouse_down("#chart-0", offset=(30, 4))
        await p.pilot.hover("#chart-0", offset=(20, 4))
        await p.pilot.mouse_up("#chart-0", offset=(20, 4))
        await p.pilot.pause()
        assert p.app.wanted.window.is_whole
        assert p.app.wanted.cursor is None
