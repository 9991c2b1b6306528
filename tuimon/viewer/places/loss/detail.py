"""Reads the loss curve for the screen, in the feed's thread: seldom, as it costs up to a second and a half.

Read anew when 2 % more losses came or a few seconds went by, and never for more than a twentieth of the time; in
between the last reading stands, with the step that it goes to.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from tuimon.diagnosis.axes import is_wide
from tuimon.diagnosis.curve.forecast import reach
from tuimon.diagnosis.curve.patterns import pattern_of
from tuimon.diagnosis.curve.report import Judged, judge_source
from tuimon.diagnosis.curve.sources import Source
from tuimon.diagnosis.figures import number
from tuimon.record.history import Series
from tuimon.viewer.places.loss.model import Ask, LossView

if TYPE_CHECKING:
    from tuimon.viewer.reading import Reading
    from tuimon.viewer.wanted import Wanted

MOST: Final = 1 << 16
"""Losses that are read: of longer runs one in so many, which costs no more than a quarter of a second."""
COLUMNS: Final = 1024
"""Columns that the curve is thinned to."""
EVERY: Final = 5.0
"""Seconds after which whatever came is read."""
LEAST: Final = 1.0
"""Seconds between two readings, however much came."""
MORE: Final = 1.02
"""How many times as many losses are enough for another reading."""
SHARE: Final = 20.0
"""A reading is followed by this many times its own cost without another."""


class _Read(NamedTuple):
    """What was read last."""

    judged: Judged
    losses: int
    upto: int
    at: float
    cost: float


class LossDetail:
    """The analysis of one run's loss."""

    def __init__(self, stopwatch: Callable[[], float] = time.perf_counter) -> None:
        self._stopwatch = stopwatch
        self._read: _Read | None = None
        self._view = LossView()
        self._shown: tuple[object, ...] = ()

    def update(self, reading: Reading, wanted: Wanted, now: float, mono: float) -> LossView:
        """The newest reading, and the curve over the steps that are wanted."""
        del now
        ask = wanted.ask if isinstance(wanted.ask, Ask) else Ask()
        history, info = reading.history, reading.info
        upto = history.last_step if wanted.at is None else wanted.at
        loss, val = history.sample("loss", upto, MOST), history.sample("val_loss", upto, MOST)
        first, last = wanted.window.ends(reading.whole_last, history.last_step)
        total = info.total_steps if info is not None else None
        if len(loss) and self._is_due(len(loss), upto, mono, final=not reading.is_live):
            self._take(loss, val, None if total is None else float(total), upto, mono)
        if self._read is not None and not len(loss):
            self._read = None
        shown = (reading.revision, upto, first, last, ask, self._read and self._read.at)
        if shown == self._shown:
            return self._view
        self._shown = shown
        self._view = self._viewed(reading, loss, (first, last), upto, ask, wanted)
        return self._view

    def close(self) -> None:
        """Nothing is held."""

    def _is_due(self, count: int, upto: int, mono: float, *, final: bool) -> bool:
        read = self._read
        if read is None:
            return True
        waited = mono - read.at
        if count == read.losses and upto == read.upto:
            return False
        if waited < SHARE * read.cost:
            return False
        if count < read.losses or final:
            return True   # scrubbed back, done again from a checkpoint, or nothing more will come
        return waited >= EVERY or (waited >= LEAST and count >= MORE * read.losses)

    def _take(self, loss: Series, val: Series, total: float | None, upto: int, mono: float) -> None:
        began = self._stopwatch()
        source = Source("loss", loss.steps.astype(np.float64), loss.values.copy(), total,
                        (val.steps.astype(np.float64), val.values.copy()) if len(val) else None)
        judged = judge_source(source)
        self._read = _Read(judged, len(loss), upto, mono, self._stopwatch() - began)

    def _viewed(self, reading: Reading, loss: Series, ends: tuple[float, float], upto: int, ask: Ask,
                wanted: Wanted) -> LossView:
        history, (first, last) = reading.history, ends
        a, b = math.floor(first), min(math.ceil(last), upto)
        columns, validation = (history.around(name, a, b, COLUMNS, 0).between(0, upto) for name in ("loss", "val_loss"))
        seen = columns.between(a, b)
        read = self._read
        judged = None if read is None else read.judged
        newest = history.value("loss") if wanted.at is None else history.value_at("loss", upto)
        if judged is not None and ask.target is not None and judged.reading.outlook is not None:
            judged = replace(judged, reach=reach(judged.reading.outlook, ask.target))
        return LossView(
            revision=self._view.revision + 1, as_of=0 if read is None else int(read.judged.reading.last)
            if read.judged.reading.points else read.upto,
            step=int(loss.steps[-1]) if len(loss) else 0, first=first, last=last,
            is_whole=wanted.window.is_whole, log=is_wide(seen.low, seen.high),
            current="" if newest is None else number(newest), target=ask.target,
            awaited="" if len(loss) else "waiting for the first loss", judged=judged,
            pattern=None if judged is None else pattern_of(judged.reading), loss=columns, validation=validation)
