"""The sparkline strip in the panel: keeps its specs, draws at its own size."""

from __future__ import annotations

from collections.abc import Sequence

from tuimon.diagnosis.axes import XAxis
from tuimon.viewer.charts.spark import SparkSpec, draw
from tuimon.viewer.widgets.picture import PictureView


class SparkPanel(PictureView):
    """Draws one `SparkSpec` per row; again on resize; not at all while off screen."""

    def plot(self, specs: Sequence[SparkSpec], x: XAxis) -> None:
        """Show `specs` over the steps of `x`."""
        shown = tuple(specs)
        self.draw_with(lambda width, height: draw(shown, width, height, x, self.glyphs))
