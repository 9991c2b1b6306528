"""The two tables of the place: where the time of a step goes, and the processes. Pure."""

from __future__ import annotations

import math
from typing import Final

from tuimon.diagnosis.figures import UNKNOWN
from tuimon.viewer.arrange import put_lines
from tuimon.viewer.charts.picture import Picture, Role
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.lines import Line, Span, dim
from tuimon.viewer.machine.model import Process
from tuimon.viewer.places.system import words
from tuimon.viewer.places.system.layout import FRAMED
from tuimon.viewer.places.system.model import Choice, SystemView, hidden_of, ordered
from tuimon.viewer.places.system.panels import Inside, Style
from tuimon.viewer.places.system.steps import Part, PartName, StepTimes
from tuimon.viewer.text import fit, pad

_MARKS: Final[dict[PartName, tuple[str, str, Role]]] = {
    "data": ("▒", ":", "data-3"), "rest": ("█", "#", "data"), "optimizer": ("▓", "=", "data-4"),
    "tuimon": ("░", ".", "data-2")}
"""Pattern, its ASCII form and role of a part: told apart without colour."""
_LABEL: Final = 20
_SHORT: Final = 17
"""Cells for what a step's time goes into."""
_THREADED: Final = 45
"""Width from which there is room for the threads of a process, too."""
_ORDERS: Final = {"tree": "", "cpu": " by cpu", "memory": " by memory"}


def mark_of(name: PartName, glyphs: GlyphSet) -> str:
    """The pattern of a part."""
    return _MARKS[name][glyphs.name == "ascii"]


def stacked(parts: tuple[Part, ...], width: int) -> list[int]:
    """Cells of each part, `width` together: each to the nearest, what is left over to the greatest remainders.

    A part that is there at all gets a cell while there are enough.
    """
    exact = [max(0.0, part.share) * width for part in parts]
    found = [int(value) for value in exact]
    for i in sorted(range(len(parts)), key=lambda i: found[i] - exact[i])[:max(0, width - sum(found))]:
        found[i] += 1
    for i, part in enumerate(parts):
        widest = max(range(len(parts)), key=lambda k: found[k])
        if part.share > 0 and not found[i] and found[widest] > 1:
            found[i], found[widest] = 1, found[widest] - 1
    return found


def step(view: SystemView, size: tuple[int, int], style: Style) -> Picture:
    """A stacked bar over a table: each part's median, 95th percentile and share; how fast; what is not measured."""
    times = view.times
    until = f" · up to step {view.scrubbed:,}" if view.scrubbed is not None else ""
    inside = Inside.of(f"5 step time{until}", words.taken(times.half) if times.count else "", None, *size, style)
    if not times.count:
        put_lines(inside.canvas, [(dim("waiting for the first steps whose time is known"),)], inside.left, 1,
                  inside.width, inside.height, style.glyphs)
        return inside.canvas.picture()
    at = inside.left
    for part, count in zip(times.parts, stacked(times.parts, inside.width), strict=True):
        inside.canvas.line(at, 1, count, mark_of(part.name, style.glyphs), _MARKS[part.name][2])
        at += count
    lines = step_lines(view, inside.width, inside.height - 1, style)
    put_lines(inside.canvas, lines, inside.left, 2, inside.width, inside.height - 1, style.glyphs)
    first = next((i for i, line in enumerate(lines) if line and line[0].text.strip() in _marks(style.glyphs)), None)
    if first is not None:
        for i, part in enumerate(times.parts):
            if first + i < inside.height - 1:
                inside.canvas.put(inside.left, 2 + first + i, mark_of(part.name, style.glyphs), _MARKS[part.name][2])
    return inside.canvas.picture()


def _marks(glyphs: GlyphSet) -> set[str]:
    return {mark_of(name, glyphs) for name in _MARKS}


