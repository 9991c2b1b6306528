"""An update of the cells that changed, asked of the widgets that they belong to. A part of Textual, done again.

Textual 8.2 asks every widget in sight for all of its rows at each update, cuts them at the edges of all others, and
sends each row from its widget's left edge on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from rich.console import Console
from textual._compositor import Compositor, CompositorUpdate
from textual.geometry import Region
from textual.strip import Strip
from textual.widget import Widget

_PRIVATE: Final = ("layers_visible", "_dirty_regions", "_regions_to_spans")
"""What it needs that Textual may rename at any time."""

Piece = tuple[int, int, Strip]
"""Row, first column, and what stands there."""


@dataclass(frozen=True, slots=True)
class Pieces(CompositorUpdate):
    """Parts of rows of the screen."""

    pieces: tuple[Piece, ...]

    def render_segments(self, console: Console) -> str:
        """As the terminal gets them."""
        return "".join(f"\x1b[{y + 1};{x + 1}H{strip.render(console)}" for y, x, strip in self.pieces)


class PiecewiseCompositor(Compositor):
    """Textual's own, whose partial updates are pieces."""

    def render_partial_update(self) -> Pieces | None:  # type: ignore[override]  # both are updates
        """What has changed; None where nothing has."""
        regions = self._dirty_regions.copy()
        self._dirty_regions.clear()
        return Pieces(tuple(self._pieces(regions))) if regions else None

    def _pieces(self, regions: set[Region]) -> Iterator[Piece]:
        """All cells of these regions, each of the widget that is in front there."""
        rows = self.layers_visible
        drawn: dict[Widget, list[Strip]] = {}
        for y, first, last in self._regions_to_spans(regions):
            bare = [(first, last)] if 0 <= y < len(rows) else []
            for widget, shown, region in rows[y] if bare else ():
                behind: list[tuple[int, int]] = []
                for begin, end in bare:
                    left, right = max(begin, shown.x), min(end, shown.right)
                    if left >= right:
                        behind.append((begin, end))
                        continue
                    yield _asked(widget, y, left, right, region) or _cut(widget, y, left, right, shown, region, drawn)
                    behind += [(a, b) for a, b in ((begin, left), (right, end)) if a < b]
                bare = behind
                if not bare:
                    break


def _asked(widget: Widget, y: int, left: int, right: int, region: Region) -> Piece | None:
    """A piece of a widget that knows how to make one."""
    ask = getattr(widget, "render_piece", None)
    strip = None if ask is None else ask(y - region.y, left - region.x, right - region.x)
    return None if strip is None else (y, left, strip)


def _cut(widget: Widget, y: int, left: int, right: int, shown: Region, region: Region,
         drawn: dict[Widget, list[Strip]]) -> Piece:
    """A piece cut from a widget's rows, which are kept in `drawn` for the next one."""
    if widget not in drawn:
        drawn[widget] = widget.render_lines(shown.translate(-region.offset))
    strip = drawn[widget][y - shown.y]
    at = _begin_of_character(strip, left - shown.x)
    return y, shown.x + at, strip.crop(at, right - shown.x)


def compositor() -> Compositor:
    """One for a screen: by pieces, or Textual's own where its parts have changed."""
    found = PiecewiseCompositor()
    return found if all(hasattr(found, name) for name in _PRIVATE) else Compositor()


def _begin_of_character(strip: Strip, cell: int) -> int:
    """The cell itself, or the one before it where it is the second of a wide character."""
    if not cell or strip.cell_length == len(strip.text):   # one cell each
        return cell
    return cell if strip.text.startswith(strip.crop(0, cell).text) else cell - 1
