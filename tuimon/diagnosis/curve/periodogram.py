"""Oscillation: Fisher's test for one period, and the lag-1 test for a swing of period two, in two windows in a row.

Windows of 128 points, their cubic trend taken out, values replaced by normal scores of their ranks (so that heavy
tails weigh nothing). White noise has two turning points in three steps, so counting turns says nothing. Measured on
2,109 healthy windows (with a straight line taken out): p < 1e-4 in two windows in a row at the same frequency, or a
lag-1 correlation below -0.5 in two, never happened.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

from tuimon.diagnosis.curve.model import Oscillation
from tuimon.diagnosis.curve.points import Points
from tuimon.diagnosis.curve.stretches import even_stretches
from tuimon.record.chunk import Floats

SIZE: Final = 128
LEAST: Final = 2 * SIZE
"""Points before an oscillation can be seen."""
P_LIMIT: Final = 1e-4
LAG_LIMIT: Final = -0.5
SLOWEST: Final = 4
"""Cycles per window: slower swings cannot be told from a bent trend, and are looked for in averages of four points."""
COARSER: Final = 4
SHARE: Final = 0.3
"""Of the residual's standard deviation, for a swing that matters."""
OF_LOSS: Final = 0.01
GROWING: Final = 1.25
_SCORES: Final = np.array([NormalDist().inv_cdf((k + 0.5) / (2 * SIZE)) for k in range(2 * SIZE)])
"""Normal score of a rank, in halves: tied values share the middle of their ranks."""
_BENT: Final = np.linalg.qr(np.vander(np.linspace(-1.0, 1.0, SIZE), 4))[0]
"""(128, 4) orthonormal cubics: what a bent descent looks like within a window, and no swing of four cycles."""


@dataclass(frozen=True, slots=True)
class _Windows:
    """(K,) per window."""

    bins: Floats
    """Frequency of the highest peak, in cycles per window."""
    p_values: Floats
    amplitudes: Floats
    shares: Floats


def find_oscillation(points: Points) -> Oscillation | None:
    """The latest oscillation, or None. Needs 256 points logged at an even pace."""
    found = [o for part in even_stretches(points.steps, LEAST)
             for o in _in_stretch(points.steps[part], points.clipped[part])]
    return max(found, key=lambda o: (o.matters, o.last, o.share), default=None)


def _in_stretch(steps: Floats, losses: Floats) -> list[Oscillation]:
    found: list[Oscillation] = []
    while len(losses) >= LEAST:
        found += _at_pace(steps, losses)
        keep = len(losses) - len(losses) % COARSER
        steps = steps[len(steps) - keep :].reshape(-1, COARSER).mean(axis=1)
        losses = losses[len(losses) - keep :].reshape(-1, COARSER).mean(axis=1)
    return found


def _at_pace(steps: Floats, losses: Floats) -> list[Oscillation]:
    """The latest pair of windows at this pace that shows one swing, as a list of at most one."""
    skip = len(losses) % SIZE
    rows, first = losses[skip:].reshape(-1, SIZE), steps[skip::SIZE]
    seen = examine(rows)
    same = np.abs(np.diff(seen.bins)) <= 1
    sure = (seen.p_values[1:] < P_LIMIT) & (seen.p_values[:-1] < P_LIMIT)
    pairs = np.flatnonzero(same & sure)
    if not len(pairs):
        return []
    k = int(pairs[-1])
    begin = k
    while begin and same[begin - 1] and sure[begin - 1]:
        begin -= 1
    amplitude, share = float(seen.amplitudes[k + 1]), float(seen.shares[k + 1])
    level = abs(float(np.median(rows[k + 1])))
    growing = amplitude > GROWING * float(seen.amplitudes[k])
    pace = float(steps[-1] - steps[0]) / (len(steps) - 1)
    end = min(len(steps) - 1, skip + (k + 2) * SIZE - 1)
    matters = share >= SHARE and (growing or amplitude >= OF_LOSS * level)
    return [Oscillation(
        pace * SIZE / (float(seen.bins[k] + seen.bins[k + 1]) / 2), amplitude, share, float(first[begin]),
        float(steps[end]), float(max(seen.p_values[k], seen.p_values[k + 1])), matters,
    )]


def examine(rows: Floats) -> _Windows:
    """Test each row of 128 values on its own."""
    rest = rows - rows @ _BENT @ _BENT.T
    alive = rest.std(axis=1) > 1e-9 * np.maximum(np.abs(rows).max(axis=1), 1e-300)
    scores = normal_scores(rest)
    scores = scores - scores @ _BENT @ _BENT.T
    power = np.abs(np.fft.rfft(scores, axis=1)) ** 2
    total = np.maximum(power[:, 1:-1].sum(axis=1), 1e-300)
    peak = power[:, SLOWEST:-1].argmax(axis=1) + SLOWEST
    g = np.take_along_axis(power, peak[:, None], 1)[:, 0] / total
    m = SIZE // 2 - 1
    p = np.minimum(1.0, m * (1.0 - np.minimum(g, 1.0)) ** (m - 1))
    variance = np.maximum((scores * scores).sum(axis=1), 1e-300)
    lag = (scores[:, 1:] * scores[:, :-1]).sum(axis=1) / variance
    raw = np.abs(np.fft.rfft(rest, axis=1)) / SIZE
    amplitude = math.sqrt(2) * np.take_along_axis(raw, peak[:, None], 1)[:, 0]
    two = alive & (lag <= LAG_LIMIT) & (p >= P_LIMIT)
    # A swing of period two is not one frequency but the upper half of them: its size is what lag-1 explains.
    spread = rest.std(axis=1)
    amplitude = np.where(two, spread * np.sqrt(np.abs(np.minimum(lag, 0.0))), amplitude)
    chance = np.where(alive, p, 1.0)
    chance[two] = [NormalDist().cdf(r * math.sqrt(SIZE)) for r in lag[two]]
    return _Windows(
        np.where(two, SIZE / 2.0, peak), chance, amplitude,
        amplitude / np.maximum(spread, 1e-300),
    )


def normal_scores(rows: Floats) -> Floats:
    """(K, 128) values -> normal scores of their ranks within the row; equal values get equal scores."""
    ranks = rows.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    halves = 2 * ranks
    ordered = np.sort(rows, axis=1)
    for k in np.flatnonzero((np.diff(ordered, axis=1) == 0).any(axis=1)):
        low, high = (np.searchsorted(ordered[k], rows[k], side) for side in ("left", "right"))
        halves[k] = low + high - 1
    scores: Floats = _SCORES[halves]
    return scores