def step_lines(view: SystemView, width: int, rows: int, style: Style) -> list[Line]:
    """The table and the sentences under it; of the sentences as many as there is room for.

    Where it is narrow, without the 95th percentile; where there is room for no row below them, without the headings.
    """
    times, narrow = view.times, width < _LABEL + 28
    label = _SHORT if narrow else _LABEL
    head = pad("", label + 2) + f"{'median':>8}" + ("" if narrow else f"{'95 %':>9}") + f"{'share':>9}"
    table: list[Line] = [(dim(head),)] if rows > 2 else []
    table += [_row(part, label, style.glyphs, narrow=narrow) for part in times.parts]
    whole: Line = (Span("  "), Span(pad("whole step", label)), Span(f"{words.taken(times.half):>8}", "strong"),
                   Span("" if narrow else f"{words.taken(times.most):>9}"))
    said: list[Line] = [whole, (Span("  "), Span(words.pace(times)), dim(f"   {words.stretch(times)}"))]
    said += _ranks(times)
    if view.trend.word in ("level", "grows", "falls"):
        said.append((dim("  memory "), Span(words.growth(view.trend, binary=style.binary)),
                     dim(f", steps {view.trend.first:,} to {view.trend.last:,}")))
    said += [(dim(f"  {line}"),) for line in words.unmeasured(times)]
    return (table + said)[:max(0, rows)]


def _row(part: Part, label: int, glyphs: GlyphSet, *, narrow: bool) -> Line:
    share = f"{100 * part.share:.1f} %"
    return (Span(f"{mark_of(part.name, glyphs)} "), Span(pad(words.PARTS[part.name], label)),
            Span(f"{words.taken(part.half):>8}"), Span("" if narrow else f"{words.taken(part.most):>9}"),
            Span(f"{share:>9}"))


def _ranks(times: StepTimes) -> list[Line]:
    if not (math.isfinite(times.slowest) and math.isfinite(times.middle)):
        return []
    who = "" if times.rank is None else f" (mostly rank {times.rank})"
    return [(dim("  slowest rank "), Span(words.taken(times.slowest)), dim(f"{who}, median "),
             Span(words.taken(times.middle)))]


# ---------------------------------------------------------------------- processes


def processes(view: SystemView, choice: Choice, size: tuple[int, int], style: Style) -> Picture:
    """A row for each process of the training's tree; which of them are shown stands at the right."""
    tree = view.sample.tree
    found = ordered(tree.processes, choice.order) if tree is not None else ()
    notes = hidden_of(tree)
    room = max(1, size[1] - FRAMED - len(notes))
    first = max(0, min(choice.first, len(found) - room))
    count = len(found) + (tree.more if tree else 0)
    value = f"{first + 1}–{min(len(found), first + room)} of {count}" if len(found) > room else f"{count}"
    inside = Inside.of(f"7 processes{_ORDERS[choice.order]}", value, None, *size, style)
    shown = found[first:first + room]
    lines: list[Line] = [_head(inside.width), *(_process(one, inside.width, style) for one in shown)]
    lines += [(dim(note),) for note in notes]
    put_lines(inside.canvas, lines, inside.left, 1, inside.width, inside.height, style.glyphs)
    return inside.canvas.picture()


def _wide(width: int) -> int:
    """Cells for the role, after all that has a fixed width."""
    return max(6, min(28, width - (39 if width >= _THREADED else 26) - (38 if width >= 86 else 0)))


def _head(width: int) -> Line:
    head = f"{'pid':>8} {pad('what', _wide(width))}{'cores':>7}{'memory':>10}"
    if width >= _THREADED:
        head += f"{'threads':>8}"
    if width >= 86:
        head += f"{'files':>7}{'read':>12}{'written':>12}  state"
    return (dim(fit(head, width)),)


def _process(one: Process, width: int, style: Style) -> Line:
    what = f"{one.role} ({one.name})" if one.role == "training" and one.name and width >= 60 else one.role
    said = (f"{one.pid:>8} {pad(what, _wide(width), ellipsis=style.glyphs.ellipsis)}{words.cores(one.cores):>7}"
            f"{style.amount(one.resident):>10}" + (f"{one.threads:>8,}" if width >= _THREADED else ""))
    if width >= 86:
        files = UNKNOWN if one.files is None else f"{one.files:,}"
        said += (f"{files:>7}{words.per_second(one.read, binary=style.binary):>12}"
                 f"{words.per_second(one.written, binary=style.binary):>12}  {one.state}")
    return (Span(said, "strong" if one.role == "training" else "plain"),)
