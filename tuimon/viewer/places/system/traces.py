"""Minutes as hills of dots, and as one row of bars. Pure.

The window moves by whole cells, so that between two moves only its newest cell is drawn anew.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tuimon.diagnosis.axes import columns_of
from tuimon.viewer.charts.picture import Canvas, Role
from tuimon.viewer.charts.raster import glyphs as glyph_cells
from tuimon.viewer.charts.raster import rasterise
from tuimon.viewer.glyphs import GlyphSet

Floats = NDArray[np.float64]
SPAN: Final = 300.0
"""Seconds that a trace reaches back, at least."""
GAP: Final = 20.0
"""Seconds without a sample over which nothing is drawn."""
GUTTER: Final = 9
"""Cells of the axis with its labels."""
_CORES: Final = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
_BYTES: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768)


def window(latest: float, width: int) -> tuple[float, float]:
    """First and last whole second of `width` cells that hold `latest` in the last one."""
    cell = max(1, math.ceil(SPAN / max(1, width)))
    end = (math.floor(latest / cell) + 1) * cell
    return end - width * cell, end - 1


def top_of_cores(most: float, cores: int) -> float:
    """Where an axis of CPUs ends: a round number that holds `most`, at most all of them."""
    return float(min(next((n for n in _CORES if n >= most), cores), max(1, cores)))


def top_of_bytes(most: float, *, binary: bool = False) -> float:
    """Where an axis of bytes ends: a round number of a unit, at least a thousand or so."""
    base = 1_024.0 if binary else 1_000.0
    unit = base
    while unit * _BYTES[-1] < most and unit < base**6:
        unit *= base
    return next((n * unit for n in _BYTES if n * unit >= most), most)


def greatest(times: Floats, *series: Floats) -> float:
    """The greatest value of the last SPAN seconds; 0 where there is none."""
    if not len(times):
        return 0.0
    recent = times >= times[-1] - SPAN
    most = [float(np.nanmax(values[recent])) for values in series if np.isfinite(values[recent]).any()]
    return max(most, default=0.0)


def draw_trace(canvas: Canvas, at: tuple[int, int, int, int], times: Floats, values: Floats, top: float, role: Role,
               glyphs: GlyphSet, *, filled: bool = True) -> None:
    """A hill from 0 to `top` in the cells (left, upper row, width, height), or but its outline."""
    left, row, width, height = at
    if not len(times) or width < 1 or height < 1:
        return
    span = window(float(times[-1]), width)
    known = np.isfinite(values) & (times >= span[0])
    seconds, found = np.floor(times[known]), np.clip(values[known], 0.0, top)
    dots = np.zeros((4 * height, 2 * width), np.bool_)
    for part in np.split(np.arange(len(seconds)), np.flatnonzero(np.diff(seconds) > GAP) + 1):
        if len(part):
            level = found[part]
            dots |= rasterise(seconds[part], level, level, level, np.zeros(len(part), np.bool_), x=span,
                              y=(0.0, top if top > 0 else 1.0), width=width, height=height).dots
    canvas.cells(left, row, glyph_cells(np.maximum.accumulate(dots, axis=0) if filled else dots, glyphs.name), role)


def draw_axis(canvas: Canvas, left: int, row: int, height: int, labels: tuple[str, str], glyphs: GlyphSet) -> None:
    """An upright axis with what stands at its ends."""
    column = left + GUTTER - 1
    canvas.column(column, row, height, glyphs.down, "axis")
    for y, label in ((row, labels[0]), (row + height - 1, labels[1])):
        canvas.put(column, y, glyphs.tick, "axis")
        canvas.put(column - 1 - len(label), y, label, "label")


def levels(times: Floats, values: Floats, width: int, top: float) -> list[int]:
    """(width,) bars 0 to 7 of the greatest value in each cell; -1 where nothing was measured."""
    found = [-1] * max(0, width)
    if not len(times) or width < 1:
        return found
    first, last = window(float(times[-1]), width)
    known = np.isfinite(values)
    seconds, heights = np.floor(times[known]), values[known]
    at = columns_of(seconds, first, last, width)
    previous = -1
    for i, column in enumerate(at.tolist()):
        if not 0 <= column < width:
            continue
        level = bar(float(heights[i]), top)
        if found[column] < 0 or level > found[column]:
            found[column] = level
        if previous >= 0 and seconds[i] - seconds[i - 1] <= GAP:
            for between in range(previous + 1, column):
                found[between] = found[previous]
        previous = column
    return found


def bar(value: float, top: float) -> int:
    """Which of eight bars stands for a value of 0 to `top`."""
    return max(0, min(7, int(8 * value / top))) if top > 0 and math.isfinite(value) else 0


def draw_strip(canvas: Canvas, left: int, row: int, bars: Sequence[int], role: Role, glyphs: GlyphSet) -> None:
    """One row of bars; -1 stays empty."""
    for i, level in enumerate(bars):
        if level >= 0:
            canvas.put(left + i, row, glyphs.bars[level], role)


def meter(part: float | None, cells: int) -> tuple[int, int]:
    """Cells that are full and cells that are not, of a share 0 to 1; something is never drawn as nothing."""
    if part is None or not math.isfinite(part):
        return 0, cells
    full = round(min(1.0, max(0.0, part)) * cells)
    return (max(1, full) if part > 0 else full), cells - (max(1, full) if part > 0 else full)
