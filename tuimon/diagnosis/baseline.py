"""Where a series usually is: a robust baseline, learned one value at a time or foreseen for many at once. Pure folds.

What is foreseen is what learning the same values one by one gives, to the last bit; nothing changes until it is passed
over. Owned by its caller, changes in place.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from tuimon.diagnosis.model import Usual
from tuimon.diagnosis.ranges import Ranges
from tuimon.diagnosis.statistics import MAD_TO_SIGMA, READY, TO_SIGMA, TOP, WINDOW, centred, robust_scales, tied
from tuimon.record.chunk import Floats, Ints

KEPT: Final = 1024
"""Accepted values remembered, so that a rollback can put the baseline back to what it was."""
SETTLED: Final = 2 * WINDOW
"""Values from which on the window has its full size."""


SAME: Final = 1e-9
"""Share of the median within which two values count as one: what is left of arithmetic."""
COARSE: Final = 0.1
"""Share of the scale above which a log is rounded: a limit off its grid would look like a finer one."""
Centre = tuple[float, float, float, float, float, float, float]
"""Median, scale, quantum, limit and skew of a window, and the ends of its usual range."""
LOW, HIGH = 0.05, 0.95
"""The percentiles between which a value is usual."""
KNOWN: Final = 64
"""Values from which on a window tells how skewed the noise is."""
MOST_SKEWED: Final = 4.0
UNTIED: Final = 0.3
"""Autocorrelation that 128 independent values hardly ever show; healthy losses stay within 0.1."""
MOST_TIED: Final = 5.0
SLOWLY: Final = 0.05
"""Weight of one window in what is known of the skew: a spike must not make itself usual."""


def _stride(count: int) -> int:
    """Every how many values the baseline is found anew."""
    return 1 if count < 64 else 8 if count < KEPT else 16


class Baseline:
    """Where a series usually is: median and robust scale of its last 16 to 128 accepted values.

    The window is half of what has been seen, within those limits. Values above `median + clip` are taken in as that
    limit, so that a spike cannot raise its own baseline, and a genuine shift is absorbed slowly. Median and scale
    are found anew at each of the first 64 values, then at every eighth, from the 1,024th at every sixteenth (18 us, 2
    if foreseen): what they say is never more than an eighth of the window old. The scale is that of deviations upwards:
    losses near zero and gradients of small batches reach up to four times as far up as down.
    """

    __slots__ = (
        "_clip", "_detrend", "_ends", "_foreseen", "_limit", "_of", "_quantum", "_size", "_skew", "_steps", "_values",
        "count", "middle", "ranges", "scale",
    )

    def __init__(self, *, detrend: bool = False, clip: float | None = None,
                 of: Callable[[float], float] = float) -> None:
        """`of`: what a value learned stands for, where the usual range is told."""
        self._detrend = detrend
        self._clip = clip
        self._of = of
        self.ranges = Ranges()
        """What was usual before; no going back undoes what was said then."""
        self._values = np.empty(3 * KEPT)
        """Up to 2 * KEPT that are learned, and behind them those that are foreseen."""
        self._steps = np.empty(3 * KEPT, np.int64)
        self._skew = 1.0
        """How many times as far the noise reaches up as down, as learned lately: of the series, not of its level."""
        self.clear()

    def clear(self) -> None:
        """Know nothing."""
        self._size = 0
        self._limit = math.inf
        self._quantum = 0.0
        """The smallest distance of two values that differ, as last seen; 0 before."""
        self._foreseen: dict[int, Centre] = {}
        """What will be found, by the count at which it will."""
        self.count = 0
        self.middle = math.nan
        """Median; NaN before the first value."""
        self.scale = math.nan
        """Robust standard deviation, never below 1e-3 of the median nor the quantum of the log; NaN until ready."""
        self._ends = (math.nan, math.nan)
        """5th and 95th percentile of the window."""

    @property
    def ready(self) -> bool:
        """Whether there were enough values to judge by."""
        return self.count >= READY

    def learn(self, step: int, value: float) -> None:
        """Take in one finite value."""
        if self._size == 2 * KEPT:
            self._shift()
        self._values[self._size] = min(self._limit, value)
        self._steps[self._size] = step
        self._size += 1
        self.count += 1
        if self.count % _stride(self.count) == 0:
            self._find()
            if self.ready:
                self.ranges.offer(step, self.usual)

    def foresee(self, steps: Ints, values: Floats) -> tuple[Floats, Floats]:
        """The median and the scale by which each of these values will be judged, if all are learned in turn.

        Of a baseline that has SETTLED; at most KEPT finite values.
        """
        n, size = len(values), self._size
        taken = self._values[size:size + n]
        taken[:] = values
        self._steps[size:size + n] = steps
        counts = np.arange(self.count + 1, self.count + n + 1)
        after = np.flatnonzero(counts % np.where(counts < KEPT, 8, 16) == 0) + 1
        """How many of the values are in when the baseline is found anew."""
        windows = sliding_window_view(self._values[size - WINDOW:size + n], WINDOW)
        found = np.empty((len(after) + 1, 7))
        found[0] = self.middle, self.scale, self._quantum, self._limit, self._skew, *self._ends
        judge = np.searchsorted(after, np.arange(n), "right")
        first = 0
        while first < len(after):
            found[first + 1:] = centres(
                windows[after[first:]], self.count + after[first:], found[first, 2], found[first, 4],
                detrend=self._detrend, clip=self._clip,
            )
            accepted = np.minimum(values, found[judge, 3])
            moved = np.flatnonzero(accepted != taken)  # what is beyond its limit changes the windows that hold it
            if not len(moved):
                break
            taken[:] = accepted
            first = int(np.searchsorted(after, moved[0], "right"))
        self._foreseen = dict(zip((self.count + after).tolist(), map(tuple, found[1:].tolist()), strict=True))
        return found[judge, 0], found[judge, 1]

    def pass_over(self, n: int) -> None:
        """Have learned the next n of the values that were foreseen."""
        if self._size + n > 2 * KEPT:
            self._shift()
        self._size += n
        due, self.count = self.count, self.count + n
        while (due := due - due % _stride(due) + _stride(due)) <= self.count:
            self._take(*self._foreseen[due])
            self.ranges.offer(int(self._steps[self._size - (self.count - due) - 1]), self.usual)

    def note(self, step: int) -> None:
        """Keep what is usual as of this step."""
        self.ranges.add(step, self.usual())

    def forget_after(self, step: int) -> None:
        """Be again what it was when `step` was the last one learned; know nothing if that is too long ago."""
        self._foreseen = {}
        kept = int(np.searchsorted(self._steps[:self._size], step, "right"))
        if kept == self._size:
            return
        count = self.count - (self._size - kept)
        self.clear()
        if kept and kept >= min(count, SETTLED):
            self._size, self.count = kept, count
            self._find()

    def usual(self) -> Usual | None:
        """5th to 95th percentile of the window; None until ready."""
        if not self.ready:
            return None
        low, high = self._ends
        return Usual(self._of(low), self._of(high), self._of(self.middle))

    def _shift(self) -> None:
        """Let the oldest go."""
        self._values[:-KEPT], self._steps[:-KEPT] = self._values[KEPT:], self._steps[KEPT:]
        self._size -= KEPT

    def _window(self) -> Floats:
        """The values as of the last time that median and scale were due."""
        over = self.count % _stride(self.count)
        size = min(WINDOW, max(READY, (self.count - over) // 2), self._size - over)
        return self._values[self._size - over - size:self._size - over]

    def _find(self) -> None:
        found = self._foreseen.get(self.count)
        if found is not None:
            self._take(*found)
            return
        window = self._window()
        ordered = np.sort(window)
        half = len(ordered) // 2
        self.middle = float(ordered[half] if len(ordered) % 2 else 0.5 * (ordered[half - 1] + ordered[half]))
        if self.count < READY:
            return
        gaps = ordered[1:] - ordered[:-1]
        quantum = float(np.min(gaps, initial=math.inf, where=gaps > SAME * abs(self.middle)))
        quantum = quantum if quantum < math.inf else self._quantum
        spread, upper, tie = robust_scales(window, detrend=self._detrend)
        skew = learned(self._skew, self.count, spread, upper, tie)
        scale = max(spread * skew, 1e-3 * abs(self.middle), quantum, 1e-12)
        above = 4 * scale if self._clip is None else self._clip
        limit = self.middle + above
        if quantum > COARSE * scale:
            limit = float(ordered[half]) + math.ceil(above / quantum) * quantum
        last = len(ordered) - 1
        low, high = float(ordered[round(LOW * last)]), float(ordered[round(HIGH * last)])
        self._take(self.middle, scale, quantum, limit, skew, low, high)

    def _take(self, middle: float, scale: float, quantum: float, limit: float, skew: float, low: float,
              high: float) -> None:
        self.middle, self.scale, self._quantum, self._limit, self._skew = middle, scale, quantum, limit, skew
        self._ends = low, high


def learned(skew: float, count: int, spread: float, upper: float, tie: float) -> float:
    """What is known of the skew after one window more, the last of `count` values.

    Where neighbours are tied (a log of running means), sums of deviations spread as those of noise that is wider by
    sqrt((1 + tie) / (1 - tie)): the tests add up deviations, and count that as skew.
    """
    if count < KNOWN or not spread > 0:
        return skew
    wider = math.sqrt((1 + tie) / (1 - tie)) if UNTIED < tie < 1 and count >= WINDOW else 1.0
    weight = max(SLOWLY, 8 / (count - KNOWN + 8))
    return skew + weight * (min(max(upper / spread, 1.0), MOST_SKEWED) * min(wider, MOST_TIED) - skew)


def centres(
    windows: Floats, counts: Ints, quantum: float, skew: float, *, detrend: bool, clip: float | None
) -> Floats:
    """Median, scale, quantum, limit, skew and the usual range, (m, 7), of m windows of an even number of values each.

    As `_find` does.

    counts: (m,) values that have been learned by then; quantum, skew: those of the window before the first of these.
    """
    n, half = windows.shape[1], windows.shape[1] // 2
    ordered = np.sort(windows, axis=1)
    middles = 0.5 * (ordered[:, half - 1] + ordered[:, half])
    gaps = ordered[:, 1:] - ordered[:, :-1]
    gaps[~(gaps > SAME * np.abs(middles)[:, None])] = math.inf
    quanta = _last_known(gaps.min(axis=1), quantum)
    tops, lows, highs = ordered[:, half], ordered[:, round(LOW * (n - 1))], ordered[:, round(HIGH * (n - 1))]
    if detrend:
        t, squared = centred(n)
        rises = np.array([t @ window for window in windows])  # a product of all at once would round otherwise
        windows = windows - t * (rises / squared)[:, None]
        ordered = np.sort(windows, axis=1)
    spreads = MAD_TO_SIGMA * np.sort(np.abs(windows - ordered[:, half, None]), axis=1)[:, half]
    uppers = (ordered[:, int(TOP * n)] - ordered[:, half]) / TO_SIGMA
    skews = np.empty(len(spreads))
    found = zip(counts.tolist(), spreads.tolist(), uppers.tolist(), map(tied, windows), strict=True)
    for i, (count, spread, upper, tie) in enumerate(found):
        skews[i] = skew = learned(skew, count, spread, upper, tie)
    scales = np.maximum(np.maximum(spreads * skews, 1e-3 * np.abs(middles)), np.maximum(quanta, 1e-12))
    above = 4 * scales if clip is None else np.full(len(scales), clip)
    limits = middles + above
    coarse = quanta > COARSE * scales
    limits[coarse] = tops[coarse] + np.ceil(above[coarse] / quanta[coarse]) * quanta[coarse]
    return np.stack((middles, scales, quanta, limits, skews, lows, highs), axis=1)


def _last_known(values: Floats, before: float) -> Floats:
    """The values, each that is infinite replaced by the last that is not; `before` where there is none."""
    known = np.concatenate(([before], values))
    at = np.maximum.accumulate(np.where(np.isfinite(known), np.arange(len(known)), 0))
    found: Floats = known[at][1:]
    return found
