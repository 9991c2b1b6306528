"""A picture with a heading, drawn from a spec over an axis of steps; where only numbers are new, only its heading."""

from __future__ import annotations

from typing import Generic, TypeVar

from tuimon.diagnosis.axes import XAxis
from tuimon.viewer.charts.alike import heading
from tuimon.viewer.charts.chart import ChartSpec
from tuimon.viewer.charts.heat import HeatSpec
from tuimon.viewer.charts.picture import Picture
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.theme import Ink
from tuimon.viewer.widgets.picture import PictureView

Spec = TypeVar("Spec", ChartSpec, HeatSpec)


class HeadedView(PictureView, Generic[Spec]):
    """Keeps what it drew. A subclass draws, and says what would look the same."""

    _spec: Spec
    _x = XAxis()
    _drawn: tuple[Spec, XAxis] | None = None
    """What the picture was drawn from; None: something else."""
    _heading: tuple[object, ...] = ()
    """What its heading says."""

    def redraw(self) -> None:
        """Show `_spec` over the steps of `_x`."""
        picture, drawn = self.picture, self._drawn
        fits = (picture.width, picture.height) == self.room
        if drawn is not None and drawn[1] == self._x and fits and self._is_alike(drawn[0], self._spec):
            before, self._heading = self._heading, heading(self._spec)
            self.show(picture if before == self._heading else self._headed())
        else:
            self.draw_with(self._draw_whole)

    def wear(self, ink: Ink, glyphs: GlyphSet) -> None:
        """Change palette, depth or glyph set; draws everything."""
        self._drawn = None
        super().wear(ink, glyphs)

    def _draw_whole(self, width: int, height: int) -> Picture:
        self._drawn, self._heading = (self._spec, self._x), heading(self._spec)
        return self._paint(width, height)

    def _paint(self, width: int, height: int) -> Picture:
        """All of it, in so many cells."""
        raise NotImplementedError

    def _is_alike(self, before: Spec, after: Spec) -> bool:
        """Whether below the heading all stays as it is."""
        raise NotImplementedError

    def _headed(self) -> Picture:
        """What is shown, with the heading of `_spec`."""
        raise NotImplementedError
