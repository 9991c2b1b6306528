"""How long each rank works itself, beside the median of all: who holds the others up, and how it was over time. Pure.

Of sixteen steps the mean counts, so that a step that waited for a checkpoint makes no rank a slow one; and a rank is
slow after two such stretches, until one of them is calm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tuimon.record.chunk import Floats, Ints

SIZE: Final = 16
"""Steps that are looked at together."""
SLOW: Final = 1.3
"""Times the median from which on a rank holds the others up ..."""
CALM: Final = 1.15
"""... and below which it does not any more."""
LASTS: Final = 2
"""Stretches."""
COLUMNS: Final = 256
"""Stretches of the whole run that are kept; of more, neighbours become one."""


@dataclass(frozen=True, slots=True)
class Slow:
    """A rank that holds the others up."""

    rank: int
    times: float
    """Its own time over the median of all, of the last stretch."""
    since: int
    """First step of the first such stretch."""


class Paces:
    """Of the ranks of one attempt, steps in order."""

    def __init__(self, world: int) -> None:
        self._world = world
        self._window, self._first, self._last = -1, -1, -1
        self._sums, self._counts = np.zeros(world), np.zeros(world)
        self._begun, self._lasted = np.full(world, -1, np.int64), np.zeros(world, np.int64)
        self._newest = np.full(world, np.nan)
        self._steps: list[int] = []
        """First step of each stretch that is kept ..."""
        self._rows: list[Floats] = []
        """... the means, ..."""
        self._held: list[int] = []
        """... and of how many of SIZE steps they are; of `_most` each, in the end."""
        self._most = 1

    def state(self) -> tuple[list[int], dict[str, NDArray[Any]]]:
        """What is known, as numbers and arrays."""
        steps, held = np.array(self._steps, np.int64), np.array(self._held, np.int64)
        return [self._window, self._first, self._last, self._most], {
            "sums": self._sums, "counts": self._counts, "begun": self._begun, "lasted": self._lasted,
            "newest": self._newest, "steps": steps, "held": held,
            "rows": np.array(self._rows, np.float32).reshape(-1, self._world)}

    @staticmethod
    def of(world: int, numbers: Sequence[int], arrays: Mapping[str, NDArray[Any]]) -> Paces:
        """As `state` handed it out; ValueError or KeyError for what it did not."""
        found = Paces(world)
        found._window, found._first, found._last, found._most = map(int, numbers)
        found._sums, found._counts, found._newest = (arrays[name] for name in ("sums", "counts", "newest"))
        found._begun, found._lasted = arrays["begun"], arrays["lasted"]
        found._steps, found._held = arrays["steps"].tolist(), arrays["held"].tolist()
        found._rows = list(arrays["rows"])
        if arrays["rows"].shape != (len(found._steps), world) or len(found._held) != len(found._steps) or {
                arrays[name].shape for name in ("sums", "counts", "newest", "begun", "lasted")} != {(world,)}:
            raise ValueError("paces of other ranks")
        return found

    def add(self, steps: Ints, values: Floats) -> None:
        """Own times (W, n) of steps (n,); NaN where one was not measured."""
        if not len(steps):
            return
        with np.errstate(all="ignore"):
            ratios = values / medians(values)
        known = np.isfinite(ratios)
        windows = steps // SIZE
        starts = np.flatnonzero(np.concatenate(([True], windows[1:] != windows[:-1])))
        sums = np.add.reduceat(np.where(known, ratios, 0.0), starts, axis=1)
        counts = np.add.reduceat(known.astype(np.float64), starts, axis=1)
        ends = [*(starts[1:] - 1).tolist(), len(steps) - 1]
        for i, (start, end) in enumerate(zip(starts.tolist(), ends, strict=True)):
            if int(windows[start]) != self._window:
                self._close()
                self._window, self._first = int(windows[start]), int(steps[start])
            self._last = int(steps[end])
            self._sums += sums[:, i]
            self._counts += counts[:, i]

    def take(self, first: int, last: int, means: Floats) -> None:
        """The means (W,) of a stretch of steps: of SIZE of them, or of many where they were thinned."""
        slow = means >= np.where(self._lasted >= LASTS, CALM, SLOW)
        self._begun = np.where(slow & (self._lasted == 0), first, self._begun)
        self._lasted = np.where(slow, self._lasted + max(1, (last - first + 1) // SIZE), 0)
        self._newest = means
        self._keep(first, max(1, (last - first + 1) // SIZE), means.astype(np.float32))
        if len(self._rows) > COLUMNS:
            rows = list(zip(self._steps, self._held, self._rows, strict=True))
            self._steps, self._held, self._rows, self._most = [], [], [], 2 * self._most
            for row in rows:
                self._keep(*row)

    def _keep(self, first: int, held: int, means: Floats) -> None:
        """Behind the last stretch, or in it, while there is room."""
        if self._held and self._held[-1] + held <= self._most:
            self._rows[-1] = _mean(self._rows[-1], self._held[-1], means, held)
            self._held[-1] += held
        else:
            self._steps.append(first)
            self._held.append(held)
            self._rows.append(means)

    def _close(self) -> None:
        if self._counts.any():
            with np.errstate(invalid="ignore"):
                means = self._sums / self._counts
            self.take(self._first, self._last, means)
        self._sums, self._counts = np.zeros(self._world), np.zeros(self._world)

    @property
    def slow(self) -> tuple[Slow, ...]:
        """Those that hold the others up now, the slowest first."""
        found = np.flatnonzero(self._lasted >= LASTS).tolist()
        found.sort(key=lambda rank: -float(self._newest[rank]))
        return tuple(Slow(rank, float(self._newest[rank]), int(self._begun[rank])) for rank in found)

    @property
    def strip(self) -> tuple[Ints, Floats]:
        """First steps (m,) of stretches, and the means (m, W); NaN where a rank was not measured."""
        return np.array(self._steps, np.int64), np.array(self._rows, np.float64).reshape(-1, self._world)


def medians(values: Floats) -> Floats:
    """Over ranks (W, n), of those that were measured; of an even number the lower of the two in the middle.

    What lies between them is half a slow one's own: of two ranks none could be more than twice as slow as that.
    """
    known = np.sort(values, axis=0)   # what is no number comes last
    middle = ((~np.isnan(known)).sum(axis=0) - 1) // 2
    return np.asarray(np.take_along_axis(known, np.maximum(middle, 0)[None], axis=0)[0], np.float64)


def _mean(one: Floats, of: int, other: Floats, count: int) -> Floats:
    """Of means of so many; what was not measured in one of them is what it was in the other."""
    mean = (of * one + count * other) / (of + count)
    both = np.where(np.isnan(one), other, np.where(np.isnan(other), one, mean))
    return np.asarray(both, np.float32)
