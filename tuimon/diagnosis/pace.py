"""How fast training goes, in stretches of sixteen steps, and what a whole run has usually shown. Pure.

A stretch is told by its medians: what interrupts training now and then (an evaluation, a checkpoint, a recompilation,
a laptop that slept) is no change of its pace.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from tuimon.diagnosis.statistics import MAD_TO_SIGMA

SIZE: Final = 16
"""Rows of a stretch."""
FULL: Final = 128
"""Values that a course keeps; at that it lets every second one go."""

Timing = tuple[int, float | None, float | None, float | None, float | None]
"""Step, seconds it took, seconds it waited for data, tokens, tokens per second."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Sixteen timed rows in a row. NaN: not logged, or not in each of them."""

    rows: tuple[Timing, ...]
    seconds: float
    """Median step time."""
    per_token: float
    """Seconds per token: of the medians of both, or of the throughput where no times are logged."""
    tokens: float
    """Median tokens per step."""
    waited: float
    """Share of the time that went into waiting for data, 0 to 1."""

    @property
    def first(self) -> int:
        """Its first step."""
        return self.rows[0][0]

    @property
    def lasted(self) -> float:
        """Seconds of training that it stands for, pauses left out; of a sparse log more than its rows."""
        steps = self.rows[-1][0] - self.rows[0][0]
        return self.seconds * max(SIZE, steps * SIZE / (SIZE - 1))


def seconds_of(row: Timing) -> float | None:
    """Step time of a row."""
    return row[1]


def per_token_of(row: Timing) -> float | None:
    """Seconds per token of a row."""
    _, took, _, tokens, speed = row
    if took is not None and tokens is not None and tokens > 0:
        return took / tokens
    return 1 / speed if speed is not None and speed > 0 else None


class Pace:
    """The stretches of a run, one at a time."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Start anew: what was being collected is dropped."""
        self.filling: list[Timing] = []
        """Rows on their way to a stretch."""
        self.last: Stretch | None = None
        """The stretch that was completed last, and the one before it."""
        self.before: Stretch | None = None

    def take(self, row: Timing) -> bool:
        """Take in a row: True when it completes a stretch, which then is `last`."""
        if row[1] is None and row[4] is None:
            return False
        self.filling.append(row)
        return len(self.filling) == SIZE and self._complete()

    def _complete(self) -> bool:
        self.filling[:] = [row for row in self.filling if is_timed(row)]
        if len(self.filling) < SIZE:
            return False
        self.before, self.last = self.last, _stretch(tuple(self.filling))
        self.filling.clear()
        return True


def is_timed(row: Timing) -> bool:
    """Whether a row tells how fast training goes."""
    took, speed = row[1], row[4]
    return speed is not None and 0 < speed < math.inf if took is None else 0 < took < math.inf


def _stretch(rows: tuple[Timing, ...]) -> Stretch:
    _, took, waits, tokens, speeds = zip(*rows, strict=True)
    whole = sum(filter(None, took))
    waited = math.nan if None in waits or not whole else min(1.0, max(0.0, sum(waits) / whole))
    seconds, size, speed = _middle(took), _middle(tokens), _middle(speeds)
    return Stretch(rows, seconds, 1 / speed if math.isnan(seconds / size) else seconds / size, size, waited)


def _middle(values: Sequence[float | None]) -> float:
    """Median of sixteen positive numbers; NaN where one is missing or none."""
    numbers = sorted(value for value in values if value is not None and 0 < value < math.inf)
    if len(numbers) < SIZE:
        return math.nan
    low, high = numbers[SIZE // 2 - 1], numbers[SIZE // 2]
    return low + (high - low) / 2   # the sum of two great ones would be infinite


def typical(values: Sequence[float]) -> float:
    """Median of those that are numbers; NaN where none is."""
    ordered = sorted(value for value in values if not math.isnan(value))
    size = len(ordered)
    return (ordered[size // 2] + ordered[(size - 1) // 2]) / 2 if size else math.nan


def rose(rows: Sequence[Timing], of: Callable[[Timing], float | None], usual: float, level: float) -> int:
    """The step at which `of` went from `usual` up to `level`: where a CUSUM between the two last was zero."""
    total, since, middle = 0.0, rows[0][0], math.sqrt(usual * level)
    reach = math.log(level / usual)
    for row in rows:
        value = of(row)
        if value is None or not value > 0:
            continue
        if total == 0.0:
            since = row[0]
        total = max(0.0, total + max(-reach, min(math.log(value / middle), reach)))
    return since if total > 0.0 else rows[-1][0]


class Course:
    """Values of a whole run, evenly spaced: 64 to 128 of them, however long it is."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Know nothing."""
        self.steps: list[int] = []
        self.values: list[float] = []
        self._stride, self._seen = 1, 0
        self._usual: tuple[float, float] | None = None

    def __len__(self) -> int:
        return len(self.values)

    def add(self, step: int, value: float) -> bool:
        """Take in the next value; whether it is one of those that are kept."""
        kept = self._seen % self._stride == 0
        if kept:
            self.steps.append(step)
            self.values.append(value)
            self._usual = None
            if len(self.values) == FULL:
                self.steps, self.values = self.steps[::2], self.values[::2]
                self._stride *= 2
        self._seen += 1
        return kept

    def usual(self) -> tuple[float, float]:
        """Median, and the robust standard deviation of a value from what a slow trend says; one value or more."""
        if self._usual is None:
            leaps = [abs(b - a) for a, b in zip(self.values, self.values[1:], strict=False)]
            self._usual = typical(self.values), MAD_TO_SIGMA * typical(leaps or [0.0]) / math.sqrt(2)
        return self._usual
