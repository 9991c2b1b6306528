"""The notebook's analysis of a loss curve, and its six example patterns. Pure.

What the record fixes, and is exact here: `analyze_pattern(losses, window_size=10) -> dict`; the trend, by the relative
change between the means of the first and of the last window, with thresholds 0.2, 0.05, 0.01 and -0.01; the
volatility, standard deviation over mean, with 0.2 and 0.05; direction changes over the last 20 losses, with 0.3 and
0.1; health, by non-finite, above 100, below 1e-6; which six patterns there are.

What is our reading, as the notebook itself is not at hand: the keys and words of the dict; that improvement counts as
positive change, (first - last) / |first|; that a value on a threshold belongs to the calmer side; that volatility is
taken over the last window (population standard deviation, over the size of the mean); that direction changes are
interior points of the last 20 losses at which a rise turns into a fall or back, as a share of the places where that is
possible; that any non-finite loss counts against health, but only the last loss against 100 and 1e-6; that nothing but
health is judged with fewer losses than a window; the formulas of the patterns, and that "overfitting" is the
validation loss, which falls and rises again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

RECENT: Final = 20
"""Losses in which direction changes are counted."""
TRENDS: Final = (
    (0.2, "strong improvement"),
    (0.05, "improving"),
    (0.01, "slow improvement"),
    (-0.01, "plateau"),
)
"""Above which relative change each word stands; "worsening" at or below the last."""
VOLATILITIES: Final = ((0.2, "high"), (0.05, "moderate"))
OSCILLATIONS: Final = ((0.3, "high"), (0.1, "moderate"))
"""Above which value each word stands; "low" at or below the last."""
EXPLODED: Final = 100.0
VANISHED: Final = 1e-6


class LossCurveAnalyzer:
    """The notebook's analyser: `LossCurveAnalyzer().analyze_pattern(losses)`."""

    def analyze_pattern(self, losses: Sequence[float], window_size: int = 10) -> dict[str, Any]:
        """What the notebook says of a curve.

        `trend`: "strong improvement", "improving", "slow improvement", "plateau", "worsening"; `volatility` and
        `oscillation`: "high", "moderate", "low"; `health`: "healthy", "not finite", "exploded", "vanished"; each
        "unknown" where it cannot be told. The numbers behind them are in `relative_change`, `volatility_ratio` and
        `direction_changes` (None where unknown), and `losses` is how many were looked at. Raises ValueError for a
        window below 1.
        """
        if window_size < 1:
            raise ValueError(f"window_size is {window_size}: at least 1 is wanted")
        values = np.asarray(losses, np.float64).ravel()
        enough = len(values) >= window_size
        change = relative_change(values[:window_size], values[-window_size:]) if enough else None
        ratio = volatility(values[-window_size:]) if enough else None
        turns = direction_changes(values[-RECENT:]) if enough else None
        return {
            "trend": _word(change, TRENDS, "worsening"),
            "volatility": _word(ratio, VOLATILITIES, "low"),
            "oscillation": _word(turns, OSCILLATIONS, "low"),
            "health": health(values),
            "relative_change": change,
            "volatility_ratio": ratio,
            "direction_changes": turns,
            "losses": len(values),
        }


def relative_change(first: np.typing.NDArray[np.float64], last: np.typing.NDArray[np.float64]) -> float | None:
    """How far the mean of the last window lies below that of the first, as a share of the first; None if unknown."""
    with np.errstate(over="ignore", invalid="ignore"):
        start, end = float(first.mean()), float(last.mean())
    if not (math.isfinite(start) and math.isfinite(end)):
        return None
    if start == 0:
        return 0.0 if end == 0 else math.copysign(math.inf, -end)
    return (start - end) / abs(start)


def volatility(window: np.typing.NDArray[np.float64]) -> float | None:
    """Standard deviation over the size of the mean; None if unknown."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean, spread = abs(float(window.mean())), float(window.std())
    if not (math.isfinite(mean) and math.isfinite(spread)):
        return None
    if mean == 0:
        return math.inf if spread else 0.0
    return spread / mean


def direction_changes(window: np.typing.NDArray[np.float64]) -> float | None:
    """Share of interior points at which a rise turns into a fall or back; None below three, or if not finite."""
    if len(window) < 3 or not np.isfinite(window).all():
        return None
    moves = np.sign(window[1:] / 2 - window[:-1] / 2)   # halves: the difference of two huge ones has no room
    return float((moves[1:] * moves[:-1] < 0).mean())


def health(values: np.typing.NDArray[np.float64]) -> str:
    """Whether the losses are numbers, and the last one within 1e-6 and 100."""
    if not len(values):
        return "unknown"
    if not np.isfinite(values).all():
        return "not finite"
    if values[-1] > EXPLODED:
        return "exploded"
    return "vanished" if values[-1] < VANISHED else "healthy"


def _word(value: float | None, thresholds: Sequence[tuple[float, str]], otherwise: str) -> str:
    if value is None:
        return "unknown"
    return next((word for limit, word in thresholds if value > limit), otherwise)


def generate_example_patterns(num_steps: int = 300, seed: int = 0) -> dict[str, list[float]]:
    """The six curves of the lesson, by name: what a person should learn to recognise. The same for the same seed."""
    t = np.arange(num_steps)
    u = t / max(1, num_steps - 1)
    rng = np.random.default_rng(seed)

    def noise(size: float) -> np.typing.NDArray[np.float64]:
        return rng.normal(0.0, size, num_steps)

    curves = {
        "healthy": 0.8 + 3.2 * np.exp(-5 * u) + noise(0.04),
        "overfitting": 1.2 + 2.8 * np.exp(-9 * u) + 1.6 * np.maximum(0.0, u - 0.35) ** 1.3 + noise(0.03),
        "learning rate too high": 2.6 + 1.2 * np.exp(-6 * u) + 0.7 * np.sin(2 * np.pi * t / 5) + noise(0.25),
        "learning rate too low": 4.0 - 0.15 * u + noise(0.02),
        "exploding": 2.2 + 1.6 * np.exp(-8 * u) + np.expm1(np.maximum(0.0, u - 0.6) * 14.0) + noise(0.05),
        "no learning": 4.0 + noise(0.02),
    }
    return {name: [float(v) for v in curve] for name, curve in curves.items()}
