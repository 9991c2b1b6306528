"""Where the loss is going, in one number. Pure."""

from __future__ import annotations

import numpy as np

from tuimon.diagnosis.statistics import middle
from tuimon.record.history import History


def trend_of(history: History, at: int | None = None) -> float | None:
    """Relative change of the loss over 100 steps: medians of the latest tenth and of the tenth before the window."""
    series = history.tail("loss", 110, at)
    steps, values = series.steps, series.values
    until = history.last_step if at is None else at
    broken = max((m.step for m in history.marks if m.kind in ("rollback", "attempt") and m.step <= until), default=0)
    fine = np.isfinite(values) & (steps > broken)   # what was before a rollback says nothing about now
    steps, values = steps[fine], values[fine]
    if len(values) < 30:
        return None
    tenth = max(3, len(values) // 10)
    then, now = middle(values[:tenth].tolist()), middle(values[-tenth:].tolist())
    apart = middle(steps[-tenth:].tolist()) - middle(steps[:tenth].tolist())
    if then == 0 or apart <= 0:
        return None
    return (now - then) / abs(then) * 100.0 / apart
