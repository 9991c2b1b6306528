"""Would a newer spec make the same picture, but for its first row? Most frames of a live run bring numbers and no dot.

Pure. Errs on the side of drawing again.
"""

from __future__ import annotations

from dataclasses import fields
from operator import attrgetter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tuimon.diagnosis.axes import XAxis, YAxis, column_of
from tuimon.diagnosis.heat import ranked, usual_logs
from tuimon.record.thinning import Thin
from tuimon.viewer.charts.chart import Area, ChartSpec, heading_words
from tuimon.viewer.charts.heat import HeatSpec
from tuimon.viewer.charts.picture import Picture
from tuimon.viewer.charts.raster import WIDE, dot_rows
from tuimon.viewer.charts.series import Floats, Series
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.painted import word_row

HEADING: Final = frozenset({"title", "value", "state"})
"""What stands in the first row."""
_OF_CHARTS: Final = attrgetter(*(f.name for f in fields(ChartSpec) if f.name not in HEADING | {"series"}))
_OF_HEATS: Final = attrgetter(
    *(f.name for f in fields(HeatSpec) if f.name not in HEADING | {"steps", "values", "seen"}))
"""The rest of a spec, apart from what is looked at by itself."""


def heading(spec: ChartSpec | HeatSpec) -> tuple[object, ...]:
    """The same of one spec."""
    return spec.title, spec.value, spec.state


def charts_alike(before: ChartSpec, after: ChartSpec, x: XAxis, y: YAxis | None, place: Area) -> bool:
    """Whether below the heading all stays as it is, where `before` was drawn in `place` on these axes.

    The y axis is taken to stay, as it does while all that is new lies on it. None: there is nothing to draw yet.
    """
    if after.levels or after.tags or after.fans or len(before.series) != len(after.series):
        return False
    return bool(_OF_CHARTS(before) == _OF_CHARTS(after)) and all(
        _adds_no_dot(old, new, x, y, place)
        for old, new in zip(before.series, after.series, strict=True))


def heats_alike(before: HeatSpec, after: HeatSpec, x: XAxis, cells: int) -> bool:
    """Whether below the heading all stays as it is, where the steps of `x` span so many cells.

    What is usual is taken to stay until the next cell begins.
    """
    if _OF_HEATS(before) != _OF_HEATS(after):
        return False
    if (before.seen is None) != (after.seen is None):
        return False
    settled = len(before.steps) - 1
    if settled < 0 or len(after.steps) <= settled:
        return len(before.steps) == len(after.steps)
    old, new = before.values, after.values
    pairs: list[tuple[Any, Any]] = [(before.steps, after.steps), (old, new)]
    if before.seen is not None and after.seen is not None:
        pairs.append((before.seen, after.seen))
    if not all(_equal(a[:settled], b[:settled]) for a, b in pairs):
        return False
    if len(before.steps) == len(after.steps) and all(_equal(a[settled:], b[settled:]) for a, b in pairs):
        return True
    here = _shared_from(before.steps, after.steps, x, cells)
    if here is None or (after.seen is not None and not after.seen[settled:].all()):
        return False
    held = old[here:] if before.seen is None else np.where(before.seen[here:], old[here:], np.nan)
    # The worst that a cell holds is an extreme of what was seen. NaN is neither above nor below.
    least, most = np.fmin.reduce(held), np.fmax.reduce(held)
    lowest, highest = new[settled:].min(0), new[settled:].max(0)
    if (lowest >= least).all() and (highest <= most).all():
        return True
    ends = np.stack((least, np.minimum(least, lowest), most, np.maximum(most, highest)))
    ranks = ranked(ends, usual_logs(before))
    return bool(np.isfinite(ends).all() and (ranks[::2] == ranks[1::2]).all())


def headed(picture: Picture, spec: ChartSpec | HeatSpec, glyphs: GlyphSet, *, framed: bool) -> Picture:
    """`picture`, which was drawn from a spec like this one, with its heading."""
    if picture.height < 2:
        return picture
    words = heading_words(picture.width, spec.title, spec.value, spec.state, glyphs, framed=framed,
                          focused=spec.focused)
    return Picture(picture.width, (word_row(words, picture.width), *picture.rows[1:]))


def _equal(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Bit by bit: NaN equals itself."""
    return a is b or (a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes())


def _shared_from(old: Floats, new: Floats, x: XAxis, across: int) -> int | None:
    """Index of the first of the old steps in the column of the last one; None where the new ones go beyond that."""
    at, here = column_of(float(old[-1]), x.first, x.last, across), len(old) - 1
    if column_of(float(new[-1]), x.first, x.last, across) != at:
        return None
    while here > 0 and column_of(float(old[here - 1]), x.first, x.last, across) == at:
        here -= 1
    return here


def _adds_no_dot(old: Series, new: Series, x: XAxis, y: YAxis | None, place: Area) -> bool:
    """Whether all that is new lies on dots of the last column, where a line still ends."""
    settled = len(old) - 1
    if old.role != new.role or settled < 0 or len(new) <= settled:
        return old.role == new.role and len(old) == len(new) == 0
    if not _equal(old.table[:settled], new.table[:settled]):
        return False
    here = _shared_from(old.steps, new.steps, x, WIDE * place.width)
    if here is None or y is None:
        return False
    held, added = Thin(old.table[here:]), Thin(new.table[settled:])
    if held.bad.any() or added.bad.any():
        return False
    least, most = held.low.min(), held.high.max()
    lowest, highest = added.low.min(), added.high.max()
    if least <= lowest and highest <= most:
        return bool(least > 0) or not y.log   # what is not positive has no place on a log axis
    lowest, highest = min(lowest, least), max(highest, most)   # NaN stays where it is new
    ends = y.units(np.array((least, lowest, most, highest)))
    if not (y.low <= ends[1] and ends[3] <= y.high):   # what is beyond has a mark of its own; so has NaN
        return False
    rows = dot_rows(ends, (y.low, y.high), place.height)
    return bool(rows[0] == rows[1] and rows[2] == rows[3])
