"""A chart in the panel: keeps its spec and axis, draws at its own size."""

from __future__ import annotations

from tuimon.viewer.charts.axes import XAxis
from tuimon.viewer.charts.chart import ChartSpec
from tuimon.viewer.widgets.picture import PictureView


class ChartPanel(PictureView):
    """Draws a `ChartSpec`; again on resize; not at all while off screen."""

    def plot(self, spec: ChartSpec, x: XAxis) -> None:
        """Show `spec` over the steps of `x`."""
        raise NotImplementedError
