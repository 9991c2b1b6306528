"""A log of any length as a picture of bounded size: of every stretch the extremes, the last value, what was no number.

Pure. A bucket that holds more than one row comes out as up to four rows at steps of its own: least, greatest, not
finite, last. So a chart of the thinned log has the outline of the whole one, and so has that of another thinning.
"""

from __future__ import annotations

import math
from array import array
from typing import Iterable, Tuple

from tuimon.remote.far.rows import Rows

ROOM = 120_000
"""Buckets times columns that are kept: about 15 MB."""
LEAST, MOST = 512, 4096
RADIX = 4
"""Buckets that become one where there are too many."""

Cell = Tuple[float, float, float, int, bool]
"""Least and greatest finite value, last value, how many were measured, whether one was not finite."""


class Bucket:
    """Rows that follow each other."""

    __slots__ = ("cells", "count", "first", "last", "time", "time_first")

    def __init__(self, first: int, time: float) -> None:
        self.first = self.last = first
        self.time_first = self.time = time
        self.count = 0
        self.cells: dict[str, Cell] = {}

    def take(self, rows: Rows, first: int, last: int) -> None:
        """Rows from index `first` up to `last`."""
        self.count += last - first
        self.last, self.time = rows.steps[last - 1], rows.times[last - 1]
        for name, values, mask in zip(rows.names, rows.values, rows.present):
            some: Iterable[float] = values[first:last]
            if mask is not None:
                some = [v for v, there in zip(values[first:last], mask[first:last]) if there]
            cell = _cell(some)
            if cell is not None:
                self.cells[name] = _joined(self.cells.get(name), cell)

    def join(self, later: Bucket) -> None:
        """With the bucket that follows."""
        self.count += later.count
        self.last, self.time = later.last, later.time
        for name, cell in later.cells.items():
            self.cells[name] = _joined(self.cells.get(name), cell)

    def copy(self) -> Bucket:
        """Another one of the same."""
        other = Bucket(self.first, self.time_first)
        other.last, other.time, other.count, other.cells = self.last, self.time, self.count, dict(self.cells)
        return other

    def within(self, first: int, last: int) -> Bucket:
        """As if all of it had been in there: what is known of a part is what is known of the whole."""
        other = self.copy()
        other.first, other.last = max(first, self.first), min(last, self.last)
        return other

    def rows(self) -> list[tuple[int, float, dict[str, float]]]:
        """What comes out: step, time, values. Extremes and what is not finite stand before the last value."""
        found: list[dict[str, float]] = [{} for _ in range(min(4, self.last - self.first + 1))]
        for name, (low, high, end, _, is_bad) in self.cells.items():
            found[-1][name] = end
            others = [v for v in (low, high) if math.isfinite(v) and v != end]
            if is_bad and math.isfinite(end):
                others.append(math.nan)
            for row, value in zip(found[:-1], others):
                row[name] = value
        steps = [*range(self.first, self.first + len(found) - 1), self.last]
        times = [self.time_first] * (len(found) - 1) + [self.time]
        return [row for row in zip(steps, times, found) if row[2]]


def _cell(values: Iterable[float]) -> Cell | None:
    some = list(values)
    if not some:
        return None
    if math.isfinite(sum(some)):
        return min(some), max(some), some[-1], len(some), False
    fine = [v for v in some if math.isfinite(v)]
    return min(fine, default=math.inf), max(fine, default=-math.inf), some[-1], len(some), len(fine) < len(some)


def _joined(one: Cell | None, other: Cell) -> Cell:
    if one is None:
        return other
    return min(one[0], other[0]), max(one[1], other[1]), other[2], one[3] + other[3], one[4] or other[4]


class Outline:
    """A log as it grows."""

    def __init__(self, size: int = 1) -> None:
        """`size`: rows to a bucket, to begin with."""
        self.size = size
        self.buckets: list[Bucket] = []

    def add(self, rows: Rows) -> None:
        """Rows beyond all before."""
        at = 0
        while at < len(rows):
            last = self.buckets[-1] if self.buckets else None
            if last is None or last.count >= self.size:
                last = Bucket(rows.steps[at], rows.times[at])
                self.buckets.append(last)
            end = min(len(rows), at + self.size - last.count)
            last.take(rows, at, end)
            at = end
            if len(self.buckets) > max(LEAST, min(MOST, ROOM // max(1, len(rows.names)))):
                self.buckets = grouped(self.buckets, RADIX)
                self.size *= RADIX

    def forget_after(self, step: int) -> None:
        """An attempt goes on from there: what lies beyond is done again. A bucket that holds the step stays."""
        while self.buckets and self.buckets[-1].first > step:
            self.buckets.pop()
        if self.buckets and self.buckets[-1].last > step:
            self.buckets[-1].last = step
            self.buckets[-1].count = self.size

    def between(self, first: int, last: int, count: int) -> list[Bucket]:
        """What lies in there, in about `count` buckets at most."""
        found = [b if b.first >= first and b.last <= last else b.within(first, last) for b in self.buckets
                 if first <= last and b.last >= first and b.first <= last]
        group = 1
        while len(found) > count * group:
            group *= 2
        return grouped(found, group)


def grouped(buckets: list[Bucket], size: int) -> list[Bucket]:
    """So many at a time become one; those given stay as they are."""
    if size == 1:
        return buckets
    found: list[Bucket] = []
    for i, bucket in enumerate(buckets):
        if i % size == 0:
            found.append(bucket.copy())
        else:
            found[-1].join(bucket)
    return found


def rows_of(buckets: Iterable[Bucket]) -> Rows:
    """Buckets as rows."""
    table = [row for bucket in buckets for row in bucket.rows()]
    names = tuple(dict.fromkeys(name for _, _, values in table for name in values))
    values = [array("d", [row[2].get(name, math.nan) for row in table]) for name in names]
    masks = [bytes(name in row[2] for row in table) for name in names]
    return Rows(names, array("q", [row[0] for row in table]), array("d", [row[1] for row in table]), values,
                [None if all(mask) else mask for mask in masks])


def thinned(rows: list[Rows], most: int) -> tuple[list[Rows], bool]:
    """Rows as at most about `most` of them, and whether something was left out."""
    total = sum(map(len, rows))
    if total <= most:
        return rows, False
    size = max(RADIX, math.ceil(total / max(1, most // 4)))
    outline = Outline(size)
    for block in rows:
        outline.add(block)
    return [rows_of(outline.buckets)], True
