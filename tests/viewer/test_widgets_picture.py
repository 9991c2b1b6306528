"""Widgets show pictures, redraw only what changed, and survive any size."""

from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
from rich.cells import cell_len
from rich.style import Style
from textual.app import App, ComposeResult
from textual.containers import Vertical
from textual.strip import Strip

from tuimon.diagnosis.axes import XAxis
from tuimon.viewer.charts.chart import Band, ChartSpec, draw
from tuimon.viewer.charts.heat import HeatSpec
from tuimon.viewer.charts.picture import Picture, Run, plain
from tuimon.viewer.charts.series import Series
from tuimon.viewer.charts.spark import SparkSpec
from tuimon.viewer.glyphs import ASCII, BRAILLE
from tuimon.viewer.theme import DARK, LIGHT, Ink
from tuimon.viewer.widgets.chart import ChartPanel
from tuimon.viewer.widgets.heat import HeatPanel
from tuimon.viewer.widgets.spark import SparkPanel

X = XAxis(0, 500)
VALUES = 2 + 0.3 * np.random.default_rng(0).standard_normal(400)
VALUES[:2] = 0.8, 3.2  # the extremes come first, so that the axis has no reason to move


class Panels(App[None]):
    CSS = "ChartPanel { height: 12; } HeatPanel { height: 8; } SparkPanel { height: 4; }"

    def compose(self) -> ComposeResult:
        with Vertical(id="all"):
            yield ChartPanel(Ink(DARK, "truecolor"), BRAILLE)
            yield HeatPanel(Ink(DARK, "truecolor"), BRAILLE)
            yield SparkPanel(Ink(DARK, "truecolor"), BRAILLE)

    @property
    def chart(self) -> ChartPanel:
        return self.query_one(ChartPanel)


def chart(count, value="2.00", title="loss", values=VALUES):
    return ChartSpec(title, value, series=(Series.of(np.arange(1, count + 1), values[:count]),))


def heat():
    return HeatSpec("layers", ("embed", "head"), np.arange(1.0, 400), np.ones((399, 2)))


def sparks():
    return [SparkSpec("loss", "2.00", "good", Series.of(np.arange(400), VALUES))]


def shown(widget):
    return [widget.render_line(y).text for y in range(widget.size.height)]


