"""A chapter as lines of a given width. Pure."""

from __future__ import annotations

import re
from typing import Final

from rich.cells import cell_len

from tuimon.viewer.arrange import wrap
from tuimon.viewer.glyphs import ascii_of
from tuimon.viewer.lines import Line, Span, dim, key
from tuimon.viewer.places.guide.content import TIED, Block, Chapter

MEASURE: Final = 84
"""Cells in a line of text, at most: longer ones are hard to read."""
INDENT: Final = "  "
"""Before a formula."""
_SIGNS: Final = str.maketrans({"←": "<-", "≈": "~", "≤": "<=", "½": "0.5", "²": "^2", "√": "sqrt ", "ᵀ": "'", "✗": "X"})
_TIMES: Final = re.compile(r"(?<=\S)·(?=\S)")


def typeset(chapter: Chapter, width: int, *, ascii_only: bool = False) -> list[Line]:
    """Summary, body, what to try. No line is longer than `width` cells."""
    width = max(20, min(width, MEASURE))
    lines: list[Line] = _flow((Span(chapter.summary, "info"),), width)
    before = ""
    for block in chapter.blocks:
        if block.kind != before or block.kind == "text":
            lines.append(())
        lines += _block(block, width)
        before = block.kind
    lines.append(())
    for i, command in enumerate(chapter.tries):
        lines += _flow((key(command),), width, "Try it:  " if i == 0 else " " * 9)
    if chapter.rules:
        lines += _flow(_manual(chapter.rules), width, "Manual:  ")
    return [_plain(line) for line in lines] if ascii_only else lines


def _manual(rules: tuple[str, ...]) -> Line:
    return (key(f"tuimon explain {rules[0]}"), *(span for rule in rules[1:] for span in (dim(", "), key(rule))))


def _block(block: Block, width: int) -> list[Line]:
    if block.kind == "formula":
        rows = wrap(block.line, width - 2 * len(INDENT))
        whole = sum(map(cell_len, (span.text for span in block.line))) <= width - len(INDENT)
        return [(Span(INDENT), *block.line)] if whole else [
            (Span(INDENT), *(() if i == 0 else (Span(INDENT),)), *_trimmed(row)) for i, row in enumerate(rows)]
    return _flow(block.line, width, block.mark)


def _flow(line: Line, width: int, mark: str = "") -> list[Line]:
    """The line wrapped; `mark` stands before it, and as much room before what follows."""
    lead = len(mark)
    rows = [_trimmed(row) for row in wrap(line, width - lead)]
    return [(dim(mark if i == 0 else " " * lead), *row) for i, row in enumerate(rows)] if mark else rows


def _trimmed(row: Line) -> Line:
    """Without the space at its end, which would not fit; tied words are parted now."""
    row = tuple(Span(text.replace(TIED, " "), tone) for text, tone in row)
    while row and not row[-1].text.strip():
        row = row[:-1]
    return (*row[:-1], Span(row[-1].text.rstrip(), row[-1].tone)) if row else row


def _plain(line: Line) -> Line:
    """The line for terminals that draw nothing else: signs become what is typed in their place."""
    is_formula = bool(line) and line[0].text == INDENT
    found = []
    for text, tone in line:
        words = text.replace("·", "*") if is_formula or tone == "key" else _TIMES.sub("*", text)
        found.append(Span(ascii_of(words.translate(_SIGNS)), tone))
    return tuple(found)
