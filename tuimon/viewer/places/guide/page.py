"""A chapter for a terminal or a file: its curves as they end, then its text. Pure but for this package's own files."""

from __future__ import annotations

from typing import Final

from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.lines import text_of
from tuimon.viewer.places.guide.content import Chapter
from tuimon.viewer.places.guide.miniatures import MINIATURES, draw_curve
from tuimon.viewer.places.guide.typeset import MEASURE, typeset

ROWS: Final = 10
LEAST: Final = 40


def page(chapter: Chapter, width: int, glyphs: GlyphSet) -> list[str]:
    """The lines, none wider than `width` (at least 40) but for formulas that are."""
    width = max(LEAST, min(width, MEASURE))
    curves = MINIATURES.get(chapter.shows, ())
    side_by_side = len(curves) > 1 and width >= 76
    each = (width - 1) // 2 if side_by_side else width
    pictures = [draw_curve(curve, 1.0, each, ROWS, glyphs).lines for curve in curves]
    if side_by_side:
        rows = [" ".join(pair).rstrip() for pair in zip(*pictures, strict=True)]
    else:
        rows = [row for picture in pictures for row in picture]
    title = glyphs.say(chapter.title)
    text = [text_of(line) for line in typeset(chapter, width, ascii_only=glyphs.name == "ascii")]
    return [title, glyphs.across * len(title), *rows, *([""] if rows else []), *text]
