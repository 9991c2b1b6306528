"""What the notebook says of one step: its verdicts, thresholds and zones, rule for rule. Pure values and functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tuimon.diagnosis.model import Category, Severity
from tuimon.diagnosis.plotting import Zone

GREEN, ORANGE, RED, BLUE = (95, 175, 95), (215, 135, 0), (215, 60, 60), (95, 135, 215)

ZONES: Final[dict[str, tuple[Zone, ...]]] = {
    "grad_norm": (
        Zone("vanishing", 1e-6, 0.1, BLUE),
        Zone("healthy", 0.1, 10.0, GREEN),
        Zone("danger", 10.0, 1000.0, RED),
    ),
    "grad_param_ratio": (Zone("healthy", 1e-5, 0.1, GREEN), Zone("too high", 0.1, 10.0, ORANGE)),
}
"""The zones of the notebook's dashboard; a value on an edge belongs to the zone above it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One of the things that the notebook's monitor can say."""

    slug: str
    code: str
    says: str
    severity: Severity | None
    category: Category
    headline: str
    word: str
    next: tuple[str, ...]
    metric: str
    limit: float


HEALTHY: Final = Verdict(
    "notebook-healthy", "N100", "healthy: training normally", None, "loss", "Healthy", "ok", (), "loss", math.nan
)
NON_FINITE: Final = Verdict(
    "notebook-non-finite",
    "N101",
    "critical: loss is NaN or infinite, stop training",
    "critical",
    "numerics",
    "Loss is not finite",
    "NaN",
    ("stop training", "go back to a checkpoint", "lower the learning rate"),
    "loss",
    math.nan,
)
EXPLODING: Final = Verdict(
    "notebook-exploding",
    "N102",
    "danger: gradient explosion imminent",
    "warning",
    "gradients",
    "Gradient explosion imminent",
    "danger",
    ("clip gradients at 1.0", "lower the learning rate"),
    "grad_norm",
    10.0,
)
VANISHING: Final = Verdict(
    "notebook-vanishing",
    "N103",
    "warning: vanishing gradients",
    "warning",
    "gradients",
    "Vanishing gradients",
    "vanishing",
    ("check the initial weights and the activations",),
    "grad_norm",
    1e-5,
)
RATE_HIGH: Final = Verdict(
    "notebook-learning-rate-high",
    "N104",
    "warning: learning rate might be too high",
    "warning",
    "updates",
    "Learning rate might be too high",
    "too high",
    ("lower the learning rate",),
    "grad_param_ratio",
    0.1,
)
RATE_LOW: Final = Verdict(
    "notebook-learning-rate-low",
    "N105",
    "warning: learning rate might be too low",
    "warning",
    "updates",
    "Learning rate might be too low",
    "too low",
    ("raise the learning rate",),
    "grad_param_ratio",
    1e-5,
)
RISING: Final = Verdict(
    "notebook-rising-loss",
    "N106",
    "warning: loss is trending upward",
    "warning",
    "loss",
    "Loss trending upward",
    "rising",
    ("watch the next steps", "lower the learning rate"),
    "loss",
    math.nan,
)
EMERGENCY: Final = Verdict(
    "notebook-emergency-stop",
    "N107",
    "emergency: stop training",
    "critical",
    "numerics",
    "Emergency stop",
    "stop",
    ("stop training", "go back to a checkpoint", "lower the learning rate tenfold"),
    "loss",
    50.0,
)

VERDICTS: Final = (NON_FINITE, EXPLODING, VANISHING, RATE_HIGH, RATE_LOW, RISING)
"""In the order in which `check_vitals` asks."""


def judge(loss: float | None, grad_norm: float | None, ratio: float | None, losses: Sequence[float]) -> Verdict:
    """The notebook's verdict on one step. `losses` are all so far, this one included; None was not measured."""
    if loss is not None and not math.isfinite(loss):
        return NON_FINITE
    if grad_norm is not None and grad_norm > EXPLODING.limit:
        return EXPLODING
    if grad_norm is not None and grad_norm < VANISHING.limit:
        return VANISHING
    if ratio is not None and ratio > RATE_HIGH.limit:
        return RATE_HIGH
    if ratio is not None and ratio < RATE_LOW.limit:
        return RATE_LOW
    if len(losses) > 5:
        first, _, *last = list(losses)[-5:]
        if all(value > first for value in last):
            return RISING
    return HEALTHY


def is_emergency(loss: float | None, grad_norm: float | None) -> bool:
    """Loss non-finite or above 50, or gradient norm above 100."""
    return (loss is not None and (not math.isfinite(loss) or loss > 50)) or (grad_norm is not None and grad_norm > 100)


def zone_of(metric: str, value: float) -> str:
    """The name of the zone a value lies in; "" outside all, or where the metric has none."""
    return next((z.name for z in reversed(ZONES.get(metric, ())) if z.low <= value <= z.high), "")
