"""Where the time of a step goes, and whether memory grows: from what the run itself has logged. Pure.

What is not measured is said to be so, never estimated: the forward pass, the backward pass and the optimizer are one
part, for nothing in a run's log parts them unless the script logs `optimizer_time`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from tuimon.diagnosis.statistics import line
from tuimon.record.history import History

MOST: Final = 1 << 16
"""Measurements that are looked at."""

Floats = NDArray[np.float64]
RECENT: Final = 200
"""Steps that are looked at."""
FEWEST: Final = 30
"""Measurements of memory, about one a second, from which a trend is told: before, caches fill."""
LEVEL: Final = 0.01
"""Of the memory held: what it may change over the stretch and still be called level."""
SURE: Final = 2.33
"""Standard errors by which a slope must stand out."""
PartName = Literal["data", "optimizer", "rest", "tuimon"]


@dataclass(frozen=True, slots=True)
class Part:
    """One share of a step."""

    name: PartName
    half: float
    """Median, seconds."""
    most: float
    """95th percentile, seconds."""
    share: float
    """Of all the time of those steps, 0 to 1."""


@dataclass(frozen=True, slots=True)
class StepTimes:
    """The newest steps, RECENT of them or fewer."""

    count: int = 0
    first: int = 0
    last: int = 0
    half: float = math.nan
    """Seconds of a whole step: median."""
    most: float = math.nan
    """95th percentile."""
    parts: tuple[Part, ...] = ()
    """In the order in which they are drawn; together they are all of it. Without waits measured there is no `data`."""
    tokens: float = math.nan
    """Tokens per second over all these steps; NaN where tokens are not logged."""
    pace: float = math.nan
    """Steps per second."""
    slowest: float = math.nan
    """Seconds of the slowest rank's own work, median over steps; NaN where there is one rank."""
    middle: float = math.nan
    """Of the median rank."""
    rank: int | None = None
    """Which rank is the slowest most often."""


@dataclass(frozen=True, slots=True)
class Trend:
    """Memory held, over the newer half of what was measured."""

    word: Literal["none", "few", "level", "grows", "falls"] = "none"
    count: int = 0
    """Measurements so far."""
    held: float = math.nan
    """Bytes, the newest."""
    slope: float = math.nan
    """Bytes per step."""
    first: int = 0
    last: int = 0


def step_times(history: History, at: int | None = None) -> StepTimes:
    """The newest steps, or those that end with step `at`. Only finite, positive times count."""
    steps, took = _until(history, "step_time", at)
    fine = took > 0
    steps, took = steps[fine][-RECENT:], took[fine][-RECENT:]
    if not len(took):
        return StepTimes()
    waits, work = _beside(history, "data_time", steps), _beside(history, "optimizer_time", steps)
    _, overheads = _until(history, "overhead", at)
    own = took * min(1.0, float(np.median(overheads[-RECENT:]))) if len(overheads) else np.full(len(took), np.nan)
    tokens = _beside(history, "tokens", steps)
    parts = _parts(took, waits, work, own)
    known = np.isfinite(tokens)
    slow, middle, ranks = (_until(history, name, at)[1][-RECENT:]
                           for name in ("slowest_step_time", "median_step_time", "slowest_rank"))
    return StepTimes(
        len(took), int(steps[0]), int(steps[-1]), float(np.median(took)), float(np.quantile(took, 0.95)), parts,
        float(tokens[known].sum() / took[known].sum()) if known.any() else math.nan, len(took) / float(took.sum()),
        float(np.median(slow)) if len(slow) else math.nan, float(np.median(middle)) if len(middle) else math.nan,
        int(np.bincount(ranks.clip(0, 1 << 16).astype(np.int64)).argmax()) if len(ranks) else None)


def _parts(took: Floats, waits: Floats, work: Floats, own: Floats) -> tuple[Part, ...]:
    """The shares of the steps of which all that is logged at all is known."""
    known: tuple[tuple[PartName, Floats], ...] = (("data", waits), ("optimizer", work), ("tuimon", own))
    logged = [(name, values) for name, values in known if np.isfinite(values).any()]
    whole = np.isfinite(took)
    for _, values in logged:
        whole &= np.isfinite(values)
    if not logged or not whole.any():
        return (_part("rest", took, took),)
    left, base, found = took[whole], took[whole], {}
    for name, values in logged:
        piece = np.minimum(np.maximum(values[whole], 0.0), left)
        found[name] = _part(name, piece, base)
        left = left - piece
    rest = _part("rest", left, base)
    return tuple(part for part in (found.get("data"), rest, found.get("optimizer"), found.get("tuimon")) if part)


def _part(name: PartName, values: Floats, base: Floats) -> Part:
    return Part(name, float(np.median(values)), float(np.quantile(values, 0.95)), float(values.sum() / base.sum()))


def memory_trend(history: History, at: int | None = None) -> Trend:
    """Whether the newer half of what was measured of memory rises: the older half is what fills at the start."""
    steps, values = _until(history, "memory", at)
    if not len(values):
        return Trend()
    held = float(values[-1])
    half = len(values) // 2
    late, level = steps[half:], values[half:]
    first, last = int(late[0]), int(late[-1])
    if len(values) < FEWEST or last - first < 2:
        return Trend("few", len(values), held, first=first, last=last)
    slope, error = line(late.tolist(), level.tolist())
    rise = slope * (last - first)
    if abs(rise) < LEVEL * abs(float(np.median(level))) or abs(slope) < SURE * error:
        return Trend("level", len(values), held, slope, first, last)
    return Trend("grows" if slope > 0 else "falls", len(values), held, slope, first, last)


def _until(history: History, name: str, at: int | None) -> tuple[NDArray[np.int64], Floats]:
    """What was measured of a metric up to a step, finite values only; (n,) each."""
    upto = history.last_step if at is None else at
    series = history.sample(name, upto, MOST) if name == "memory" else history.tail(name, MOST, at)
    steps, values = series.steps, series.values
    fine = np.isfinite(values)
    return (steps, values) if fine.all() else (steps[fine], values[fine])


def _beside(history: History, name: str, steps: NDArray[np.int64]) -> Floats:
    """A metric at those steps, (n,); NaN where it was not measured."""
    series = history.window(name, int(steps[0]), int(steps[-1])) if len(steps) else history.series(name)
    found = np.full(len(steps), np.nan)
    if len(series):
        at = np.minimum(np.searchsorted(series.steps, steps), len(series) - 1)
        hit = series.steps[at] == steps
        found[hit] = series.values[at[hit]]
    return found
