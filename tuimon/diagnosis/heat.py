"""Depth x time: how far each layer's gradient RMS is from the usual, as ranks. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from tuimon.diagnosis.axes import XAxis, columns_of
from tuimon.diagnosis.calm import FEWEST, Calm
from tuimon.record.chunk import Bools, Floats, Ints
from tuimon.record.stacked import together

Ranks = NDArray[np.int8]

LEVELS: Final = (0.5, 1.0, 1.5, 2.25)
"""Decades from the usual at which a cell takes the next shade: 3, 10, 30 and 180 times."""
ORDER: Final = (4, 4, 3, 5, 2, 6, 1, 7, 0, 8)
"""Rank -> shade in `GlyphSet.heat`, from usual to farthest; of equals the one above the usual is worse."""
BAD: Final = len(ORDER)
"""The rank of a cell with a value that is not finite."""
_SAMPLES: Final = 256
"""Rows looked at for a median: enough for one shade's accuracy, and the same cost for a run of any length."""


class Heat(Protocol):
    """Layers over time: m rows, L layers in model order."""

    @property
    def steps(self) -> Floats:
        """(m,) increasing."""
    @property
    def values(self) -> Floats:
        """(m, L) gradient RMS."""
    @property
    def seen(self) -> Bools | None:
        """(m, L) whether it was measured. None: NaN counts as not measured until the layer's first finite value."""
    @property
    def before(self) -> float | None:
        """The usual is learned from steps before this one (an onset); None: from all."""
    @property
    def again(self) -> tuple[Calm, ...]:
        """The calm stretches since, from which it is learned anew for what follows."""


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


def usual_logs(heat: Heat) -> Floats:
    """(L) log10 of each layer's usual gradient RMS, as of the newest step."""
    return _usuals(heat)[-1][1]


def _usuals(heat: Heat) -> list[tuple[float, Floats]]:
    """What is usual from which step on, oldest first."""
    rows = np.flatnonzero(heat.steps < heat.before) if heat.before is not None else np.arange(len(heat.steps))
    if len(rows) < FEWEST:
        rows = np.arange(len(heat.steps))
    found = [(-math.inf, _usual_of(heat, rows))]
    for one in heat.again:
        first, end = one.within(heat.steps)
        if end - first >= FEWEST:
            found.append((one.since, _usual_of(heat, np.arange(first, end))))
    return found


def _usual_of(heat: Heat, rows: Ints) -> Floats:
    """(L) the same, out of some rows: the median, within a decade of the median layer.

    Layers differ by nature, so each is compared with itself; but a layer that was always a hundred times below its
    neighbours is not usual, which is how a net whose gradients die with depth shows from the first step.
    """
    stride = 1
    while len(rows) // stride > _SAMPLES:
        stride *= 2  # powers of two: the sample, and with it the picture, seldom changes
    values = np.asarray(heat.values[rows[::stride]], np.float64)
    logs = _log(np.where(np.isfinite(values), values, np.nan))
    own = medians(logs)
    finite = own[np.isfinite(own)]
    run = float(medians(finite[:, None])[0]) if len(finite) else 0.0
    return np.asarray(np.round(np.clip(np.where(np.isnan(own), run, own), run - 1.0, run + 1.0), 1))


