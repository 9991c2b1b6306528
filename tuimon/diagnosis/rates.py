"""The learning rate lately. Pure but for what it remembers."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence


class Rates:
    """The learning rate lately: whether it has jumped, is warming up or has decayed."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Know nothing."""
        self._recent: deque[tuple[int, float]] = deque(maxlen=128)
        self.peak = 0.0

    def add(self, step: int, value: float) -> None:
        """Take in the learning rate of one step."""
        self._recent.append((step, value))
        if math.isfinite(value):
            self.peak = max(self.peak, value)

    def pass_over(self, steps: Sequence[int], values: Sequence[float]) -> None:
        """Take in the finite learning rates of several steps."""
        self._recent.extend(zip(steps, values, strict=True))
        self.peak = max(self.peak, *values)

    @property
    def warming(self) -> bool:
        """Whether it is higher than ten rows ago."""
        recent = self._recent
        return len(recent) > 1 and recent[-1][1] > 1.001 * recent[-min(10, len(recent))][1]

    @property
    def falling(self) -> bool:
        """Whether it has fallen by more than a tenth within the last 64 rows."""
        recent = [value for _, value in list(self._recent)[-64:]]
        return bool(recent) and recent[-1] < 0.9 * max(recent)

    @property
    def decayed(self) -> bool:
        """Whether it has fallen below 30 % of its peak."""
        return bool(self._recent) and self._recent[-1][1] < 0.3 * self.peak

    def growth(self) -> tuple[float, int, float]:
        """How many times it has grown from its low of the last 128 rows, the first step above that low, and the low."""
        values = [pair for pair in self._recent if math.isfinite(pair[1]) and pair[1] > 0]
        if len(values) < 2:
            return 1.0, 0, math.nan
        low = min(value for _, value in values)
        last_low = max(i for i, (_, value) in enumerate(values) if value <= 1.001 * low)
        after = values[last_low + 1 :]
        if not after:
            return 1.0, 0, low
        return max(value for _, value in after) / low, after[0][0], low
