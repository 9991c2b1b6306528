"""Which rows of which lines are on the screen, and where scrolling leads. Pure.

A place is a line and a row in it; a line is one row where lines are cut, and as many as it takes where they wrap. Of
lines that have not been read yet one row is assumed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from rich.cells import cell_len, chop_cells

from tuimon.viewer.places.console.model import ConsoleView, Look


@dataclass(frozen=True, slots=True)
class Piece:
    """One row on the screen."""

    line: int
    """Number of its line, counted from 0."""
    row: int
    start: int
    """Characters of the line that are before it."""
    text: str


def broken(text: str, width: int) -> list[str]:
    """The text in rows of at most `width` cells; at least one, which may be empty."""
    if len(text) <= width and (text.isascii() or cell_len(text) <= width):
        return [text]
    if text.isascii():
        return [text[i:i + width] for i in range(0, len(text), width)]
    return chop_cells(text, width)


def height_of(view: ConsoleView, look: Look, line: int, width: int) -> int:
    """Rows that a line takes."""
    if not look.wrap or not view.first <= line < view.after:
        return 1
    return len(broken(text_of(view, line), width))


def text_of(view: ConsoleView, line: int) -> str:
    """What a line says, with why it ends early."""
    shown = view.lines[line - view.first]
    return f"{shown.text} … {shown.cut}" if shown.cut else shown.text


def top_of(view: ConsoleView, look: Look, width: int, height: int) -> tuple[int, int]:
    """Line and row at the top of the screen: never so far down that rows below stay empty."""
    last = _last_top(view, look, width, height)
    return last if look.top is None else min((look.top, look.row), last)


def _last_top(view: ConsoleView, look: Look, width: int, height: int) -> tuple[int, int]:
    line, used = view.total, 0
    while line > 0 and used < height:
        line -= 1
        used += height_of(view, look, line, width)
    return line, max(0, used - height)


def covers(view: ConsoleView, look: Look, width: int, height: int) -> bool:
    """Whether all the lines on the screen have been read."""
    first, _ = top_of(view, look, width, height)
    return view.first <= first and view.after >= min(view.total, first + height)


def pieces(view: ConsoleView, look: Look, width: int, height: int) -> list[Piece]:
    """The rows on the screen; lines that were not read are left out."""
    line, row = top_of(view, look, width, height)
    found: list[Piece] = []
    line, row = (line, row) if line >= view.first else (view.first, 0)
    while line < view.after and len(found) < height:
        text = text_of(view, line)
        rows = broken(text, width) if look.wrap else [cut(text, look.left, width)]
        start = sum(map(len, rows[:row])) if look.wrap else look.left
        for i in range(row, min(len(rows), row + height - len(found))):
            found.append(Piece(line, i, start, rows[i]))
            start += len(rows[i])
        line, row = line + 1, 0
    return found


def cut(text: str, left: int, width: int) -> str:
    """`width` cells of a text, from cell `left` on; halves of wide characters are spaces."""
    if text.isascii():
        return text[left:left + width]
    found, at = "", 0
    for character in text:
        cells = cell_len(character)
        if at >= left + width:
            break
        if at + cells > left + width or at < left < at + cells:
            found += " "
        elif at >= left:
            found += character
        at += cells
    return found


def scrolled(view: ConsoleView, look: Look, by: int, width: int, height: int) -> Look:
    """So many rows further down (up: negative). Up from the newest stops following; the way down never starts it."""
    line, row = top_of(view, look, width, height)
    if look.follows and by >= 0:
        return look
    while by < 0 and (line, row) > (0, 0):
        step = min(row, -by)
        row, by = row - step, by + step
        if by < 0 and line > 0:
            line -= 1
            row = height_of(view, look, line, width)
    while by > 0 and line < view.total:
        rest = height_of(view, look, line, width) - row
        if by < rest:
            row, by = row + by, 0
        else:
            line, row, by = line + 1, 0, by - rest
    line, row = min((line, row), _last_top(view, look, width, height))
    return replace(look, top=line, row=row)
