"""Sparklines: one row per metric with its number, its badge and its range. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

from tuimon.diagnosis.axes import XAxis, YAxis, column_of, columns_of, limits
from tuimon.diagnosis.heat import medians
from tuimon.viewer.charts.chart import VMark, state_role
from tuimon.viewer.charts.picture import ROLES, Canvas, Picture, Role
from tuimon.viewer.charts.series import Series
from tuimon.viewer.glyphs import BRAILLE, GlyphSet, State
from tuimon.viewer.text import fit, pad

LEVELS: Final = 8
BAD: Final = LEVELS
"""The level of a cell with a sample that is not finite."""
NONE: Final = LEVELS + 1
"""The level of a cell without samples."""
_VALUE: Final = 7
_NOTE: Final = 14
"""Least widths of the number and the words at the right, so that rows do not shift as they change."""
_BARS: Final = 12
"""Bars are worth more than words below this."""


@dataclass(frozen=True, slots=True)
class SparkSpec:
    """One strip."""

    label: str
    value: str
    state: State | None
    series: Series
    note: str = ""
    """Range or band in words, at the right."""
    log: bool = False
    role: Role = "spark"
    marks: tuple[VMark, ...] = ()
    """Upright lines in place of the bars there."""


def draw(specs: Sequence[SparkSpec], width: int, height: int, x: XAxis, glyphs: GlyphSet = BRAILLE) -> Picture:
    """One row per spec, columns aligned; exactly `width` x `height` cells, blank rows below."""
    canvas = Canvas(width, height)
    shown = [replace(spec, value=glyphs.say(spec.value), note=glyphs.say(spec.note)) for spec in specs[:canvas.height]]
    if not shown:
        return canvas.picture()
    labels = min(max(cell_len(s.label) for s in shown), max(4, width // 4))
    values = max(_VALUE, *(cell_len(s.value) for s in shown))
    notes = max(cell_len(s.note) for s in shown)
    notes = max(notes, _NOTE) if notes else 0
    bars = width - (labels + values + 7)
    if notes and bars - notes - 2 >= _BARS:
        bars -= notes + 2
    else:
        notes = 0
    for row, spec in enumerate(shown):
        at = canvas.put(1, row, pad(spec.label, labels, ellipsis=glyphs.ellipsis), "label")
        at = canvas.put(at + 1, row, pad(spec.value, values, right=True, ellipsis=glyphs.ellipsis), "value")
        if spec.state:
            canvas.put(at + 1, row, glyphs.badges[spec.state], state_role(spec.state))
        at += 4
        if bars >= 1:
            _paint(canvas, at, row, levels(spec, x, bars), spec.role, glyphs)
            _paint_marks(canvas, at, row, bars, spec.marks, x, glyphs)
        if notes:
            canvas.put(at + bars + 2, row, fit(spec.note, notes, glyphs.ellipsis), "note")
    return canvas.picture()


def levels(spec: SparkSpec, x: XAxis, width: int) -> NDArray[np.int8]:
    """(width,) 0 to 7, BAD where a sample is not finite, NONE without samples (between two, the earlier one stands).

    Of a cell's two extremes the one farther from the strip's median is shown; the cells of the greatest and least value
    show these.
    """
    found = np.full(width, NONE, np.int8)
    series = spec.series.between(x.first, x.last)
    span = limits([series], x, log=spec.log)
    at = columns_of(series.steps, x.first, x.last, width)
    if span is not None:
        low, high = span
        least = 1.0 if spec.log else max(2e-3 * max(abs(low), abs(high)), 1e-290)
        high = max(high, low + least)
        frame = YAxis(low, high, spec.log)
        lows, highs = frame.units(series.low), frame.units(series.high)
        valued = ~np.isnan(lows)
        column, lows, highs = at[valued], lows[valued], highs[valued]
        starts = np.flatnonzero(np.concatenate(([True], column[1:] != column[:-1])))
        deepest, highest = np.minimum.reduceat(lows, starts), np.maximum.reduceat(highs, starts)
        bottom, top = np.clip(deepest, low, high), np.clip(highest, low, high)
        middle = float(medians(np.concatenate((bottom, top))[:, None])[0])
        pick = np.where(top - middle >= middle - bottom, top, bottom)
        pick[np.argmin(deepest)] = bottom.min()   # of those that reach the edge, the one that goes furthest beyond it
        pick[np.argmax(highest)] = top.max()
        found[column[starts]] = np.minimum(np.floor((pick - low) / (high - low) * LEVELS), LEVELS - 1)
        found = _carried(found, column[starts])
    found[at[series.bad]] = BAD
    return found


def _carried(found: NDArray[np.int8], measured: NDArray[np.int64]) -> NDArray[np.int8]:
    source = np.full(len(found), -1)
    source[measured] = measured
    source = np.maximum.accumulate(source)
    source[measured[-1] + 1:] = -1
    return np.where(source >= 0, found[source], NONE).astype(np.int8)


def _paint(
    canvas: Canvas, left: int, row: int, heights: NDArray[np.int8], role: Role, glyphs: GlyphSet,
) -> None:
    points = np.array([ord(c) for c in (*glyphs.bars, glyphs.bad, " ")], np.uint32)
    colour, bad = ROLES.index(role), ROLES.index("critical")
    roles = np.where(heights == BAD, bad, colour).astype(np.uint8)
    width = min(len(heights), canvas.width - left)
    if width > 0:
        canvas.block(left, row, points[heights][None, :width], roles[None, :width])


def _paint_marks(
    canvas: Canvas, left: int, row: int, width: int, marks: tuple[VMark, ...], x: XAxis, glyphs: GlyphSet,
) -> None:
    for mark in marks:
        cell, line = column_of(mark.step, x.first, x.last, width), mark.line(glyphs)
        if line is not None and 0 <= cell < width:
            canvas.put(left + cell, row, line, mark.role)
