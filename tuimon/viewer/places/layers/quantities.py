"""What can be seen of every layer, what a shade of it says, and what a run has to log for it. Pure values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from tuimon.diagnosis.activations import DEAD, FLAT, LOUD
from tuimon.diagnosis.heat import LEVELS

Name = Literal[
    "gradient", "update", "weight", "activation_rms", "attention_logit", "attention_entropy", "dead_units",
]
Scale = Literal["usual", "above", "below"]
"""Shades count decades from each layer's usual, or stand for values at or above, or below, four marks."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """One choice of the heat map."""

    name: Name
    """That of a probe is its name in the log."""
    title: str
    word: str
    """The title where there is little room."""
    scale: Scale
    marks: tuple[float, float, float, float]
    """Where the four shades begin: decades for "usual", else values, mildest first."""
    limit: str
    """What the third mark of an absolute scale is; "" for "usual"."""
    meaning: str
    """What a layer's value is, in one sentence."""
    needs: str
    """What is missing where a run does not have it."""


_PROBES: Final = "no activation probe has measured it in this run"

QUANTITIES: Final[tuple[Quantity, ...]] = (
    Quantity("gradient", "gradient RMS", "gradient", "usual", LEVELS, "",
             "Root mean square over the elements of the layer's gradients, before clipping.",
             "no gradients per tensor are in this run's log"),
    Quantity("update", "update ratio", "update", "usual", LEVELS, "",
             "How far a step moved the layer's weights, relative to their size: mean over its tensors by elements.",
             "no updates per tensor are in this run's log"),
    Quantity("weight", "weight RMS", "weight", "usual", LEVELS, "",
             "Root mean square over the elements of the layer's weights; logged more rarely than gradients.",
             "this run's log holds no norms of the weights per layer"),
    Quantity("activation_rms", "activation RMS", "activation", "usual", LEVELS, "",
             "Root mean square of what the layer's modules put out, the largest of them.", _PROBES),
    Quantity("attention_logit", "attention logit", "logit", "above", (LOUD / 4, LOUD / 2, LOUD, 10 * LOUD),
             "the softmax is nearly a choice of one",
             "Upper bound of |q.k| / sqrt(d), the largest of the layer.", _PROBES),
    Quantity("attention_entropy", "attention entropy", "entropy", "below", (6 * FLAT, 3 * FLAT, FLAT, FLAT / 5),
             "the attention has collapsed",
             "Entropy of the attention as a share of its maximum, the lowest of the layer.", _PROBES),
    Quantity("dead_units", "dead units", "dead", "above", (DEAD / 3, 2 * DEAD / 3, DEAD, 0.99),
             "the layer hardly computes anything",
             "Share of the layer's units that no token of the sample activates.", _PROBES),
)
"""In the order in which they are offered."""
QUANTITY: Final[dict[str, Quantity]] = {q.name: q for q in QUANTITIES}


def turned(now: Name, by: int) -> Name:
    """The next choice, or the one before. Those that the run does not have are not passed over: they say why."""
    order = [q.name for q in QUANTITIES]
    return order[(order.index(now) + by) % len(order)]
