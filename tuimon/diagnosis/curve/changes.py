"""Where the curve goes on differently: jumps of the level and bends of the slope, against a smooth descent.

Two straight lines through the block medians on either side of a place are compared at that place, at every scale
from blocks of three points up. The gap between them is immune to curvature (both lines err alike), the error is the
larger of what the lines themselves show and of what noise alone would give, and a smooth descent only ever bends
one way: a slope that turns steeper again, or upwards, is a knee. Medians make single outliers and spikes shorter
than a block vanish.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from tuimon.diagnosis.curve.model import Change, Kind
from tuimon.diagnosis.curve.points import Points
from tuimon.diagnosis.curve.stretches import even_stretches
from tuimon.record.chunk import Bools, Floats

SIDE: Final = 8
"""Blocks on either side."""
SMALLEST: Final = 3
"""Points of the shortest block: two of three must agree."""
LEAST: Final = 2 * SIDE * SMALLEST
"""Points before a change can be seen."""
MOST: Final = 4096
"""Longer stretches are averaged to fewer points first."""
SURE: Final = 6.0
"""Standard errors."""
LEAST_SIZE: Final = 0.75
"""Noise levels that a jump, or what a knee adds up to over its blocks, must measure, however sure."""
WARM_UP: Final = 0.1
"""Share of the curve at its start within which a knee is the shape of a warm-up."""
_T: Final = np.arange(SIDE) - (SIDE - 1) / 2
_TT: Final = float(_T @ _T)


@dataclass(frozen=True, slots=True)
class _Lines:
    """Both lines at every boundary of blocks; (K,) each."""

    gap: Floats
    before: Floats
    """The left line's value at the boundary."""
    left: Floats
    right: Floats
    """Slopes per block."""
    error: Floats
    """Standard deviation of a block median."""


def find_changes(points: Points) -> tuple[Change, ...]:
    """All changes, in the order of steps; empty where there is none, or fewer than 48 evenly logged points."""
    found: list[Change] = []
    for part in even_stretches(points.steps, LEAST):
        found += _in_stretch(points.steps[part], points.losses[part], points.noise, float(points.steps[0]),
                             float(points.steps[-1]))
    return tuple(sorted(found, key=lambda change: change.step))


def _in_stretch(steps: Floats, losses: Floats, noise: float, first: float, last: float) -> list[Change]:
    factor = -(-len(steps) // MOST)
    if factor > 1:
        keep = len(steps) - len(steps) % factor
        steps = steps[len(steps) - keep :].reshape(-1, factor)[:, 0]
        losses = np.median(losses[len(losses) - keep :].reshape(-1, factor), axis=1)
        noise = 1.2533 * noise / factor**0.5
    found: list[Change] = []
    at: list[int] = []
    size = SMALLEST
    while len(steps) // size >= 2 * SIDE:
        skip = len(steps) % size
        medians = np.median(losses[skip:].reshape(-1, size), axis=1)
        lines = _lines(medians, 1.2533 * noise / size**0.5)
        index = skip + size * (np.arange(len(lines.gap)) + SIDE)
        per_hundred = 100.0 / (size * float(steps[-1] - steps[0]) / (len(steps) - 1))
        free = np.array([all(abs(i - j) > SIDE * size for j in at) for i in index], np.bool_)
        late = steps[index] > first + WARM_UP * (last - first)
        for k, kind, z in _candidates(lines, noise, free, late):
            here = int(index[k])
            if any(abs(here - j) <= SIDE * size for j in at):
                continue
            at.append(here)
            moved = float(lines.gap[k]) if kind == "jump" else float(lines.right[k] - lines.left[k]) * per_hundred
            found.append(Change(kind, float(steps[here]), moved, z, float(lines.before[k])))
        size *= 2
    return found


def _lines(medians: Floats, noise: float) -> _Lines:
    windows = np.lib.stride_tricks.sliding_window_view(medians, 2 * SIDE)
    left, right = windows[:, :SIDE], windows[:, SIDE:]
    slope_left, slope_right = left @ _T / _TT, right @ _T / _TT
    middle_left, middle_right = left.mean(axis=1), right.mean(axis=1)
    before = middle_left + SIDE / 2 * slope_left
    gap = middle_right - SIDE / 2 * slope_right - before
    rest = np.concatenate([
        left - middle_left[:, None] - slope_left[:, None] * _T,
        right - middle_right[:, None] - slope_right[:, None] * _T,
    ], axis=1)
    error = np.sqrt((rest * rest).sum(axis=1) / (2 * SIDE - 4))
    return _Lines(gap, before, slope_left, slope_right, np.maximum(np.maximum(error, noise), 1e-12))


def _candidates(lines: _Lines, noise: float, free: Bools, late: Bools) -> list[tuple[int, Kind, float]]:
    """Boundaries with what happens there and its z, the surest first."""
    jump = np.abs(lines.gap) / (lines.error * (2 * (1 / SIDE + (SIDE / 2) ** 2 / _TT)) ** 0.5)
    bend = lines.right - lines.left
    unit = lines.error / _TT**0.5
    steeper = (bend < 0) & (lines.right < 0)
    upward = (bend > 0) & (lines.right / unit > SURE) & (lines.left <= unit)
    knee = np.where(steeper | upward, np.abs(bend) / (unit * 2**0.5), 0.0)
    is_jump = (jump >= SURE) & (np.abs(lines.gap) >= LEAST_SIZE * noise) & free
    is_knee = (knee >= SURE) & (np.abs(bend) * SIDE >= LEAST_SIZE * noise) & free & late & ~is_jump
    places: list[tuple[int, Kind, float]] = [(int(k), "jump", float(jump[k])) for k in np.flatnonzero(is_jump)]
    places += [(int(k), "knee", float(knee[k])) for k in np.flatnonzero(is_knee)]
    return sorted(places, key=lambda place: -place[2])
