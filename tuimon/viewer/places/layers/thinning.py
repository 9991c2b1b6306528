"""Rows thinned to a bounded number of columns, of which only the new ones are computed. Pure but for what it keeps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tuimon.record.chunk import Bools, Ints, Vectors
from tuimon.record.stacked import together
from tuimon.viewer.places.layers.model import Grid

Which = slice | Ints
Read = Callable[[Which], tuple[Vectors, Bools]]
"""From some rows: (m, L) values and whether they were measured."""

HEAT_ROWS: Final = 1024
"""Columns that a long run is thinned to at most, so that a frame's cost stays bounded."""
BLOCK: Final = 1 << 21
"""Values that are thinned at a time."""
Arrays = tuple[NDArray[Any], ...]
"""Steps, low, high, last, seen, bad, as in Grid."""


class Thinner:
    """The columns of one quantity. Each stands for a power of two of rows, counted from the run's first row.

    So columns stay what they are while the run grows, until there are more than `HEAT_ROWS`: then each takes in two.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Start anew."""
        self._stride = 0
        self._first = 0
        self._done = 0
        """Complete columns, and the number in the run of the first of them."""
        self._mark = (0, -1)
        """How many rows were known, and the step of the last of them: another one there is another history."""
        self._kept: Arrays = ()

    def take(self, steps: Ints, first: int, end: int, layers: int, read: Read) -> Grid:
        """The columns that hold the rows from `first` to `end`, left out; of all (m,) `steps` of the run.

        The first may begin some rows earlier.
        """
        if end <= first:
            return Grid.empty(layers)
        known, step = self._mark
        if known > len(steps) or (known and steps[known - 1] != step):
            self.clear()
        self._mark = len(steps), int(steps[-1])
        stride = 1
        while (end - first) > HEAT_ROWS * stride:
            stride *= 2
        begin, complete = first // stride, end // stride
        if stride != self._stride or begin < self._first or begin > self._first + self._done or not self._kept:
            self._stride, self._first, self._done, self._kept = stride, begin, 0, ()
        self._drop(begin - self._first)
        self._extend(steps, min(complete, begin + self._done), complete, layers, read)
        parts: Arrays = tuple(one[:complete - begin] for one in self._kept)
        if complete * stride < end:
            tail = _thinned(steps, complete * stride, end, stride, read)
            parts = tuple(np.concatenate(pair) for pair in zip(parts, tail, strict=True)) if parts else tail
        return Grid(*parts)

    def _drop(self, count: int) -> None:
        if count > 0:
            self._kept = tuple(one[count:] for one in self._kept)
            self._first, self._done = self._first + count, self._done - count

    def _extend(self, steps: Ints, start: int, complete: int, layers: int, read: Read) -> None:
        each = max(1, BLOCK // max(1, layers * self._stride))
        for a in range(start, complete, each):
            b = min(a + each, complete)
            self._append(_thinned(steps, a * self._stride, b * self._stride, self._stride, read))

    def _append(self, new: Arrays) -> None:
        """Into arrays with room to spare; what was handed out before is not written to."""
        count = len(new[0])
        if not self._kept or self._done + count > len(self._kept[0]):
            grown = []
            for i, one in enumerate(new):
                room = np.zeros((max(64, 2 * (self._done + count)), *one.shape[1:]), one.dtype)
                if self._kept:
                    room[:self._done] = self._kept[i][:self._done]
                grown.append(room)
            self._kept = tuple(grown)
        for held, one in zip(self._kept, new, strict=True):
            held[self._done:self._done + count] = one
        self._done += count


def _thinned(steps: Ints, first: int, end: int, stride: int, read: Read) -> Arrays:
    """Rows `first` to `end` in columns of `stride` rows, the last of which may be shorter."""
    values, seen = read(slice(first, end))
    finite = seen & np.isfinite(values)
    if stride == 1:
        low = np.where(finite, values, np.float32(np.nan))
        return steps[first:end].copy(), low, low, values, seen, seen & ~finite
    starts = np.arange(0, end - first, stride)
    with np.errstate(invalid="ignore"):
        none = np.float32(np.nan)
        low = together(np.fmin, np.where(finite, values, none), starts)
        high = together(np.fmax, np.where(finite, values, none), starts)
    which = together(np.maximum, np.where(seen, np.arange(end - first)[:, None], -1), starts)
    last = np.take_along_axis(values, np.maximum(which, 0), axis=0)
    ends = np.append(starts[1:], end - first) - 1
    there = which >= 0
    bad = together(np.logical_or, seen & ~finite, starts)
    return steps[first:end][ends], low, high, last, there, bad
