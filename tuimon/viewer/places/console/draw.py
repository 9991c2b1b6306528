"""The console as a picture. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, Literal

from rich.cells import cell_len

from tuimon.diagnosis.figures import size
from tuimon.viewer.charts.chart import draw_heading
from tuimon.viewer.charts.picture import Canvas, Picture, Role
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.places.console.layout import Piece, pieces, text_of
from tuimon.viewer.places.console.line import LIMIT, Mood
from tuimon.viewer.places.console.model import ConsoleView, Look, compiled, is_plain
from tuimon.viewer.places.console.steep import steepness

FRAMED: Final = 12
"""Rows from which there is room for a frame."""
GUTTER: Final = 2
"""Cells at the left: the glyph of a warning or an error, or of the line that a search led to."""
_BADGES: Final[dict[Mood, Literal["warning", "critical"]]] = {"warning": "warning", "critical": "critical"}
_ROLES: Final[dict[Mood, Role]] = {"plain": "text", "warning": "warning", "critical": "critical"}

MISSING: Final = (
    "Nothing has been printed yet.",
    "What the training process writes to stdout and stderr appears here.",
)
SILENT: Final = ("This run printed nothing.",)
READING: Final = ("Reading what was printed.",)
ELSEWHERE: Final = (
    "What this run prints is not here.",
    "Its script calls tuimon.attach, so its output stays in the terminal or file it was started with.",
    "To have it here as well, start the script with:  tuimon run script.py",
)


def inside(width: int, height: int, look: Look, total: int) -> tuple[int, int]:
    """Cells and rows for text in a picture of that size."""
    framed = height >= FRAMED
    rows = height - 2 if framed else height - 1
    return max(1, width - 2 * framed - GUTTER - _number_width(look, total)), max(1, rows)


def draw(view: ConsoleView, look: Look, width: int, height: int, glyphs: GlyphSet, *, live: bool = True) -> Picture:
    """The lines that are looked at, in a frame that says where that is, and how a search stands."""
    canvas = Canvas(width, height)
    framed = height >= FRAMED
    left, top = (1, 1) if framed else (0, 1)
    columns, rows = inside(width, height, look, view.total)
    shown = pieces(view, look, columns, rows) if view.lines else []
    draw_heading(canvas, title(view, look), position(view, look, shown, width), None,
                 glyphs, framed=framed, focused=False)
    if not shown:
        _explain(canvas, view, glyphs, live=live)
        return canvas.picture()
    numbers = _number_width(look, view.total)
    for y, piece in enumerate(shown, top):
        _put_piece(canvas, view, look, piece, (left, y, columns), numbers, glyphs)
    return canvas.picture()


def title(view: ConsoleView, look: Look) -> str:
    """"console", and what is searched with how often it was found."""
    if not look.pattern:
        return "console"
    reach = steepness(compiled(look.pattern).pattern).reach
    kind = " as plain text" if is_plain(look.pattern) else f", {reach} characters far" if reach < LIMIT // 4 else ""
    found = view.found
    if found is None or found.pattern != look.pattern:
        stands = "nothing to search" if view.state in ("missing", "elsewhere") else "searching"
        return f"console · /{look.pattern}{kind} · {stands}"
    share = "" if found.complete else f" in the first {found.searched:,}"
    if not found.lines:
        return f"console · /{look.pattern}{kind} · " + ("not found" if found.complete else f"none yet{share}")
    rank = f"{found.rank:,} of " if found.rank is not None and look.mark is not None else ""
    lines = "line" if found.lines == 1 else "lines"
    return f"console · /{look.pattern}{kind} · {rank}{found.lines:,} {lines}{share}"


def position(view: ConsoleView, look: Look, shown: list[Piece], width: int) -> str:
    """Where the screen stands among the lines."""
    if view.state == "reading":
        return f"reading, {size(view.size)} so far" if view.size else "reading"
    if not shown:
        return ""
    last = shown[-1].line + 1
    is_short = width < (100 if look.pattern else 60)   # a search needs its room
    where = f"{last:,} of {view.total:,}" if is_short else f"line {last:,} of {view.total:,}"
    if look.follows:
        return f"{where} · following"
    below = view.total - last
    if is_short or width < 80 or not below:
        return where
    return f"{where} · {below:,} below"


def _explain(canvas: Canvas, view: ConsoleView, glyphs: GlyphSet, *, live: bool) -> None:
    said = {"elsewhere": ELSEWHERE, "reading": READING}.get(view.state, MISSING if live else SILENT)
    width = canvas.width - 6
    lines = [row for sentence in said for row in _folded(sentence, width)]
    top = max(1, (canvas.height - len(lines)) // 2)
    for y, line in enumerate(lines[:max(1, canvas.height - 2)], top):
        words = glyphs.say(line)
        canvas.put(max(1, (canvas.width - cell_len(words)) // 2), y, words, "text" if y == top else "note")


def _folded(sentence: str, width: int) -> list[str]:
    return textwrap.wrap(sentence, max(10, width), break_on_hyphens=False)


def _number_width(look: Look, total: int) -> int:
    return len(f"{max(total, 999):,}") + 1 if look.numbers else 0


def _put_piece(canvas: Canvas, view: ConsoleView, look: Look, piece: Piece, place: tuple[int, int, int], numbers: int,
               glyphs: GlyphSet) -> None:
    left, y, columns = place
    line = view.lines[piece.line - view.first]
    role = _ROLES[line.mood]
    if numbers:
        number = f"{piece.line + 1:,}" if piece.row == 0 else ""
        canvas.put(left, y, number.rjust(numbers - 1), "label")
        left += numbers
    if piece.row == 0 or not look.wrap:
        state = _BADGES.get(line.mood)
        if piece.line == look.mark:
            canvas.put(left, y, glyphs.say("▸"), "value")
        elif state is not None:
            canvas.put(left, y, glyphs.badges[state], state)
    else:
        # its line goes on here
        canvas.put(left, y, *((glyphs.down, "label") if piece.line == look.mark else (glyphs.onset, "note")))
    left += GUTTER
    x = left
    for text, hit in _marked(view, look, piece):
        words = glyphs.say(text)
        after = canvas.put(x, y, words, "value" if hit else role)
        if hit:
            canvas.ground(x, y, after - x, "usual")
        x = after
    if not look.wrap and cell_len(text_of(view, piece.line)) > look.left + columns:
        canvas.put(left + columns - 1, y, glyphs.ellipsis, "note")


def _marked(view: ConsoleView, look: Look, piece: Piece) -> Iterator[tuple[str, bool]]:
    """The row in parts: what is searched, and what is not."""
    if not look.pattern or not piece.text:
        yield piece.text, False
        return
    whole = text_of(view, piece.line)
    if look.wrap:
        start, end = piece.start, piece.start + len(piece.text)
    elif whole.isascii():
        start, end = look.left, look.left + len(piece.text)
    else:
        start, end = 0, len(piece.text)
        whole = piece.text   # cells and characters differ: what is cut in two is not marked
    at = start
    for first, last in _found(look.pattern, whole):
        a, b = max(start, first), min(end, last)
        if a < b:
            yield whole[at:a], False
            yield whole[a:b], True
            at = b
    yield whole[at:end], False


@lru_cache(1024)
def _found(pattern: str, text: str) -> tuple[tuple[int, int], ...]:
    """Where a line holds it, as far as it is searched."""
    within = text[:steepness(compiled(pattern).pattern).reach]
    return tuple(found.span() for found in compiled(pattern).finditer(within))
