"""Would a newer spec make the same picture, but for its first row? Most frames of a live run bring numbers and no dot.

Pure. Errs on the side of drawing again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import lru_cache
from operator import attrgetter
from typing import Final

import numpy as np

from tuimon.diagnosis.axes import XAxis, YAxis, column_of
from tuimon.diagnosis.heat import reach, usual_logs
from tuimon.record.stacked import same_bits
from tuimon.viewer.charts.chart import (
    Area,
    ChartSpec,
    area,
    band_rows,
    band_words,
    draw_heading,
    draw_labels,
    heading_words,
)
from tuimon.viewer.charts.heat import HeatSpec
from tuimon.viewer.charts.picture import Canvas, Picture
from tuimon.viewer.charts.raster import WIDE, dot_rows
from tuimon.viewer.charts.series import Floats, Series
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.painted import word_row

HEADING: Final = frozenset({"title", "value", "state"})
"""What stands in the first row."""
_OF_CHARTS: Final = attrgetter(*(f.name for f in fields(ChartSpec) if f.name not in HEADING | {"series", "bands"}))
_OF_HEATS: Final = attrgetter(
    *(f.name for f in fields(HeatSpec) if f.name not in HEADING | {"steps", "values", "seen"}))
"""The rest of a spec, apart from what is looked at by itself."""


def heading(spec: ChartSpec | HeatSpec) -> tuple[object, ...]:
    """The same of one spec, and what its bands are called."""
    return spec.title, spec.value, spec.state, band_words(spec.bands) if isinstance(spec, ChartSpec) else ""


def charts_alike(drawn: ChartSpec, after: ChartSpec, x: XAxis, y: YAxis | None, place: Area) -> bool:
    """Whether all but `headed` and `named` stays as it is, where `drawn` was drawn in `place` on these axes.

    The y axis is taken to stay, as it does while all that is new lies on it. None: there is nothing to draw yet.
    """
    if after.levels or after.fans or len(drawn.series) != len(after.series):
        return False
    return bool(_OF_CHARTS(drawn) == _OF_CHARTS(after)) and _bands_stay(drawn, after, x, y, place) and all(
        _adds_no_dot(old, new, x, y, place)
        for old, new in zip(drawn.series, after.series, strict=True))


def _bands_stay(drawn: ChartSpec, after: ChartSpec, x: XAxis, y: YAxis | None, place: Area) -> bool:
    """Whether the bands look the same: edges that are learned move by less than a row all the time."""
    if y is None or drawn.bands == after.bands:
        return drawn.bands == after.bands
    rows, other = (band_rows(spec.bands, y, place.height) for spec in (drawn, after))
    is_called_so = band_words(drawn.bands) == band_words(after.bands)   # without data in sight there are no labels
    return rows == other and (is_called_so or any(
        not line.between(x.first, x.last).is_empty for line in drawn.series))


def heats_alike(drawn: HeatSpec, after: HeatSpec, x: XAxis, cells: int) -> bool:
    """Whether below the heading all stays as it is, where the steps of `x` span so many cells.

    What is usual is taken to stay until the next cell begins.
    """
    if _OF_HEATS(drawn) != _OF_HEATS(after) or (drawn.seen is None) != (after.seen is None):
        return False
    settled = len(drawn.steps) - 1
    if settled < 0 or len(after.steps) <= settled:
        return len(drawn.steps) == len(after.steps)
    if not _same_rows(drawn, after, slice(settled)):
        return False
    end, added = _end_of_heat(drawn, x, cells), after.values[settled:]
    if (column_of(float(after.steps[-1]), x.first, x.last, cells) == end.at
            and (after.seen is None or after.seen[settled:].all())
            and (added >= end.least).all() and (added <= end.most).all()):
        return True
    return _same_rows(drawn, after, slice(settled, None))   # nothing is new


def named(picture: Picture, spec: ChartSpec, x: XAxis, glyphs: GlyphSet) -> Picture:
    """`picture`, which was drawn from a chart like this one, with what its bands are called by now."""
    place = area(picture.width, picture.height)
    if not place.label_row:
        return picture
    canvas, at = Canvas(picture.width, picture.height), place.top + place.height + place.axis_row
    draw_heading(canvas, "", "", None, glyphs, framed=place.framed, focused=spec.focused)
    draw_labels(canvas, place, spec.marks, band_words(spec.bands), x, glyphs)
    return Picture(picture.width, (*picture.rows[:at], canvas.picture().rows[at], *picture.rows[at + 1:]))


def headed(picture: Picture, spec: ChartSpec | HeatSpec, glyphs: GlyphSet, *, framed: bool) -> Picture:
    """`picture`, which was drawn from a spec like this one, with its heading."""
    if picture.height < 2:
        return picture
    words = heading_words(picture.width, spec.title, spec.value, spec.state, glyphs, framed=framed,
                          focused=spec.focused)
    return Picture(picture.width, (word_row(words, picture.width), *picture.rows[1:]))


@dataclass(frozen=True, slots=True)
class _End:
    """The last column of a line as it was drawn."""

    at: int
    """The column of dots."""
    least: float
    """What it spans; NaN where something in it is no plain value."""
    most: float


@lru_cache(maxsize=16)   # a drawn line is looked at in every frame until it is drawn again
def _end_of(line: Series, x: XAxis, across: int) -> _End:
    at, here = _last_column(line.steps, x, across)
    end = line.table[here:]
    bad = bool(end[:, 4].any())
    least, most = (math.nan, math.nan) if bad else (float(end[:, 1].min()), float(end[:, 2].max()))
    return _End(at, least, most)


@dataclass(frozen=True, slots=True, eq=False)
class _EndOfHeat:
    """The last cells of a strip as they were drawn."""

    at: int
    least: Floats
    """(L) between what the shade of each of them stays. NaN is neither above nor below."""
    most: Floats


@lru_cache(maxsize=4)
def _end_of_heat(drawn: HeatSpec, x: XAxis, cells: int) -> _EndOfHeat:
    at, here = _last_column(drawn.steps, x, cells)
    held = drawn.values[here:] if drawn.seen is None else np.where(drawn.seen[here:], drawn.values[here:], np.nan)
    usual = usual_logs(drawn)
    least, most = (pick.reduce(held).astype(np.float64) for pick in (np.fmin, np.fmax))
    return _EndOfHeat(at, reach(least, usual)[0], reach(most, usual)[1])


def _same_rows(one: HeatSpec, other: HeatSpec, rows: slice) -> bool:
    pairs = (one.steps, other.steps), (one.values, other.values), (one.seen, other.seen)
    return all(a is b is None or (a is not None and b is not None and same_bits(a[rows], b[rows])) for a, b in pairs)


def _last_column(steps: Floats, x: XAxis, across: int) -> tuple[int, int]:
    """The column of the last step, and the index of the first step in it."""
    at, here = column_of(float(steps[-1]), x.first, x.last, across), len(steps) - 1
    while here > 0 and column_of(float(steps[here - 1]), x.first, x.last, across) == at:
        here -= 1
    return at, here


def _adds_no_dot(drawn: Series, after: Series, x: XAxis, y: YAxis | None, place: Area) -> bool:
    """Whether all that is new lies on dots of the last column, where a line still ends."""
    settled = len(drawn) - 1
    if drawn.role != after.role or settled < 0 or len(after) <= settled:
        return drawn.role == after.role and len(drawn) == len(after) == 0
    if y is None or not same_bits(drawn.table[:settled], after.table[:settled]):
        return False
    end = _end_of(drawn, x, WIDE * place.width)
    steps, lows, highs, _, bad = zip(*after.table[settled:].tolist(), strict=True)   # few: quicker than numpy
    if any(bad) or column_of(steps[-1], x.first, x.last, WIDE * place.width) != end.at:
        return False
    lowest, highest = min(end.least, *lows), max(end.most, *highs)
    if not all(map(math.isfinite, (end.least, end.most, *lows, *highs))):
        return False
    if (lowest, highest) == (end.least, end.most):
        return lowest > 0 or not y.log   # what is not positive has no place on a log axis
    return _same_dots((end.least, lowest, end.most, highest), y, place.height)


@lru_cache(maxsize=64)   # the extremes of a column are seldom others than in the last frame
def _same_dots(ends: tuple[float, float, float, float], y: YAxis, height: int) -> bool:
    """Whether the first and second end where the same dots do, and the third and fourth, in so many cells."""
    units = y.units(np.array(ends))
    if not (y.low <= units[1] and units[3] <= y.high):   # what is beyond has a mark of its own
        return False
    rows = dot_rows(units, (y.low, y.high), height)
    return bool(rows[0] == rows[1] and rows[2] == rows[3])
