"""The learning rate lately. Pure but for what it remembers.

A warm-up that begins with the first step of an attempt is how the run is meant to begin: its low rates are no level to
go back to. It is over where the rate is no higher than ten rows before.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Final

RISING: Final = 10
"""Rows after which a rate that is warming up is higher."""


class Rates:
    """The learning rate lately: whether it has jumped, is warming up or has decayed."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Know nothing."""
        self._recent: deque[tuple[int, float]] = deque(maxlen=128)
        self.peak = 0.0
        self._begins = True
        """Whether the warm-up from the first step may still be going on."""
        self._warm_from: int | None = None
        """The step at which that warm-up had come as high as it went."""

    def add(self, step: int, value: float) -> None:
        """Take in the learning rate of one step."""
        self._recent.append((step, value))
        if math.isfinite(value):
            self.peak = max(self.peak, value)
        if self._begins:
            self._begin()

    def pass_over(self, steps: Sequence[int], values: Sequence[float]) -> None:
        """Take in the finite learning rates of several steps."""
        if self._begins:
            for step, value in zip(steps, values, strict=True):
                self.add(step, value)
            return
        self._recent.extend(zip(steps, values, strict=True))
        self.peak = max(self.peak, *values)

    @property
    def warming(self) -> bool:
        """Whether it is higher than ten rows ago."""
        recent = self._recent
        return len(recent) > 1 and recent[-1][1] > 1.001 * recent[-min(RISING, len(recent))][1]

    @property
    def kept(self) -> float:
        """What share of the highest rate of the last 64 rows it has kept; 1 where nothing is known."""
        recent = [value for _, value in list(self._recent)[-64:]]
        return recent[-1] / max(recent) if recent and max(recent) > 0 else 1.0

    @property
    def decayed(self) -> bool:
        """Whether it has fallen below 30 % of its peak."""
        return bool(self._recent) and self._recent[-1][1] < 0.3 * self.peak

    def growth(self) -> tuple[float, int, float]:
        """How many times it has grown from its low of the last 128 rows, the first step above that low, and the low.

        Not counted is what it grew by in the warm-up from the first step.
        """
        if self._begins:
            return 1.0, 0, math.nan
        since = -math.inf if self._warm_from is None else self._warm_from
        values = [pair for pair in self._recent if pair[0] >= since and math.isfinite(pair[1]) and pair[1] > 0]
        if len(values) < 2:
            return 1.0, 0, math.nan
        low = min(value for _, value in values)
        last_low = max(i for i, (_, value) in enumerate(values) if value <= 1.001 * low)
        after = values[last_low + 1 :]
        if not after:
            return 1.0, 0, low
        return max(value for _, value in after) / low, after[0][0], low

    def _begin(self) -> None:
        """See whether the warm-up from the first step is over: since where it has been as high as it went."""
        recent = list(self._recent)[-RISING:]
        if len(recent) < RISING or self.warming:
            return
        self._begins = False
        top = max(value for _, value in recent)
        self._warm_from = next((step for step, value in recent if value >= top / 1.001), None)
