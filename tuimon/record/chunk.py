"""The unit in which a run's log travels: a contiguous stretch of what was measured, in order. Pure values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Mark:
    """A break in the run that judges and charts must know, in its place between the rows."""

    step: int
    """Last completed step when it happened: it stands before the rows with a greater step."""
    kind: str
    """"attempt" (started or resumed), "rollback", "override" (lr scale, clip), "note" (stated by the script),
    "label" (what a metric of this run means), "autopsy" (where a non-finite value came from)."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """attempt: number, from_step. rollback: to_step. override: lr_scale, clip. note: text.
    label: metric, text (for a log), brief (for a chart's title). autopsy: see `diagnosis.autopsy.model`."""

    def whole(self, name: str, otherwise: int) -> int:
        """An integer out of its fields; `otherwise` for what is none."""
        value = self.fields.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else otherwise


@dataclass(frozen=True, slots=True)
class TensorRows:
    """Per-tensor vectors, on their own cadence. m rows, P tensors, in the order of the run's tensor table."""

    steps: Ints
    """(m,) strictly increasing within an attempt."""
    grad: Vectors
    """(m, P) L2 norm of each gradient, before clipping; NaN where that tensor had no gradient at that step;
    inf or NaN also where the gradient itself was non-finite, with `grad_seen` True."""
    update: Vectors
    """(m, P) L2 norm of each tensor's change divided by its own norm; NaN where not measured."""
    grad_seen: Bools
    """(m, P) whether the tensor had a gradient at all."""

    def __len__(self) -> int:
        return len(self.steps)

    def between(self, after: int, upto: int) -> TensorRows:
        """Rows with after < step <= upto."""
        keep = (self.steps > after) & (self.steps <= upto)
        return TensorRows(self.steps[keep], self.grad[keep], self.update[keep], self.grad_seen[keep])

    def since(self, row: int) -> TensorRows:
        """From one row on, by number."""
        return TensorRows(self.steps[row:], self.grad[row:], self.update[row:], self.grad_seen[row:])

    @staticmethod
    def join(parts: Sequence[TensorRows]) -> TensorRows:
        """The rows of all parts, in order; those that hold any are of one tensor table."""
        parts = _told(parts)
        if len(parts) == 1:
            return parts[0]
        return TensorRows(
            np.concatenate([p.steps for p in parts]), np.concatenate([p.grad for p in parts]),
            np.concatenate([p.update for p in parts]), np.concatenate([p.grad_seen for p in parts]),
        ) if parts else TensorRows.empty()

    @staticmethod
    def empty(tensors: int = 0) -> TensorRows:
        """No rows."""
        none = np.zeros((0, tensors), np.float32)
        return TensorRows(np.zeros(0, np.int64), none, none, np.zeros((0, tensors), np.bool_))


@dataclass(frozen=True, slots=True)
class SparseRows:
    """What is measured now and then of everything in a table of the run. m rows, K values, in the table's order."""

    steps: Ints
    """(m,) strictly increasing within an attempt."""
    values: Vectors
    """(m, K); meaningless where `seen` is False."""
    seen: Bools
    """(m, K) whether it was measured at that step."""

    def __len__(self) -> int:
        return len(self.steps)

    def between(self, after: int, upto: int) -> SparseRows:
        """Rows with after < step <= upto."""
        keep = (self.steps > after) & (self.steps <= upto)
        return SparseRows(self.steps[keep], self.values[keep], self.seen[keep])

    @staticmethod
    def join(parts: Sequence[SparseRows]) -> SparseRows:
        """The rows of all parts, in order; those that hold any are of one table."""
        parts = _told(parts)
        if len(parts) == 1:
            return parts[0]
        return SparseRows(
            np.concatenate([p.steps for p in parts]), np.concatenate([p.values for p in parts]),
            np.concatenate([p.seen for p in parts]),
        ) if parts else SparseRows.empty()

    @staticmethod
    def empty(width: int = 0) -> SparseRows:
        """No rows."""
        return SparseRows(np.zeros(0, np.int64), np.zeros((0, width), np.float32), np.zeros((0, width), np.bool_))


ProbeRows = SparseRows
"""What sampled forward passes measured, in the order of the probe table."""
WeightRows = SparseRows
"""L2 norms of the tensors themselves after the step, in the order of the tensor table."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A contiguous stretch of one run, complete up to its last step.

    Non-finite values are evidence and stay as they are; "not measured" is False in `present` (law 6).
    """

    steps: Ints
    """(n,) optimizer updates, counted from 1, strictly increasing within an attempt."""
    times: Floats
    """(n,) wall clock, seconds since the epoch."""
    columns: Mapping[str, Floats]
    """name -> (n,); the value is meaningless where `present` is False."""
    present: Mapping[str, Bools]
    """name -> (n,), same keys as `columns`."""
    tensors: TensorRows
    """Per-tensor rows of the same stretch."""
    marks: tuple[Mark, ...] = ()
    """Breaks within the stretch, in order."""
    probes: ProbeRows = field(default_factory=ProbeRows.empty)
    """Rows of activation probes of the same stretch."""
    weights: WeightRows = field(default_factory=WeightRows.empty)
    """Rows of the weights' norms of the same stretch."""

    def __len__(self) -> int:
        return len(self.steps)

    def measured(self, name: str) -> tuple[Ints, Floats]:
        """Steps and values at which `name` was measured; both empty where it never was."""
        if name not in self.columns:
            return np.zeros(0, np.int64), np.zeros(0, np.float64)
        keep = self.present[name]
        return self.steps[keep], self.columns[name][keep]

    @staticmethod
    def empty(tensors: int = 0) -> Chunk:
        """Nothing measured."""
        return Chunk(np.zeros(0, np.int64), np.zeros(0), {}, {}, TensorRows.empty(tensors))

    @staticmethod
    def of(
        steps: Any = None, *, tensors: TensorRows | None = None, probes: ProbeRows | None = None,
        weights: WeightRows | None = None, marks: tuple[Mark, ...] = (), **columns: Any,
    ) -> Chunk:
        """Build one from plain sequences; None in a column means "not measured". For readers and tests."""
        n = len(next(iter(columns.values()))) if steps is None else len(steps)
        at = np.arange(1, n + 1) if steps is None else np.asarray(steps, np.int64)
        cols, present = {}, {}
        for name, values in columns.items():
            present[name] = np.array([v is not None for v in values], np.bool_)
            cols[name] = np.array([np.nan if v is None else v for v in values], np.float64)
        return Chunk(
            at, np.zeros(n), cols, present, tensors or TensorRows.empty(), marks, probes or ProbeRows.empty(),
            weights or WeightRows.empty(),
        )

    @staticmethod
    def join(parts: Sequence[Chunk]) -> Chunk:
        """One stretch of those that follow each other; the parts are of one tensor table and one probe table."""
        if len(parts) == 1:
            return parts[0]
        return Chunk(*joined_rows(parts), TensorRows.join([p.tensors for p in parts]),
                     tuple(mark for p in parts for mark in p.marks), ProbeRows.join([p.probes for p in parts]),
                     WeightRows.join([p.weights for p in parts]))

    def pieces(self, cuts: list[int]) -> Iterator[Chunk]:
        """The same stretch cut at row indices; vectors and marks stay with the rows that they stand before."""
        far = 1 << 62
        edges = [0, *sorted(cuts), len(self)]
        for i, (a, b) in enumerate(pairwise(edges)):
            after = int(self.steps[a - 1]) if a else -far
            upto = far if i == len(edges) - 2 else int(self.steps[b - 1]) if b else -far
            yield Chunk(
                self.steps[a:b], self.times[a:b],
                {k: v[a:b] for k, v in self.columns.items()},
                {k: v[a:b] for k, v in self.present.items()},
                self.tensors.between(after, upto),
                tuple(m for m in self.marks if after <= m.step < upto),
                self.probes.between(after, upto),
                self.weights.between(after, upto),
            )


    def cut(self, limit: int) -> tuple[Chunk, Chunk | None]:
        """What lies up to a step, and the rest, if there is any."""
        if len(self) and not (self._has_vectors or self.marks):   # most often
            if self.steps[-1] <= limit:
                return self, None
            if self.steps[0] > limit:
                return Chunk.of([]), self
        at = int(np.searchsorted(self.steps, limit, "right"))
        near, far = self._between(slice(0, at), -_FAR, limit), self._between(slice(at, None), limit, _FAR)
        return near, far if len(far) or far._has_vectors or far.marks else None  # noqa: SLF001  its own kind

    @property
    def _has_vectors(self) -> bool:
        return bool(len(self.tensors) or len(self.probes) or len(self.weights))

    def _between(self, rows: slice, after: int, upto: int) -> Chunk:
        return Chunk(
            self.steps[rows], self.times[rows], {k: v[rows] for k, v in self.columns.items()},
            {k: v[rows] for k, v in self.present.items()}, self.tensors.between(after, upto),
            tuple(m for m in self.marks if after < m.step <= upto), self.probes.between(after, upto),
            self.weights.between(after, upto))


_FAR: Final = 1 << 62
_Table = TypeVar("_Table", TensorRows, SparseRows)


def _told(parts: Sequence[_Table]) -> Sequence[_Table]:
    """Those with rows, or else the first: how wide its table is, a stretch without a row need not know."""
    return [p for p in parts if len(p)] or parts[:1]


class _Rows(Protocol):
    @property
    def steps(self) -> Ints: ...
    @property
    def times(self) -> Floats: ...
    @property
    def columns(self) -> Mapping[str, Floats]: ...
    @property
    def present(self) -> Mapping[str, Bools]: ...


def joined_rows(parts: Sequence[_Rows]) -> tuple[Ints, Floats, dict[str, Floats], dict[str, Bools]]:
    """Steps, times, columns and presence of all parts, in order; a column that a part lacks is absent there."""
    steps = np.concatenate([p.steps for p in parts]) if parts else np.zeros(0, np.int64)
    times = np.concatenate([p.times for p in parts]) if parts else np.zeros(0)
    columns, present = {}, {}
    for name in dict.fromkeys(name for p in parts for name in p.columns):
        columns[name] = np.concatenate([p.columns.get(name, np.full(len(p.steps), np.nan)) for p in parts])
        present[name] = np.concatenate([p.present.get(name, np.zeros(len(p.steps), np.bool_)) for p in parts])
    return steps, times, columns, present
