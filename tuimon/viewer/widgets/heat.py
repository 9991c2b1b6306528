"""The heat strip in the panel: keeps its spec, draws at its own size."""

from __future__ import annotations

from tuimon.diagnosis.axes import XAxis
from tuimon.viewer.charts.alike import headed, heats_alike
from tuimon.viewer.charts.heat import HeatSpec, draw, is_framed, plan
from tuimon.viewer.charts.picture import Picture
from tuimon.viewer.widgets.headed import HeadedView


class HeatPanel(HeadedView[HeatSpec]):
    """Draws a `HeatSpec`; again on resize; not at all while off screen."""

    def plot(self, spec: HeatSpec, x: XAxis) -> None:
        """Show `spec` over the steps of `x`."""
        self._spec, self._x = spec, x
        self.redraw()

    def _paint(self, width: int, height: int) -> Picture:
        return draw(self._spec, width, height, self._x, self.glyphs)

    def _is_alike(self, before: HeatSpec, after: HeatSpec) -> bool:
        size = self.picture.width, self.picture.height
        return heats_alike(before, after, self._x, plan(before, *size, self.glyphs).cells if before.layers else 1)

    def _headed(self) -> Picture:
        if not is_framed(self._spec, self.picture.width, self.picture.height):
            return self.picture   # no room for a heading
        return headed(self.picture, self._spec, self.glyphs, framed=True)
