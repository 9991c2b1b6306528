"""One metric: its newest points, and over all of them a pyramid of extremes. Pure; old points are asked of others.

Level i has a block for every 16 * 4**i points: last step, least, greatest and last finite value, and whether one was
not finite. A level keeps its newest blocks, so memory grows with the logarithm of the run; where the fine ones are
gone the coarser ones answer, and points come out of the log. Extremes are kept in 32 bits: a chart has 80 dots and
such a number 16 million; what is finite stays finite, and what is above zero stays above it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tuimon.record.chunk import Floats, Ints, Vectors
from tuimon.record.columns import Column
from tuimon.record.thinning import Blocks, Series

FINEST: Final = 16
"""Points to a block of the finest level."""
RADIX: Final = 4
"""Blocks to a block of the next level."""
KEPT: Final = 1 << 16
"""Newest points that are kept at least, where older ones can be had from the log; twice as many at most."""
AGAIN: Final = 1024
"""Points that are fetched again, at least, where a run goes on from before those that are kept."""
_LEAST: Final = float(np.finfo(np.float32).smallest_subnormal)
_MOST: Final = float(np.finfo(np.float32).max)

Fetch = Callable[[int, int], Series]
"""Points between two steps, inclusive, out of the log."""


class Level:
    """The blocks of one size, from number `base` on."""

    __slots__ = ("bad", "base", "ends", "high", "last", "low", "points")

    def __init__(self, points: int, base: int = 0) -> None:
        self.points, self.base = points, base
        self.ends = Column(np.int64)
        self.low, self.high, self.last = Column(np.float32), Column(np.float32), Column(np.float32)
        self.bad = Column(np.bool_)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Ends, low, high, last, bad."""
        return self.ends, self.low, self.high, self.last, self.bad

    @property
    def end(self) -> int:
        """Number of the block that comes next."""
        return self.base + self.ends.size

    def covers(self, step: int) -> bool:
        """Whether it knows what was before a step."""
        return self.base == 0 or bool(self.ends.size and self.ends.view[0] < step)

    def count_before(self, step: int, side: str) -> int:
        """How many blocks end before a step ("left"), or at or before it ("right")."""
        return self.base + int(np.searchsorted(self.ends.view, step, side))  # type: ignore[call-overload]  # a literal

    def blocks(self, first: int, end: int) -> Blocks:
        """Those with numbers first..end-1."""
        cut = slice(first - self.base, end - self.base)
        return Blocks(
            self.ends.view[cut], self.low.view[cut].astype(np.float64), self.high.view[cut].astype(np.float64),
            self.last.view[cut].astype(np.float64), self.bad.view[cut],
        )

    def cut(self, end: int) -> None:
        """Forget blocks from number `end` on."""
        self.base = min(self.base, end)
        for column in self.columns:
            column.cut(min(column.size, end - self.base))

    def trim(self, most: int) -> None:
        """Keep half of `most` where there are more."""
        if self.ends.size <= most:
            return
        gone = (self.ends.size - most // 2) // RADIX * RADIX
        for column in self.columns:
            column.drop(gone)
        self.base += gone


class Track:
    """The points of one metric, in order of step."""

    __slots__ = ("base", "levels", "steps", "values")

    def __init__(self) -> None:
        self.base = 0
        """Number of the first point that is kept."""
        self.steps, self.values = Column(np.int64), Column(np.float64)
        self.levels: list[Level] = []

    def __len__(self) -> int:
        """Points there are, kept or not."""
        return self.base + self.steps.size

    def extend(self, steps: Ints, values: Floats, most: int | None) -> None:
        """Append. `most`: blocks kept of each level; None keeps everything, points as well."""
        self.steps.extend(steps)
        self.values.extend(values)
        self._build()
        if most is None:
            return
        for level in self.levels:
            level.trim(most)
        if self.steps.size > 2 * KEPT:
            gone = (self.steps.size - KEPT) // FINEST * FINEST
            self.steps.drop(gone)
            self.values.drop(gone)
            self.base += gone

    def cut(self, after: int, fetch: Fetch | None, most: int | None) -> None:
        """Forget what lies after a step. Points before it that are not kept any more are fetched again."""
        size = int(np.searchsorted(self.steps.view, after, side="right"))
        if self.base == 0 or size >= AGAIN or (size and fetch is None):
            self.steps.cut(size)
            self.values.cut(size)
            for level in self.levels:
                level.cut(len(self) // level.points)
            return
        self._cut_deep(after, fetch, most)

    def _cut_deep(self, after: int, fetch: Fetch | None, most: int | None) -> None:
        """Cut at a step before those that are kept: to the last block before it, and what follows fetched again."""
        level = next((level for level in self.levels if level.covers(after + 1)), None)
        size = 0 if level is None else level.count_before(after, "right") * level.points
        base, known = self._point_before(max(0, size - AGAIN))
        for level in self.levels:
            level.cut(size // level.points)
        found = Series.empty() if fetch is None else fetch(known + 1, after)
        if base + len(found) < size:   # the log does not tell any more what the pyramid stands on
            base, found = size, Series.empty()
        self.steps.cut(0)
        self.values.cut(0)
        self.base = base
        self.extend(found.steps, found.values, most)

    def _point_before(self, number: int) -> tuple[int, int]:
        """The number of a point at or somewhat before that one, and the step of the point before it; -1 for none."""
        for level in self.levels:
            block = number // level.points
            if block > level.base:
                return block * level.points, int(level.ends.view[block - level.base - 1])
        return 0, -1

    @property
    def last_step(self) -> int | None:
        """Of the newest point."""
        return int(self.steps.view[-1]) if self.steps.size else None

    def tail(self, count: int) -> Series:
        """The newest points, at most `count`, of those that are kept."""
        return Series(self.steps.view, self.values.view).tail(count)

    def holds(self, first: int) -> bool:
        """Whether all points from a step on are kept."""
        return self.base == 0 or bool(self.steps.size and self.steps.view[0] <= first)

    def window(self, first: int, last: int) -> Series:
        """Points between two steps, inclusive, of those that are kept."""
        steps = self.steps.view
        a, b = steps.searchsorted(first), steps.searchsorted(last, "right")
        return Series(steps[a:b], self.values.view[a:b])

    def step_before(self, step: int, count: int) -> int | None:
        """The step of the measurement `count` before the first at or after `step`, or a block earlier; None: none."""
        if self.holds(step):
            at = self.base + int(np.searchsorted(self.steps.view, step)) - count
            if at >= self.base:
                return int(self.steps.view[at - self.base]) if at < len(self) else self.last_step
        first, _ = self.numbers(step, step)
        for level in self.levels:
            block = max(0, first - count) // level.points - 1
            if block >= level.base and level.ends.size:
                return int(level.ends.view[min(block, level.end - 1) - level.base])
        return int(self.steps.view[0]) if self.base == 0 and self.steps.size else 0 if len(self) else None

    def step_after(self, step: int) -> int | None:
        """The step of the first measurement after a step, or of one a block later; None: there is none."""
        kept = [self.steps.view] if self.holds(step + 1) else []
        for ends in (*kept, *(level.ends.view for level in self.levels if level.covers(step + 1))):
            at = int(np.searchsorted(ends, step, "right"))
            if at < len(ends):
                return int(ends[at])
        return int(self.steps.view[0]) if self.steps.size and self.steps.view[0] > step else None

    def numbers(self, first: int, last: int) -> tuple[int, int]:
        """Number of the first point at or after `first`, and one above that of the last point up to `last`.

        Where points are not kept, those of the blocks that they lie in.
        """
        return self._number(first, "left"), self._number(last, "right")

    def _number(self, step: int, side: str) -> int:
        if self.holds(step):
            return self.base + int(self.steps.view.searchsorted(step, side))  # type: ignore[call-overload]  # a literal
        for level in self.levels:
            if level.covers(step):
                blocks = level.count_before(step, side)
                if side == "right" and blocks < level.end and (
                        blocks == level.base or level.ends.view[blocks - level.base - 1] < step):
                    blocks += 1
                return blocks * level.points
        return 0

    def finest(self, first: int) -> Level | None:
        """The finest level that knows all blocks from a step on."""
        return next((level for level in self.levels if level.covers(first)), None)

    def pieces(self, first: int, last: int, points: int) -> Blocks:
        """What is known between two steps, in blocks of at most about `points` points, or of the finest that are kept.

        At either end finer blocks and points come in. A block that reaches out of the window is counted as inside.
        """
        begin, end = self.numbers(first, last)
        fine = 0 if self.holds(first) else next((i for i, v in enumerate(self.levels) if v.covers(first)), 0)
        depth = max([i for i, level in enumerate(self.levels) if level.points <= points] + [fine])
        found = Blocks.join(self._fill(begin, end, min(depth, len(self.levels) - 1)))
        return Blocks(np.clip(found.ends, first, last), found.low, found.high, found.last, found.bad)

    def _fill(self, begin: int, end: int, depth: int) -> list[Blocks]:
        """Points number begin..end-1 as blocks of one level, and finer ones where those do not begin or end."""
        if begin >= end:
            return []
        if depth < 0:
            cut = slice(max(0, begin - self.base), max(0, end - self.base))
            return [Blocks.of(self.steps.view[cut], self.values.view[cut])]
        level = self.levels[depth]
        a = max(-(-begin // level.points), level.base)
        b = max(a, min(end // level.points, level.end))
        if a * level.points >= end:
            return self._fill(begin, end, depth - 1)
        if b * level.points < end and not self._reaches(b * level.points, depth - 1) and b < level.end:
            b += 1
        return [
            *self._fill(begin, a * level.points, depth - 1), level.blocks(a, b),
            *self._fill(b * level.points, end, depth - 1),
        ]

    def _reaches(self, number: int, depth: int) -> bool:
        """Whether a level, or below the finest the points, are kept from a point on."""
        return self.base <= number if depth < 0 else self.levels[depth].base * self.levels[depth].points <= number

    def _build(self) -> None:
        """Complete the pyramid."""
        points, depth = FINEST, 0
        while len(self) >= points:
            if depth == len(self.levels):
                self.levels.append(Level(points))
            here = self.levels[depth]
            done, blocks = here.end, len(self) // points
            if blocks <= done:   # nor is there one of a coarser level
                return
            if depth == 0:
                cut = slice(done * FINEST - self.base, blocks * FINEST - self.base)
                _append_points(here, self.steps.view[cut], self.values.view[cut])
            else:
                below = self.levels[depth - 1]
                _append_blocks(here, below, done * RADIX - below.base, blocks * RADIX - below.base)
            points, depth = points * RADIX, depth + 1


def _append_points(level: Level, steps: Ints, values: Floats) -> None:
    finite = np.isfinite(values)
    level.ends.extend(steps[FINEST - 1::FINEST])
    if finite.all():
        clean, last = values, values[FINEST - 1::FINEST]
        level.bad.extend(np.zeros(len(last), np.bool_))
    else:
        clean = np.where(finite, values, np.nan)
        last = _last_finite(clean.reshape(-1, FINEST))
        level.bad.extend(_folded(~finite, np.logical_or, FINEST))
    level.low.extend(narrow(_folded(clean, np.fmin, FINEST)))
    level.high.extend(narrow(_folded(clean, np.fmax, FINEST)))
    level.last.extend(narrow(last))


def _append_blocks(level: Level, below: Level, first: int, end: int) -> None:
    cut = slice(first, end)
    level.ends.extend(below.ends.view[cut][RADIX - 1::RADIX])
    level.low.extend(_folded(below.low.view[cut], np.fmin, RADIX))
    level.high.extend(_folded(below.high.view[cut], np.fmax, RADIX))
    level.last.extend(_last_finite(below.last.view[cut].reshape(-1, RADIX)))
    level.bad.extend(_folded(below.bad.view[cut], np.logical_or, RADIX))


def _folded(values: NDArray[Any], pick: np.ufunc, size: int) -> NDArray[Any]:
    """One of each `size`, a power of two: by halves, 8 times faster than a reduction over rows of 16."""
    while size > 1:
        values, size = pick(values[0::2], values[1::2]), size // 2
    return values


def _last_finite(grid: NDArray[Any]) -> NDArray[Any]:
    """The last number of each row; NaN where it has none."""
    fine = ~np.isnan(grid)
    where = grid.shape[1] - 1 - fine[:, ::-1].argmax(1)
    return np.asarray(grid[np.arange(len(grid)), where])


def narrow(values: Floats) -> Vectors:
    """In 32 bits: numbers stay numbers, and none becomes zero that was not. NaN stays NaN."""
    size = np.abs(values)
    with np.errstate(invalid="ignore"):
        if bool((size < _MOST).all()) and bool((size > 1e-37).all()):
            return values.astype(np.float32)
    size = np.where(size > 0, np.clip(size, _LEAST, _MOST), size)
    return np.copysign(size, values).astype(np.float32)
