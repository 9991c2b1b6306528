"""Per-layer gradient sizes out of per-tensor norms, and what they have been lately. Pure but for what it remembers."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from tuimon.diagnosis.model import RunContext
from tuimon.record.chunk import Bools, Floats, TensorRows, Vectors

LATELY: Final = 32
"""Rows that are remembered."""


@dataclass(frozen=True, slots=True)
class Profile:
    """One row of per-layer gradient sizes."""

    step: int
    rms: Floats
    """(L,) gradient RMS per layer, in model order; NaN where no tensor of the layer had a gradient."""
    grad: Vectors
    """(P,) L2 norm of each tensor's gradient, in the order of the run's tensor table; NaN where it had none."""
    seen: Bools
    """(P,) whether the tensor had a gradient at all."""
    update: Vectors
    """(P,) how far the step moved each tensor, relative to its own norm; NaN where not measured."""


@dataclass(frozen=True, slots=True)
class Profiles:
    """The m rows of per-layer gradient sizes of a stretch."""

    rms: Floats
    """(m, L), as `Profile.rms`."""
    rows: TensorRows

    def __len__(self) -> int:
        return len(self.rms)

    def between(self, i: int, j: int) -> Profiles:
        """Those from i to j, j left out."""
        rows, cut = self.rows, slice(i, j)
        return Profiles(
            self.rms[cut], TensorRows(rows.steps[cut], rows.grad[cut], rows.update[cut], rows.grad_seen[cut])
        )

    def row(self, i: int) -> Profile:
        """One of them."""
        rows = self.rows
        return Profile(int(rows.steps[i]), self.rms[i], rows.grad[i], rows.grad_seen[i], rows.update[i])


class Layers:
    """The grouping of a run's tensors into layers, and what their gradients have been lately."""

    def __init__(self, context: RunContext) -> None:
        self.names: tuple[str, ...] = tuple(context.layers)
        self._order = np.array([i for where in context.layers.values() for i in where], np.int64)
        lengths = [len(where) for where in context.layers.values()]
        self._starts = (
            np.concatenate(([0], np.cumsum(lengths)[:-1])).astype(np.int64) if lengths else np.zeros(0, np.int64)
        )
        sizes = np.array(context.tensor_sizes or [1] * (int(self._order.max(initial=-1)) + 1), np.float64)
        self._last = int(self._order.max(initial=-1))
        self._known = len(self._order) > 0 and min(lengths) > 0 and self._last < len(sizes)
        self.tensors = [np.array(where, np.int64) for where in context.layers.values()] if self._known else []
        """Per layer, the indices of its tensors."""
        self._sizes = sizes[self._order] if self._known else np.zeros(0)
        self.recent: deque[Profile] = deque(maxlen=LATELY)

    def profiles(self, rows: TensorRows) -> Profiles | None:
        """Gradient RMS per layer from L2 norms per tensor; None where the tensors are not those of the context."""
        if not self._known or rows.grad.shape[1] <= self._last:
            return None
        have = rows.grad_seen[:, self._order]
        with np.errstate(all="ignore"):
            squares = np.where(have, rows.grad[:, self._order].astype(np.float64) ** 2, 0.0)
            total = np.add.reduceat(squares, self._starts, axis=1)
            count = np.add.reduceat(have * self._sizes, self._starts, axis=1)
            rms = np.where(count > 0, np.sqrt(total / count), np.nan)
        return Profiles(rms, rows)

    def pass_over(self, rows: Profiles, i: int, j: int) -> None:
        """Remember the rows i to j, j left out."""
        self.recent.extend(rows.row(k) for k in range(max(i, j - LATELY), j))

    def worst(self, onset: int) -> str | None:
        """The layer whose gradient has grown most against its own usual before `onset`; None where unknown."""
        if not self.recent or self.recent[-1].step < onset:
            return None
        now = self.recent[-1].rms
        bad = np.flatnonzero(np.isinf(now))
        if len(bad):
            return self.names[int(bad[-1])]
        before = [p.rms for p in self.recent if p.step < onset][-16:]
        with np.errstate(all="ignore"):
            grown = now / np.median(np.stack(before), 0) if before else now
        grown = np.where(np.isfinite(grown), grown, -np.inf)
        return self.names[int(np.argmax(grown))] if np.isfinite(grown.max(initial=-np.inf)) else None


def cut_off(rms: Floats, ordinary: float) -> Bools:
    """Layers whose gradient is exactly zero right below one with an ordinary gradient: cut off, not faded; (L,).

    All exact zeros further from the output share that fate.
    """
    found = np.zeros(len(rms), np.bool_)
    cut = False
    for i in range(len(rms) - 1, -1, -1):
        if rms[i] != 0:
            cut = False
            continue
        if not cut:
            behind = rms[i + 1] if i + 1 < len(rms) else np.inf
            cut = not behind < ordinary
        found[i] = cut
    return found