def medians(columns: Floats) -> Floats:
    """(m, L) -> (L,) per column, NaN left out: NaN where nothing else is there. -inf (no gradient at all) counts.

    `np.median` would load numpy.ma first: 30 ms before the first chart.
    """
    ordered = np.sort(columns, axis=0)  # NaN last
    count = (~np.isnan(columns)).sum(0)
    which = np.arange(columns.shape[1])
    lower = ordered[np.maximum(count - 1, 0) // 2, which]
    upper = ordered[np.minimum(count // 2, len(columns) - 1), which]
    return np.asarray(lower / 2 + upper / 2)


def rank_cells(heat: Heat, groups: Sequence[tuple[int, int]], x: XAxis, width: int) -> Ranks:
    """(groups, width) of ranks, indices into `ORDER`: the worst that falls into a cell; -1: nothing measured.

    Between two measured cells the earlier one stands (per-layer rows come on a cadence), be they in sight or not.
    """
    ranks = np.full((len(groups), width + 2), -1, np.int8)   # one more on each side: what was measured beyond
    at, inside = columns_around(np.asarray(heat.steps, np.float64), x, width)
    if not inside.any():
        return ranks[:, 1:-1]
    values = np.asarray(heat.values, np.float64)[inside]
    finite = np.isfinite(values)
    if heat.seen is not None:
        measured = np.asarray(heat.seen, np.bool_)[inside]
    else:
        measured = np.logical_or.accumulate(np.isfinite(heat.values), axis=0)[inside] | np.isinf(values)
    starts = np.flatnonzero(np.concatenate(([True], at[1:] != at[:-1])))
    since, levels = zip(*_usuals(heat), strict=True)
    usual = levels[0] if len(levels) == 1 else np.stack(levels)[   # (columns, L)
        np.searchsorted(since, heat.steps[inside][starts], "right") - 1]
    usable = finite & measured
    low = ranked(together(np.minimum, np.where(usable, values, np.inf), starts), usual)
    high = ranked(together(np.maximum, np.where(usable, values, 0.0), starts), usual)
    worst = np.maximum(low, high)
    worst[~together(np.logical_or, usable, starts)] = -1
    worst[together(np.logical_or, measured & ~finite, starts)] = BAD
    firsts = [a for a, _ in groups]
    ranks[:, at[starts]] = np.maximum.reduceat(worst, firsts, axis=1).T
    return carried(ranks, at[starts])[:, 1:-1]


def columns_around(steps: Floats, x: XAxis, width: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Which of the columns 1 to `width` steps fall into, and which steps these are.

    At 0 the last one before what is in sight, at `width` + 1 the first one behind it.
    """
    at = columns_of(steps, x.first, x.last, width)
    inside = (at >= 0) & (at < width)
    inside[np.flatnonzero(at < 0)[-1:]] = True
    inside[np.flatnonzero(at >= width)[:1]] = True
    return at[inside] + 1, inside


def carried(ranks: Ranks, measured: NDArray[np.int64]) -> Ranks:
    """(L, width): cells between measured columns take over the one before."""
    source = np.full(ranks.shape[1], -1)
    source[measured] = measured
    source = np.maximum.accumulate(source)
    source[measured[-1] + 1:] = -1
    filled = np.where(source >= 0, ranks[:, source], -1)
    return np.asarray(filled, np.int8)


def _log(values: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log10(values))


_EDGES: Final = (-math.inf, *(-level for level in reversed(LEVELS)), *LEVELS, math.inf)
_HAIR: Final = 1e-9
"""Of a bound: logarithms and powers are rounded."""


def reach(values: Floats, usual: Floats) -> tuple[Floats, Floats]:
    """(L) between what, ends included, values have the rank of these: less a hair, and no further where that decides.

    What is not finite reaches as far as itself.
    """
    at = np.searchsorted(_EDGES, _log(values) - usual).clip(1, len(_EDGES) - 1)
    with np.errstate(over="ignore"):
        low, high = (10.0 ** (usual + np.asarray(_EDGES)[edge]) for edge in (at - 1, at))
    low, high = low * (1 + _HAIR), np.minimum(high * (1 - _HAIR), np.finfo(np.float64).max)
    inside = (low <= values) & (values <= high)
    return np.where(inside, low, values), np.where(inside, high, values)


def ranked(values: Floats, usual: Floats) -> Ranks:
    """The ranks of values (..., L), given what is usual (see `usual_logs`)."""
    deviation = _log(values) - usual
    size = np.digitize(np.abs(np.nan_to_num(deviation, nan=0.0, posinf=99.0, neginf=-99.0)), LEVELS)
    return np.asarray(np.where(size == 0, 0, 2 * size + (deviation > 0)), np.int8)
