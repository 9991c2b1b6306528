"""Per-tensor rows as per-layer values: every layer at once, however many there are. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from tuimon.record.chunk import Bools, Floats, Ints, TensorRows, Vectors, WeightRows
from tuimon.record.tensors import TensorTable

CELLS: Final = 1 << 21
"""Tensor values that are worked on at a time: bounds what is allocated in between to some 50 MB."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerGroups:
    """Which trained tensors make up which layer; P' of them in L layers, in model order."""

    names: tuple[str, ...]
    """(L)"""
    order: Ints
    """(P',) indices into the log's vectors, layer by layer."""
    starts: Ints
    """(L,) where in `order` each layer begins."""
    sizes: Floats
    """(P',) elements of each tensor, in the order of `order`."""

    @staticmethod
    def of(table: TensorTable) -> LayerGroups:
        """The groups of a run's tensor table."""
        layers = table.layers()
        order = np.array([i for where in layers.values() for i in where], np.int64)
        lengths = np.array([len(where) for where in layers.values()], np.int64)
        sizes = np.array([table.entries[i].numel for i in order.tolist()], np.float64)
        return LayerGroups(tuple(layers), order, np.concatenate(([0], np.cumsum(lengths)[:-1]))[:len(lengths)], sizes)

    def tensors(self, layer: int) -> Ints:
        """The indices of one layer's tensors."""
        end = self.starts[layer + 1] if layer + 1 < len(self.starts) else len(self.order)
        return self.order[self.starts[layer]:end]

    def only(self, layer: int) -> LayerGroups:
        """One layer by itself."""
        first = int(self.starts[layer])
        part = slice(first, first + len(self.tensors(layer)))
        return LayerGroups((self.names[layer],), self.order[part], np.zeros(1, np.int64), self.sizes[part])

    def grad_rms(self, rows: TensorRows) -> tuple[Vectors, Bools]:
        """(m, L) gradient RMS, sqrt(sum of squares / elements with a gradient), and whether any tensor had one.

        NaN where none had; inf or NaN propagate where a gradient was non-finite.
        """
        return self._over(rows.grad, rows.grad_seen, squared=True)

    def weight_rms(self, rows: WeightRows) -> tuple[Vectors, Bools]:
        """(m, L) weight RMS, sqrt(sum of squares / elements measured), and whether any tensor's norm was measured.

        NaN where none was; inf or NaN propagate where weights were non-finite.
        """
        return self._over(rows.values, rows.seen, squared=True)

    def update_ratio(self, rows: TensorRows) -> tuple[Vectors, Bools]:
        """(m, L) how far a step moved the weights relative to their size, and whether any tensor's was measured.

        The mean over the layer's tensors by their elements; NaN where none was measured; inf propagates.
        """
        return self._over(rows.update, ~np.isnan(rows.update), squared=False)

    def _over(self, values: Vectors, seen: Bools, *, squared: bool) -> tuple[Vectors, Bools]:
        found = np.full((len(values), len(self.names)), np.nan, np.float32)
        there = np.zeros(found.shape, np.bool_)
        if not self.names or values.shape[1] <= int(self.order.max()):
            return found, there
        each = max(1, CELLS // len(self.order))
        for first in range(0, len(values), each):
            rows = slice(first, first + each)
            have = seen[rows][:, self.order]
            numbers = values[rows][:, self.order].astype(np.float64)
            with np.errstate(all="ignore"):
                weighed = np.where(have, numbers**2 if squared else numbers * self.sizes, 0.0)
                mean = np.add.reduceat(weighed, self.starts, axis=1)
                count = np.add.reduceat(have * self.sizes, self.starts, axis=1)
                mean = mean / count
                found[rows] = np.sqrt(mean) if squared else mean
            there[rows] = count > 0
        return found, there
