"""A widget that holds a picture and refreshes only what changed."""

from __future__ import annotations

from collections.abc import Callable

from rich.segment import Segment
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

from tuimon.viewer.charts.picture import NOTHING, Picture
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.theme import Ink


class PictureView(Widget):
    """Shows pictures; `rows_changed` counts the rows refreshed by the last `show`."""

    DEFAULT_CSS = "PictureView { width: 1fr; height: 1fr; }"

    def __init__(self, ink: Ink, glyphs: GlyphSet, *, id: str | None = None, classes: str | None = None) -> None:  # noqa: A002 - textual's own name
        super().__init__(id=id, classes=classes)
        self.ink = ink
        self.glyphs = glyphs
        self.picture: Picture = NOTHING
        self.rows_changed = 0
        self._painter: Callable[[int, int], Picture] | None = None

    def show(self, picture: Picture) -> None:
        """Replace the picture; refresh what differs."""
        before, self.picture = self.picture, picture
        changed = picture.changed(before)
        self.rows_changed = len(changed)
        if (before.width, before.height) != (picture.width, picture.height):
            self.refresh()
        elif changed:
            self.refresh(*(Region(first, y, last - first, 1) for y, first, last in changed))

    def draw_with(self, painter: Callable[[int, int], Picture]) -> None:
        """Show what `painter(width, height)` draws, now if this is on screen, and again on every resize."""
        self._painter = painter
        self._draw()

    def wear(self, ink: Ink, glyphs: GlyphSet) -> None:
        """Change palette, depth or glyph set; redraws everything."""
        self.ink, self.glyphs = ink, glyphs
        self._draw()
        self.refresh()

    def on_resize(self) -> None:
        """Draw for the new size."""
        self._draw()

    def on_show(self) -> None:
        """Draw what was missed while hidden."""
        self._draw()

    def _draw(self) -> None:
        width, height = self.size
        if self._painter is not None and width > 0 and height > 0 and self.is_on_screen:
            self.show(self._painter(width, height))

    def render_line(self, y: int) -> Strip:
        """One row of the picture as styled segments."""
        width = self.size.width
        base = self.rich_style
        if y >= self.picture.height:
            return Strip.blank(width, base)
        style, row = self.ink.style, self.picture.rows[y]
        strip = Strip([Segment(run.text, base + style(run.role, run.ground)) for run in row], self.picture.width)
        return strip if self.picture.width == width else strip.adjust_cell_length(width, base)
