"""Where each quantity's rows come from: gradients, updates and weights of tensors, or activation probes. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from tuimon.record.chunk import Bools, Ints, ProbeRows, TensorRows, Vectors, WeightRows
from tuimon.record.history import History
from tuimon.record.layered import LayerGroups
from tuimon.viewer.layers import NAME
from tuimon.viewer.places.layers.quantities import Name
from tuimon.viewer.places.layers.thinning import Read, Which
from tuimon.viewer.text import clean

PROBED: Final[tuple[Name, ...]] = ("activation_rms", "attention_logit", "attention_entropy", "dead_units")
"""What activation probes measure layer by layer."""
MODEL = "the whole model"
"""What a probe of the model itself is called."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """All rows of one quantity; (m,) of them, L layers."""

    layers: tuple[str, ...]
    """(L) as the log calls them."""
    steps: Ints
    read: Read
    """Values and whether they were measured, of a slice of rows or of the rows at some indices."""
    only: Callable[[int], Read]
    """The same of one layer."""
    revision: int = 0
    """Grows when rows that were there before have changed: of a long run old ones are thinned now and then."""

    @property
    def names(self) -> tuple[str, ...]:
        """(L) as they are shown."""
        return _names(self.layers)


@lru_cache(4)
def _names(layers: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(clean(name, NAME) or MODEL for name in layers)


def offered(history: History) -> tuple[Name, ...]:
    """The quantities of which something has been measured. In the tensors' case a look at the newest rows decides."""
    found: list[Name] = []
    rows = history.tensor_rows()
    if len(rows):
        found.append("gradient")
        if not bool(np.isnan(rows.update[-64:]).all()) or not bool(np.isnan(rows.update[:64]).all()):
            found.append("update")
    if len(history.weight_rows()):
        found.append("weight")
    sampled = history.probe_rows()
    if len(sampled) and sampled.values.shape[1]:
        found += [name for name in PROBED if history.probes.layers(name)]
    return tuple(found)


def rows_of(history: History, groups: LayerGroups | None, quantity: Name) -> Rows | None:
    """The rows of a quantity; None where the run has none."""
    if quantity in ("gradient", "update"):
        rows = history.tensor_rows()
        if groups is None or not len(rows):
            return None
        return Rows(groups.names, rows.steps, _tensor_reader(rows, groups, quantity),
                    lambda layer: _tensor_reader(rows, groups.only(layer), quantity), history.tensor_revision)
    if quantity == "weight":
        weights = history.weight_rows()
        if groups is None or not len(weights):
            return None
        return Rows(groups.names, weights.steps, _weight_reader(weights, groups),
                    lambda layer: _weight_reader(weights, groups.only(layer)), history.revision_of("weights"))
    sampled, probes = history.probe_rows(), history.probes
    names = probes.layers(quantity)
    if not names or not len(sampled):
        return None

    def read(which: Which) -> tuple[Vectors, Bools]:
        return probes.by_layer(ProbeRows(sampled.steps[which], sampled.values[which], sampled.seen[which]), quantity)

    def only(layer: int) -> Read:
        def one(which: Which) -> tuple[Vectors, Bools]:
            values, seen = read(which)
            return values[:, [layer]], seen[:, [layer]]
        return one

    return Rows(names, sampled.steps, read, only, history.revision_of("probes"))


def _tensor_reader(rows: TensorRows, groups: LayerGroups, quantity: Name) -> Read:
    measure = groups.grad_rms if quantity == "gradient" else groups.update_ratio
    return lambda which: measure(_some(rows, which))


def _weight_reader(rows: WeightRows, groups: LayerGroups) -> Read:
    return lambda which: groups.weight_rms(WeightRows(rows.steps[which], rows.values[which], rows.seen[which]))


def _some(rows: TensorRows, which: Which) -> TensorRows:
    return TensorRows(rows.steps[which], rows.grad[which], rows.update[which], rows.grad_seen[which])
