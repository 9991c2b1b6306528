"""Per-tensor and probe rows within a bounded memory: the newest as they are, older ones by groups. Pure.

A group keeps of each column its worst value and the step of its last row. When there are too many, neighbouring groups
become one, so the whole run is always there at an even resolution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from tuimon.record.chunk import Bools, Ints, SparseRows, TensorRows
from tuimon.record.columns import Column

BYTES: Final = 36 << 20
"""What the rows of one kind may take, about; at most three times `most` of them are kept."""
MOST_ROWS: Final = 4096
LEAST_ROWS: Final = 64

T = TypeVar("T")


class Shape(Protocol[T]):
    """How one kind of rows is kept."""

    bytes_per_row: int

    def parts(self, rows: T) -> tuple[NDArray[Any], ...]:
        """Its arrays, steps first."""

    def rows(self, parts: Sequence[NDArray[Any]]) -> T:
        """The other way."""

    def worst(self, parts: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """The arrays but the steps, each (g, r, width), of g groups of r rows."""


class Bands(Generic[T]):
    """Rows of one kind and one width, in order of step."""

    def __init__(self, shape: Shape[T], width: int, *, bounded: bool = True) -> None:
        self._shape, self.width, self._bounded = shape, width, bounded
        self.most = max(LEAST_ROWS, min(MOST_ROWS, BYTES // (3 * max(1, shape.bytes_per_row))))
        """Groups of old rows, at most; as many newest rows are kept as they are."""
        self.stride = 1
        """Rows in a group, at most."""
        self._sizes = Column(np.int64)
        """Rows in each group of old ones."""
        self._parts: tuple[Column, ...] | None = None
        self._old = 0
        """Groups at the beginning of the columns; single rows follow."""
        self.revision = 0
        """Grows with every change of rows that were there before."""

    def __len__(self) -> int:
        return self._parts[0].size if self._parts else 0

    def extend(self, rows: T) -> None:
        """Append."""
        parts = self._shape.parts(rows)
        most = max(1, self.most)
        for at in range(0, len(parts[0]), most):   # a chunk may hold more than is kept at all
            self._append([part[at:at + most] for part in parts])

    @staticmethod
    def of(shape: Shape[T], width: int, state: Mapping[str, int], parts: Sequence[NDArray[Any]]) -> Bands[T]:
        """Rows as `state` told them; ValueError where they do not fit each other."""
        found = Bands(shape, width)
        sizes, *columns = parts
        found.stride, found._old = int(state["stride"]), int(state["old"])
        fits = len({len(part) for part in columns}) == 1 and len(sizes) == found._old <= len(columns[0])
        if not fits or found.stride < 1:
            raise ValueError("rows that do not fit each other")
        found._sizes, found._parts = Column.of(sizes), tuple(Column.of(part) for part in columns)
        return found

    def state(self) -> tuple[dict[str, int], list[NDArray[Any]]]:
        """Everything it holds, as numbers and arrays; `of` is the other way."""
        parts = [column.view for column in self._parts or ()]
        return {"stride": self.stride, "old": self._old}, [self._sizes.view, *parts]

    def cut(self, after: int) -> None:
        """Forget what lies after a step, and a group that reaches over it."""
        size = int(np.searchsorted(self._parts[0].view, after, "right")) if self._parts else 0
        if self._parts is None or size == len(self):
            return
        self.revision += 1
        for column in (*self._parts, self._sizes):
            column.cut(min(size, column.size))
        self._old = min(size, self._old)

    @property
    def rows(self) -> T | None:
        """All of them, as they are kept; None before the first. Views that the next `extend` may change."""
        return self._shape.rows([column.view for column in self._parts]) if self._parts else None

    def _append(self, parts: Sequence[NDArray[Any]]) -> None:
        if self._parts is None:
            self._parts = tuple(Column(part.dtype, part.shape[1:], 64) for part in parts)
        for column, part in zip(self._parts, parts, strict=True):
            column.extend(part)
        if self._bounded and len(self) - self._old > 2 * self.most:
            self._settle()

    def _settle(self) -> None:
        """Make groups of the older half of the single rows, and join groups while they are too many."""
        self.revision += 1
        size = min(self.stride, self.most)
        count = self.most // size
        self._group(self._old, self._old + count * size, size, np.full(count, size))
        self._old += count
        while self._old >= 2 and self._sizes.view[self._old - 2:self._old].sum() <= self.stride:
            self._join(self._old - 2)
        if self._old > self.most:
            self.stride *= 2
            self._join(0)

    def _join(self, first: int) -> None:
        """Make one of each two groups, from group number `first` on."""
        pairs = (self._old - first) // 2
        sizes = self._sizes.view[first:first + 2 * pairs].reshape(-1, 2).sum(1)
        self._group(first, first + 2 * pairs, 2, sizes)
        self._old -= pairs

    def _group(self, first: int, end: int, size: int, sizes: Ints) -> None:
        """Replace the rows first..end-1 by groups of `size` of them, which stand for `sizes` rows."""
        assert self._parts is not None
        views = [column.view for column in self._parts]
        steps, *inner = (view[first:end] for view in views)
        grouped = (steps[size - 1::size], *self._shape.worst([v.reshape(-1, size, v.shape[1]) for v in inner]))
        for column, view, group in zip(self._parts, views, grouped, strict=True):
            _replace(column, view, first, end, group)
        _replace(self._sizes, self._sizes.view, first, end, sizes)


def _replace(column: Column, view: NDArray[Any], first: int, end: int, by: NDArray[Any]) -> None:
    rest = view[end:].copy()
    column.cut(first)
    column.extend(by.copy())
    column.extend(rest)


class TensorShape:
    """Per-tensor rows: of a group the greatest. What is not a number is worse than any."""

    def __init__(self, tensors: int) -> None:
        self.bytes_per_row = 9 * tensors + 8

    def parts(self, rows: TensorRows) -> tuple[NDArray[Any], ...]:
        """Steps, grad, update, grad_seen."""
        return rows.steps, rows.grad, rows.update, rows.grad_seen

    def rows(self, parts: Sequence[NDArray[Any]]) -> TensorRows:
        """The other way."""
        return TensorRows(*parts)

    def worst(self, parts: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """The greatest of each tensor over those rows in which it had a gradient."""
        grad, update, seen = parts
        greatest = np.fmax.reduce(np.where(seen, grad, np.nan), axis=1)
        greatest[(seen & np.isnan(grad)).any(1)] = np.nan
        return greatest, np.fmax.reduce(update, axis=1), np.logical_or.reduce(seen, axis=1)


class SparseShape:
    """Sparse rows: of a group the worst, which is the smallest where `smallest` (K,) says so."""

    def __init__(self, smallest: Bools) -> None:
        self.bytes_per_row = 5 * len(smallest) + 8
        self._sign = np.where(smallest, -1, 1).astype(np.float32)

    def parts(self, rows: SparseRows) -> tuple[NDArray[Any], ...]:
        """Steps, values, seen."""
        return rows.steps, rows.values, rows.seen

    def rows(self, parts: Sequence[NDArray[Any]]) -> SparseRows:
        """The other way."""
        return SparseRows(*parts)

    def worst(self, parts: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], ...]:
        """The worst of each over those rows in which it was measured; NaN counts as worst."""
        values, seen = parts
        sign = self._sign
        bad = (seen & np.isnan(values)).any(1)
        worst = np.fmax.reduce(np.where(seen, values * sign, np.nan), axis=1) * sign
        there = np.logical_or.reduce(seen, axis=1)
        return np.where(bad | ~there, np.nan, worst), there
