"""A widget that holds a picture and refreshes only what changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.strip import Strip
from textual.widget import Widget

from tuimon.viewer import terminal
from tuimon.viewer.charts.picture import NOTHING, Ground, Picture, Role, Row, is_narrow
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.theme import Ink

if TYPE_CHECKING:
    from typing_extensions import Self


class RowStrip(Strip):
    """A row of a widget.

    Textual's own, asked for one piece, keeps itself as that piece: a ring, so that each row that was ever drawn would
    stay, with all its caches, until garbage is searched.
    """

    __slots__ = ()

    def divide(self, cuts: Iterable[int]) -> Sequence[Strip]:
        """In pieces that end at these cells."""
        inside = [cut for cut in cuts if cut <= self.cell_length]
        return [self] if inside == [self.cell_length] else super().divide(inside)


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
        self._made_of: tuple[object, ...] | None = None
        """What the picture was drawn from, at this size; None: to be drawn."""
        self._strips: dict[int, tuple[Row, Strip]] = {}
        """Rows as they were last handed out, by the identity of what they were made of, which is kept as well: they may
        move."""
        self._handed: tuple[Picture, Region, list[Strip]] | None = None
        """All that was handed out last, of what and for which part."""
        self._worn: dict[tuple[str, ...], Style] = {}
        """How cells of a role on a ground look on this terminal."""
        self._base: Style | None = None
        """What stands behind and around every cell; None: to be asked for."""
        self._is_bare = False

    def show(self, picture: Picture) -> None:
        """Replace the picture; refresh what differs."""
        before, self.picture = self.picture, picture
        changed = picture.changed(before)
        self.rows_changed = len(changed)
        if (before.width, before.height) != (picture.width, picture.height):
            self.refresh()
        elif changed:
            self.refresh(*(Region(first, y, last - first, 1) for y, first, last in changed))

    def refresh(self, *regions: Region, repaint: bool = True, layout: bool = False, recompose: bool = False) -> Self:
        """Textual's own; where it is about parts only, the screen is told at once."""
        if regions and not layout and not recompose and terminal.redraw(self, regions, is_bare=self._is_bare):
            return self
        return super().refresh(*regions, repaint=repaint, layout=layout, recompose=recompose)

    def draw_with(self, painter: Callable[[int, int], Picture], *made_of: object) -> None:
        """Show what `painter(width, height)` draws, now if this is on screen, and again on every resize.

        `made_of`: all that it draws from, where that can be compared: the same again is not drawn again.
        """
        self._painter = painter
        if made_of and made_of == self._made_of:
            return
        self._made_of = made_of if self._draw() else None

    def wear(self, ink: Ink, glyphs: GlyphSet) -> None:
        """Change palette, depth or glyph set; redraws everything."""
        self.ink, self.glyphs = ink, glyphs
        self._forget()
        self._draw()
        self._made_of = None
        self.refresh()

    @property
    def room(self) -> Size:
        """`size`, for which Textual asks the screen each time, where nothing but the picture takes room."""
        return self.outer_size if self._is_bare else self.size

    def on_resize(self) -> None:
        """Draw for the new size."""
        self._forget()
        self._draw()

    def on_show(self) -> None:
        """Draw what was missed while hidden."""
        self._draw()

    def _draw(self) -> bool:
        """Draw what is to be seen; whether it is seen."""
        width, height = self.room
        if self._painter is None or width <= 0 or height <= 0 or not self.is_on_screen:
            return False
        self.show(self._painter(width, height))
        return True

    def notify_style_update(self) -> None:
        """What stands behind the cells may look different from now on."""
        super().notify_style_update()
        self._forget()

    def _forget(self) -> None:
        self._strips, self._worn = {}, {}
        self._base, self._handed, self._is_bare = None, None, False

    def render_lines(self, crop: Region) -> list[Strip]:
        """The rows asked for. The screen asks every widget for all of its rows whenever one row of one has changed.

        Rows that did not change are handed out as they were; a widget with more around its picture (a border, padding,
        opacity) takes the way that all widgets take.
        """
        handed = self._handed
        if handed is not None and handed[0] is self.picture and handed[1] == crop:
            return handed[2]
        if self._base is None:
            self._base, self._is_bare = self.rich_style, not self.gutter and self.opacity == 1.0
        if not self._is_bare or crop.column_span != (0, self.room.width):
            return super().render_lines(crop)
        rows, strips = self.picture.rows, self._strips
        found: list[tuple[Row, Strip]] = []
        for y in crop.line_range:
            row = rows[y] if y < len(rows) else ()
            known = strips.get(id(row))
            if known is None:
                known = row, RowStrip(self.render_line(y), self.room.width)
            found.append(known)
        self._strips = {id(known[0]): known for known in found}
        lines: list[Strip] = [strip for _, strip in found]
        self._handed = self.picture, crop, lines
        return lines

    def render_piece(self, y: int, first: int, last: int) -> Strip | None:
        """Some cells of a row, or None: then they take the way that all widgets take.

        Of most rows that change only the right end does; the rest need not be made again.
        """
        if not self._is_bare or self._base is None or y >= self.picture.height or last > self.picture.width:
            return None
        segments: list[Segment] = []
        at = 0
        for run in self.picture.rows[y]:
            begin, text, narrow = at, run.text, is_narrow(run.text)
            at += len(text) if narrow else cell_len(text)
            if at <= first:
                continue
            if not narrow:   # a wide character may lie across the edge
                return None
            style = self._worn.get(run[1:]) or self._look(self._base, run.role, run.ground)
            segments.append(Segment(text[max(0, first - begin):last - begin], style))
            if at >= last:
                break
        return Strip(segments, last - first)

    def render_line(self, y: int) -> Strip:
        """One row of the picture as styled segments, as the terminal gets them: filtered, which may be done again."""
        width, worn = self.room.width, self._worn
        base = self.rich_style if self._base is None else self._base
        if y >= self.picture.height:
            return Strip.blank(width, base)
        segments = [Segment(run.text, worn.get(run[1:]) or self._look(base, run.role, run.ground))
                    for run in self.picture.rows[y]]
        strip = Strip(segments, self.picture.width)
        return strip if self.picture.width == width else strip.adjust_cell_length(width, base)

    def _look(self, base: Style, role: Role, ground: Ground) -> Style:
        """How such cells look on this terminal."""
        segments = [Segment("", base + self.ink.style(role, ground))]
        for one in self.app.get_line_filters():
            segments = one.apply(segments, self.background_colors[1])
        found = self._worn[role, ground] = segments[0].style or Style.null()
        return found
