"""One metric of a run of any length in a few thousand columns: what several runs over each other are drawn from. Pure.

Columns are of equal width in steps; when a run outgrows them, two become one. Extremes, sums and marks survive that.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tuimon.record.chunk import Floats, Ints
from tuimon.record.thinning import Thin, tabled

COLUMNS: Final = 2048
"""Most columns; a chart has a few hundred dots across."""


class Rolled:
    """Grows by stretches in order of step. 90 kB, however long the run."""

    __slots__ = ("_bad", "_base", "_count", "_high", "_last", "_low", "_step", "_total", "_width")

    def __init__(self) -> None:
        self._base, self._width = -1, 1
        self._step: Ints = np.full(COLUMNS, -1, np.int64)
        self._low, self._high, self._last = (np.full(COLUMNS, np.nan) for _ in range(3))
        self._total, self._count = np.zeros(COLUMNS), np.zeros(COLUMNS)
        self._bad: NDArray[np.bool_] = np.zeros(COLUMNS, np.bool_)

    def extend(self, steps: Ints, values: Floats) -> None:
        """More of it: steps (n,) increasing, values (n,), non-finite ones included."""
        if not len(steps):
            return
        if self._base < 0:
            self._base = int(steps[0])
        while (int(steps[-1]) - self._base) // self._width >= COLUMNS:
            self._halve()
        column = np.maximum(0, (steps - self._base) // self._width)
        starts = np.flatnonzero(np.concatenate(([True], column[1:] != column[:-1])))
        ends = np.concatenate((starts[1:], [len(steps)]))
        at = column[starts]
        finite = np.isfinite(values)
        clean = np.where(finite, values, np.nan)
        self._low[at] = np.fmin(self._low[at], np.fmin.reduceat(clean, starts))
        self._high[at] = np.fmax(self._high[at], np.fmax.reduceat(clean, starts))
        with np.errstate(over="ignore"):
            self._total[at] += np.add.reduceat(np.where(finite, values, 0.0), starts)
        self._count[at] += np.add.reduceat(finite.astype(np.float64), starts)
        self._bad[at] |= np.logical_or.reduceat(~finite, starts)
        latest = np.maximum.accumulate(np.where(finite, np.arange(len(values)), -1))[ends - 1]
        fresh = latest >= starts
        self._last[at[fresh]] = values[latest[fresh]]
        self._step[at] = steps[ends - 1]

    def cut(self, after: int) -> None:
        """Forget what lies after that step, as far as columns tell it apart: a resumed attempt does it again."""
        if self._base < 0:
            return
        gone = slice(max(0, (after - self._base) // self._width + 1), None)
        self._step[gone], self._bad[gone] = -1, False
        self._low[gone], self._high[gone], self._last[gone] = np.nan, np.nan, np.nan
        self._total[gone], self._count[gone] = 0.0, 0.0

    def _halve(self) -> None:
        half = COLUMNS // 2

        def joined(values: NDArray[np.float64], pick: np.ufunc, rest: float) -> NDArray[np.float64]:
            return np.concatenate((pick.reduce(values.reshape(half, 2), axis=1), np.full(half, rest)))

        pairs = self._last.reshape(half, 2)
        self._last = np.concatenate((np.where(np.isnan(pairs[:, 1]), pairs[:, 0], pairs[:, 1]), np.full(half, np.nan)))
        self._low, self._high = joined(self._low, np.fmin, np.nan), joined(self._high, np.fmax, np.nan)
        self._total, self._count = joined(self._total, np.add, 0.0), joined(self._count, np.add, 0.0)
        self._bad = np.concatenate((self._bad.reshape(half, 2).any(1), np.zeros(half, np.bool_)))
        self._step = np.concatenate((self._step.reshape(half, 2).max(1), np.full(half, -1, np.int64)))
        self._width *= 2

    @property
    def is_empty(self) -> bool:
        """Whether nothing was measured."""
        return not bool((self._step >= 0).any())

    @property
    def least(self) -> float | None:
        """The least finite value; None where there is none."""
        low = self._low[np.isfinite(self._low)]
        return float(low.min()) if len(low) else None

    @property
    def most(self) -> float | None:
        """The greatest finite value; None where there is none."""
        high = self._high[np.isfinite(self._high)]
        return float(high.max()) if len(high) else None

    def thin(self) -> Thin:
        """The columns that hold something, with their extremes."""
        there = self._step >= 0
        return Thin(tabled(
            self._step[there], self._low[there], self._high[there], self._last[there], self._bad[there]))

    def smooth(self, share: float) -> Thin:
        """The mean around each column, over that share of all of them: a line that can be told from others."""
        there = np.flatnonzero(self._step >= 0)
        if not len(there):
            return self.thin()
        reach = int(share * (there[-1] - there[0] + 1) / 2)
        count = np.concatenate(([0.0], np.cumsum(self._count)))
        first, last = np.maximum(0, there - reach), np.minimum(COLUMNS, there + reach + 1)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            total = np.concatenate(([0.0], np.cumsum(self._total)))
            mean = (total[last] - total[first]) / (count[last] - count[first])
        mean = np.where(np.isfinite(self._last[there]) & np.isfinite(mean), mean, np.nan)
        return Thin(tabled(self._step[there], mean, mean, mean, self._bad[there]))
