"""How sure a rate of rare events is. Pure; the standard library's mathematics and numpy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np


def poisson_cdf(count: int, mean: float) -> float:
    """P(X <= count) where X is Poisson with this mean; 0 for a negative count."""
    if count < 0:
        return 0.0
    if mean == 0.0:
        return 1.0
    steps = np.concatenate(([-mean], math.log(mean) - np.log(np.arange(1, count + 1, dtype=np.float64))))
    terms = np.cumsum(steps)
    top = float(terms.max())
    return min(1.0, math.exp(top + math.log(float(np.exp(terms - top).sum()))))


def poisson_interval(count: int, level: float = 0.95) -> tuple[float, float]:
    """The exact (Garwood) confidence interval of a Poisson mean of which `count` events were seen.

    Its ends are the means under which so many, or so few, are as rare as (1 - level) / 2. It takes the events for
    independent: where alarms come in flocks it is too narrow.
    """
    tail = (1 - level) / 2
    low = 0.0 if count == 0 else _crossing(lambda mean: 1 - poisson_cdf(count - 1, mean) < tail, count)
    return low, _crossing(lambda mean: poisson_cdf(count, mean) > tail, count)


def _crossing(is_below: Callable[[float], bool], near: int) -> float:
    """The mean up to which `is_below` holds, by bisection."""
    low, high = 0.0, near + 10 * math.sqrt(near + 1) + 10
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return 0.5 * (low + high)
