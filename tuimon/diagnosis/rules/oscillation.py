"""oscillation (T106): the loss swings with a period of its own.

Symptom: a wave in the loss that comes back at the same frequency, window after window.

Why it happens: a period of two: the learning rate sits at the edge of stability. A period of an epoch: the order of the
data. Of as many steps as there are loading processes: one of them gives other data. Of an accumulation or curriculum
cycle: the mixture. Of a cyclic schedule: the schedule.

What to try: compare the period with epoch, curriculum and schedule; for a period of two, lower the learning rate by a
third; shuffle the data.

Confused with: noise, which turns at two steps in three; large batches, which live at the edge of stability in good
health; the trend; the steps of a rounded log on its way down, which are no higher than what it can resolve.

Rule: in windows of 128 losses, straight line taken out and ranked, Fisher's g test of the largest peak of the
periodogram below 1e-4 in two windows in a row at the same frequency (within one bin); or so the rank sum of every n-th
loss, n from 3 to 16, with all that were looked at counted in (a pulse is many waves at once, none of them large; no
rank sum was so in 1,138 healthy windows); or a lag-1 autocorrelation of at most -0.5 in two windows in a row. Periods
above 43 steps are left out: they may be the curve of the descent. A warning where the wave is at least 1 % of the loss,
else for information. Over after two windows without.

Source: reference 2.13.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tuimon.diagnosis.model import Evidence
from tuimon.diagnosis.rows import WINDOW_FULL
from tuimon.diagnosis.rule import Episode, Rule, Story, rate_cut
from tuimon.diagnosis.signals import Signals
from tuimon.diagnosis.statistics import WINDOW, lag_one, ranked
from tuimon.diagnosis.wording import count, number
from tuimon.record.chunk import Floats

RARE = 1e-4
EDGE = -0.5
SHARE = 0.01
PERIODS = range(3, 17)
"""Steps after which a pulse may come again: a longer one has too few in a window to tell them from chance."""
SLOWEST = 3
"""Cycles per window from which a wave is no mere curve."""


class Oscillation(Rule):
    """T106."""

    slug, code, category, needs = "oscillation", "T106", "loss", ("loss",)
    wakes = follows = WINDOW_FULL

    def clear(self) -> None:
        """No wave seen."""
        self.bin: int | None = None
        """The frequency of the last window, in cycles per window; None where there was no wave."""
        self.first = 0
        self.calm = 0

    def waits_for(self, now: Signals) -> tuple[str, ...]:
        """Two windows."""
        if "loss" in now.seen and now.loss_rows < 2 * WINDOW:
            return (f"{2 * WINDOW} values of loss",)
        return super().waits_for(now)

    def row(self, now: Signals) -> None:
        """Look at a window that has just become full."""
        if not now.window:
            return
        found = wave(now.window)
        again = found is not None and self.bin is not None and abs(found - self.bin) <= 1
        if found is not None and not again:
            self.first = now.step - WINDOW + 1
        self.bin = found
        if again and found is not None:
            self.calm = 0
            size = amplitude(now.window, found)
            level = abs(sum(now.window) / WINDOW)
            if self.episode is None:
                self.open(now, self.first, "info", "high", bin=float(found), size=size, level=level)
            assert self.episode is not None
            self.episode.numbers |= {"bin": float(found), "size": size, "level": level}
            if size >= SHARE * level and self.episode.severity == "info":
                self.episode.severity = "warning"
        elif self.episode:
            self.calm += 1
            if self.calm >= 2:
                self.close(now)

    def tell(self, episode: Episode, *, over: bool) -> Story:
        """In words."""
        n = episode.numbers
        period = WINDOW / n["bin"]
        share = number(100 * n["size"] / n["level"]) if n["level"] else "100"
        why = (f"Loss {'swung' if over else 'swings'} by {number(n['size'])} ({share} % of its level) with a period of "
               f"about {number(period)} steps.")
        if over:
            why += f" No wave by step {count(episode.last)}."
        edge = period < 3
        advice = ((rate_cut(episode, 1.5), "or know that large batches live at this edge, as long as it does not grow")
                  if edge else
                  (f"compare {number(period)} steps with an epoch, the accumulation cycle and the schedule",
                   f"if {number(period)} processes load the data, look at what each of them gives",
                   "shuffle the data between epochs"))
        evidence = (Evidence("loss", n["size"], SHARE * n["level"], n["level"]),)
        return Story("Loss oscillates", why, advice, evidence, "oscillating")


def wave(window: Sequence[float]) -> int | None:
    """Cycles per window of a wave that cannot be chance; None where there is none."""
    ranks = ranked(window)
    if lag_one(ranks) <= EDGE:
        return len(window) // 2
    pulses = pulse(ranks)
    if pulses is not None and amplitude(window, pulses) > quantum(window):
        return pulses
    power = np.abs(np.fft.rfft(ranks))[SLOWEST:-1] ** 2
    total = float(power.sum())
    if total <= 0:
        return None
    top = int(np.argmax(power))
    rare = fisher(float(power[top]) / total, len(power)) < RARE
    return top + SLOWEST if rare and amplitude(window, top + SLOWEST) > quantum(window) else None


def pulse(ranks: Floats) -> int | None:
    """Cycles per window of every n-th value being higher or lower than chance allows; None where there is none.

    By the largest of the rank sums (Wilcoxon) of all places in all PERIODS.
    """
    n, looked_at, best, cycles = len(ranks), sum(PERIODS), 0.0, None
    for period in PERIODS:
        places = np.arange(n) % period
        size = np.bincount(places)
        z = float(np.abs(np.bincount(places, ranks) / np.sqrt(size * (n - size) * (n + 1) / 12)).max())
        if z > best:
            best, cycles = z, round(n / period)
    return cycles if looked_at * math.erfc(best / math.sqrt(2)) < RARE else None


def quantum(window: Sequence[float]) -> float:
    """The smallest distance between two of the values that differ: what a rounded log cannot resolve."""
    gaps = np.diff(np.unique(window))
    return float(gaps.min()) if len(gaps) else math.inf


def fisher(share: float, bins: int) -> float:
    """Chance that the largest of `bins` periodogram values of white noise has at least this share of their sum.

    Fisher (1929); the first term of the sum, which bounds it from above.
    """
    return min(1.0, bins * (1 - share) ** (bins - 1))


def amplitude(window: Sequence[float], cycles: int) -> float:
    """From crest to trough of the wave with so many cycles per window, in the unit of the losses."""
    t = np.linspace(-1, 1, len(window))
    values = np.asarray(window) - np.polynomial.Polynomial.fit(t, window, 3)(t)  # without the curve of the descent
    turn = 2 * math.pi * cycles * np.arange(len(values)) / len(values)
    share = 1 if 2 * cycles == len(values) else 2
    return 2 * share * abs(complex(np.sum(values * np.exp(-1j * turn)))) / len(values)
