"""The comparison on the screen: which run stands in front, which chart, along which axis."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical

from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.looking import POINTS
from tuimon.viewer.messages import GoTo, OpenRun
from tuimon.viewer.places.compare import draw
from tuimon.viewer.places.compare.axis import x_axis
from tuimon.viewer.places.compare.draw import Look
from tuimon.viewer.places.compare.model import METRICS, NOTHING, Ask, CompareView, Source
from tuimon.viewer.screens.keys import bindings
from tuimon.viewer.screens.place import PlaceScreen
from tuimon.viewer.theme import Ink
from tuimon.viewer.views import Frame
from tuimon.viewer.wanted import NOW, Place, Wanted
from tuimon.viewer.widgets.chart import ChartPanel
from tuimon.viewer.widgets.picture import PictureView

SHELVES = {"compare-upper": METRICS[:2], "compare-lower": METRICS[2:]}


class CompareScreen(PlaceScreen):
    """The list of what is compared; below it the charts, or all differences."""

    PLACE: ClassVar[Place] = "compare"
    BINDINGS: ClassVar[list[BindingType]] = bindings("compare")
    CSS = """
    #compare-list { height: 6; width: 1fr; }
    #compare-charts, #compare-facts { height: 1fr; width: 1fr; }
    #compare-charts > Horizontal { height: 1fr; width: 1fr; }
    #compare-charts ChartPanel { height: 1fr; width: 1fr; }
    #compare-facts, CompareScreen.-facts #compare-charts { display: none; }
    CompareScreen.-facts #compare-facts { display: block; }
    CompareScreen.-tiny #compare-facts { display: none; }
    """

    def __init__(self, frame: Frame, ink: Ink, glyphs: GlyphSet) -> None:
        super().__init__(frame, ink, glyphs)
        self._look = Look()
        self._sources: tuple[Source, ...] = ()
        self._division = draw.Division("one")

    def compose_body(self) -> ComposeResult:
        """List, two shelves of charts, the page of differences."""
        yield PictureView(self.ink, self.glyphs, id="compare-list")
        with Vertical(id="compare-charts"):
            for shelf, names in SHELVES.items():
                with Horizontal(id=shelf):
                    for name in names:
                        yield ChartPanel(self.ink, self.glyphs, id=f"compare-{name}")
        yield PictureView(self.ink, self.glyphs, id="compare-facts")

    @property
    def _view(self) -> CompareView:
        detail = self.frame.detail
        return detail if isinstance(detail, CompareView) else NOTHING

    def divide(self, width: int, height: int) -> None:
        """By size and the number of runs."""
        self._division = draw.divide(width, height, len(self._view.sides))
        self.query_one("#compare-list").styles.height = self._division.listed

    def show(self) -> None:
        """Draw the list and the charts that have a place."""
        self._ask_again(self.frame.wanted.ask)
        view, look, glyphs = self._view, self._look, self.glyphs
        self.divide(*self.app.size)
        framed = self._division.framed
        self.query_one("#compare-list", PictureView).draw_with(
            lambda w, h: draw.draw_list(view, look, w, h, glyphs, framed=framed))
        self.set_class(look.facts, "-facts")
        if look.facts:
            self.query_one("#compare-facts", PictureView).draw_with(
                lambda w, h: draw.draw_differences(view, w, h, glyphs))
            return
        shown = draw.shown(view, look, self._division)
        x = x_axis(view.across, view.end, look.seen.window)
        for shelf, names in SHELVES.items():
            self.query_one(f"#{shelf}").display = any(name in shown for name in names)
        for i, name in enumerate(METRICS):
            panel = self.query_one(f"#compare-{name}", ChartPanel)
            panel.display = name in shown
            if name in shown:
                focused = len(shown) > 1 and look.chart == i
                panel.plot(draw.chart_spec(view, look, name, focused=focused), x)

    def _ask_again(self, answered: object) -> None:
        """Of the runs that are compared, along the axis that this person chose."""
        if not isinstance(answered, Ask):
            return   # a frame of another place: what is compared now is not known yet
        if answered.sources != self._sources:
            self._sources = answered.sources
            self._look = replace(self._look, focus=None, facts=False, seen=NOW)
        asked = Ask(answered.sources, self._look.across, self._look.smooth)
        if asked != answered:
            self.ask(asked)   # the same again costs nothing

    def _turn(self, look: Look) -> None:
        self._look = look
        self.show()

    # ------------------------------------------------------------------ along the axis

    @property
    def _span(self) -> tuple[tuple[float, float], int, float]:
        """What is seen of the x axis, where the longest run is on it, and where the whole of it ends."""
        whole = x_axis(self._view.across, self._view.end).last
        newest = max(1, round(self._view.end))
        return self._look.seen.window.ends(whole, newest), newest, whole

    def _see(self, seen: Wanted) -> None:
        self._turn(replace(self._look, seen=seen, facts=False))

    def on_chart_panel_pointed(self, message: ChartPanel.Pointed) -> None:
        """A click chooses a chart, and puts the crosshair there."""
        message.stop()
        name = (message.control.id or "").removeprefix("compare-") if message.control is not None else ""
        if name in METRICS:
            self._look = replace(self._look, chart=METRICS.index(name))
            self._see(replace(self._look.seen, cursor=max(1, min(self._span[1], message.step))))

    def on_chart_panel_zoomed(self, message: ChartPanel.Zoomed) -> None:
        """Closer, or further away, around what is under the mouse."""
        message.stop()
        span, _, whole = self._span
        self._see(self._look.seen.zoomed(message.closer, span, whole, message.step))

    def on_chart_panel_dragged(self, message: ChartPanel.Dragged) -> None:
        """Along the axis with the mouse."""
        message.stop()
        span, newest, _ = self._span
        self._see(self._look.seen.shifted(abs(message.steps), span, newest, 1 if message.steps > 0 else -1))

    def action_point(self, which: int) -> None:
        """Move the crosshair."""
        (span, newest, _), seen, by = self._span, self._look.seen, POINTS[which]
        if seen.cursor is None:
            seen, by = replace(seen, cursor=draw.pointed_first(self._view, self._look)), 0
        self._see(seen.pointed(by, span, newest))

    def action_zoom(self, which: int) -> None:
        """Closer, or further away."""
        span, _, whole = self._span
        self._see(self._look.seen.zoomed(which == 0, span, whole))

    def action_pan(self, which: int) -> None:
        """Along the axis."""
        span, newest, _ = self._span
        self._see(self._look.seen.panned(-1 if which == 0 else 1, span, newest))

    def action_whole(self) -> None:
        """All of it."""
        self._see(self._look.seen.whole())

    # ------------------------------------------------------------------ which run, which chart

    def action_compare_front(self, which: int) -> None:
        """Bring another run's lines to the front."""
        self._turn(self._look.moved(-1 if which % 2 == 0 else 1, len(self._view.sides)))

    def action_open_run(self) -> None:
        """Open the run in front."""
        focus = self._look.focus
        run = self._sources[focus].run if focus is not None and focus < len(self._sources) else None
        if run is not None:
            self.post_message(OpenRun(run))
        else:
            self.flash("bring a run to the front with ↑ ↓: enter opens it" if focus is None else "a log has no panel")

    def action_compare_chart(self, which: int) -> None:
        """Choose a chart; again: large."""
        self._turn(self._look.picked(which))

    def action_next_chart(self) -> None:
        """Choose the next chart."""
        names = draw.shown(self._view, replace(self._look, is_large=False), draw.Division("all"))
        here = METRICS[self._look.chart]
        after = names[(names.index(here) + 1) % len(names)] if here in names else names[0]
        self._turn(replace(self._look, chart=METRICS.index(after), facts=False))

    def action_log_axis(self) -> None:
        """Turn the chosen chart's axis."""
        name = METRICS[self._look.chart]
        turned = not draw.is_log(self._view, self._look, name)
        self._turn(replace(self._look, log={**self._look.log, name: turned}))

    def action_smoother(self) -> None:
        """Average more."""
        self._turn(self._look.smoother(1))

    def action_rougher(self) -> None:
        """Average less."""
        self._turn(self._look.smoother(-1))

    def action_compare_across(self) -> None:
        """Along steps, time or tokens."""
        look = self._look.turned(self._view)
        if look.across == self._view.across:
            self.flash("only steps are known of all of them")
        self._turn(look)

    def action_compare_differences(self) -> None:
        """Read all that differs, or see the charts again."""
        self._turn(replace(self._look, facts=not self._look.facts))

    def back(self) -> bool:
        """First the differences go, then crosshair and stretch, then what is large or in front; then to the list."""
        look, nearer = self._look, self._look.seen.back()
        near = (replace(look, facts=False) if look.facts else replace(look, seen=nearer) if nearer is not None
                else replace(look, is_large=False, focus=None))
        if near == look:
            self.post_message(GoTo("runs"))
        else:
            self._turn(near)
        return True
