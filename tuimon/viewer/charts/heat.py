"""The heat strip: depth x time, how far each layer's gradient RMS is from the usual. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

from tuimon.viewer.charts.axes import XAxis
from tuimon.viewer.charts.chart import VMark, draw_heading, draw_waiting
from tuimon.viewer.charts.picture import ROLES, Canvas, Picture, Role
from tuimon.viewer.charts.raster import columns_of
from tuimon.viewer.charts.series import Bools, Floats
from tuimon.viewer.glyphs import BRAILLE, GlyphSet, State
from tuimon.viewer.text import pad

Ranks = NDArray[np.int8]

LEVELS: Final = (0.5, 1.0, 1.5, 2.25)
"""Decades from the usual at which a cell takes the next shade: 3, 10, 30 and 180 times."""
ORDER: Final = (4, 4, 3, 5, 2, 6, 1, 7, 0, 8)
"""Rank -> shade in `GlyphSet.heat`, from usual to farthest; of equals the one above the usual is worse."""
BAD: Final = len(ORDER)
"""The rank of a cell with a value that is not finite."""
_ROLES: Final[tuple[Role, ...]] = (
    "heat-low-4", "heat-low-3", "heat-low-2", "heat-low-1", "heat-usual",
    "heat-high-1", "heat-high-2", "heat-high-3", "heat-high-4",
)
_SAMPLES: Final = 256
"""Rows looked at for a median: enough for one shade's accuracy, and the same cost for a run of any length."""


@dataclass(frozen=True, slots=True, eq=False)
class HeatSpec:
    """Layers over time, as `LayerGroups.grad_rms` gives them."""

    title: str
    layers: tuple[str, ...]
    """(L) in model order."""
    steps: Floats
    """(m,)"""
    values: Floats
    """(m, L) gradient RMS."""
    seen: Bools | None = None
    """(m, L) whether it was measured. None: NaN counts as not measured until the layer's first finite value."""
    before: float | None = None
    """The usual is learned from steps before this one (an onset); None: from all."""
    value: str = ""
    state: State | None = None
    marks: tuple[VMark, ...] = ()
    waiting: str = "no layers measured yet"
    framed: bool = True
    columns: int = 1
    """Blocks side by side (2 on a narrow screen)."""
    focused: bool = False


