"""Axes: ranges that stay put, ticks that read well, limits that one wild value cannot spoil. Pure folds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from tuimon.record.chunk import Floats, Ints

_LADDER: Final = (1.0, 1.25, 1.6, 2.0, 2.5, 3.2, 4.0, 5.0, 6.4, 8.0, 10.0)
_SHORTEST: Final = 10.0
_HUGE: Final = 1e300
_TINY: Final = 1e-290
"""Values are clamped to ±_HUGE and spans to _TINY, so that no difference or quotient overflows."""
LABEL: Final = 6
"""Cells for the label of a y tick: the same in every chart, so that steps stand above each other."""


class Extremes(Protocol):
    """A line as columns in order of step, each the extremes of the samples it stands for; NaN where it has none."""

    @property
    def low(self) -> Floats: ...  # noqa: D102
    @property
    def high(self) -> Floats: ...  # noqa: D102
    @property
    def last(self) -> Floats: ...  # noqa: D102

    def between(self, first: float, last: float) -> Extremes:
        """The columns with first <= step <= last."""


@dataclass(frozen=True, slots=True)
class Tick:
    """One label on an axis."""

    at: float
    """Axis units."""
    label: str


@dataclass(frozen=True, slots=True)
class XAxis:
    """The steps that a chart spans, both ends included; the same for every chart on a screen."""

    first: float = 0.0
    last: float = _SHORTEST

    def grown(self, last_step: float) -> XAxis:
        """The axis that also holds `last_step`: itself while that fits, else a fifth or so longer.

        Lengths are 1, 1.25, 1.6, 2, 2.5, 3.2, 4, 5, 6.4, 8 times a power of ten: in between, old columns stay put.
        """
        if last_step <= self.last or not math.isfinite(last_step):
            return self
        length = max(_SHORTEST, last_step - self.first)
        power = 10.0 ** math.floor(math.log10(length))
        fitting = next((m * power for m in _LADDER if m * power >= length), 10 * power)
        return XAxis(self.first, self.first + fitting)

    def label(self, at: float) -> str:
        """A place on it, as a person reads it."""
        return f"{at:,.0f}"

    def ticks(self, width: int) -> list[Tick]:
        """Whole steps, about one label in 10 cells."""
        step = max(1.0, nice_step(self.last - self.first, max(1, width // 10)))
        return [Tick(at, self.label(at)) for at in multiples(self.first, self.last, step)]


@dataclass(frozen=True, slots=True)
class YAxis:
    """The values that a chart spans, in axis units: log10 of the value where `log`."""

    low: float
    high: float
    log: bool = False

    def units(self, values: Floats) -> Floats:
        """Values in axis units; on a log axis what is not positive becomes -inf. NaN stays NaN."""
        if not self.log:
            return np.clip(values, -_HUGE, _HUGE)
        sunk = np.where(np.isnan(values), np.nan, -np.inf)
        return np.where(values > 0, np.log10(np.clip(values, 1 / _HUGE, _HUGE)), sunk)

    def unit(self, value: float) -> float:
        """One value in axis units; infinite ends stay infinite."""
        if not self.log:
            return value
        return math.log10(value) if value > 0 else -math.inf

    def ticks(self, most: int) -> list[Tick]:
        """Between two and `most` labels where that can be: decades on a log axis, else 1-2-5 steps."""
        if not self.log:
            step = nice_step(self.high - self.low, most)
            return _label(multiples(self.low, self.high, step), step)
        first, last = math.ceil(self.low - 1e-9), math.floor(self.high + 1e-9)
        if last > first:
            stride = max(1, -(-(last - first + 1) // most))
            shown = [d for d in range(first, last + 1) if d % stride == 0]
            return [Tick(d, _decade(d)) for d in (shown if len(shown) > 1 else range(first, last + 1, stride))]
        for digits in ((1, 2, 5), (1, 3)):
            fine = [d + math.log10(m) for d in range(first - 2, last + 3) for m in digits]
            fine = [at for at in fine if self.low - 1e-9 <= at <= self.high + 1e-9]
            if 2 <= len(fine) <= most:
                return [Tick(at, _one_digit(10 ** at)) for at in fine]
        low, high = 10.0 ** max(self.low, -300), 10.0 ** min(self.high, 300)
        step = nice_step(high - low, most)
        return [Tick(math.log10(t.at), t.label) for t in _label(multiples(low, high, step), step) if t.at > 0]


WIDE_DECADES: Final = 1.5
"""From here on a linear axis shows only the greatest values: all below a thirtieth of it lie on its floor."""


def is_wide(low: Floats, high: Floats) -> bool:
    """Whether values, given as the extremes of columns, are all positive and span more decades than a line can show.

    Over a growing history the answer goes from no to yes once, and back only for a value that is not positive.
    """
    finite = np.isfinite(low) & np.isfinite(high)
    if not finite.any():
        return False
    least, most = float(low[finite].min()), float(high[finite].max())
    return least > 0 and math.log10(most) - math.log10(least) > WIDE_DECADES


def fit(previous: YAxis | None, series: Sequence[Extremes], x: XAxis, *, log: bool, robust: bool = True) -> YAxis:
    """The y axis for what is visible: `previous` unless data overflow it or fill less than 40 % of it.

    Without `robust` every finite (on a log axis: positive) value is inside; with it, a value further than 30 times the
    usual spread from the bulk is left out. Where nothing has a value: `previous`, else a range of 0 to 1 (0.1 to 10).
    """
    return kept(previous, limits(series, x, log=log, robust=robust), log=log)


def kept(previous: YAxis | None, found: tuple[float, float] | None, *, log: bool) -> YAxis:
    """`fit` for what `limits` has found."""
    if previous is not None and previous.log != log:
        previous = None
    if found is None:
        return previous or (YAxis(-1.0, 1.0, log=True) if log else YAxis(0.0, 1.0))
    low, high = found
    if previous is None:
        return _around(low, high, log, 0.06, 0.06)
    if low < previous.low or high > previous.high:
        return _around(low, high, log, 0.15 if low < previous.low else 0.06, 0.15 if high > previous.high else 0.06)
    if high - low < 0.4 * (previous.high - previous.low):
        closer = _around(low, high, log, 0.06, 0.06)
        if closer.high - closer.low < 0.75 * (previous.high - previous.low):
            return closer
    return previous


def limits(series: Sequence[Extremes], x: XAxis, *, log: bool, robust: bool = True) -> tuple[float, float] | None:
    """Least and greatest value in sight, else of all, in axis units (see `fit` for `robust`); None: there is none."""
    lows, highs = _extremes(series, x, YAxis(0.0, 1.0, log))
    if len(lows) == 0:   # what only passes through
        lows, highs = _extremes(series, XAxis(-math.inf, math.inf), YAxis(0.0, 1.0, log))
    if len(lows) == 0:
        return None
    return _without_wild(lows, highs, log) if robust else (float(lows.min()), float(highs.max()))


def _extremes(series: Sequence[Extremes], x: XAxis, frame: YAxis) -> tuple[Floats, Floats]:
    """Finite extremes of the visible columns in axis units, never those of what has no place on the axis."""
    lows: list[Floats] = []
    highs: list[Floats] = []
    for whole in series:
        seen = whole.between(x.first, x.last)
        low, high, last = frame.units(np.stack((seen.low, seen.high, seen.last)))
        low = np.where(np.isneginf(low), np.where(np.isneginf(last), high, last), low)
        finite = np.isfinite(low) & np.isfinite(high)
        lows.append(low[finite])
        highs.append(high[finite])
    if not lows:
        return np.zeros(0), np.zeros(0)
    return np.concatenate(lows), np.concatenate(highs)


def _without_wild(lows: Floats, highs: Floats, log: bool) -> tuple[float, float]:
    """Extremes without those that lie further than 30 spreads from the middle 96 % of the columns.

    So the bulk keeps at least one dot row in thirty. The spread counts as half a decade or more on a log axis; that of
    a constant, on a linear one, as the constant itself, so that a step away from it is shown, not cut.
    """
    n = len(lows)
    if n < 4:
        return float(lows.min()), float(highs.max())
    bottom, top = math.ceil(0.02 * (n - 1)), math.floor(0.98 * (n - 1))
    a, b = float(np.partition(lows, bottom)[bottom]), float(np.partition(highs, top)[top])
    a, b = min(a, b), max(a, b)
    least = 0.5 if log else (0.0 if b - a > 1e-6 * max(abs(a), abs(b)) else max(abs(a), abs(b)) or 1.0)
    reach = 30.0 * max(b - a, least)
    return float(lows[lows >= a - reach].min()), float(highs[highs <= b + reach].max())


def _around(low: float, high: float, log: bool, below: float, above: float) -> YAxis:
    """A range with room for what comes, on round numbers; at least a decade on a log axis."""
    size = max(abs(low), abs(high))
    least = 1.0 if log else max(2e-3 * size, _TINY)
    span = high - low
    if not log and size == 0:
        return YAxis(0.0, 1.0)
    if not log and span < 1e-6 * size:
        least = size
    if span < least:
        middle = (low + high) / 2
        low, high, span = min(low, middle - least / 2), max(high, middle + least / 2), least
    grid = (0.1 if span < 3 else 0.5) if log else nice_step(span, 25)
    bottom = math.floor((low - below * span) / grid) * grid
    top = math.ceil((high + above * span) / grid) * grid
    if not log and low >= 0 and (bottom < 0 or low < 0.06 * high):
        bottom = 0.0
    return YAxis(bottom, top, log)


def nice_step(span: float, most: int) -> float:
    """The least of 1, 2, 5 times a power of ten of which at most `most` fit into `span`."""
    raw = max(span, _TINY) / max(1, most)
    power = 10.0 ** math.floor(math.log10(raw))
    return next((m * power for m in (1, 2, 5) if m * power >= raw * (1 - 1e-9)), 10 * power)


def multiples(low: float, high: float, step: float) -> list[float]:
    """The multiples of `step` from `low` to `high`, ends included."""
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    return [0.0 if i == 0 else i * step for i in range(first, min(last, first + 200) + 1)]


def _decade(exponent: int) -> str:
    return {-2: "0.01", -1: "0.1", 0: "1", 1: "10", 2: "100"}.get(exponent, f"1e{exponent}")


def _one_digit(value: float) -> str:
    if 1e-3 <= value < 9_999:
        return f"{value:.1g}" if value < 9.5 else f"{value:.0f}"
    return _scientific(value, value)


def _label(values: list[float], gap: float) -> list[Tick]:
    """Labels of equal form, with the digits that tell neighbours apart; none where that takes over `LABEL` cells."""
    if not values:
        return []
    digits = max(0, -math.floor(math.log10(max(gap, _TINY)) + 1e-9))
    if digits < LABEL and max(map(abs, values)) >= 0.01:
        grouped = [f"{v:,.{digits}f}" if v else "0" for v in values]
        if all(len(words) <= LABEL for words in grouped):
            return [Tick(v, words) for v, words in zip(values, grouped, strict=True)]
    scientific = [_scientific(v, gap) for v in values]
    if digits == 0 and any(len(words) > LABEL for words in scientific):
        scientific = [f"{v:.0f}" for v in values]  # 130100: too many digits for a mantissa, and for a comma
    return [Tick(v, words) for v, words in zip(values, scientific, strict=True) if len(words) <= LABEL]


def _scientific(value: float, gap: float) -> str:
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)) + 1e-9)
    digits = max(0, exponent - math.floor(math.log10(max(gap, _TINY)) + 1e-9))
    mantissa, power = f"{value:.{min(digits, 9)}e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.') if digits else mantissa}e{int(power)}"


def columns_of(steps: Floats, first: float, last: float, count: int) -> Ints:
    """Which of `count` columns of equal width each step falls into; outside first .. last: below 0 or >= count.

    The columns of `History.thin(name, first, last, count)`, so that thinned and plain series make the same picture.
    """
    column = np.floor((steps - first) * count / (last - first + 1))
    return np.clip(column, -1, count).astype(np.int64)


def column_of(step: float, first: float, last: float, count: int) -> int:
    """The same of one step, at a twentieth of the cost."""
    return math.floor(max(-1.0, min(count, (step - first) * count / (last - first + 1))))