class Asked(ChartPanel):
    """Counts the regions that are asked to be drawn again."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.regions = []

    def refresh(self, *regions, **kwargs):
        self.regions.append(regions)
        return super().refresh(*regions, **kwargs)


async def test_panels_draw_at_their_own_size_and_again_when_it_changes():
    app = Panels()
    async with app.run_test(size=(60, 30)) as pilot:
        app.chart.plot(chart(200), X)
        app.query_one(HeatPanel).plot(heat(), X)
        app.query_one(SparkPanel).plot(sparks(), X)
        await pilot.pause()
        assert shown(app.chart) == app.chart.picture.lines
        assert shown(app.chart)[0].startswith("╭─ loss ")
        await pilot.resize_terminal(100, 40)
        await pilot.pause()
        for widget in app.query_one("#all").children:
            assert widget.picture.width == 100
            assert shown(widget) == widget.picture.lines


async def test_only_what_changed_is_refreshed():
    class One(App[None]):
        def compose(self) -> ComposeResult:
            yield Asked(Ink(DARK, "truecolor"), BRAILLE)

    app = One()
    async with app.run_test(size=(60, 12)) as pilot:
        panel = app.query_one(Asked)
        panel.plot(chart(300), X)
        await pilot.pause()
        panel.regions.clear()
        panel.plot(chart(300), X)
        assert panel.regions == [] and panel.rows_changed == 0
        panel.plot(chart(300, "2.01"), X)
        assert [[r.y for r in regions] for regions in panel.regions] == [[0]]
        panel.regions.clear()
        panel.plot(chart(304, "2.01"), X)
        assert 1 <= panel.rows_changed <= 5
        assert [len(regions) for regions in panel.regions] == [panel.rows_changed]
        assert all(r.height == 1 and r.x >= 8 and r.right <= 59 for regions in panel.regions for r in regions)


async def test_the_value_axis_stays_within_a_title_and_starts_anew_with_another():
    app = Panels()
    narrow = 2 + (VALUES - 2) * 0.5
    async with app.run_test(size=(60, 30)) as pilot:
        app.chart.plot(chart(400), X)
        await pilot.pause()
        labels = [line[:9] for line in shown(app.chart)]
        app.chart.plot(chart(400, values=narrow), X)
        assert [line[:9] for line in shown(app.chart)] == labels
        app.chart.plot(chart(400, title="lr", values=narrow), X)
        assert [line[:9] for line in shown(app.chart)[1:]] != labels[1:]


async def test_a_hidden_panel_draws_nothing_until_it_is_shown():
    app = Panels()
    async with app.run_test(size=(60, 30)) as pilot:
        app.chart.display = False
        await pilot.pause()
        app.chart.plot(chart(100), X)
        assert app.chart.picture.height == 0
        app.chart.display = True
        await pilot.pause()
        assert shown(app.chart)[0].startswith("╭─ loss ")


async def test_tiny_sizes_do_not_crash():
    app = Panels()
    async with app.run_test(size=(60, 30)) as pilot:
        app.chart.plot(chart(100), X)
        app.query_one(HeatPanel).plot(heat(), X)
        app.query_one(SparkPanel).plot(sparks(), X)
        for size in ((1, 1), (2, 30), (60, 1), (5, 5), (12, 4)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
        for width, height in ((0, 0), (1, 1), (3, 2)):
            for widget in app.query_one("#all").children:
                widget.styles.width, widget.styles.height = width, height
            await pilot.pause()
        for widget in app.query_one("#all").children:
            assert len(shown(widget)) == widget.size.height


async def test_changing_palette_and_glyphs_redraws_everything():
    app = Panels()
    async with app.run_test(size=(60, 30)) as pilot:
        app.chart.plot(chart(100), X)
        await pilot.pause()
        before = app.chart.render_line(5)
        app.chart.wear(Ink(LIGHT, "truecolor"), ASCII)
        await pilot.pause()
        assert shown(app.chart)[0].startswith("+- loss ")
        assert app.chart.render_line(5) != before


async def test_markup_in_a_title_stays_text():
    app = Panels()
    async with app.run_test(size=(60, 30)) as pilot:
        app.chart.plot(chart(100, title="[red]x[/red]"), X)
        await pilot.pause()
        assert "[red]x[/red]" in shown(app.chart)[0]


async def test_what_is_made_of_the_same_is_drawn_once_and_again_where_size_or_theme_are_others():
    app, drawn = Panels(), []

    def painter(width, height):
        drawn.append((width, height))
        return plain(width, height, ("words",))

    async with app.run_test(size=(60, 30)) as pilot:
        app.chart.draw_with(painter, "a", 1)
        app.chart.draw_with(painter, "a", 1)
        assert drawn == [(60, 12)]
        app.chart.draw_with(painter, "a", 2)
        assert drawn == [(60, 12)] * 2
        app.chart.wear(Ink(LIGHT, "truecolor"), ASCII)
        app.chart.draw_with(painter, "a", 2)
        assert drawn == [(60, 12)] * 4, "other glyphs are other painters"
        await pilot.resize_terminal(50, 30)
        assert drawn[4:] == [(50, 12)]
        app.chart.draw_with(painter)
        app.chart.draw_with(painter)
        assert len(drawn) == 7, "nothing said, nothing spared"
        app.chart.display = False
        await pilot.pause()
        app.chart.draw_with(painter, "b")
        assert len(drawn) == 7
        app.chart.display = True
        await pilot.pause()
        assert len(drawn) > 7, "what was missed is drawn when it is seen"


async def test_of_a_band_that_is_called_otherwise_only_the_name_is_drawn():
    app = Panels()
    async with app.run_test(size=(60, 30)) as pilot:
        for word in ("usual 1.9–2.1", "usual 1.95–2.1", "usual 2–2.1", "usual 2–2.1"):
            spec = replace(chart(200), bands=(Band(1.9, 2.1, "usual", word),))
            app.chart.plot(spec, X)
            assert app.chart.picture == draw(spec, 60, 12, X, app.chart._y)
            assert app.chart.rows_changed <= 1 or word == "usual 1.9–2.1"
        await pilot.pause()


async def test_a_row_that_only_moved_keeps_its_style():
    class Counted(ChartPanel):
        styled = 0

        def render_line(self, y):
            Counted.styled += 1
            return super().render_line(y)

    class One(App[None]):
        def compose(self) -> ComposeResult:
            yield Counted(Ink(DARK, "truecolor"), BRAILLE)

    app, rows = One(), [plain(60, 1, (f"row {i}",)).rows[0] for i in range(40)]
    async with app.run_test(size=(60, 12)) as pilot:
        panel = app.query_one(Counted)
        panel.show(Picture(60, tuple(rows[:12])))
        await pilot.pause()
        Counted.styled = 0
        panel.show(Picture(60, tuple(rows[2:14])))
        await pilot.pause()
        assert [strip.text.strip() for strip in app.screen._compositor.render_strips()] == [f"row {i}" for i in range(2, 14)]
        assert Counted.styled == 2


async def test_rows_that_were_replaced_are_gone_without_a_search_for_garbage():
    app = Panels()

    def strips():
        return sum(issubclass(type(one), Strip) for one in gc.get_objects())   # isinstance would wake what is lazy

    async def frames(count):
        for i in range(count):
            app.chart.show(plain(60, 12, tuple(f"frame {count} {i} {y}" for y in range(12))))
            app.screen._compositor.render_update(full=True)
            await pilot.pause()

    async with app.run_test(size=(60, 30)) as pilot:
        await frames(3)
        gc.collect()
        before = strips()
        gc.disable()
        try:
            await frames(30)
            assert strips() < before + 5 * 12
        finally:
            gc.enable()


async def test_a_piece_of_a_row_is_what_stands_in_the_whole_row():
    def cells(strip: Strip) -> list[tuple[str, Style | None]]:
        return [(letter, segment.style) for segment in strip for letter in segment.text]

    rng, app, made = np.random.default_rng(0), Panels(), 0
    async with app.run_test(size=(60, 30)) as pilot:
        for _ in range(200):
            texts = [str(rng.choice(["⣀⡠⡠", "loss 2.1", " ", "┤", "漢", "   "])) for _ in range(8)]
            row = tuple(Run(text, str(rng.choice(["data", "axis"])), str(rng.choice(["none", "usual"]))) for text in texts)
            used = sum(cell_len(text) for text in texts)
            app.chart.show(Picture(60, ((*row, Run(" " * (60 - used), "blank", "none")), *plain(60, 11).rows)))
            app.chart.render_lines(app.chart.region.reset_offset)
            first, last = sorted(rng.choice(61, 2, replace=False).tolist())
            piece = app.chart.render_piece(0, first, last)
            if piece is not None:
                made += 1
                whole = app.chart.render_line(0)
                assert piece.cell_length == last - first
                assert cells(piece) == cells(whole.crop(first, last))
        assert made > 50
        assert app.chart.render_piece(12, 0, 5) is None, "below the picture"
        await pilot.pause()
