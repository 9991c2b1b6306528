"""Series thinned to as many columns as a chart has: extremes and bad values survive. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from tuimon.record.chunk import Bools, Floats, Ints

if TYPE_CHECKING:
    from typing_extensions import Self

FEW: Final = 24
"""Points up to which a plain loop is quicker than numpy: a live chart has three new ones in each frame."""
_NOTHING: Final = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Series:
    """One metric, only where it was measured."""

    steps: Ints
    values: Floats

    def __len__(self) -> int:
        return len(self.steps)

    def tail(self, count: int) -> Series:
        """The last points, at most `count`."""
        return Series(self.steps[-count:], self.values[-count:])

    @staticmethod
    def empty() -> Series:
        """Never measured."""
        return Series(_NOTHING, np.zeros(0))


def tabled(steps: Ints | Floats, low: Floats, high: Floats, last: Floats, bad: Bools) -> Floats:
    """The table of a `Thin` from its columns; all (c,)."""
    table = np.empty((len(steps), 5))
    for i, part in enumerate((steps, low, high, last, bad)):
        table[:, i] = part
    return table


@dataclass(frozen=True, slots=True, eq=False)
class Thin:
    """A series thinned to columns: extremes survive. Only columns that hold a measurement."""

    table: Floats
    """(c, 5) a row for each column: one block of memory, which goes to another process and is compared as one."""

    def __len__(self) -> int:
        return len(self.table)

    @property
    def steps(self) -> Floats:
        """(c,) last measured step in each column."""
        return self.table[:, 0]

    @property
    def low(self) -> Floats:
        """(c,) smallest finite value; NaN where the column has none."""
        return self.table[:, 1]

    @property
    def high(self) -> Floats:
        """(c,) greatest finite value; NaN where the column has none."""
        return self.table[:, 2]

    @property
    def last(self) -> Floats:
        """(c,) last finite value: where a line goes on from."""
        return self.table[:, 3]

    @property
    def bad(self) -> Bools:
        """(c,) whether a non-finite value fell into the column."""
        return np.not_equal(self.table[:, 4], 0)

    def between(self, first: float, last: float) -> Self:
        """The columns with first <= step <= last."""
        steps = self.steps
        a, b = int(np.searchsorted(steps, first)), int(np.searchsorted(steps, last, "right"))
        return self if (a, b) == (0, len(steps)) else replace(self, table=self.table[a:b])

    @staticmethod
    def join(parts: list[Thin]) -> Thin:
        """The columns of all parts, in order."""
        return Thin(np.concatenate([part.table for part in parts]))


@dataclass(frozen=True, slots=True)
class Blocks:
    """Stretches of a series, in order, each as what is drawn of it; all (b,)."""

    ends: Ints
    """Last step of each."""
    low: Floats
    """Smallest finite value; NaN where there is none."""
    high: Floats
    last: Floats
    bad: Bools

    def __len__(self) -> int:
        return len(self.ends)

    @staticmethod
    def of(steps: Ints, values: Floats) -> Blocks:
        """Every point a block of its own."""
        finite = np.isfinite(values)
        clean = values if finite.all() else np.where(finite, values, np.nan)
        return Blocks(steps, clean, clean, clean, ~finite)

    @staticmethod
    def join(parts: list[Blocks]) -> Blocks:
        """The blocks of all parts, in order."""
        if len(parts) == 1:
            return parts[0]
        return Blocks(
            np.concatenate([p.ends for p in parts]), np.concatenate([p.low for p in parts]),
            np.concatenate([p.high for p in parts]), np.concatenate([p.last for p in parts]),
            np.concatenate([p.bad for p in parts]),
        )


def thin(steps: Ints, values: Floats, first: int, last: int, columns: int) -> Thin:
    """Thin plain arrays: steps (n,) increasing, values (n,), into columns that begin at `first`."""
    if len(steps) <= FEW:
        return _thin_few(steps.tolist(), values.tolist(), first, last, columns)
    return thin_blocks(Blocks.of(steps, values), first, last, columns)


def _thin_few(steps: list[int], values: list[float], first: int, last: int, columns: int) -> Thin:
    rows: list[list[float]] = []
    column = -1
    for step, value in zip(steps, values, strict=True):
        at = (step - first) * columns // (last - first + 1) if first <= step <= last and columns > 0 else -1
        if at < 0:
            continue
        if at != column:
            column = at
            rows.append([step, math.nan, math.nan, math.nan, 0.0])
        row = rows[-1]
        row[0] = step
        if math.isfinite(value):
            if not row[1] <= value:   # also where there is none yet: NaN
                row[1] = value
            if not row[2] >= value:
                row[2] = value
            row[3] = value
        else:
            row[4] = 1.0
    return Thin(np.array(rows) if rows else np.zeros((0, 5)))


def begin_of_column(step: int, first: int, last: int, columns: int) -> int:
    """First step of the column that a step falls into."""
    width = last - first + 1
    return first - -((step - first) * columns // width * width) // columns


def thin_blocks(blocks: Blocks, first: int, last: int, columns: int) -> Thin:
    """Blocks that end between two steps, inclusive, put into at most `columns` columns of equal width in steps."""
    a, b = np.searchsorted(blocks.ends, first), np.searchsorted(blocks.ends, last, "right")
    if columns < 1 or a >= b:
        return Thin(np.zeros((0, 5)))
    steps, low, high = blocks.ends[a:b], blocks.low[a:b], blocks.high[a:b]
    final, bad = blocks.last[a:b], blocks.bad[a:b]
    column = (steps - first) * columns // (last - first + 1)
    starts = np.flatnonzero(np.concatenate(([True], column[1:] != column[:-1])))
    ends = np.concatenate((starts[1:], [len(steps)]))
    finite_at = np.maximum.accumulate(np.where(np.isfinite(final), np.arange(len(final)), -1))[ends - 1]
    has_finite = finite_at >= starts
    return Thin(tabled(
        steps[ends - 1], np.fmin.reduceat(low, starts), np.fmax.reduceat(high, starts),
        np.where(has_finite, final[np.maximum(finite_at, 0)], np.nan), np.logical_or.reduceat(bad, starts)))
