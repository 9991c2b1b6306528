"""The map of the layers as a picture: menu, depth x time, what is under the cursor, what the shades mean. Pure."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import Final

import numpy as np
from rich.cells import cell_len

from tuimon.diagnosis.axes import XAxis, column_of
from tuimon.diagnosis.figures import number
from tuimon.diagnosis.figures import step as steps
from tuimon.diagnosis.heat import Ranks, group_name
from tuimon.viewer.arrange import put_lines
from tuimon.viewer.charts.chart import Area, VMark, draw_heading, draw_waiting, draw_x_axis, pointed_labels
from tuimon.viewer.charts.picture import Canvas, Picture
from tuimon.viewer.glyphs import GlyphSet, State
from tuimon.viewer.layers import WORDS
from tuimon.viewer.lines import Line, Span, Tone, dim, strong
from tuimon.viewer.places.layers import shades
from tuimon.viewer.places.layers.look import Look, Shown, left_over, row_height, shown, timed, worst_of
from tuimon.viewer.places.layers.model import Grid, LayersView
from tuimon.viewer.places.layers.quantities import QUANTITIES
from tuimon.viewer.text import pad, squeeze

NAME: Final = 28
"""Longest name beside a row, in cells."""


def x_of(view: LayersView) -> XAxis:
    """The steps that the map spans."""
    return XAxis(view.first, max(view.first + 1, view.last))


def is_framed(width: int, height: int) -> bool:
    """Whether a map of that size has a box: below, its rows are needed for layers."""
    return height >= 24 and width >= 60


def map_rows(width: int, height: int) -> int:
    """Rows that a map of that size has for layers."""
    return max(1, height - (4 if is_framed(width, height) else 2))


def area(names: list[str], width: int, height: int) -> Area:
    """Where the shades go in a map of that size: names at the left, steps below."""
    framed = is_framed(width, height)
    edge = 1 if framed else 0
    gutter = min(max(map(cell_len, names), default=0), NAME, max(6, width // 4)) + 2
    rows = map_rows(width, height)
    used = min(rows, len(names) * row_height(rows, len(names))) or rows   # the axis stands where the layers end
    return Area(edge + gutter, 1, max(1, width - 2 * edge - gutter), used, gutter, framed,
                axis_row=framed, label_row=True)


def names_of(view: LayersView, now: Shown, glyphs: GlyphSet) -> list[str]:
    """What each row is called."""
    names, order = view.layers, now.order.tolist()
    return [glyphs.say(group_name([names[i] for i in order[a:b]], glyphs.dash)) for a, b in now.rows]


def map_width(view: LayersView, look: Look, width: int, height: int, glyphs: GlyphSet) -> int:
    """Cells of time in a map of that size."""
    return area(names_of(view, shown(view, look, map_rows(width, height)), glyphs), width, height).width


def clicked(view: LayersView, look: Look, at: tuple[int, int], size: tuple[int, int], glyphs: GlyphSet) -> Look:
    """The cursor on what lies in that cell of a map of that size; the same where that is no layer."""
    now = shown(view, look, map_rows(*size))
    place = area(names_of(view, now, glyphs), *size)
    x, y = at[0] - place.left, at[1] - place.top
    row = now.top + y // now.tall
    if not 0 <= y < place.height or not now.top <= row < now.top + len(now.visible):
        return look
    chosen = replace(look, layer=view.layers[int(now.members(row)[0])])
    if not 0 <= x < place.width:
        return chosen
    return timed(view, replace(chosen, at=int(view.first + (x + 1) * (view.last - view.first + 1) / place.width)), 0,
                 x_of(view), place.width)


def menu(view: LayersView, width: int) -> Line:
    """The quantities: the one that is shown, those that the run has, and dim those that it has not."""
    for wide in (True, False):
        spans: list[Span] = [Span(" t ", "key")]
        for quantity in QUANTITIES:
            words = quantity.title if wide else quantity.word
            if quantity.name == view.quantity:
                spans.append(Span(f" ▸{words} ", "strong"))
            elif quantity.name in view.offered:
                spans.append(Span(f"  {words} "))
            else:
                spans.append(dim(f" ◌{words} "))
        if sum(cell_len(span.text) for span in spans) <= width:
            break
    return tuple(spans)


def draw_map(
    view: LayersView, look: Look, marks: tuple[VMark, ...], width: int, height: int, glyphs: GlyphSet,
) -> Picture:
    """The map in exactly `width` x `height` cells."""
    canvas = Canvas(width, height)
    now = shown(view, look, map_rows(canvas.width, canvas.height))
    names = names_of(view, now, glyphs)
    place = area(names, canvas.width, canvas.height)
    value, state = _worst(view, now)
    title = _title(view, look, now, wide=width >= 100)
    draw_heading(canvas, title, value, state, glyphs, framed=place.framed, focused=False)
    if view.awaited or not len(now.order):
        draw_waiting(canvas, view.awaited or f"no layer is called {look.filter}", glyphs)
        return canvas.picture()
    x = x_of(view)
    ranks = np.repeat(_ranks(view, view.grid, look.worst, look.filter, now.visible, place.width), now.tall, axis=0)
    _draw_names(canvas, names, now, place, glyphs)
    shades.paint(canvas, place.left, place.top, ranks, glyphs, now.tall)
    draw_x_axis(canvas, place, x, glyphs, pointed=pointed_labels(place, marks, x))
    _draw_marks(canvas, place, ranks, marks, x, glyphs)
    _draw_cursor(canvas, place, ranks, look, x, glyphs)
    return canvas.picture()


def _title(view: LayersView, look: Look, now: Shown, *, wide: bool) -> str:
    parts = ["layers", view.about.title]
    count, whole = len(now.order), len(view.layers)
    if len(now.rows) > now.height:
        last = min(len(now.rows), now.top + now.height)
        parts.append(f"{now.top + 1:,}–{last:,} of {count:,}")
    elif count < whole:
        parts.append(f"{count:,} of {whole:,}")
    elif now.is_folded:
        parts.append(f"{whole:,} in {len(now.rows)} rows" + (", the worst of each" if wide else ""))
    if look.worst is not None:
        parts.append("worst first")
    if look.filter:
        parts.append(f"/{look.filter}")
    return " · ".join(parts)


def _worst(view: LayersView, now: Shown) -> tuple[str, State | None]:
    """The layer that is furthest off now, where one is off at all."""
    if not len(view.grid) or not len(now.order):
        return "", None
    at = worst_of(view, now.order, None)
    rank = int(view.ranks[-1, at])
    if rank < 4:
        return "", None
    state: State = "critical" if rank >= 8 else "warning"
    return f"worst {squeeze(view.layers[at], WORDS)} {number(float(view.grid.last[-1, at]))}", state


@lru_cache(2)
def _ranks(view: LayersView, grid: Grid, worst: tuple[str, ...] | None, words: str, rows: tuple[tuple[int, int], ...],
           width: int) -> Ranks:
    """(rows, width) of the order and the filter that are chosen; not written to. A cursor that moves changes nothing.

    `grid`: the view's own, by which views of two runs are told apart: arrays are not compared.
    """
    if not rows:
        return np.full((0, width), -1, np.int8)
    first, end = rows[0][0], rows[-1][1]
    order = left_over(view.layers, worst, words)[first:end]
    found = shades.cells(grid.steps.astype(np.float64), view.ranks[:, order], x_of(view), width)
    if end - first > len(rows):
        found = np.maximum.reduceat(found, [a - first for a, _ in rows], axis=1)
    return np.asarray(found.T)


def _draw_names(canvas: Canvas, names: list[str], now: Shown, place: Area, glyphs: GlyphSet) -> None:
    left, room = 1 if place.framed else 0, place.gutter - 2
    for i, row in enumerate(range(now.top, now.top + len(now.visible))):
        chosen, y = row == now.row, place.top + i * now.tall + (now.tall - 1) // 2
        canvas.put(left, y, glyphs.say("▸") if chosen else " ", "value")
        words = pad(squeeze(names[row], room, glyphs.ellipsis), room, right=True)
        canvas.put(left + 1, y, words, "value" if chosen else "label")


def _draw_marks(
    canvas: Canvas, place: Area, ranks: Ranks, marks: tuple[VMark, ...], x: XAxis, glyphs: GlyphSet,
) -> None:
    """Vertical lines through what is usual; the unusual stays visible."""
    for mark in marks:
        cell = column_of(mark.step, x.first, x.last, place.width)
        line = mark.line(glyphs)
        if line is not None and 0 <= cell < place.width:
            for row in np.flatnonzero(ranks[:, cell] <= 0).tolist():
                canvas.put(place.left + cell, place.top + row, line, mark.role)


def _draw_cursor(
    canvas: Canvas, place: Area, ranks: Ranks, look: Look, x: XAxis, glyphs: GlyphSet,
) -> None:
    """A line through the column, and a mark on the axis below it."""
    if look.at is None:
        return
    cell = column_of(look.at, x.first, x.last, place.width)
    if not 0 <= cell < place.width:
        return
    for row in np.flatnonzero(ranks[:, cell] <= 0).tolist():
        canvas.put(place.left + cell, place.top + row, glyphs.cursor, "cursor")
    below = place.top + place.height
    if place.axis_row:
        canvas.put(place.left + cell, below, glyphs.over, "cursor")
    else:
        canvas.put(place.left + cell - 1, below, f" {glyphs.over}{steps(look.at)} ", "cursor")


def readout(view: LayersView, look: Look, height: int) -> Line:
    """The layer under the cursor: its value at that step, and what is usual for it."""
    if view.awaited or not len(view.grid):
        return (dim(" "),)
    now = shown(view, look, height)
    if now.row is None:
        return (dim(" ↑↓ choose a layer, ←→ a step; enter opens it"),)
    members = now.members(now.row)
    layer = worst_of(view, members, look.at)
    spans = [Span(" "), strong(squeeze(view.layers[layer], WORDS))]
    if len(members) > 1:
        spans.append(dim(f", the worst of {len(members)}"))
    return (*spans, *value_words(view, layer, look.at))


def value_words(view: LayersView, layer: int, at: int | None) -> Line:
    """What one layer's value is at a step, or now: the number in the log, its step, and what is usual."""
    column = view.grid.column(layer)
    here = len(column.steps) - 1 if at is None else int(np.searchsorted(column.steps, at, "right")) - 1
    if here < 0:
        return (dim(" · not measured" + ("" if at is None else f" up to step {steps(at)}")),)
    value, usual = float(column.value[here]), float(view.usual_at(at)[layer])
    rank = _rank_at(view, layer, int(column.steps[here]))
    tone: Tone = "plain" if rank < 4 else "warning" if rank < 8 else "critical"
    spans = [dim(" · step "), Span(steps(int(column.steps[here]))), dim(" · "),
             Span(number(value), tone if tone != "plain" else "strong")]
    if view.about.scale == "usual" and usual > 0 and 0 < value < math.inf:
        spans.append(dim(f" · {_times(value / usual)} its usual {number(usual)}"))
    elif math.isfinite(usual) and (view.about.scale != "usual" or value == 0):
        spans.append(dim(f" · usually {number(usual)}"))
    low, high = float(column.low[here]), float(column.high[here])
    if low < high:
        spans.append(dim(f" · from {number(low)} to {number(high)} since the one before"))
    return tuple(spans)


