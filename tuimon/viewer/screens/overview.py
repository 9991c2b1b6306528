"""The overview: verdict first, then the charts that show why. Shows frames; knows how one person looks at them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Grid

from tuimon.viewer import arrange
from tuimon.viewer.glyphs import BRAILLE, GlyphSet
from tuimon.viewer.looks import Around
from tuimon.viewer.messages import GoTo, Prefers, Remembers
from tuimon.viewer.screens.keys import bindings
from tuimon.viewer.screens.layout import Division, divide, kind_of
from tuimon.viewer.screens.over import Below
from tuimon.viewer.settings import Settled
from tuimon.viewer.theme import Ink
from tuimon.viewer.views import ChartView, Frame
from tuimon.viewer.wanted import Place
from tuimon.viewer.widgets.footer import Footer
from tuimon.viewer.widgets.picture import PictureView
from tuimon.viewer.widgets.words import Words

if TYPE_CHECKING:
    from tuimon.viewer.choice import Choice, Kind
    from tuimon.viewer.widgets.chart import ChartPanel
    from tuimon.viewer.widgets.heat import HeatPanel
    from tuimon.viewer.widgets.spark import SparkPanel


class Overview(Below):
    """Header, badges, verdict, charts, layers, events, keys."""

    PLACE: ClassVar[Place] = "overview"
    BINDINGS: ClassVar[list[BindingType]] = bindings("overview")
    DEFAULT_CSS = """
    Overview { layers: base; overflow: hidden; }
    Overview > Words { height: 1; width: 1fr; }
    #charts { grid-gutter: 0; width: 1fr; height: 1fr; }
    #charts > ChartPanel { width: 1fr; height: 1fr; }
    #sparks, #heat { width: 1fr; }
    #small { display: none; height: 1fr; }
    Overview.-tiny > Words { display: none; }
    Overview.-tiny > #small { display: block; }
    Overview.-tiny > Grid, Overview.-tiny > #heat, Overview.-tiny > #sparks { display: none; }
    """
    AUTO_FOCUS = None
    settled = Settled()
    """What this person prefers."""
    around = Around("truecolor", BRAILLE)
    """What the terminal is like."""

    def __init__(self, frame: Frame, ink: Ink, glyphs: GlyphSet) -> None:
        super().__init__()
        self._frame, self._ink, self._glyphs = frame, ink, glyphs
        self._division: Division | None = None
        self._arranged: tuple[object, ...] = ()
        """How the charts are arranged."""
        self._choice: Choice | None = None
        self._words: tuple[Words, ...] = ()
        self._panels: list[ChartPanel] = []
        self._is_adding = False
        self._sparks: SparkPanel | None = None
        self._heat: HeatPanel | None = None

    def compose(self) -> ComposeResult:
        """Words only: the first paint waits for nothing else."""
        def words(name: str, layout: object) -> Words:
            return Words(layout, self._frame, self._ink, self._glyphs, id=name)  # type: ignore[arg-type]  # functions of one shape

        yield words("header", arrange.header)
        yield words("badges", arrange.badges)
        yield words("verdict", arrange.verdict)
        yield Grid(id="charts")
        yield words("events", arrange.events)
        yield Footer("overview", self._frame, self._ink, self._glyphs)
        yield words("small", arrange.too_small)

    def on_mount(self) -> None:
        """Divide what there is, so that it is painted in its place at once."""
        self._divide(force=True)

    async def _add_charts(self) -> None:
        from tuimon.viewer.choice import CHARTS, Choice
        from tuimon.viewer.widgets.chart import ChartPanel
        from tuimon.viewer.widgets.heat import HeatPanel
        from tuimon.viewer.widgets.spark import SparkPanel

        self._choice = Choice.begun(self.settled.settings)
        self._panels = [ChartPanel(self._ink, self._glyphs, id=f"chart-{i}") for i in range(CHARTS)]
        self._sparks = SparkPanel(self._ink, self._glyphs, id="sparks")
        self._heat = HeatPanel(self._ink, self._glyphs, id="heat")
        grid = self.query_one("#charts", Grid)
        with self.app.batch_update():
            await grid.mount(*self._panels)
            await self.mount(self._sparks, before=grid)
            await self.mount(self._heat, after=grid)
            self._divide(force=True)
        self._plot()

    def on_resize(self, event: events.Resize) -> None:
        """Divide the new size."""
        del event
        self._divide(force=True)
        self._plot()

    def show_frame(self, frame: Frame) -> None:
        """Show this moment."""
        self._frame = frame
        self._divide()
        self._words = self._words or tuple(self.query(Words))
        for words in self._words:
            words.tell(frame)
        if not self._panels and self.is_mounted and not self._is_adding:
            self._is_adding = True
            self.call_later(self._add_charts)   # they follow the first paint, and come with their first data
        self._plot()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """No key before there is something to show what it does: keys are sent here as soon as this is in front."""
        return self.is_mounted and super().check_action(action, parameters)

    def suit(self, settled: Settled, around: Around) -> None:
        """Take note of what is preferred; `wear` follows where that looks different."""
        self.settled, self.around = settled, around
        if self._choice is not None:
            self._choice = self._choice.suited(settled.settings)

    def wear(self, ink: Ink, glyphs: GlyphSet) -> None:
        """Another theme or glyph set."""
        self._ink, self._glyphs = ink, glyphs
        if self.is_mounted:
            for view in self.query(PictureView):
                view.wear(ink, glyphs)
            self.show_frame(self._frame)

    def forget(self) -> None:
        """Another run: the axes are not those of the last one."""
        for panel in self._panels:
            panel.forget()

    @property
    def pointed(self) -> int | None:
        """None: its cursor is the panel's crosshair."""
        return None

    def flash(self, text: str, seconds: float = 3.0) -> None:
        """Say something in the footer's place for a moment."""
        self.query_one(Footer).flash(text, seconds)

    @property
    def choice(self) -> Choice | None:
        """How the charts are looked at; None before they are there."""
        return self._choice

    def _divide(self, *, force: bool = False) -> None:
        width, height = self.app.size
        choice = self._choice
        kind = kind_of(width, height)
        charts = 4 if choice is None else 1 if choice.is_large else len(choice.visible(kind))
        heated = choice is None or choice.shows("layers", kind)
        division = divide(width, height, len(self._frame.heat.layers), charts, heated=heated,
                          alone=choice is not None and choice.is_large)
        if division == self._division and not force:
            return
        self._division, self._arranged = division, ()
        self.set_class(division.kind == "tiny", "-tiny")
        badges, verdict = self.query_one("#badges"), self.query_one("#verdict")
        badges.styles.margin = (0, 0, division.gap, 0)
        verdict.styles.height = division.verdict
        self.query_one("#events").styles.height = division.events
        grid = self.query_one("#charts")
        grid.styles.visibility = "visible" if division.charts else "hidden"
        spare = division.kind in ("full", "wide") and not division.heat   # it fills what nobody else does
        grid.display = division.charts > 0 or spare   # of no rows it would still take one: that of the keys
        for panel, rows in ((self._sparks, division.sparks), (self._heat, division.heat)):
            if panel is not None:
                panel.styles.height = rows
                panel.display = rows > 0 and division.kind != "tiny"
        self._arrange_charts()

    def _arrange_charts(self) -> None:
        choice, division = self._choice, self._division
        if choice is None or division is None or division.kind == "tiny":
            return
        alone = division.kind == "compact" or choice.is_large
        shown = (choice.at(self._frame),) if alone else choice.visible(division.kind)
        columns = 1 if alone else division.columns
        if (shown, columns) == self._arranged:
            return
        self._arranged = shown, columns
        grid = self.query_one("#charts", Grid)
        grid.styles.grid_size_columns = columns
        grid.styles.grid_size_rows = max(1, -(-len(shown) // columns))
        for i, panel in enumerate(self._panels):
            panel.display = i in shown
            last = bool(shown) and i == shown[-1]
            panel.styles.column_span = 1 + (-len(shown) % columns if last else 0)

    def _plot(self) -> None:
        choice, division = self._choice, self._division
        if choice is None or division is None or self._heat is None or self._sparks is None:
            return
        from tuimon.viewer.plots import chart_spec, heat_spec, spark_specs, x_axis

        self._arrange_charts()
        x = x_axis(self._frame)
        for i, panel in enumerate(self._panels):
            if panel.display:
                focused = choice.chart == i and division.kind != "compact"
                panel.plot(chart_spec(self._frame, i, choice, focused=focused), x)
        if self._sparks.display:
            self._sparks.plot(spark_specs(self._frame), x)
        if self._heat.display:
            full = division.kind != "compact"
            self._heat.plot(heat_spec(self._frame, framed=full, columns=division.heat_columns), x)

    def _choose(self, choice: Choice) -> None:
        before, self._choice = self._choice, choice
        self._divide()
        self._plot()
        if before is not None and choice.zones != before.zones:
            self.post_message(Prefers("zones", choice.zones))
        if before is not None and choice.layout != before.layout:
            self.post_message(Remembers(choice.layout))

    def on_click(self, event: events.Click) -> None:
        """A click on a badge opens what it is about."""
        row = self.query_one("#badges")
        badge = arrange.badge_at(self._frame, row.size.width, event.x) if event.widget is row else None
        if badge is None:
            return
        from tuimon.viewer.badges import lead

        found = lead(self._frame, badge)
        if found.place is not None:
            self.post_message(GoTo(found.place, found.incident))
        elif found.chart is not None and self._choice is not None:
            self._choose(self._choice.opened(found.chart, self._kind))
        elif found.hint:
            self.flash(found.hint)

    @property
    def _kind(self) -> Kind:
        return self._division.kind if self._division is not None else "tiny"

    def action_panel(self, index: int) -> None:
        """Show or hide a panel; where only one chart fits, choose it."""
        if self._choice is not None:
            self._choose(self._choice.pressed(index, self._kind))

    def action_next_chart(self) -> None:
        """Choose the next chart."""
        if self._choice is not None:
            self._choose(self._choice.next(self._frame, self._kind))

    def action_maximise(self) -> None:
        """The chosen chart alone, or among the others again."""
        if self._choice is not None:
            self._choose(self._choice.maximised(self._frame, self._kind))

    def action_log_axis(self) -> None:
        """Turn the chosen chart's axis."""
        if self._choice is not None:
            self._choose(self._choice.acted(self._frame, self._kind).turned(self._chosen))

    def action_smoother(self) -> None:
        """Smooth the chosen chart more."""
        if self._choice is not None:
            self._choose(self._choice.acted(self._frame, self._kind).smoothed(self._chosen, 1))

    def action_rougher(self) -> None:
        """Smooth the chosen chart less."""
        if self._choice is not None:
            self._choose(self._choice.acted(self._frame, self._kind).smoothed(self._chosen, -1))

    def action_zones(self) -> None:
        """Other bands behind the data."""
        if self._choice is not None:
            self._choose(self._choice.zoned())

    @property
    def _chosen(self) -> ChartView:
        at = 0 if self._choice is None else self._choice.acting(self._frame, self._kind)
        return self._frame.charts[at]

    def back(self) -> bool:
        """Out of the large chart; False where it is not large."""
        if self._choice is None or not self._choice.is_large:
            return False
        self._choose(replace(self._choice, is_large=False))
        return True
