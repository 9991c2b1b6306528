"""How the evaluations go: the best so far, and whether they have turned while training went on falling. Pure."""

from __future__ import annotations

from typing import Final

import numpy as np

from tuimon.diagnosis.curve.model import Validation
from tuimon.diagnosis.curve.points import Points
from tuimon.diagnosis.statistics import MAD_TO_SIGMA

IN_A_ROW: Final = 3
"""Evaluations above the best before it is called a turn: one-point rules misfire on a quarter of noisy ones."""
ERRORS: Final = 3.0
"""Standard errors above the best."""


def read_validation(points: Points, val: Points) -> Validation | None:
    """None without an evaluation. The standard error comes from the evaluations' own second differences."""
    if not len(val):
        return None
    best = int(val.losses.argmin())
    after = val.losses[best + 1 :]
    turned = False
    if len(after) >= IN_A_ROW and len(points) >= 16:
        bends = np.diff(val.losses, 2)
        error = MAD_TO_SIGMA * float(np.median(np.abs(bends))) / 6**0.5 if len(bends) else 0.0
        above = after[-IN_A_ROW:] > val.losses[best] + max(ERRORS * error, 1e-3 * abs(float(val.losses[best])))
        then = points.clipped[points.steps <= val.steps[best]][-16:]
        now = points.clipped[-16:]
        fell = len(then) > 0 and float(np.median(then) - np.median(now)) > 2 * points.noise * (2 / 16) ** 0.5
        turned = bool(above.all()) and fell
    return Validation(
        len(val), float(val.losses[best]), float(val.steps[best]), float(val.losses[-1]), turned,
    )
