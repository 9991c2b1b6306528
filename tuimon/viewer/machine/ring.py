"""What was measured in the last minutes: columns of fixed size, the oldest written over. In the viewer only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SIZE: Final = 600
"""Samples: ten minutes at one a second."""
NAMES: Final = 64
"""Columns at most: what is beyond is not kept."""


@dataclass(frozen=True, slots=True, eq=False)
class Traces:
    """A copy of the ring, oldest first."""

    times: Floats = field(default_factory=lambda: np.zeros(0))
    """(n,) seconds on the viewer's own clock, increasing."""
    values: Mapping[str, Floats] = field(default_factory=dict)
    """(n,) each; NaN where it was not told."""

    def of(self, name: str) -> Floats:
        """(n,) of a column; all NaN where there is none."""
        found = self.values.get(name)
        return np.full(len(self.times), np.nan) if found is None else found


NO_TRACES: Final = Traces()
"""Before the first look."""


class Ring:
    """The last SIZE samples of each column."""

    def __init__(self, size: int = SIZE) -> None:
        self._times: Floats = np.zeros(size)
        self._columns: dict[str, Floats] = {}
        self._next = self._filled = 0

    def add(self, time: float, values: Mapping[str, float | None]) -> None:
        """One sample; a column that it lacks gets NaN. Time that does not go on is left out."""
        size = len(self._times)
        if self._filled and time <= self._times[self._next - 1]:
            return
        for name in values:
            if name not in self._columns and len(self._columns) < NAMES:
                self._columns[name] = np.full(size, np.nan)
        self._times[self._next] = time
        for name, column in self._columns.items():
            value = values.get(name)
            column[self._next] = np.nan if value is None else value
        self._next = (self._next + 1) % size
        self._filled = min(size, self._filled + 1)

    def traces(self) -> Traces:
        """A copy, oldest first."""
        start = self._next if self._filled == len(self._times) else 0
        order = (start + np.arange(self._filled)) % len(self._times)
        return Traces(self._times[order], {name: column[order] for name, column in self._columns.items()})
