"""The heat strip in the panel: keeps its spec, draws at its own size; only its heading where nothing else is new."""

from __future__ import annotations

from tuimon.diagnosis.axes import XAxis
from tuimon.viewer.charts.alike import headed, heats_alike
from tuimon.viewer.charts.heat import HeatSpec, draw, is_framed, plan
from tuimon.viewer.charts.picture import Picture
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.theme import Ink
from tuimon.viewer.widgets.picture import PictureView


class HeatPanel(PictureView):
    """Draws a `HeatSpec`; again on resize; not at all while off screen."""

    _spec: HeatSpec
    _x = XAxis()
    _drawn: tuple[HeatSpec, XAxis] | None = None
    """What the picture was drawn from."""

    def plot(self, spec: HeatSpec, x: XAxis) -> None:
        """Show `spec` over the steps of `x`."""
        self._spec, self._x = spec, x
        if not self._stands():
            self.draw_with(self._paint)
        elif is_framed(spec, self.picture.width, self.picture.height):
            self.show(headed(self.picture, spec, self.glyphs, framed=True))

    def _stands(self) -> bool:
        """Whether what is drawn holds, but for the heading."""
        picture, drawn, spec = self.picture, self._drawn, self._spec
        if drawn is None or drawn[1] != self._x or (picture.width, picture.height) != tuple(self.size):
            return False
        cells = plan(spec, picture.width, picture.height, self.glyphs).cells if spec.layers else 1
        return heats_alike(drawn[0], spec, self._x, cells)

    def wear(self, ink: Ink, glyphs: GlyphSet) -> None:
        """Change palette, depth or glyph set; draws everything."""
        self._drawn = None
        super().wear(ink, glyphs)

    def _paint(self, width: int, height: int) -> Picture:
        self._drawn = self._spec, self._x
        return draw(self._spec, width, height, self._x, self.glyphs)
