"""Online statistics of one series: CUSUM with its onset, EWMA, means of blocks. Pure folds, one value at a time.

Measured grounds: reference tables of the design (LM losses are white noise around a slow trend, heavy-tailed, so
medians and MAD instead of means; persistence instead of single values). Each object is owned by its caller and
changes in place.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cache, reduce
from operator import add
from typing import Final

import numpy as np

from tuimon.record.chunk import Floats

READY: Final = 16
"""Values before a baseline says anything."""
WINDOW: Final = 128
MAD_TO_SIGMA: Final = 1.4826
TOP: Final = 0.9
TO_SIGMA: Final = 1.2816
"""The quantile by which an upper half is measured, and how many standard deviations it lies above the median."""


@cache
def centred(n: int) -> tuple[Floats, float]:
    """Times of n values around their middle, and the sum of their squares."""
    t = np.arange(n, dtype=np.float64) - (n - 1) / 2
    return t, float(t @ t)


def robust_scale(values: Floats, *, detrend: bool) -> float:
    """1.4826 x MAD of a window, after taking out its straight line if asked; in the unit of the values."""
    return robust_scales(values, detrend=detrend)[0]


def robust_scales(values: Floats, *, detrend: bool) -> tuple[float, float, float]:
    """The same; the standard deviation as the upper half alone tells it, by its 90th percentile; and `tied`."""
    n = len(values)
    if detrend:
        t, squared = centred(n)
        values = values - t * (float(t @ values) / squared)
    ordered, half = np.sort(values), n // 2  # of so few values faster than np.partition
    above = float(ordered[int(TOP * n)] - ordered[half]) / TO_SIGMA
    return MAD_TO_SIGMA * float(np.sort(np.abs(values - ordered[half]))[half]), above, tied(values)


def tied(values: Floats) -> float:
    """Autocorrelation of neighbours around a straight line, in [-1, 1]: large where a log holds smoothed values."""
    t, squared = centred(len(values))
    rest = values - values.mean() - t * (float(t @ values) / squared)
    return lag_one(rest)


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

    def foresee(self, z: Floats) -> tuple[list[float], list[int]]:
        """S after each of these values, and which of them last lifted it from zero by then; -1 where none has."""
        value, lifted, slack, top = self.value, -1, self.slack, 2 * self.limit
        values, lifts = [], []
        for i, one in enumerate(np.minimum(z, self.cap).tolist()):
            if value != 0.0:
                value = value + one - slack
                if not 0.0 < value < top:
                    value = max(0.0, min(value, top))
            elif one > slack:
                value, lifted = min(one - slack, top), i
            values.append(value)
            lifts.append(lifted)
        return values, lifts

    def pass_over(
        self, sums: Sequence[float], lifts: Sequence[int], i: int, j: int, steps: Sequence[int]
    ) -> int | None:
        """Be past the values i to j, j left out, of those foreseen; which of them last lifted S from zero, if any."""
        self.value, lifted = sums[j - 1], lifts[j - 1]
        if self.value == 0.0:
            self.rose = None
        elif lifted >= i:
            self.rose = steps[lifted]
        return lifted if lifted >= i else None

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

    def foresee(self, values: Iterable[float]) -> list[float]:
        """The mean after each of these values; at least one was taken in before, or there is a start."""
        weight, mean, found = self.weight, self.value, []
        for value in values:
            mean += weight * (value - mean)
            found.append(mean)
        return found

    def pass_over(self, count: int, mean: float) -> None:
        """Be at the mean that was foreseen after so many values more."""
        self.count += count
        self.value = mean


class Blocks:
    """Means of consecutive blocks of 16 finite values, for slow questions: whether it has moved, and how steadily."""

    SIZE: Final = 16
    __slots__ = ("_level", "_sum", "_sums", "_waiting", "lowest", "means", "steps")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Start anew."""
        self.means: list[float] = []
        self.steps: list[int] = []
        """First step of each block."""
        self.lowest = math.inf
        """The lowest mean."""
        self._sum = 0.0
        self._waiting: list[int] = []
        self._level: float | None = None
        self._sums: list[tuple[float, float, float]] = [(0.0, 0.0, 0.0)]
        """Of the means before each block and after the last: how far they are from the first, that times their index,
        and that squared."""

    @property
    def room(self) -> int:
        """How many values more make a block full."""
        return self.SIZE - len(self._waiting)

    def pass_over(self, steps: Sequence[int], values: Sequence[float]) -> None:
        """Take in several values that do not make a block full."""
        self._sum = reduce(add, values, self._sum)  # not sum(), which since 3.12 rounds otherwise than one by one
        self._waiting.extend(steps)

    def add(self, step: int, value: float) -> bool:
        """Take in one value; True when a block has just become full."""
        self._sum += value
        self._waiting.append(step)
        if len(self._waiting) < self.SIZE:
            return False
        mean = self._sum / self.SIZE
        self.means.append(mean)
        self.lowest = min(self.lowest, mean)
        self._level = mean if self._level is None else self._level
        far, (total, turned, squared) = mean - self._level, self._sums[-1]
        self._sums.append((total + far, turned + (len(self.means) - 1) * far, squared + far * far))
        self.steps.append(self._waiting[0])
        self._sum = 0.0
        self._waiting = []
        return True

    def forget_after(self, step: int) -> None:
        """Drop the blocks that begin after `step`, and the one being filled."""
        keep = sum(1 for s in self.steps if s <= step)
        del self.means[keep:], self.steps[keep:], self._sums[keep + 1:]
        self.lowest = min(self.means, default=math.inf)
        self._sum, self._waiting = 0.0, []


    def slope(self, size: int) -> tuple[float, float]:
        """`slope` of the last `size` means, three or more, at the same price for any size; less exact by about 1e-9."""
        (a, b, c), (x, y, z) = self._sums[-1 - size], self._sums[-1]
        total, squared = x - a, z - c
        spread = size * (size * size - 1) / 12
        tilt = y - b - total * (len(self.means) - (size + 1) / 2)
        rest = squared - total * total / size - tilt * tilt / spread
        return tilt / spread, math.sqrt(max(0.0, rest) / max(1, size - 2) / spread)


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
    t, squared = centred(len(y))
    _, place, many = np.unique(y - t * (float(t @ y) / squared), return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(many) - (many + 1) / 2)[place]
    return ranks - float(ranks.mean())


def lag_one(ranks: Floats) -> float:
    """Autocorrelation of neighbours, in [-1, 1], of values around zero; 0 where all are equal."""
    size = float(ranks @ ranks)
    return float(ranks[1:] @ ranks[:-1]) / size if size > 0 else 0.0


def middle(values: Sequence[float]) -> float:
    """Median of plain numbers, at least one and none of them NaN; of few ten times as fast as numpy's."""
    ordered = sorted(values)
    return (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2


def median(values: Sequence[float]) -> float:
    """Upper median of plain numbers, infinities included; NaN counts as infinity. NaN for nothing at all."""
    ordered = sorted(math.inf if math.isnan(v) else v for v in values)
    return ordered[len(ordered) // 2] if ordered else math.nan
