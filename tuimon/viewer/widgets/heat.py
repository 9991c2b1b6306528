"""The heat strip in the panel: keeps its spec, draws at its own size; only its heading where nothing else is new."""

from __future__ import annotations

from tuimon.diagnosis.axes import XAxis
from tuimon.viewer.charts.alike import headed, heats_alike
from tuimon.viewer.charts.heat import HeatSpec, draw, is_framed
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
        picture, drawn = self.picture, self._drawn
        fits = (picture.width, picture.height) == tuple(self.size)
        if drawn is not None and drawn[1] == x and fits and heats_alike(drawn[0], spec):
            if is_framed(spec, picture.width, picture.height):
                self.show(headed(picture, spec, self.glyphs, framed=True))
        else:
            self.draw_with(self._paint)

    def wear(self, ink: Ink, glyphs: GlyphSet) -> None:
        """Change palette, depth or glyph set; draws everything."""
        self._drawn = None
        super().wear(ink, glyphs)

    def _paint(self, width: int, height: int) -> Picture:
        self._drawn = self._spec, self._x
        return draw(self._spec, width, height, self._x, self.glyphs)
