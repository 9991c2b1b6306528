"""A widget that holds a picture and refreshes only the rows that changed."""

from __future__ import annotations

from textual.widget import Widget

from tuimon.viewer.charts.picture import NOTHING, Picture
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.theme import Ink


class PictureView(Widget):
    """Shows pictures; `rows_changed` counts the rows refreshed by the last `show`."""

    def __init__(self, ink: Ink, glyphs: GlyphSet, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - textual's own name
        super().__init__(id=id, classes=classes)
        self.picture: Picture = NOTHING
        self.rows_changed = 0

    def show(self, picture: Picture) -> None:
        """Replace the picture; refresh what differs."""
        raise NotImplementedError

    def wear(self, ink: Ink, glyphs: GlyphSet) -> None:
        """Change palette, depth or glyph set; redraws everything."""
        raise NotImplementedError
