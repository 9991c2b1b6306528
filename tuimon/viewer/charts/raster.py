"""Lines to dots, dots to glyphs. No sample is lost: a pixel column spans the extremes of what falls into it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tuimon.diagnosis.axes import columns_of
from tuimon.viewer.charts.series import Bools, Floats
from tuimon.viewer.glyphs import GlyphName

Ints = NDArray[np.int64]
Cells = NDArray[np.uint32]

WIDE: Final = 2
TALL: Final = 4
"""Dots per cell, across and down."""


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """One line as dots, and what could not be a dot."""

    dots: Bools
    """(4 * height, 2 * width), top row first."""
    bad: Bools
    """(width,) cell columns that hold a sample which is not finite."""
    over: Bools
    """(width,) cell columns that hold a sample above the range."""
    under: Bools
    """(width,) cell columns that hold a sample below the range; on a log axis also one that is not positive."""


def rasterise(
    steps: Floats, low: Floats, high: Floats, last: Floats, bad: Bools,
    *, x: tuple[float, float], y: tuple[float, float], width: int, height: int,
) -> Raster:
    """Dots of one line in `width` x `height` cells.

    All (c,), in order of step, values in axis units: NaN in `low` is no value, -inf is the log of what is not positive.
    `x` and `y` are the ranges, ends included, y[1] > y[0]. Neighbouring columns are joined, half the way from each
    side; a column with a bad sample stands alone. The nearest columns outside the range are where the line comes from
    and goes to; a point without any other is two dots high and wide.
    """
    across, down = WIDE * width, TALL * height
    flags = np.zeros((3, width), np.bool_)
    at = columns_of(steps, *x, across)
    low, high, last, sunk = _without_sunk(low, high, last)
    valued = ~np.isnan(low)
    told = valued | bad | sunk
    if not len(at):
        return Raster(np.zeros((down, across), np.bool_), *flags)
    if at[0] < 0 or at[-1] >= across or not told.all():
        kept = _in_sight(at, across, told)
        steps, at, low, high, last = steps[kept], at[kept], low[kept], high[kept], last[kept]
        bad, valued, sunk = bad[kept], valued[kept], sunk[kept]
    inside = (at >= 0) & (at < across)
    if not len(at):
        return Raster(np.zeros((down, across), np.bool_), *flags)
    for flag, holds in zip(flags, (bad, valued & (high > y[1]), sunk | (valued & (low < y[0]))), strict=True):
        if holds.any():
            flag[at[inside & holds] // WIDE] = True
    start = np.flatnonzero(np.concatenate(([True], at[1:] != at[:-1])))
    ends = np.stack((np.fmax.reduceat(high, start), np.fmin.reduceat(low, start), last[_last_valued(valued, start)]))
    top, bottom, leaving = dot_rows(ends, y, height)
    clean = ~np.isnan(top) & ~np.logical_or.reduceat(bad | sunk, start)
    column = at[start]
    _cut_ends(steps, column, (top, bottom, leaving), clean, x, across)
    column = column + 1   # one more on each side: what is beyond
    upper = np.full(across + 2, np.inf)
    lower = np.full(across + 2, -np.inf)
    has = ~np.isnan(top)
    upper[column[has]], lower[column[has]] = top[has], bottom[has]
    joined = np.flatnonzero(clean[1:] & clean[:-1])
    entering = np.clip(leaving[joined], top[joined + 1], bottom[joined + 1])
    _join(upper, lower, column[joined], column[joined + 1], leaving[joined], entering)
    row = np.arange(down)[:, None]
    dots = (row >= upper[1:-1]) & (row <= lower[1:-1])
    if dots.sum() == 1:
        _fatten(dots)
    return Raster(dots, *flags)


def _in_sight(at: Ints, across: int, told: Bools) -> Bools:
    """What is inside, and the nearest of each side: where the line comes from and goes to."""
    kept = told & (at >= 0) & (at < across)
    before, after = np.flatnonzero(told & (at < 0)), np.flatnonzero(told & (at >= across))
    kept[before[-1:]] = True
    kept[after[:1]] = True
    return kept


def _cut_ends(steps: Floats, column: Ints, rows: tuple[Floats, Floats, Floats], clean: Bools, x: tuple[float, float],
              across: int) -> None:
    """Move what lies outside to the edge, along the line to its neighbour: from far away it would be a long line."""
    top, bottom, leaving = rows
    first, last = ((steps[i] - x[0]) * across / (x[1] - x[0] + 1) for i in (0, -1))
    if column[0] < 0:
        if len(column) > 1 and clean[0] and clean[1]:
            near = column[1] if column[1] < across else last
            goal = np.clip(leaving[0], top[1], bottom[1])
            leaving[0] = np.floor(leaving[0] + (goal - leaving[0]) * (-1 - first) / (near - first) + 0.5)
        column[0] = -1
    if column[-1] >= across:
        if len(column) > 1 and clean[-1] and clean[-2]:
            goal = np.clip(leaving[-2], top[-1], bottom[-1])
            share = (across - column[-2]) / (last - column[-2])
            top[-1] = bottom[-1] = np.floor(leaving[-2] + (goal - leaving[-2]) * share + 0.5)
        column[-1] = across


def _fatten(dots: Bools) -> None:
    """One dot as four, in its own cell."""
    (row,), (column,) = np.nonzero(dots)
    dots[row // 2 * 2:row // 2 * 2 + 2, column // WIDE * WIDE:column // WIDE * WIDE + WIDE] = True


def _without_sunk(low: Floats, high: Floats, last: Floats) -> tuple[Floats, Floats, Floats, Bools]:
    """Columns cleared of the logs of what is not positive (-inf), and where there was one.

    Of a column with both kinds only the latest and the greatest value are known to be positive: they are what is drawn.
    """
    sunk = np.isneginf(low)
    if not sunk.any():
        return low, high, last, sunk
    high = np.where(np.isneginf(high), np.nan, high)
    last = np.where(np.isneginf(last), high, last)
    return np.where(sunk, np.fmin(last, high), low), high, last, sunk


def dot_rows(values: Floats, y: tuple[float, float], height: int) -> Floats:
    """Whole rows of dots in `height` cells, counted from the top; off-axis values are far away but finite."""
    down = TALL * height
    far = 1e6 * down  # beyond any screen, near enough for slopes to be finite
    with np.errstate(over="ignore"):
        return np.asarray(np.floor(np.clip((y[1] - values) * ((down - 1) / (y[1] - y[0])), -far, far) + 0.5))


def _last_valued(valued: Bools, start: Ints) -> Ints:
    """Index of the last sample with a value in each group (its last sample where none has one)."""
    last = np.concatenate((start[1:], [len(valued)])) - 1
    if valued.all():
        return last
    latest = np.maximum.accumulate(np.where(valued, np.arange(len(valued)), -1))[last]
    return np.where(latest >= start, latest, last)


def _join(upper: Floats, lower: Floats, a: Ints, b: Ints, from_row: Floats, to_row: Floats) -> None:
    """Widen columns so that straight lines from column a to column b are closed, one dot thick: corners touch.

    Column k covers the line from k - 1/2 to k + 1/2; a row that two columns share belongs to the later one.
    """
    if len(a) == 0:
        return
    length = b - a
    counts = length + 1
    which = np.repeat(np.arange(len(a)), counts)
    offset = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    sign = np.where(to_row < from_row, -1.0, 1.0)[which]  # mirrored, so that every line goes down
    start, slope = sign * from_row[which], np.abs(to_row - from_row)[which] / length[which]
    first = np.ceil(start + slope * np.maximum(offset - 0.5, 0))
    last = np.ceil(start + slope * np.minimum(offset + 0.5, length[which])) - 1
    middle = np.floor(start + slope * offset + 0.5)
    shallow = last < first
    first, last = np.where(shallow, middle, first) * sign, np.where(shallow, middle, last) * sign
    column = a[which] + offset
    np.minimum.at(upper, column, np.minimum(first, last))
    np.maximum.at(lower, column, np.maximum(first, last))


# Bit of each dot in a cell: U+2800 plus these is the braille pattern (Unicode 15, table 2800).
_BITS: Final = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], np.uint32)


def patterns(dots: Bools) -> Cells:
    """(height, width) of 8-bit patterns from dots (4 * height, 2 * width)."""
    height, width = dots.shape[0] // TALL, dots.shape[1] // WIDE
    parts = dots.reshape(height, TALL, width, WIDE) * _BITS[None, :, None, :]
    return np.asarray(parts.sum((1, 3), dtype=np.uint32))


def glyphs(dots: Bools, name: GlyphName) -> Cells:
    """(height, width) of code points; a space where no dot is lit."""
    return TABLES[name][patterns(dots)]


def _lit(pattern: int) -> list[tuple[int, int]]:
    return [(r, c) for r in range(TALL) for c in range(WIDE) if pattern & int(_BITS[r, c])]


def _quadrants(pattern: int) -> str:
    index = 0
    for r, c in _lit(pattern):
        index |= 1 << (r // 2 * 2 + c)
    return " ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█"[index]


def _letter(pattern: int) -> str:
    """The ASCII character that lies where the dots are: ' at the top, - in the middle, . at the bottom, or a slope."""
    lit = _lit(pattern)
    if not lit:
        return " "
    rows = [r for r, _ in lit]
    sides = [[r for r, c in lit if c == side] for side in (0, 1)]
    if all(sides):
        left, right = (sum(side) / len(side) for side in sides)
        if abs(left - right) >= 1.5:
            return "/" if left > right else "\\"
    if max(rows) - min(rows) >= 2:
        return "|"
    middle = (max(rows) + min(rows)) / 2
    return "'" if middle <= 0.5 else "." if middle >= 2.5 else "-"


def _table(draw: Mapping[int, str]) -> Cells:
    return np.array([ord(draw[i]) for i in range(256)], np.uint32)


TABLES: Final[Mapping[GlyphName, Cells]] = {
    "braille": _table({i: chr(0x2800 + i) if i else " " for i in range(256)}),
    "block": _table({i: _quadrants(i) for i in range(256)}),
    "ascii": _table({i: _letter(i) for i in range(256)}),
}
"""Pattern -> code point, per glyph set."""
