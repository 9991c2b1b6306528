"""Stretches of a curve that are logged at an even pace, which windowed tests need. Pure."""

from __future__ import annotations

import numpy as np

from tuimon.record.chunk import Floats

UNEVEN = 3.0
"""Neighbouring distances that differ by more begin a new stretch."""


def even_stretches(steps: Floats, least: int) -> list[slice]:
    """Index ranges of at least `least` points within which the distance of two points stays nearly the same."""
    if len(steps) < least:
        return []
    gaps = np.log(np.maximum(np.diff(steps), 1e-300))
    found: list[slice] = []
    start = 0
    breaks = np.flatnonzero(np.abs(np.diff(gaps)) > np.log(UNEVEN)) + 1
    for end in [*breaks.tolist(), len(steps) - 1]:
        if end + 1 - start >= least:
            found.append(slice(start, end + 1))
        start = end
    return found
