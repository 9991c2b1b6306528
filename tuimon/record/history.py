"""What has been measured so far, ready to draw: growing columns and, above them, a min/max pyramid. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tuimon.record.chunk import Bools, Chunk, Floats, Ints, Mark, ProbeRows, TensorRows
from tuimon.record.probes import ProbeEntry, ProbeLayers
from tuimon.record.tensors import TensorTable

RADIX: Final = 16
DIRECT: Final = 20_000
"""Points that are thinned directly; above, the pyramid answers (20,000 points cost 9 ms a frame, 200,000 cost 31)."""


class _Column:
    """A growing array: amortised doubling, views without copies."""

    __slots__ = ("_data", "size")

    def __init__(self, dtype: Any, width: int | None = None) -> None:
        """`width`: of rows of so many values instead of single ones."""
        self._data: NDArray[Any] = np.zeros(1024 if width is None else (16, width), dtype)
        self.size = 0

    def extend(self, values: NDArray[Any]) -> None:
        need = self.size + len(values)
        if need > len(self._data):
            grown = np.zeros((max(need, 2 * len(self._data)), *self._data.shape[1:]), self._data.dtype)
            grown[: self.size] = self._data[: self.size]
            self._data = grown
        self._data[self.size:need] = values
        self.size = need

    def cut(self, size: int) -> None:
        self.size = size

    @property
    def view(self) -> NDArray[Any]:
        return self._data[: self.size]


class _TensorColumns:
    """Per-tensor rows as they grow: a model of 10,000 tensors is not copied whole for every new row."""

    __slots__ = ("_columns", "width")

    def __init__(self, width: int) -> None:
        self.width = width
        self._columns = (_Column(np.int64), _Column(np.float32, width), _Column(np.float32, width),
                         _Column(np.bool_, width))

    def extend(self, rows: TensorRows) -> None:
        for column, values in zip(self._columns, (rows.steps, rows.grad, rows.update, rows.grad_seen), strict=True):
            column.extend(values)

    def until(self, step: int) -> _TensorColumns:
        """Those up to a step, in memory of their own: whoever holds the rows that were keeps them as they were."""
        kept = _TensorColumns(self.width)
        kept.extend(self.rows.between(-1, step))
        return kept

    @property
    def rows(self) -> TensorRows:
        return TensorRows(*(column.view for column in self._columns))


@dataclass(frozen=True, slots=True)
class Series:
    """One metric, only where it was measured."""

    steps: Ints
    values: Floats

    def __len__(self) -> int:
        return len(self.steps)


@dataclass(frozen=True, slots=True)
class Thin:
    """A series thinned to columns: extremes survive. Only columns that hold a measurement."""

    steps: Ints
    """(c,) last measured step in each column."""
    low: Floats
    """(c,) smallest finite value; NaN where the column has none."""
    high: Floats
    last: Floats
    """(c,) last finite value."""
    bad: Bools
    """(c,) whether a non-finite value fell into the column."""

    def __len__(self) -> int:
        return len(self.steps)


class _Track:
    """One metric: its points and the pyramid over complete blocks of RADIX, RADIX**2, ... points."""

    __slots__ = ("levels", "steps", "values")

    def __init__(self) -> None:
        self.steps, self.values = _Column(np.int64), _Column(np.float64)
        self.levels: list[tuple[_Column, _Column, _Column, _Column]] = []

    def extend(self, steps: Ints, values: Floats) -> None:
        self.steps.extend(steps)
        self.values.extend(values)
        self._build()

    def cut(self, after: int) -> None:
        size = int(np.searchsorted(self.steps.view, after, side="right"))
        self.steps.cut(size)
        self.values.cut(size)
        for depth, columns in enumerate(self.levels):
            for column in columns:
                column.cut(min(column.size, size // RADIX ** (depth + 1)))

    def _build(self) -> None:
        depth = 0
        while True:
            if depth == 0:
                low = high = last = self.values.view
                bad = ~np.isfinite(low)
            else:
                low, high, last, bad = (c.view for c in self.levels[depth - 1])
            blocks = len(low) // RADIX
            if blocks == 0:
                return
            if depth == len(self.levels):
                self.levels.append((_Column(np.float64), _Column(np.float64), _Column(np.float64), _Column(np.bool_)))
            here = self.levels[depth]
            done = here[0].size
            if blocks > done:
                cut = slice(done * RADIX, blocks * RADIX)
                here[0].extend(_extreme(low[cut], np.fmin))
                here[1].extend(_extreme(high[cut], np.fmax))
                here[2].extend(_last_finite(last[cut]))
                here[3].extend(bad[cut].reshape(-1, RADIX).any(1))
            depth += 1


def _extreme(values: Floats, pick: np.ufunc) -> Floats:
    finite = np.where(np.isfinite(values), values, np.nan).reshape(-1, RADIX)
    return np.asarray(pick.reduce(finite, axis=1))


def _last_finite(values: Floats) -> Floats:
    grid = values.reshape(-1, RADIX)
    fine = np.isfinite(grid)
    where = RADIX - 1 - fine[:, ::-1].argmax(1)
    return np.where(fine.any(1), grid[np.arange(len(grid)), where], np.nan)


class History:
    """Everything measured, by metric. Extend with chunks in order; read from the same thread."""

    def __init__(self, table: TensorTable | None = None, probes: Sequence[ProbeEntry] = ()) -> None:
        self.table = table
        self.probes = ProbeLayers(probes)
        self.last_step = 0
        self.last_time = 0.0
        self._tracks: dict[str, _Track] = {}
        self._tensors: _TensorColumns | None = None
        self._sampled: list[ProbeRows] = []
        self._marks: list[Mark] = []

    def extend(self, chunk: Chunk) -> None:
        """Add what a reader delivered; a resumed attempt supersedes what lies after its first step."""
        for mark in chunk.marks:
            if mark.kind == "attempt":
                self._supersede(mark.step)
            self._marks.append(mark)
        for name in chunk.columns:
            steps, values = chunk.measured(name)
            if len(steps):
                self._tracks.setdefault(name, _Track()).extend(steps, values)
        if len(chunk.tensors):
            width = chunk.tensors.grad.shape[1]
            if self._tensors is None or self._tensors.width != width:
                self._tensors = _TensorColumns(width)   # another table: what was of the old one is of no use
            self._tensors.extend(chunk.tensors)
        if len(chunk.probes):
            self._sampled.append(chunk.probes)
        if len(chunk):
            self.last_step, self.last_time = int(chunk.steps[-1]), float(chunk.times[-1])

    def _supersede(self, after: int) -> None:
        if after >= self.last_step:
            return
        for track in self._tracks.values():
            track.cut(after)
        self._tensors = None if self._tensors is None else self._tensors.until(after)
        self._sampled = [p for p in (p.between(-1, after) for p in self._sampled) if len(p)]
        self._marks = [m for m in self._marks if m.step <= after]
        self.last_step = after

    @property
    def names(self) -> tuple[str, ...]:
        """Metrics that were measured at least once."""
        return tuple(name for name, track in self._tracks.items() if track.steps.size)

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Breaks, in order."""
        return tuple(self._marks)

    def series(self, name: str) -> Series:
        """All points of one metric; empty where it was never measured."""
        track = self._tracks.get(name)
        if track is None:
            return Series(np.zeros(0, np.int64), np.zeros(0))
        return Series(track.steps.view, track.values.view)

    def value(self, name: str) -> float | None:
        """The last measured value, or None."""
        track = self._tracks.get(name)
        return float(track.values.view[-1]) if track is not None and track.values.size else None

    def value_at(self, name: str, step: int) -> float | None:
        """The last value measured by a step, or None."""
        track = self._tracks.get(name)
        at = 0 if track is None else int(np.searchsorted(track.steps.view, step, side="right"))
        return float(track.values.view[at - 1]) if track is not None and at else None

    def tensor_rows(self) -> TensorRows:
        """All per-tensor rows."""
        if self._tensors is None:
            return TensorRows.empty(len(self.table) if self.table else 0)
        return self._tensors.rows

    def probe_rows(self) -> ProbeRows:
        """All probe rows of the newest probe table; what an attempt with other probes measured is left out."""
        if not self._sampled:
            return ProbeRows.empty()
        width = self._sampled[-1].values.shape[1]
        self._sampled = [ProbeRows.join([p for p in self._sampled if p.values.shape[1] == width])]
        return self._sampled[0]

    def thin(self, name: str, first: int, last: int, columns: int) -> Thin:
        """The metric between two steps, inclusive, in at most `columns` columns of equal width in steps."""
        track = self._tracks.get(name)
        if track is None or last < first or columns < 1:
            return thin(np.zeros(0, np.int64), np.zeros(0), first, last, columns)
        steps = track.steps.view
        a, b = int(np.searchsorted(steps, first)), int(np.searchsorted(steps, last, side="right"))
        if b - a <= DIRECT or not track.levels:
            return thin(steps[a:b], track.values.view[a:b], first, last, columns)
        return self._thin_by_pyramid(track, a, b, first, last, columns)

    def _thin_by_pyramid(self, track: _Track, a: int, b: int, first: int, last: int, columns: int) -> Thin:
        """Blocks as fine as at least four to a column, plus the points that no complete block holds yet."""
        depth = 0
        while depth + 1 < len(track.levels) and (b - a) // RADIX ** (depth + 2) >= 4 * columns:
            depth += 1
        size = RADIX ** (depth + 1)
        low, high, final, bad = (c.view for c in track.levels[depth])
        begin = -(-a // size)
        end = max(begin, min(b // size, len(low)))
        steps, values = track.steps.view, track.values.view
        ends = steps[(np.arange(begin, end) + 1) * size - 1]
        edges = np.concatenate((np.arange(a, min(begin * size, b)), np.arange(end * size, b)))
        at = np.concatenate((ends, steps[edges]))
        order = np.argsort(at, kind="stable")
        loose = values[edges]
        clean = np.where(np.isfinite(loose), loose, np.nan)
        return _columns(
            at[order], np.concatenate((low[begin:end], clean))[order], np.concatenate((high[begin:end], clean))[order],
            np.concatenate((final[begin:end], clean))[order],
            np.concatenate((bad[begin:end], ~np.isfinite(loose)))[order], first, last, columns,
        )


def thin(steps: Ints, values: Floats, first: int, last: int, columns: int) -> Thin:
    """Thin plain arrays: steps (n,) increasing, values (n,)."""
    clean = np.where(np.isfinite(values), values, np.nan)
    return _columns(steps, clean, clean, clean, ~np.isfinite(values), first, last, columns)


def _columns(
    steps: Ints, low: Floats, high: Floats, final: Floats, bad: Bools, first: int, last: int, columns: int
) -> Thin:
    inside = (steps >= first) & (steps <= last)
    if columns < 1 or not inside.any():
        none = np.zeros(0)
        return Thin(np.zeros(0, np.int64), none, none, none, np.zeros(0, np.bool_))
    steps, low, high, final, bad = steps[inside], low[inside], high[inside], final[inside], bad[inside]
    column = (steps - first) * columns // (last - first + 1)
    starts = np.flatnonzero(np.concatenate(([True], column[1:] != column[:-1])))
    ends = np.concatenate((starts[1:], [len(steps)]))
    finite_at = np.maximum.accumulate(np.where(np.isfinite(final), np.arange(len(final)), -1))[ends - 1]
    has_finite = finite_at >= starts
    return Thin(
        steps[ends - 1], np.fmin.reduceat(low, starts), np.fmax.reduceat(high, starts),
        np.where(has_finite, final[np.maximum(finite_at, 0)], np.nan), np.logical_or.reduceat(bad, starts),
    )