def _rank_at(view: LayersView, layer: int, step: int) -> int:
    column = int(np.searchsorted(view.grid.steps, step))
    return int(view.ranks[column, layer]) if column < len(view.grid) else -1


def _times(ratio: float) -> str:
    """How far from the usual, in the words of the legend: 17x above, 59x below; 1.0x where it is what it is."""
    factor, word = (ratio, " above") if ratio >= 1 else (1 / ratio, " below")
    said = f"{factor:.1f}x" if factor < 9.95 else f"{factor:,.0f}x" if factor < 99_500 else f"{number(factor)}x"
    return said if said == "1.0x" else said + word


def draw_head(view: LayersView, width: int, height: int, glyphs: GlyphSet) -> Picture:
    """The menu."""
    canvas = Canvas(width, height)
    put_lines(canvas, [menu(view, width)], 0, 0, width, height, glyphs)
    return canvas.picture()


def draw_foot(
    view: LayersView, look: Look, rows: int, width: int, height: int, glyphs: GlyphSet,
) -> Picture:
    """What is under the cursor of a map of so many rows, and the legend."""
    canvas = Canvas(width, height)
    put_lines(canvas, [readout(view, look, rows)], 0, 0, width, 1, glyphs)
    at = 1
    for words, role in shades.legend(view.about, glyphs, wide=width >= 100):
        at = canvas.put(at, 1, words, role)
    return canvas.picture()
