"""How far each layer is from what it should be, as ranks, and what a rank looks like. Pure.

A rank is an index into `heat.ORDER`: 0 what is usual, then 1 to 4 shades further away, below before above; `BAD` for
what is not finite, -1 for what was not measured. The greater is the worse, so that `max` finds what must be seen.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tuimon.diagnosis import heat
from tuimon.diagnosis.axes import XAxis
from tuimon.diagnosis.figures import short
from tuimon.diagnosis.heat import BAD, ORDER, Ranks
from tuimon.record.chunk import Floats, Vectors
from tuimon.record.stacked import together
from tuimon.viewer.charts.picture import ROLES, Canvas, Role
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.places.layers.model import Grid
from tuimon.viewer.places.layers.quantities import Quantity

SAMPLES: Final = 256
"""Columns looked at for a median."""
APART: Final = 1.0
"""Decades by which a layer's own usual may differ from that of the median layer: what always was a hundred times below
its neighbours is not usual."""
_ROLES: Final[tuple[Role, ...]] = (
    "heat-low-4", "heat-low-3", "heat-low-2", "heat-low-1", "heat-usual",
    "heat-high-1", "heat-high-2", "heat-high-3", "heat-high-4",
)
LOOKS: Final[tuple[Role, ...]] = (*(_ROLES[shade] for shade in ORDER), "heat-bad", "blank")
"""Rank -> role; the last is for -1."""


def points(glyphs: GlyphSet) -> str:
    """Rank -> glyph; the last is for -1."""
    return "".join(glyphs.heat[shade] for shade in ORDER) + glyphs.bad + " "


def medians(values: Vectors) -> Vectors:
    """(m, L) -> (L,) over what is finite; NaN where nothing is."""
    kept = values[::max(1, -(-len(values) // SAMPLES))] if len(values) else np.full((1, values.shape[1]), np.nan)
    return np.asarray(heat.medians(np.where(np.isfinite(kept), kept, np.nan)), np.float32)


def centres(usual: Vectors) -> Floats:
    """(L,) decades that colours are counted from: the own usual, within `APART` of the median layer's.

    Rounded to a tenth, so that a picture seldom changes as a whole.
    """
    logs = _log(usual)
    finite = logs[np.isfinite(logs)]
    run = float(np.median(finite)) if len(finite) else 0.0
    return np.asarray(np.round(np.clip(np.where(np.isnan(logs), run, logs), run - APART, run + APART), 1))


def ranked(grid: Grid, quantity: Quantity, centre: Floats) -> Ranks:
    """(g, L) the worse of what each column's least and greatest value come to; `centre` (L,) for a "usual" scale."""
    above: list[Any] | None = None
    below: list[Any] | None = None
    if quantity.scale == "usual":
        above, below = ([np.clip(10.0 ** (centre + sign * mark), 1e-45, 3e38) for mark in quantity.marks]
                        for sign in (1, -1))
    elif quantity.scale == "above":
        above = list(quantity.marks)
    else:
        below = list(quantity.marks)
    ranks = np.zeros(grid.low.shape, np.int8)
    with np.errstate(invalid="ignore"):   # NaN is neither above nor below
        for size in range(1, 5):   # the later is the worse; of equals the one above
            if below is not None:
                np.copyto(ranks, np.int8(2 * size), where=grid.low <= np.asarray(below[size - 1], np.float32))
            if above is not None:
                np.copyto(ranks, np.int8(2 * size + 1), where=grid.high >= np.asarray(above[size - 1], np.float32))
    np.copyto(ranks, np.int8(-1), where=np.isnan(grid.low))
    np.copyto(ranks, np.int8(BAD), where=grid.bad)
    return ranks


def _log(values: Vectors) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log10(values.astype(np.float64)))


def cells(steps: Floats, ranks: Ranks, x: XAxis, width: int) -> Ranks:
    """(g, K) ranks -> (width, K): the worst that falls into a cell; between measured cells the earlier one stands."""
    found = np.full((width + 2, ranks.shape[1]), -1, np.int8)
    at, inside = heat.columns_around(np.asarray(steps, np.float64), x, width)
    if not inside.any() or not ranks.shape[1]:
        return found[1:-1]
    starts = np.flatnonzero(np.concatenate(([True], at[1:] != at[:-1])))
    found[at[starts]] = together(np.maximum, ranks[inside], starts)
    return np.asarray(heat.carried(found.T, at[starts]).T)[1:-1]


def paint(canvas: Canvas, left: int, top: int, ranks: Ranks, glyphs: GlyphSet, tall: int = 1) -> None:
    """A block (rows, columns) of ranks; each layer takes `tall` rows."""
    shapes = np.array([ord(c) for c in points(glyphs)], np.uint32)
    roles = np.array([ROLES.index(role) for role in LOOKS], np.uint8)
    cells = shapes[ranks]
    if tall > 1 and glyphs.name != "ascii":
        cells = _stretched(cells, tall, glyphs)
    canvas.block(left, top, cells, roles[ranks])


def _stretched(cells: NDArray[np.uint32], tall: int, glyphs: GlyphSet) -> NDArray[np.uint32]:
    """What is a bar in one row is one bar in all rows of its layer, as high in proportion: no stripes."""
    below = (tall - 1 - np.arange(len(cells)) % tall)[:, None]
    bars = np.array([ord(c) for c in (" ", *glyphs.bars)], np.uint32)
    found = cells
    for eighths, shape in enumerate(glyphs.heat[:4], 1):
        found = np.where(cells == ord(shape), bars[np.clip(eighths * tall - 8 * below, 0, 8)], found)
    return found


def legend(quantity: Quantity, glyphs: GlyphSet, *, wide: bool) -> list[tuple[str, Role]]:
    """What the shades mean, from the mildest."""
    shade, gap = points(glyphs), "  " if wide else " "
    ends: list[tuple[str, Role]] = [(f" {gap}{shade[BAD]}", LOOKS[BAD]), (" not finite", "note")]
    if quantity.scale == "usual":
        parts: list[tuple[str, Role]] = [(shade[0], LOOKS[0]), (" usual", "note")]
        for word, above in (("above", 1), ("below", 0)):
            for size, mark in enumerate(quantity.marks, 1):
                rank = 2 * size + above
                parts += [(f"{gap if size > 1 else ' ' + gap}{shade[rank]}", LOOKS[rank]),
                          (f"{gap[1:]}{short(10**mark)}" + ("x" if wide or size == 4 else ""), "note")]
            parts.append((f" {word}", "note"))
        return parts + ends
    above = quantity.scale == "above"
    parts = [(shade[0], LOOKS[0]), (f" {'below' if above else 'above'} {short(quantity.marks[0])}", "note")]
    for size, mark in enumerate(quantity.marks, 1):
        rank = 2 * size + above
        limit = f" ({quantity.limit})" if size == 3 and wide else ""
        parts += [(f" {gap}{shade[rank]}", LOOKS[rank]), (f" {short(mark)}{limit}", "note")]
    return parts + ends
