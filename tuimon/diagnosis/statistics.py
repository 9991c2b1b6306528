"""Online statistics of one series: robust baseline, CUSUM with its onset, EWMA. Pure folds, one value at a time.

Measured grounds: reference tables of the design (LM losses are white noise around a slow trend, heavy-tailed, so
medians and MAD instead of means; persistence instead of single values). Each object is owned by its caller and
changes in place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Final

import numpy as np

from tuimon.diagnosis.model import Usual
from tuimon.record.chunk import Floats

READY: Final = 16
"""Values before a baseline says anything."""
WINDOW: Final = 128
KEPT: Final = 1024
"""Accepted values remembered, so that a rollback can put the baseline back to what it was."""
MAD_TO_SIGMA: Final = 1.4826


@cache
def _centred(n: int) -> tuple[Floats, float]:
    """Times of n values around their middle, and the sum of their squares."""
    t = np.arange(n, dtype=np.float64) - (n - 1) / 2
    return t, float(t @ t)


def _stride(count: int) -> int:
    """Every how many values the baseline is found anew."""
    return 1 if count < 64 else 8 if count < KEPT else 16


def robust_scale(values: Floats, *, detrend: bool) -> float:
    """1.4826 x MAD of a window, after taking out its straight line if asked; in the unit of the values."""
    n = len(values)
    if detrend:
        t, squared = _centred(n)
        values = values - t * (float(t @ values) / squared)
    half = n // 2
    middle = np.partition(values, half)[half]
    return MAD_TO_SIGMA * float(np.partition(np.abs(values - middle), half)[half])


class Baseline:
    """Where a series usually is: median and robust scale of its last 16 to 128 accepted values.

    The window is half of what has been seen, within those limits. Values above `median + clip` are taken in as that
    limit, so that a spike cannot raise its own baseline, and a genuine shift is absorbed slowly. Median and scale
    are found anew at each of the first 64 values, then at every eighth, from the 1,024th at every sixteenth [12 us]:
    about a microsecond a value, and what they say is never more than an eighth of the window old.
    """

    __slots__ = ("_clip", "_detrend", "_limit", "_quantum", "_size", "_steps", "_values", "count", "middle", "scale")

    def __init__(self, *, detrend: bool = False, clip: float | None = None) -> None:
        self._detrend = detrend
        self._clip = clip
        self._values = np.empty(2 * KEPT)
        self._steps = np.empty(2 * KEPT, np.int64)
        self.clear()

    def clear(self) -> None:
        """Know nothing."""
        self._size = 0
        self._limit = math.inf
        self._quantum = 0.0
        """The smallest distance of two values that differ, as last seen; 0 before."""
        self.count = 0
        self.middle = math.nan
        """Median; NaN before the first value."""
        self.scale = math.nan
        """Robust standard deviation, never below 1e-3 of the median nor the quantum of the log; NaN until ready."""

    @property
    def ready(self) -> bool:
        """Whether there were enough values to judge by."""
        return self.count >= READY

    def learn(self, step: int, value: float) -> None:
        """Take in one finite value."""
        size = self._size
        if size == 2 * KEPT:
            self._values[:KEPT], self._steps[:KEPT] = self._values[KEPT:], self._steps[KEPT:]
            size = KEPT
        self._values[size] = min(self._limit, value)
        self._steps[size] = step
        self._size = size + 1
        self.count += 1
        if self.count % _stride(self.count) == 0:
            self._find()

    def forget_after(self, step: int) -> None:
        """Be again what it was when `step` was the last one learned; know nothing if that is too long ago."""
        kept = int(np.searchsorted(self._steps[:self._size], step, "right"))
        if kept == self._size:
            return
        count = self.count - (self._size - kept)
        self.clear()
        if kept and kept >= min(count, 2 * WINDOW):
            self._size, self.count = kept, count
            self._find()

    def usual(self) -> Usual | None:
        """5th to 95th percentile of the window; None until ready."""
        if not self.ready:
            return None
        ordered = np.sort(self._window())
        n = len(ordered) - 1
        return Usual(float(ordered[round(0.05 * n)]), float(ordered[round(0.95 * n)]), self.middle)

    def _window(self) -> Floats:
        """The values as of the last time that median and scale were due."""
        over = self.count % _stride(self.count)
        size = min(WINDOW, max(READY, (self.count - over) // 2), self._size - over)
        return self._values[self._size - over - size:self._size - over]

    def _find(self) -> None:
        count, window = self.count, self._window()
        ordered = np.sort(window)
        half = len(ordered) // 2
        self.middle = float(ordered[half] if len(ordered) % 2 else 0.5 * (ordered[half - 1] + ordered[half]))
        if count < READY:
            return
        spread = robust_scale(window, detrend=self._detrend)
        gaps = ordered[1:] - ordered[:-1]
        quantum = float(np.min(gaps, initial=math.inf, where=gaps > 1e-9 * abs(self.middle)))
        if quantum < math.inf:
            self._quantum = quantum
        self.scale = max(spread, 1e-3 * abs(self.middle), self._quantum, 1e-12)
        above = 4 * self.scale if self._clip is None else self._clip
        self._limit = self.middle + above
        if self._quantum > 0.1 * self.scale:  # a limit off the grid of a rounded log would look like a finer grid
            self._limit = float(ordered[half]) + math.ceil(above / self._quantum) * self._quantum


class Cusum:
    """One-sided CUSUM of a standardised series: S = max(0, S + min(z, cap) - slack), held at twice the limit.

    `rose` is the first step since S was last 0: the maximum-likelihood estimate of when the shift began.
    """

    __slots__ = ("cap", "limit", "rose", "slack", "value")

    def __init__(self, *, cap: float = 3.0, slack: float = 1.0, limit: float = 8.0) -> None:
        self.cap, self.slack, self.limit = cap, slack, limit
        self.clear()

    def clear(self) -> None:
        """Start from zero."""
        self.value = 0.0
        self.rose: int | None = None

    def add(self, step: int, z: float) -> bool:
        """Take in one value; True when this very step lifted S from zero."""
        before = self.value
        if before == 0.0 and z <= self.slack:
            return False
        self.value = max(0.0, min(before + min(z, self.cap) - self.slack, 2 * self.limit))
        if self.value == 0.0:
            self.rose = None
            return False
        if before == 0.0:
            self.rose = step
            return True
        return False

    @property
    def alarm(self) -> bool:
        """Whether the sum is over its limit."""
        return self.value > self.limit


class Ewma:
    """Exponentially weighted mean; starts at its first value, or at `start` where given."""

    __slots__ = ("_start", "count", "value", "weight")

    def __init__(self, weight: float, start: float | None = None) -> None:
        self.weight = weight
        self._start = start
        self.clear()

    def clear(self) -> None:
        """Start anew."""
        self.value = math.nan if self._start is None else self._start
        self.count = 0

    def add(self, value: float) -> float:
        """Take in one finite value; the new mean."""
        self.count += 1
        self.value = value if math.isnan(self.value) else self.value + self.weight * (value - self.value)
        return self.value


class Blocks:
    """Means of consecutive blocks of 16 finite values, for slow questions: whether it has moved, and how steadily."""

    SIZE: Final = 16
    __slots__ = ("_sum", "_waiting", "means", "steps")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Start anew."""
        self.means: list[float] = []
        self.steps: list[int] = []
        """First step of each block."""
        self._sum = 0.0
        self._waiting: list[int] = []

    def add(self, step: int, value: float) -> bool:
        """Take in one value; True when a block has just become full."""
        self._sum += value
        self._waiting.append(step)
        if len(self._waiting) < self.SIZE:
            return False
        self.means.append(self._sum / self.SIZE)
        self.steps.append(self._waiting[0])
        self._sum = 0.0
        self._waiting = []
        return True

    def forget_after(self, step: int) -> None:
        """Drop the blocks that begin after `step`, and the one being filled."""
        keep = sum(1 for s in self.steps if s <= step)
        del self.means[keep:], self.steps[keep:]
        self._sum, self._waiting = 0.0, []


