"""The guide as pictures: the list of chapters, and the text of one. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from tuimon.viewer.arrange import put_lines
from tuimon.viewer.charts.chart import draw_heading
from tuimon.viewer.charts.picture import Canvas, Picture
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.lines import Line, Span, dim
from tuimon.viewer.places.guide.content import Chapter, chapters
from tuimon.viewer.places.guide.miniatures import MINIATURES
from tuimon.viewer.places.guide.typeset import MEASURE, typeset

NARROW: Final = 72
"""Columns below which the list stands above the text."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How the guide divides what is between header and footer."""

    kind: Literal["above", "beside", "wide"]
    """List above; list beside the text, and curves over it; curves beside the text as well."""
    listed: int
    """Columns of the list, or its rows where it stands above."""
    curves: int
    """Rows of the curves over the text, or columns beside it; 0: there is no room for them."""


def shape(width: int, height: int, charts: int) -> Shape:
    """The division for a body of that size and a chapter with so many charts."""
    if width < NARROW:
        listed = 5 if height >= 16 else 3
        return Shape("above", listed, 7 if charts and height >= 21 else 0)
    listed = 34 if width >= 150 else 29 if width >= 100 else 25
    if width - listed >= MEASURE + 4 + 44 and height >= 20:
        return Shape("wide", listed, min(72, width - listed - MEASURE - 4) if charts else 0)
    curves = 0 if not charts or height < 18 else max(7, min(12, height // 3))
    return Shape("beside", listed, curves)


@dataclass(frozen=True, slots=True)
class Look:
    """Which chapter one person reads, and how far."""

    at: int = 0
    """Index of the chapter."""
    line: int = 0
    """First line of the text that is shown."""

    @property
    def chapter(self) -> Chapter:
        """The chapter."""
        return chapters()[self.at]

    @property
    def charts(self) -> int:
        """How many charts its miniature has."""
        return len(MINIATURES.get(self.chapter.shows, ()))

    def moved(self, by: int) -> Look:
        """Another chapter, from its beginning."""
        at = max(0, min(len(chapters()) - 1, self.at + by))
        return self if at == self.at else Look(at)

    def read(self, by: int, count: int, rows: int) -> Look:
        """Further on (back: negative) in a text of `count` lines of which `rows` are shown."""
        return replace(self, line=max(0, min(self.line + by, count - rows)))


def inside(width: int, height: int) -> tuple[int, int]:
    """Cells and rows for text in a frame of that size; one column stays free at either side."""
    return max(1, width - 4), max(1, height - 2)


def text_lines(chapter: Chapter, width: int, glyphs: GlyphSet) -> list[Line]:
    """The chapter's lines for a frame of that width."""
    return typeset(chapter, inside(width, 3)[0], ascii_only=glyphs.name == "ascii")


def draw_list(look: Look, width: int, height: int, glyphs: GlyphSet) -> Picture:
    """The chapters, those within another indented; the chosen one is always seen."""
    canvas = Canvas(width, height)
    framed = height >= 4
    draw_heading(canvas, "guide", f"{look.at + 1} of {len(chapters())}", None, glyphs, framed=framed, focused=False)
    top, rows = _listed(look, height)
    lines = [_entry(one, chosen=i == look.at) for i, one in enumerate(chapters())][top:top + rows]
    edge = 2 if framed else 0
    put_lines(canvas, lines, edge, 1, width - 2 * edge, rows, glyphs)
    return canvas.picture()


def _listed(look: Look, height: int) -> tuple[int, int]:
    """The first chapter that a list of that height shows, and how many it has room for."""
    rows = max(1, height - 2 if height >= 4 else height - 1)
    return max(0, min(look.at - rows // 2, len(chapters()) - rows)), rows


def clicked(look: Look, y: int, height: int) -> Look:
    """The chapter that stands in that row of the list; the same where none does."""
    top, rows = _listed(look, height)
    return look.moved(top + y - 1 - look.at) if 1 <= y <= rows and top + y <= len(chapters()) else look


def _entry(chapter: Chapter, *, chosen: bool) -> Line:
    return (Span("▸ " if chosen else "  ", "strong"), dim("  " if chapter.within else ""),
            Span(chapter.listed, "strong" if chosen else "plain"))


def draw_text(look: Look, width: int, height: int, glyphs: GlyphSet) -> Picture:
    """The chapter's text, in a frame that says how far it goes on."""
    canvas = Canvas(width, height)
    lines = text_lines(look.chapter, width, glyphs)
    _, rows = inside(width, height)
    line = max(0, min(look.line, len(lines) - rows))
    draw_heading(canvas, look.chapter.title, _how_far(lines, line, rows), None, glyphs, framed=height >= 4,
                 focused=False)
    put_lines(canvas, lines[line:], 2, 1, width - 4, rows, glyphs)
    return canvas.picture()


def _how_far(lines: Sequence[Line], line: int, rows: int) -> str:
    left = len(lines) - line - rows
    if left > 0:
        return f"{left} more"
    return "end" if len(lines) > rows else ""
