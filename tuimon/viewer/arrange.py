"""From a frame to lines that fit: header, badges, verdict, events, footer, each for a given width. Pure.

A layout function takes (frame, width, height) and returns at most `height` lines; what does not fit is shortened where
it matters least. `paint` makes a picture of lines, so that words and charts reach the terminal the same way: as cells
with a role, never as markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final

from rich.cells import cell_len

from tuimon.diagnosis.figures import percent
from tuimon.diagnosis.figures import step as steps
from tuimon.viewer.actions import actions_at, find, footer
from tuimon.viewer.charts.picture import Canvas, Picture, Role, Row
from tuimon.viewer.first import SHORT
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.lines import Line, Span, Tone, dim, joined, text_of
from tuimon.viewer.painted import word_row
from tuimon.viewer.text import fit
from tuimon.viewer.views import GONE, BadgeView, Frame
from tuimon.viewer.wanted import Place

WIDE: Final = 100
"""Columns from which the full wording is used."""
ROLES: Final[dict[Tone, Role]] = {
    "plain": "text", "dim": "note", "strong": "value", "ok": "good", "info": "info", "warning": "warning",
    "critical": "critical", "key": "value",
}


def paint(lines: Sequence[Line], width: int, height: int, glyphs: GlyphSet) -> Picture:
    """The lines as a picture of exactly that size; too long ones are cut with an ellipsis."""
    width, height = max(1, width), max(1, height)
    rows = [word_row(tuple(_cut(line, width, glyphs)), width) for line in lines[:height]]
    return Picture(width, (*rows, *(word_row((), width) for _ in range(height - len(rows)))))


def boxed(line: Line, width: int, glyphs: GlyphSet, side: str) -> Row:
    """A line as a row of a box, a blank from either side of it; side "": of no box."""
    edge: tuple[tuple[str, Role], ...] = ((side, "frame"), (" ", "blank"))
    inner = max(0, width - (4 if side else 2))
    words = tuple(_cut(line, inner, glyphs))
    rest = " " * (inner - sum(cell_len(text) for text, _ in words))
    return word_row((*edge, *words, (rest, "blank"), *edge[::-1]), width)


def _cut(line: Line, width: int, glyphs: GlyphSet) -> Iterator[tuple[str, Role]]:
    """The spans that fit into `width` cells; where words are left over the last one ends with an ellipsis."""
    left = width
    last = max((i for i, span in enumerate(line) if span.text.strip()), default=0)
    for i, (text, tone) in enumerate(line):
        words = glyphs.say(text)
        cells = cell_len(words)
        if cells >= left:
            words = words.rstrip(" ") if i >= last else f"{words} "
        yield fit(words, left, glyphs.ellipsis), ROLES[tone]
        left -= cells
        if left <= 0:
            return


def put_lines(canvas: Canvas, lines: Sequence[Line], at_x: int, at_y: int, width: int, height: int,
              glyphs: GlyphSet) -> None:
    """The lines on a part of a canvas; too long ones are cut with an ellipsis."""
    for y, line in enumerate(lines[:height], at_y):
        x = at_x
        for words, role in _cut(line, width, glyphs):
            x = canvas.put(x, y, words, role)


def _length(line: Iterable[Span]) -> int:
    return sum([len(text) if text.isascii() else cell_len(text) for text, _ in line])


def wrap(line: Line, width: int) -> list[Line]:
    """The line broken at spaces into lines of at most `width` cells; a word may be in several tones."""
    if line and line[0].text[:1] not in ("", " ") and _length(line) <= width:
        return [line]
    words: list[list[Span]] = [[]]
    for text, tone in line:
        for piece in re.findall(r"[^ ]+ ?| ", text):
            if words[-1] and words[-1][-1].text.endswith(" "):
                words.append([])
            words[-1].append(Span(piece, tone))
    rows: list[list[Span]] = [[]]
    used = 0
    for word in words:
        letters = text_of(tuple(word))
        if used > 0 and letters.strip() and used + cell_len(letters.rstrip(" ")) > width:
            rows.append([])
            used = 0
        if letters.strip() or used:
            rows[-1] += word
            used += cell_len(letters)
    return [tuple(row) for row in rows]


def header(frame: Frame, width: int, height: int) -> list[Line]:
    """Name, model, device; step, progress, ETA, state."""
    del height
    head, wide = frame.header, width >= WIDE
    status = Span(f"{head.status} ", head.tone)
    count = steps(head.step) + (f"/{steps(head.total)}" if head.total else "")
    right: list[Span] = [dim("step "), Span(f"{count} ")] if head.step or head.total else []
    fraction = head.fraction
    if fraction is not None and width >= 60:
        cells = 18 if wide else 12
        full = round(fraction * cells)
        right += [Span("━" * full, "info"), dim("─" * (cells - full)), Span(f" {percent(fraction)}")]
    if head.eta and wide:
        right += [dim("  ETA "), Span(head.eta)]
    right += [Span("  "), *([Span("read-only  ", "info")] if frame.barred else []), status]
    room = width - _length(right) - 2
    name = Span(head.name, "strong")
    left: Line = ()
    for what in (head.what, head.device) if wide else (head.device,):
        left = (dim(" tuimon  "), name, dim(f" · {what}" if what else ""))
        if _length(left) <= room:
            break
    if _length(left) > room:
        left = (dim(" tuimon  "), name)
    if _length(left) > room:
        left = (Span(" "), Span(fit(head.name, max(1, room - 1)), "strong"))
    gap = " " * max(1, width - _length(left) - _length(right))
    return [(*left, Span(gap), *right)]


def _is_calm(badge: BadgeView) -> bool:
    return badge.tone in ("ok", "dim")


def _badge(badge: BadgeView, label: str, word: str) -> Line:
    calm = _is_calm(badge)
    tail = (Span(f" {word}", "dim" if calm else badge.tone),) if word else ()
    return (Span(f"{badge.glyph} ", badge.tone), Span(label, "dim" if calm else "strong"), *tail)


def _shortened(badge: BadgeView, level: int) -> Line:
    return _badge(badge, SHORT.get(badge.label, (badge.label, badge.label))[level], "")


Placed = tuple[Line, BadgeView]
"""The words of a badge, and the badge."""


def _counted(badges: Sequence[BadgeView]) -> list[Placed]:
    """What is not calm by name, the rest as numbers."""
    found = [(_shortened(b, 1), b) for b in badges if not _is_calm(b)]
    tones: tuple[tuple[Tone, str, str], ...] = (("ok", "●", "ok"), ("dim", "◌", "–"))
    for tone, glyph, word in tones:
        count = sum(b.tone == tone for b in badges)
        if count:
            found.append(((Span(f"{glyph} ", tone), dim(f"{count} {word}")), BadgeView("", word, glyph, tone)))
    return found


def badges(frame: Frame, width: int, height: int) -> list[Line]:
    """One badge per category; where there is little room calm words go first, then all, then letters.

    At the right: our own cost.
    """
    del height
    return [_in_a_row(frame.badges, frame.header.cost, width)]


def badge_at(frame: Frame, width: int, column: int) -> BadgeView | None:
    """The badge that stands in a column of that row; None between them. One without a label stands for several."""
    gap, found = _fitted(frame.badges, width)
    at = 1
    for line, badge in found:
        end = at + _length(line)
        if at <= column < end:
            return badge
        at = end + len(gap)
    return None


@lru_cache(maxsize=64)
def _fitted(badges: tuple[BadgeView, ...], width: int) -> tuple[str, tuple[Placed, ...]]:
    """In the widest form that fits: what stands between the badges, and each of them."""
    telling = [(_badge(b, b.label, "" if _is_calm(b) else b.word), b) for b in badges]
    forms: tuple[tuple[str, list[Placed]], ...] = (
        ("   ", [(_badge(b, b.label, b.word), b) for b in badges]),
        ("  ", [(_badge(b, b.label, b.word), b) for b in badges]),
        ("  ", telling),
        (" ", telling),
        ("  ", [(_badge(b, b.label, ""), b) for b in badges]),
        ("  ", [(_shortened(b, 0), b) for b in badges]),
        (" ", [(_shortened(b, 1), b) for b in badges]),
        (" ", _counted(badges)),
        (" ", [(_badge(b, b.label[:1], ""), b) for b in badges]),
    )
    fitting = (form for form in forms
               if 1 + sum(_length(line) for line, _ in form[1]) + len(form[0]) * (len(form[1]) - 1) <= width)
    gap, found = next(fitting, forms[-1])
    return gap, tuple(found)


@lru_cache(maxsize=64)
def _in_a_row(badges: tuple[BadgeView, ...], cost: str, width: int) -> Line:
    gap, found = _fitted(badges, width)
    line: Line = (Span(" "), *(
        span for i, (badge, _) in enumerate(found) for span in ((Span(gap),) if i else ()) + badge))
    words = f"tuimon takes {cost} " if cost else ""
    free = width - _length(line) - len(words)
    return (*line, Span(" " * free), dim(words)) if words and free >= 3 else line


def _trim(line: Line, width: int) -> Line:
    """Without the dim tail, where that does not fit."""
    while len(line) > 1 and line[-1].tone == "dim" and _length(line) > width:
        line = line[:-1]
    return line


def verdict(frame: Frame, width: int, height: int) -> list[Line]:
    """The verdict behind its bar; spare rows let long lines wrap."""
    bar = Span("┃ ", frame.tone)
    lines = [_trim(line, width - 3) for line in (frame.verdict if width >= WIDE else frame.narrow) if line]
    spare = height - len(lines)
    rows: list[Line] = []
    for line in lines:
        parts = wrap(line, width - 3)
        take = min(len(parts), 1 + max(0, spare))
        spare -= take - 1
        rows += parts[: take - 1]
        rows.append(_sentences(joined(parts[take - 1:]), width - 3))
    return [(bar, *row) for row in rows[:height]]


def _sentences(line: Line, width: int) -> Line:
    """Its sentences that fit; where the first of them does not, the painter cuts it."""
    if _length(line) <= width or len(line) > 1:
        return line
    (words, tone), = line
    end = words.rfind(". ", 0, width)
    return (Span(words[:end + 1], tone),) if end >= width // 3 else line


def events(frame: Frame, width: int, height: int) -> list[Line]:
    """The latest events that fit, oldest first; what keeps the viewer from reading stands first of all."""
    entries: list[Line] = [
        (dim(f"{steps(e.step)} "), Span(f"{e.glyph} ", e.tone), Span(e.text, "plain" if e.tone != "dim" else "dim"))
        for e in frame.events[-8 * height:]
    ]
    rows: list[Line] = []
    if frame.problem:
        advice = {"refused": f": press {find('log_in').shown} to log in again", "gone": f": {GONE}"}.get(frame.way, "")
        rows.append((Span(f" ▲ {frame.problem}{advice}", "warning"),))
    while entries and len(rows) < height:
        taken: list[Line] = [entries.pop()]
        used = 1 + _length(taken[0])
        while entries and used + 4 + _length(entries[-1]) <= width:
            used += 4 + _length(entries[-1])
            taken.insert(0, entries.pop())
        row = (Span(" "), *(span for i, entry in enumerate(taken) for span in ((Span("    "),) if i else ()) + entry))
        rows.insert(1 if frame.problem else 0, row)
    return rows


def footer_keys(frame: Frame, width: int, height: int, *, place: Place = "overview") -> list[Line]:
    """The keys, from the table of actions: as many as fit, the weightiest."""
    del height
    if frame.flash:
        return [(Span(f" {frame.flash}", "warning"),)]
    return [_fitting(footer(frame, place), width, place)]


@lru_cache(maxsize=64)
def _fitting(known: tuple[tuple[int, Line], ...], width: int, place: Place) -> Line:
    entries = list(known)
    while len(entries) > 1 and _length(_keys(entries, place)) >= width:
        lightest = min(weight for weight, _ in entries)
        del entries[max(i for i, (weight, _) in enumerate(entries) if weight == lightest)]
    return _keys(entries, place)


def _keys(entries: Sequence[tuple[int, Line]], place: Place) -> Line:
    """One row of them, those that act on the run apart."""
    runs = {action.shown for action in actions_at(place) if action.group == "run"}
    line: list[Span] = [Span(" ")]
    for i, (_, entry) in enumerate(entries):
        parted = i and entries[i - 1][1][0].text in runs and entry[0].text not in runs
        line += [dim("  │  " if parted else "  " if i else ""), *entry]
    return tuple(line)


def too_small(frame: Frame, width: int, height: int) -> list[Line]:
    """Below 40x10: the state and what would help."""
    leading = text_of(frame.narrow[0]) if frame.narrow else ""
    lines: list[Line] = [
        (Span(frame.header.status, frame.header.tone),), (Span(leading, frame.tone),),
        (dim(f"{width}x{height} is too small: 40x10 is needed"),),
    ]
    return [row for line in lines for row in wrap(line, max(1, width))][: max(1, height)]