def line(places: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Least-squares slope over places of their own and its standard error; at least three finite values."""
    x, y = np.asarray(places, np.float64), np.asarray(values, np.float64)
    x = x - x.mean()
    spread = float(x @ x)
    b = float(x @ y) / spread
    rest = y - y.mean() - b * x
    return b, math.sqrt(float(rest @ rest) / max(1, len(y) - 2) / spread)


def rising(values: Sequence[float]) -> float:
    """Mann and Kendall's test of a trend: standard deviations above what no trend gives; two values or more."""
    y = np.asarray(values, np.float64)
    n = len(y)
    score = float(np.triu(np.sign(y[None, :] - y[:, None]), 1).sum())
    return (score - math.copysign(min(1.0, abs(score)), score)) / math.sqrt(n * (n - 1) * (2 * n + 5) / 18)


def slope(values: Sequence[float]) -> tuple[float, float]:
    """Least-squares slope per item and its standard error; at least three finite values."""
    y = np.asarray(values, np.float64)
    n = len(y)
    t = np.arange(n) - (n - 1) / 2
    spread = float(t @ t)
    b = float(t @ y) / spread
    rest = y - y.mean() - b * t
    return b, math.sqrt(float(rest @ rest) / max(1, n - 2) / spread)


def ranked(values: Sequence[float]) -> Floats:
    """Ranks around zero, after taking out a straight line: what is left is order, whatever the distribution.

    Equal values share a rank: a log that is rounded has many.
    """
    y = np.asarray(values, np.float64)
    t, squared = _centred(len(y))
    _, place, many = np.unique(y - t * (float(t @ y) / squared), return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(many) - (many + 1) / 2)[place]
    return ranks - float(ranks.mean())


def lag_one(ranks: Floats) -> float:
    """Autocorrelation of neighbours, in [-1, 1], of values around zero; 0 where all are equal."""
    size = float(ranks @ ranks)
    return float(ranks[1:] @ ranks[:-1]) / size if size > 0 else 0.0


def median(values: Sequence[float]) -> float:
    """Upper median of plain numbers, infinities included; NaN counts as infinity. NaN for nothing at all."""
    ordered = sorted(math.inf if math.isnan(v) else v for v in values)
    return ordered[len(ordered) // 2] if ordered else math.nan
