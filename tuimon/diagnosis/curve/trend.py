"""Where the loss is going now, and whether it has stopped: straight lines through recent block means. Pure."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

import numpy as np

from tuimon.diagnosis.curve.model import Interval, Plateau, Trend
from tuimon.diagnosis.curve.points import Points
from tuimon.record.chunk import Floats

LEAST: Final = 16
"""Points before a trend is given."""
BLOCKS: Final = 16
RECENT: Final = 0.2
"""Share of the curve that is "now"; at least 64 points where there are."""
FLAT: Final = 0.005
"""Relative improvement that is no longer worth waiting for."""
SURE: Final = 2.33
"""Normal quantile of the 99 % bound."""


def student(p: float, free: int) -> float:
    """Quantile of Student's t by the Cornish-Fisher series (Abramowitz and Stegun 26.7.5); good from 4 degrees on."""
    z, v = NormalDist().inv_cdf(p), float(free)
    return (
        z + (z**3 + z) / (4 * v) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )


def line(steps: Floats, losses: Floats) -> tuple[float, float, float, int]:
    """Slope per step, its standard error, the value at the last step, and the degrees of freedom.

    Through up to 16 block means, whose own scatter gives the error: autocorrelation within a block is paid for.
    """
    parts = np.array_split(np.arange(len(steps)), min(BLOCKS, len(steps) // 2))
    x = np.array([steps[p].mean() for p in parts])
    y = np.array([losses[p].mean() for p in parts])
    centre = float(x.mean())
    t = x - centre
    spread = float(t @ t)
    slope = float(t @ y) / spread
    rest = y - y.mean() - slope * t
    free = len(parts) - 2
    error = math.sqrt(float(rest @ rest) / free / spread)
    return slope, error, float(y.mean()) + slope * (float(steps[-1]) - centre), free


def size_of(level: float, noise: float, drop: float) -> float:
    """What a change is relative to: the level's size where it is clearly off zero, else NaN."""
    return abs(level) if abs(level) > max(5 * noise, 1e-3 * abs(drop)) else math.nan


def recent_trend(points: Points, since: int, drop: float) -> Trend | None:
    """The line through the last fifth, within the stretch that begins at index `since`; None below 16 points."""
    n = len(points) - since
    if n < LEAST:
        return None
    count = min(n, max(64, round(RECENT * n)))
    steps, losses = points.steps[-count:], points.clipped[-count:]
    slope, error, level, free = line(steps, losses)
    half = student(0.975, free) * error
    size = size_of(level, points.noise, drop)
    return Trend(
        float(steps[0]), float(steps[-1]), level, 100 * slope, Interval(100 * (slope - half), 100 * (slope + half)),
        100 * slope / size,
    )


def plateau(points: Points, since: int, level: float, drop: float) -> Plateau | None:
    """An equivalence test over the newest points, n = 12 (2.33 noise / (0.5 % level))^2 of which decide.

    Looks at twice that or at the last fifth, whichever is longer, and at no more than the newer half. None where there
    are fewer than 32 points, or where the level is so near zero that a share of it says nothing.
    """
    n = (len(points) - since) // 2
    size = size_of(level, points.noise, drop)
    if n < 16 or not FLAT * size > 0:
        return None
    wanted = max(32, math.ceil(12 * (SURE * points.noise / (FLAT * size)) ** 2))
    count = min(max(32, n), max(2 * wanted, round(RECENT * 2 * n)))
    steps, losses = points.steps[-count:], points.clipped[-count:]
    slope, error, _, free = line(steps, losses)
    span = float(steps[-1] - steps[0])
    better, doubt = -slope * span, student(0.99, free) * error * span
    bound = (better + doubt) / size
    if bound < -FLAT:
        return Plateau("worsening", span, bound, 0.0)
    if bound < FLAT:
        return Plateau("flat", span, bound, 0.0)
    if better - doubt > 0:
        return Plateau("improving", span, bound, 0.0)
    return Plateau("undecided", span, bound, max(0, 2 * (wanted - n)) * points.spacing)
