"""A loss curve made fit to be measured: finite, in order, outliers clipped, noise known, long stretches averaged."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tuimon.diagnosis.statistics import MAD_TO_SIGMA, robust_scale
from tuimon.record.chunk import Floats

WINDOW: Final = 64
"""Points over which noise is measured."""
LARGEST: Final = 1e100
"""Losses beyond it are overflows in the making and count as not finite."""
CLIP: Final = 4.0
"""Noise levels at which a single value is clipped."""


@dataclass(frozen=True, slots=True)
class Points:
    """(n,) steps, increasing, and their losses; all finite."""

    steps: Floats
    losses: Floats
    clipped: Floats
    """The losses with single outliers pulled in to four noise levels off their neighbours."""
    noise: float
    """Robust standard deviation around the trend, over the last 512 points; nats. NaN below 8 points."""
    quantum: float
    """Rounding of the log, in nats, as far as it can be seen."""
    outliers: int
    spacing: float
    not_finite: int
    first_not_finite: float | None
    ends_finite: bool

    def __len__(self) -> int:
        return len(self.steps)


@dataclass(frozen=True, slots=True)
class Blocks:
    """Means of consecutive points; short blocks at the start, where a curve bends, longer ones later."""

    steps: Floats
    losses: Floats
    counts: Floats


def points_of(steps: Any, losses: Any) -> Points:
    """Sort by step, average what shares a step, set aside what is not finite (or beyond 1e100).

    Raises ValueError for unequal lengths.
    """
    x, y = np.asarray(steps, np.float64).ravel(), np.asarray(losses, np.float64).ravel()
    if len(x) != len(y):
        raise ValueError(f"{len(x)} steps and {len(y)} losses: as many of one as of the other are wanted")
    known = np.isfinite(x)
    x, y = x[known], y[known]
    order = np.lexsort((y, x))
    x, y = x[order], y[order]
    finite = np.abs(np.nan_to_num(y, nan=np.inf)) <= LARGEST
    bad = x[~finite]
    last_bad = len(bad) > 0 and bad[-1] >= x[-1]
    x, y = x[finite], y[finite]
    if len(x) and (np.diff(x) == 0).any():
        x, inverse, counts = np.unique(x, return_inverse=True, return_counts=True)
        y = np.bincount(inverse, y) / counts
    clipped, outliers = clip_outliers(y, noise_of(y))
    noise, quantum = noise_of(clipped), quantum_of(y)
    spacing = float(np.median(np.diff(x))) if len(x) > 1 else 1.0
    return Points(
        x, y, clipped, noise, quantum, outliers, spacing, len(bad), float(bad[0]) if len(bad) else None,
        bool(len(x)) and not last_bad,
    )


def quantum_of(y: Floats) -> float:
    """The smallest gap between different values among the last 512; 0 where none differ."""
    gaps = np.diff(np.unique(y[-512:]))
    return float(gaps.min()) if len(gaps) else 0.0


def noise_of(y: Floats) -> float:
    """Median over the windows of the last 512 points of each one's detrended robust scale; NaN below 8 points.

    Never below what rounding alone would give. A median of windows: one bad stretch among eight does not count.
    """
    if len(y) < 8:
        return math.nan
    recent = y[-512:]
    size = min(WINDOW, len(recent))
    windows = recent[len(recent) % size :].reshape(-1, size)
    bias = math.sqrt(size / (size - 2))  # a straight line took two degrees of freedom
    return max(float(np.median([robust_scale(w, detrend=True) for w in windows])) * bias, quantum_of(y) / math.sqrt(12))


def clip_outliers(y: Floats, noise: float) -> tuple[Floats, int]:
    """Pull single values in to four noise levels off the median of five around them; how many were over six.

    A steep descent stays as it is: the middle of five falling values is their median. The noise of a stretch is its
    own where it is larger than the recent one, so that a lively start is not taken for outliers.
    """
    if len(y) < 8 or not noise > 0:
        return y, 0
    padded = np.concatenate([2 * y[0] - y[2:0:-1], y, 2 * y[-1] - y[-2:-4:-1]])
    middle = np.median(np.lib.stride_tricks.sliding_window_view(padded, 5), axis=1)
    rest = y - middle
    parts = np.array_split(np.arange(len(y)), max(1, len(y) // 128))
    scale = np.concatenate([np.full(len(p), MAD_TO_SIGMA * 1.2 * float(np.median(np.abs(rest[p])))) for p in parts])
    scale = np.maximum(scale, noise)
    return middle + np.clip(rest, -CLIP * scale, CLIP * scale), int((np.abs(rest) > 6 * scale).sum())


def blocks_of(steps: Floats, losses: Floats, most: int = 400) -> Blocks:
    """At most about `most` means: block lengths grow geometrically from one point and end at equal lengths."""
    n = len(steps)
    edges = [0]
    longest = max(1, math.ceil(n / (most * 0.6)))
    while edges[-1] < n:
        done = edges[-1]
        edges.append(min(n, done + min(longest, max(1, done // 24))))
    starts = np.array(edges[:-1])
    counts = np.diff(edges).astype(np.float64)
    return Blocks(np.add.reduceat(steps, starts) / counts, np.add.reduceat(losses, starts) / counts, counts)
