"""A chart in the panel: keeps its spec and its y axis, draws at its own size."""

from __future__ import annotations

from tuimon.viewer.charts.axes import XAxis, YAxis, fit
from tuimon.viewer.charts.chart import ChartSpec, draw
from tuimon.viewer.charts.picture import Picture
from tuimon.viewer.widgets.picture import PictureView


class ChartPanel(PictureView):
    """Draws a `ChartSpec`; again on resize; not at all while off screen."""

    _spec = ChartSpec("")
    _x = XAxis()
    _y: YAxis | None = None

    def plot(self, spec: ChartSpec, x: XAxis) -> None:
        """Show `spec` over the steps of `x`. The y axis stays put while it can; another title starts a new one."""
        if spec.title != self._spec.title:
            self._y = None
        self._spec, self._x = spec, x
        self.draw_with(self._paint)

    def _paint(self, width: int, height: int) -> Picture:
        spec, x = self._spec, self._x
        self._y = fit(self._y, spec.extent, x, log=spec.log, robust=spec.robust)
        return draw(spec, width, height, x, self._y, self.glyphs)