def draw(spec: HeatSpec, width: int, height: int, x: XAxis, glyphs: GlyphSet = BRAILLE) -> Picture:
    """The strip in exactly `width` x `height` cells; where rows are short, neighbours share one: the worst shows."""
    canvas = Canvas(width, height)
    framed = spec.framed and canvas.height >= 3 and canvas.width >= 12
    if framed:
        draw_heading(canvas, spec.title, spec.value, spec.state, glyphs, framed=True, focused=spec.focused)
    edge = 1 if framed else 0
    rows, room, margin = canvas.height - 2 * edge, canvas.width - 3 * edge, 2 * edge
    if not spec.layers or not len(spec.steps):
        draw_waiting(canvas, spec.waiting, glyphs)
        return canvas.picture()
    blocks = max(1, min(spec.columns, len(spec.layers), room // 12))
    groups = grouped(len(spec.layers), rows * blocks)
    names = [group_name(spec.layers[a:b], glyphs.dash) for a, b in groups]
    per_block = -(-len(groups) // blocks)
    each = (room + 1) // blocks - (1 if blocks > 1 else 0)
    gutter = min(max(cell_len(name) for name in names), max(4, each // 3), 16)
    cells = max(1, each - gutter - 2)
    ranks = rank_cells(spec, groups, x, cells)
    for block in range(blocks):
        here = slice(block * per_block, (block + 1) * per_block)
        left = margin + block * (each + 1)
        for row, name in enumerate(names[here]):
            canvas.put(left, edge + row, pad(name, gutter, right=blocks == 1, ellipsis=glyphs.ellipsis), "label")
        _paint(canvas, left + gutter + 1, edge, ranks[here], glyphs)
        _paint_marks(canvas, left + gutter + 1, edge, ranks[here], spec, x, glyphs)
    return canvas.picture()


def grouped(layers: int, rows: int) -> list[tuple[int, int]]:
    """At most `rows` runs of neighbouring layers, as even as can be: pairs of first index and end."""
    count = max(1, min(layers, rows))
    edges = [round(i * layers / count) for i in range(count + 1)]
    return list(pairwise(edges))


def group_name(layers: Sequence[str], dash: str) -> str:
    """"blocks.0", or for several "blocks.0–3": the last one without the prefix that it shares with the first."""
    first, last = layers[0], layers[-1]
    if len(layers) == 1:
        return first
    stem = first.rpartition(".")[0]
    return f"{first}{dash}{last[len(stem) + 1:]}" if stem and last.startswith(f"{stem}.") else f"{first}{dash}{last}"


def usual_logs(spec: HeatSpec) -> Floats:
    """(L) log10 of each layer's usual gradient RMS: its median, within a decade of the median layer.

    Layers differ by nature, so each is compared with itself; but a layer that was always a hundred times below its
    neighbours is not usual, which is how a net whose gradients die with depth shows from the first step.
    """
    rows = np.flatnonzero(spec.steps < spec.before) if spec.before is not None else np.arange(len(spec.steps))
    if len(rows) < 3:
        rows = np.arange(len(spec.steps))
    stride = 1
    while len(rows) // stride > _SAMPLES:
        stride *= 2  # powers of two: the sample, and with it the picture, seldom changes
    values = np.asarray(spec.values[rows[::stride]], np.float64)
    logs = _log(np.where(np.isfinite(values), values, np.nan))
    own = _medians(logs)
    finite = own[np.isfinite(own)]
    run = float(np.median(finite)) if len(finite) else 0.0
    return np.asarray(np.round(np.clip(np.where(np.isnan(own), run, own), run - 1.0, run + 1.0), 1))


def _medians(columns: Floats) -> Floats:
    """Per column, NaN left out: NaN where nothing else is there. -inf (no gradient at all) counts."""
    ordered = np.sort(columns, axis=0)  # NaN last
    count = (~np.isnan(columns)).sum(0)
    which = np.arange(columns.shape[1])
    lower = ordered[np.maximum(count - 1, 0) // 2, which]
    upper = ordered[np.minimum(count // 2, len(columns) - 1), which]
    return np.asarray((lower + upper) / 2)


def rank_cells(spec: HeatSpec, groups: Sequence[tuple[int, int]], x: XAxis, width: int) -> Ranks:
    """(groups, width) of ranks, indices into `ORDER`: the worst that falls into a cell; -1: nothing measured.

    Between two measured cells the earlier one stands (per-layer rows come on a cadence).
    """
    ranks = np.full((len(groups), width), -1, np.int8)
    at = columns_of(np.asarray(spec.steps, np.float64), x.first, x.last, width)
    inside = (at >= 0) & (at < width)
    if not inside.any():
        return ranks
    at, values = at[inside], np.asarray(spec.values, np.float64)[inside]
    finite = np.isfinite(values)
    if spec.seen is not None:
        measured = np.asarray(spec.seen, np.bool_)[inside]
    else:
        measured = np.logical_or.accumulate(np.isfinite(spec.values), axis=0)[inside] | np.isinf(values)
    starts = np.flatnonzero(np.concatenate(([True], at[1:] != at[:-1])))
    usual = usual_logs(spec)
    usable = finite & measured
    low = _log(np.minimum.reduceat(np.where(usable, values, np.inf), starts, axis=0)) - usual
    high = _log(np.maximum.reduceat(np.where(usable, values, 0.0), starts, axis=0)) - usual
    worst = np.maximum(_rank(low), _rank(high))
    worst[~np.logical_or.reduceat(usable, starts, axis=0)] = -1
    worst[np.logical_or.reduceat(measured & ~finite, starts, axis=0)] = BAD
    firsts = [a for a, _ in groups]
    ranks[:, at[starts]] = np.maximum.reduceat(worst, firsts, axis=1).T
    return _carried(ranks, at[starts])


def _carried(ranks: Ranks, measured: NDArray[np.int64]) -> Ranks:
    """Cells between measured columns take over the one before."""
    source = np.full(ranks.shape[1], -1)
    source[measured] = measured
    source = np.maximum.accumulate(source)
    source[measured[-1] + 1:] = -1
    filled = np.where(source >= 0, ranks[:, source], -1)
    return np.asarray(filled, np.int8)


def _log(values: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log10(values))


def _rank(deviation: Floats) -> Ranks:
    size = np.digitize(np.abs(np.nan_to_num(deviation, nan=0.0, posinf=99.0, neginf=-99.0)), LEVELS)
    return np.asarray(np.where(size == 0, 0, 2 * size + (deviation > 0)), np.int8)


def _paint(canvas: Canvas, left: int, top: int, ranks: Ranks, glyphs: GlyphSet) -> None:
    points = np.array([ord(c) for c in (*(glyphs.heat[level] for level in ORDER), glyphs.bad, " ")], np.uint32)
    names: tuple[Role, ...] = (*(_ROLES[level] for level in ORDER), "heat-bad", "blank")
    roles = np.array([ROLES.index(role) for role in names], np.uint8)
    canvas.block(left, top, points[ranks], roles[ranks])


def _paint_marks(
    canvas: Canvas, left: int, top: int, ranks: Ranks, spec: HeatSpec, x: XAxis, glyphs: GlyphSet,
) -> None:
    """Vertical lines through what is usual; the unusual stays visible."""
    width = ranks.shape[1]
    lines = {"onset": glyphs.onset, "event": glyphs.onset, "rollback": glyphs.rollback, "cursor": glyphs.cursor}
    for mark in spec.marks:
        cell = int(columns_of(np.array([mark.step]), x.first, x.last, width)[0])
        if mark.kind in lines and 0 <= cell < width:
            for row in np.flatnonzero(ranks[:, cell] <= 0).tolist():
                canvas.put(left + cell, top + row, lines[mark.kind], mark.role)
