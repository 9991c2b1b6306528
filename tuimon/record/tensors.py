"""The static tensor table of a run and its grouping into layers. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tuimon.record.entries import TensorEntry

if TYPE_CHECKING:
    from tuimon.record.chunk import Ints, TensorRows, Vectors

__all__ = ["TensorEntry", "TensorTable", "layer_of"]


_AT_ONCE: Final = 1 << 20
"""Numbers that are looked at together: more leave the processor's cache."""
_INDEXED = re.compile(r"^(.*?\.\d+)(?:\.|$)")


def layer_of(name: str) -> str:
    """The layer a tensor belongs to: up to its first index ("blocks.3"), else its first module ("embed")."""
    found = _INDEXED.match(name)
    if found:
        return found.group(1)
    return name.split(".", 1)[0]


@dataclass(frozen=True, slots=True)
class TensorTable:
    """All tensors of a run, in the order of the log's vectors."""

    entries: tuple[TensorEntry, ...]

    def __len__(self) -> int:
        return len(self.entries)

    def layers(self) -> dict[str, list[int]]:
        """Layer name -> indices into the vectors, in order of first appearance; trained tensors only."""
        found: dict[str, list[int]] = {}
        for i, entry in enumerate(self.entries):
            if entry.trained:
                found.setdefault(layer_of(entry.name), []).append(i)
        return found

    def layer_grad_rms(self, rows: TensorRows) -> tuple[list[str], Ints, Vectors]:
        """Names (L), steps (m,) and gradient RMS per layer (m, L): sqrt(sum of squares / elements with a gradient).

        NaN where no tensor of the layer had a gradient; inf or NaN propagate where a gradient was non-finite.
        """
        import numpy as np  # here: tables are read before the first paint, rows after it

        layers = self.layers()
        order = np.array([i for where in layers.values() for i in where], np.int64)
        starts = np.cumsum([0, *(len(where) for where in layers.values())])[:-1]
        sizes = np.array([self.entries[i].numel for i in order.tolist()], np.float64)
        found = np.zeros((len(rows), len(layers)), np.float32)
        together = max(1, _AT_ONCE // max(1, len(order)))
        for at in range(0, len(rows) if layers else 0, together):
            part = slice(at, at + together)
            seen = rows.grad_seen[part][:, order]
            squares = np.where(seen, rows.grad[part][:, order].astype(np.float64) ** 2, 0.0)
            total, count = np.add.reduceat(squares, starts, axis=1), np.add.reduceat(seen * sizes, starts, axis=1)
            with np.errstate(divide="ignore", invalid="ignore"):
                found[part] = np.where(count > 0, np.sqrt(total / count), np.nan)
        return list(layers), rows.steps, found
