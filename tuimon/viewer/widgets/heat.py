"""The heat strip in the panel: keeps its spec, draws at its own size."""

from __future__ import annotations

from tuimon.diagnosis.axes import XAxis
from tuimon.viewer.charts.heat import HeatSpec, draw
from tuimon.viewer.widgets.picture import PictureView


class HeatPanel(PictureView):
    """Draws a `HeatSpec`; again on resize; not at all while off screen."""

    def plot(self, spec: HeatSpec, x: XAxis) -> None:
        """Show `spec` over the steps of `x`."""
        self.draw_with(lambda width, height: draw(spec, width, height, x, self.glyphs))
