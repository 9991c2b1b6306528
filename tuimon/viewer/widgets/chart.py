"""A chart in the panel: keeps its spec and its y axis, draws at its own size, and says where the mouse points."""

from __future__ import annotations

from textual import events
from textual.message import Message

from tuimon.diagnosis.axes import XAxis, YAxis, kept, limits
from tuimon.viewer.charts.alike import charts_alike, headed, named
from tuimon.viewer.charts.chart import ChartSpec, area, band_words, draw
from tuimon.viewer.charts.picture import Picture
from tuimon.viewer.widgets.headed import HeadedView


class ChartPanel(HeadedView[ChartSpec]):
    """Draws a `ChartSpec`; again on resize; not at all while off screen."""

    class Pointed(Message):
        """A step was clicked."""

        def __init__(self, step: int) -> None:
            super().__init__()
            self.step = step

    class Zoomed(Message):
        """The wheel was turned over a step."""

        def __init__(self, step: int, *, closer: bool) -> None:
            super().__init__()
            self.step, self.closer = step, closer

    class Dragged(Message):
        """The steps were pulled along: by so many, to the left where positive."""

        def __init__(self, steps: float) -> None:
            super().__init__()
            self.steps = steps

    _spec = ChartSpec("")
    _y: YAxis | None = None
    _bands = ""
    """What the bands are called in what is shown."""
    _held: int | None = None
    """Where the mouse went down and has not yet come up."""
    _pulled = False

    def plot(self, spec: ChartSpec, x: XAxis) -> None:
        """Show `spec` over the steps of `x`. The y axis stays put while it can; another one begins anew."""
        if (spec.axis or spec.title) != (self._spec.axis or self._spec.title):
            self.forget()
        self._spec, self._x = spec, x
        self.redraw()

    def forget(self) -> None:
        """Let the y axis begin anew."""
        self._y = self._drawn = None

    def _paint(self, width: int, height: int) -> Picture:
        spec, x = self._spec, self._x
        found = limits(spec.extent, x, log=spec.log, robust=spec.robust)
        # Nothing to hold on to while nothing is measured: the axis begins with the first data, whenever they come.
        y = kept(self._y, found, log=spec.log)
        self._y, self._bands = None if found is None else y, band_words(spec.bands)
        return draw(spec, width, height, x, y, self.glyphs)

    def _is_alike(self, before: ChartSpec, after: ChartSpec) -> bool:
        return charts_alike(before, after, self._x, self._y, area(self.picture.width, self.picture.height))

    def _headed(self) -> Picture:
        picture, bands = self.picture, band_words(self._spec.bands)
        if bands != self._bands:
            picture, self._bands = named(picture, self._spec, self._x, self.glyphs), bands
        return headed(picture, self._spec, self.glyphs, framed=area(picture.width, picture.height).framed)

    def step_at(self, column: int) -> int:
        """The step in the middle of a column of cells, the nearest end beside the data."""
        place = area(self.size.width, self.size.height)
        share = (min(place.width - 1, max(0, column - place.left)) + 0.5) / place.width
        return round(self._x.first + share * (self._x.last - self._x.first))

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Begin to pull."""
        self._held, self._pulled = event.x, False
        self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Pull the steps along."""
        if self._held is None or event.x == self._held:
            return
        steps = (self._held - event.x) * (self._x.last - self._x.first) / area(self.size.width, self.size.height).width
        self._held, self._pulled = event.x, True
        self.post_message(self.Dragged(steps))

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """Where nothing was pulled, it was a click."""
        self.release_mouse()
        if self._held is not None and not self._pulled:
            self.post_message(self.Pointed(self.step_at(event.x)))
        self._held = None

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        """Closer."""
        event.stop()
        self.post_message(self.Zoomed(self.step_at(event.x), closer=True))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        """Further away."""
        event.stop()
        self.post_message(self.Zoomed(self.step_at(event.x), closer=False))
