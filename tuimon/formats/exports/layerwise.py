"""Per-tensor rows and activation probes as values per layer, under the names that our own readers know. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from tuimon.diagnosis.model import RunContext
from tuimon.record.chunk import Bools, Chunk, Floats, Ints, TensorRows, Vectors, WeightRows
from tuimon.record.metrics import METRICS
from tuimon.record.probes import ProbeLayers
from tuimon.record.tensors import layer_of

GRAD: Final = "layer_grad_norm"
UPDATE: Final = "layer_update_ratio"
WEIGHT: Final = "layer_weight_rms"
WHOLE: Final = "model"
"""Stands for the layer of a probe that measures the model as a whole."""
LayerName = tuple[str, str]
"""(what is measured, layer), as in ("layer_grad_norm", "blocks.0")."""
Series = tuple[Ints, Vectors]
"""Steps (m,) and values (m,)."""


class Layerwise:
    """The layers of one run."""

    def __init__(self, context: RunContext) -> None:
        self._layers = {name: list(where) for name, where in context.layers.items() if where}
        self._width = len(context.tensor_names)
        self._sizes = np.array(context.tensor_sizes or (1,) * self._width, np.float64)
        self._probes = ProbeLayers(context.probes)
        probed = [(probe.quantity, layer_of(probe.module) if probe.module else "") for probe in context.probes
                  if probe.quantity in self._probes.quantities]
        self._probed = [(name, layer) for name, layer in dict.fromkeys(probed) if layer or name not in METRICS]
        """A quantity of the model as a whole that is a metric stands among the metrics."""

    def of(self, chunk: Chunk) -> dict[LayerName, Series]:
        """What was measured of each layer in one stretch; only layers of which something was.

        The norm of a layer is that of all its gradients together; its update ratio and the RMS of its weights
        are as `LayerGroups` has them. Of its probes the worst speaks for it. So it stands on the screen.
        """
        found: dict[LayerName, Series] = {}
        if len(chunk.tensors) and chunk.tensors.grad.shape[1] == self._width:
            found |= dict(self._norms(chunk.tensors))
        if len(chunk.weights) and chunk.weights.values.shape[1] == self._width:
            found |= dict(self._weights(chunk.weights))
        for quantity, layer in self._probed:
            steps, values = self._probes.series(chunk.probes, quantity, layer)
            if len(steps):
                name = (f"layer_{quantity}", layer) if layer else (quantity, WHOLE)
                found[name] = (steps, values.astype(np.float32))
        return found

    def _weights(self, rows: WeightRows) -> Iterator[tuple[LayerName, Series]]:
        for name, where in self._layers.items():
            seen = rows.seen[:, where]
            there = seen.any(1)
            if there.any():
                elements = (seen[there] * self._sizes[where]).sum(1)
                norms = _norm(rows.values[there][:, where], seen[there])
                yield (WEIGHT, name), (rows.steps[there], (norms / np.sqrt(elements)).astype(np.float32))

    def _norms(self, rows: TensorRows) -> Iterator[tuple[LayerName, Series]]:
        measured = ~np.isnan(rows.update)
        for name, where in self._layers.items():
            seen = rows.grad_seen[:, where]
            there = seen.any(1)
            if there.any():
                grad = rows.grad[there][:, where]
                yield (GRAD, name), (rows.steps[there], _norm(grad, seen[there]))
        for name, where in self._layers.items():
            seen = measured[:, where]
            there = seen.any(1)
            if there.any():
                update = rows.update[there][:, where]
                yield (UPDATE, name), (rows.steps[there], _mean(update, seen[there], self._sizes[where]))


def _norm(values: Vectors, seen: Bools) -> Vectors:
    """Root of the sum of squares (m,) of what was seen of values (m, k)."""
    if values.shape[1] == 1:
        return values[:, 0]
    with np.errstate(all="ignore"):
        return np.asarray(np.sqrt(np.where(seen, values.astype(np.float64) ** 2, 0.0).sum(1)), np.float32)


def _mean(values: Vectors, seen: Bools, sizes: Floats) -> Vectors:
    """Mean by sizes (k,) of what was seen of values (m, k); (m,)."""
    if values.shape[1] == 1:
        return values[:, 0]
    with np.errstate(all="ignore"):
        total = np.where(seen, values.astype(np.float64) * sizes, 0.0).sum(1)
        return np.asarray(total / (seen * sizes).sum(1), np.float32)
