"""What is plotted: columns of (step, low, high, last, bad). Pure values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tuimon.record.thinning import Thin, tabled
from tuimon.viewer.charts.picture import Role

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Series(Thin):
    """One line of a chart, its columns in order of step. One without a value and not bad is not measured: no point."""

    role: Role = "data"

    @staticmethod
    def of(steps: ArrayLike, values: ArrayLike, role: Role = "data") -> Series:
        """Every sample its own column. Both (n,); a value that is not finite is a bad sample, not a missing one."""
        value = np.asarray(values, np.float64)
        finite = np.isfinite(value)
        value = np.where(finite, value, np.nan)
        return Series(tabled(np.asarray(steps, np.float64), value, value, value, ~finite), role)

    @staticmethod
    def thin(columns: Thin, role: Role = "data") -> Series:
        """From `History.thin`."""
        return Series(columns.table, role)

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
