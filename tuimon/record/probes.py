"""What sampled forward passes tell of a run's activations: the quantities, and who is measured for which. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from tuimon.record.chunk import Bools, Vectors
from tuimon.record.metrics import METRICS


@dataclass(frozen=True, slots=True)
class Quantity:
    """What one kind of probe measures."""

    name: str
    unit: str
    """Base unit, or "" for a pure number."""
    worst: Literal["largest", "smallest"]
    """Which of several modules' values speaks for the model."""
    meaning: str
    """One sentence for help and docs."""


QUANTITIES: Final[dict[str, Quantity]] = {
    q.name: q
    for q in (
        Quantity("attention_logit", "", "largest",
                 "Upper bound of |q.k| / sqrt(d) over heads and positions, from max |q| times max |k|."),
        Quantity("attention_entropy", "", "smallest",
                 "Entropy of the attention distribution as a share of its maximum, ln(visible keys), 0 to 1: "
                 "mean over heads and over the last half of the positions."),
        Quantity("dead_units", "", "largest", "Share of units that no token of the sample activates, 0 to 1."),
        Quantity("activation_rms", "", "largest", "Root mean square of the module's output."),
        Quantity("logit_scale", "", "largest", "Mean |logsumexp| of the model's output logits."),
        Quantity("logit_mean", "", "largest", "Mean of the model's output logits, which softmax does not see."),
    )
}


@dataclass(frozen=True, slots=True)
class ProbeEntry:
    """One probe, as `run.json` lists it."""

    module: str
    """Dotted module name, e.g. "blocks.3.attn"; "" is the model itself."""
    quantity: str
    """One of QUANTITIES; a reader leaves alone what it does not know."""


@dataclass(frozen=True, slots=True)
class ProbeRow:
    """What the probes of one step measured, in the order of the run's probe table."""

    step: int
    values: Vectors
    """(K,)"""
    seen: Bools
    """(K,) whether that probe measured at this step; the value is meaningless where it did not."""


def summary(entries: Sequence[ProbeEntry], values: Vectors, seen: Bools) -> dict[str, float]:
    """The scalar metrics that go with one row of probes: of each quantity that METRICS knows, its worst over modules.

    values, seen: (K,). NaN counts as worst, for it is one; what no probe measured is absent.
    """
    found: dict[str, float] = {}
    for name, quantity in QUANTITIES.items():
        mine = [i for i, entry in enumerate(entries) if entry.quantity == name and seen[i]]
        if mine and name in METRICS:
            pick = np.max if quantity.worst == "largest" else np.min
            found[name] = float(pick(values[mine]))
    return found
