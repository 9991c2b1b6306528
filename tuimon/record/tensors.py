"""The static tensor table of a run and its grouping into layers. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuimon.record.entries import TensorEntry

if TYPE_CHECKING:
    from tuimon.record.chunk import Ints, TensorRows, Vectors

__all__ = ["TensorEntry", "TensorTable", "layer_of"]


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

        names: list[str] = []
        columns: list[Vectors] = []
        sizes = np.array([e.numel for e in self.entries], np.float64)
        for name, where in self.layers().items():
            seen = rows.grad_seen[:, where]
            squares = np.where(seen, rows.grad[:, where].astype(np.float64) ** 2, 0.0).sum(1)
            count = (seen * sizes[where]).sum(1)
            with np.errstate(divide="ignore", invalid="ignore"):
                columns.append(np.where(count > 0, np.sqrt(squares / count), np.nan).astype(np.float32))
            names.append(name)
        stacked = np.stack(columns, 1) if columns else np.zeros((len(rows), 0), np.float32)
        return names, rows.steps, stacked
