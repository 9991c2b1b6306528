"""What is plotted: columns of (step, low, high, last, bad). Pure values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tuimon.viewer.charts.picture import Role

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class Thinned(Protocol):
    """What `record.history.Thin` has; read by shape so that charts stand without the log."""

    @property
    def steps(self) -> ArrayLike: ...  # noqa: D102
    @property
    def low(self) -> ArrayLike: ...  # noqa: D102
    @property
    def high(self) -> ArrayLike: ...  # noqa: D102
    @property
    def last(self) -> ArrayLike: ...  # noqa: D102
    @property
    def bad(self) -> ArrayLike: ...  # noqa: D102


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One line of a chart: c columns in order of step, each the extremes of the samples it stands for."""

    steps: Floats
    """(c,) non-decreasing."""
    low: Floats
    """(c,) least finite value; NaN where the column has none."""
    high: Floats
    """(c,) greatest finite value; NaN where the column has none."""
    last: Floats
    """(c,) latest finite value: where the line goes on from."""
    bad: Bools
    """(c,) whether a sample in the column was NaN or infinite. A column with neither is not measured: no point."""
    role: Role = "data"

    def __len__(self) -> int:
        return len(self.steps)

    @staticmethod
    def of(steps: ArrayLike, values: ArrayLike, role: Role = "data") -> Series:
        """Every sample its own column. Both (n,); a value that is not finite is a bad sample, not a missing one."""
        at = np.asarray(steps, np.float64)
        value = np.asarray(values, np.float64)
        finite = np.isfinite(value)
        if not finite.all():
            value = np.where(finite, value, np.nan)
        return Series(at, value, value, value, ~finite, role)

    @staticmethod
    def thin(columns: Thinned, role: Role = "data") -> Series:
        """From `History.thin`."""
        return Series(
            np.asarray(columns.steps, np.float64), np.asarray(columns.low, np.float64),
            np.asarray(columns.high, np.float64), np.asarray(columns.last, np.float64),
            np.asarray(columns.bad, np.bool_), role,
        )

    def between(self, first: float, last: float) -> Series:
        """The columns with first <= step <= last."""
        a = int(np.searchsorted(self.steps, first, "left"))
        b = int(np.searchsorted(self.steps, last, "right"))
        if (a, b) == (0, len(self)):
            return self
        return Series(self.steps[a:b], self.low[a:b], self.high[a:b], self.last[a:b], self.bad[a:b], self.role)

    def since(self, step: float) -> Series:
        """From the last column at or before a step on: a line that goes on from there has no gap."""
        before = int(np.searchsorted(self.steps, step, "right")) - 1
        return self.between(self.steps[before], np.inf) if before >= 0 else self

    def spans(self, first: float, last: float) -> bool:
        """Whether a line goes from what is before `first` to what is after `last`."""
        a = int(np.searchsorted(self.steps, first, "left"))
        b = int(np.searchsorted(self.steps, last, "right"))
        valued = np.isfinite(self.low) & ~self.bad
        return 0 < a <= b < len(self) and bool(valued[a - 1] and valued[b])

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show: no value and no bad sample."""
        return not (bool(self.bad.any()) or bool(np.isfinite(self.low).any()))


EMPTY: Final = Series.of((), ())
"""No samples."""
