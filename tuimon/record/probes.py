"""What sampled forward passes tell of a run's activations: the quantities, and who is measured for which. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from tuimon.record.chunk import Bools, Ints, ProbeRows, Vectors
from tuimon.record.entries import ProbeEntry
from tuimon.record.metrics import METRICS
from tuimon.record.tensors import layer_of

__all__ = ["QUANTITIES", "ProbeEntry", "ProbeLayers", "ProbeRow", "Quantity"]


@dataclass(frozen=True, slots=True)
class Quantity:
    """What one kind of probe measures."""

    name: str
    unit: str
    """Base unit, or "" for a pure number."""
    worst: Literal["largest", "smallest"]
    """Which of several layers' values speaks for the model."""
    within: Literal["largest", "smallest", "mean"]
    """What of several modules' values speaks for their layer: of experts, some of which idle, the mean does."""
    meaning: str
    """One sentence for help and docs."""


QUANTITIES: Final[dict[str, Quantity]] = {
    q.name: q
    for q in (
        Quantity("attention_logit", "", "largest", "largest",
                 "Upper bound of |q.k| / sqrt(d) over heads and positions, from max |q| times max |k|."),
        Quantity("attention_entropy", "", "smallest", "smallest",
                 "Entropy of the attention distribution as a share of its maximum, ln(visible keys), 0 to 1: "
                 "mean over heads and over the last half of the positions."),
        Quantity("dead_units", "", "largest", "mean", "Share of units that no token of the sample activates, 0 to 1."),
        Quantity("activation_rms", "", "largest", "largest", "Root mean square of the module's output."),
        Quantity("logit_scale", "", "largest", "largest", "Mean |logsumexp| of the model's output logits."),
        Quantity("logit_mean", "", "largest", "largest",
                 "Mean of the model's output logits, which softmax does not see."),
    )
}


@dataclass(frozen=True, slots=True)
class ProbeRow:
    """What the probes of one step measured, in the order of the run's probe table."""

    step: int
    values: Vectors
    """(K,)"""
    seen: Bools
    """(K,) whether that probe measured at this step; the value is meaningless where it did not."""


_PICK: Final[dict[str, Callable[[Sequence[float]], float]]] = {
    "largest": lambda values: float(np.max(values)), "smallest": lambda values: float(np.min(values)),
    "mean": lambda values: float(np.mean(values)),
}
"""NaN among the values is what they come to."""


class ProbeLayers:
    """The probe table of a run, grouped by quantity and layer; what this version does not know is left out."""

    def __init__(self, entries: Sequence[ProbeEntry]) -> None:
        self.width = len(entries)
        groups: dict[str, dict[str, list[int]]] = {}
        for i, entry in enumerate(entries):
            if entry.quantity in QUANTITIES:
                layer = layer_of(entry.module) if entry.module else ""
                groups.setdefault(entry.quantity, {}).setdefault(layer, []).append(i)
        self._groups = groups

    @property
    def quantities(self) -> frozenset[str]:
        """Those that the table has."""
        return frozenset(self._groups)

    def of(self, values: Vectors, seen: Bools) -> dict[str, dict[str, float]]:
        """One row as quantity -> layer ("" for the model as a whole) -> value; only what was measured.

        values, seen: (K,).
        """
        numbers, there = values.tolist(), seen.tolist()
        found: dict[str, dict[str, float]] = {}
        for quantity, layers in self._groups.items():
            pick = _PICK[QUANTITIES[quantity].within]
            known = {layer: [numbers[i] for i in where if there[i]] for layer, where in layers.items()}
            told = {layer: one[0] if len(one) == 1 else pick(one) for layer, one in known.items() if one}
            if told:
                found[quantity] = told
        return found

    def rows(self, rows: ProbeRows) -> Iterator[tuple[int, dict[str, dict[str, float]]]]:
        """Step and values of each row in which something was measured; none where they are of another table."""
        if rows.values.shape[1] != self.width:
            return
        for i, step in enumerate(rows.steps.tolist()):
            if found := self.of(rows.values[i], rows.seen[i]):
                yield step, found

    def series(self, rows: ProbeRows, quantity: str, layer: str) -> tuple[Ints, Vectors]:
        """Steps and values at which one layer was measured; both empty where it never was, or in another table."""
        where = self._groups.get(quantity, {}).get(layer, [])
        if not where or rows.values.shape[1] != self.width:
            return np.zeros(0, np.int64), np.zeros(0, np.float32)
        seen = rows.seen[:, where]
        there = seen.any(1)
        seen, values = seen[there], rows.values[there][:, where]
        within = QUANTITIES[quantity].within
        if within == "mean":
            return rows.steps[there], np.where(seen, values, 0).sum(1) / seen.sum(1).astype(np.float32)
        pick, least = (np.max, -np.inf) if within == "largest" else (np.min, np.inf)
        return rows.steps[there], pick(np.where(seen, values, np.float32(least)), axis=1)

    def layers(self, quantity: str) -> tuple[str, ...]:
        """The layers that are measured for a quantity, in the order of the table; "" is the model as a whole."""
        return tuple(self._groups.get(quantity, ()))

    def by_layer(self, rows: ProbeRows, quantity: str) -> tuple[Vectors, Bools]:
        """(m, L) values of a quantity and whether they were measured, a column for each of `layers(quantity)`.

        NaN where nothing was measured, as in all of them where the rows are of another table.
        """
        groups = list(self._groups.get(quantity, {}).values())
        found: Vectors = np.full((len(rows), len(groups)), np.nan, np.float32)
        there = np.zeros(found.shape, np.bool_)
        if not groups or rows.values.shape[1] != self.width:
            return found, there
        order = np.array([i for where in groups for i in where], np.int64)
        starts = np.cumsum([0, *(len(where) for where in groups[:-1])])
        seen, values = rows.seen[:, order], rows.values[:, order]
        there = np.logical_or.reduceat(seen, starts, axis=1)
        within = QUANTITIES[quantity].within
        with np.errstate(invalid="ignore"):
            if within == "mean":
                total = np.add.reduceat(np.where(seen, values, np.float32(0)), starts, axis=1)
                counts = np.add.reduceat(seen, starts, axis=1, dtype=np.int64)
                found = (total / np.maximum(counts, 1)).astype(np.float32)
            else:
                pick, least = (np.maximum, -np.inf) if within == "largest" else (np.minimum, np.inf)
                found = pick.reduceat(np.where(seen, values, np.float32(least)), starts, axis=1)
        return np.where(there, found, np.float32(np.nan)), there

    def scalars(self, values: Vectors, seen: Bools) -> dict[str, float]:
        """The scalar metrics that go with one row: of each quantity that METRICS has, its worst over the layers.

        values, seen: (K,). NaN counts as worst, for it is one; what no probe measured is absent.
        """
        return {
            name: _PICK[QUANTITIES[name].worst](list(layers.values()))
            for name, layers in self.of(values, seen).items() if name in METRICS
        }
