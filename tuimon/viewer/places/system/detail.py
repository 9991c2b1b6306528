"""Produces what the place shows: asks the watch what it saw, and reads the run's own account of its time.

Lives in the feed's thread and never waits. The thread that looks at the machine begins with the first visit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from tuimon.diagnosis.axes import XAxis
from tuimon.viewer.machine.model import Target
from tuimon.viewer.machine.sampler import AWAY, Look, Watch
from tuimon.viewer.places.system.model import SILENT, SystemView
from tuimon.viewer.places.system.steps import memory_trend, step_times
from tuimon.viewer.wanted import Wanted

if TYPE_CHECKING:
    from tuimon.viewer.reading import Reading

READ_EVERY: Final = 1.0
"""Seconds between two accounts of the steps: numbers that change more often cannot be read."""
COLUMNS: Final = 1024
"""Columns of the curve of memory."""


class Watching(Protocol):
    """What a `Watch` has."""

    def see(self, target: Target, mono: float) -> Look:
        """The newest look; the next one is at `target`."""

    def close(self) -> None:
        """Look no more."""


class SystemDetail:
    """The machine and the step times of one run."""

    def __init__(self, watch: Callable[[], Watching] = Watch) -> None:
        self._make = watch
        self._watch: Watching | None = None
        self._since = self._updated = -math.inf
        self._read_at = -math.inf
        self._read_for: tuple[object, ...] = ()
        self._account = SystemView()

    def update(self, reading: Reading, wanted: Wanted, now: float, mono: float) -> SystemView:
        """The newest look, and the account of the steps as it was at most a second ago."""
        del now
        if self._watch is None:
            self._watch = self._make()
        if mono - self._updated > AWAY:
            self._since = mono   # it was not in front: looks were seldom
        self._updated = mono
        look = self._watch.see(Target(reading.process, str(reading.run.path)), mono)
        self._read(reading, wanted, mono)
        late = int(mono - max(look.sample.mono, self._since))
        return replace(self._account, number=look.number, sample=look.sample, traces=look.traces,
                       late=late if late >= SILENT else 0)

    def close(self) -> None:
        """End the watch."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def _read(self, reading: Reading, wanted: Wanted, mono: float) -> None:
        history = reading.history
        first, last = wanted.window.ends(reading.whole_last, history.last_step)
        asked = (wanted.at, first, last)
        if self._read_for == (reading.revision, *asked):
            return
        if self._read_for[1:] == asked and mono - self._read_at < READ_EVERY:
            return
        self._read_for, self._read_at = (reading.revision, *asked), mono
        known = "memory" in history.names
        self._account = SystemView(
            revision=self._account.revision + 1, times=step_times(history, wanted.at), ended=reading.has_ended,
            trend=memory_trend(history, wanted.at), x=XAxis(first, last), scrubbed=wanted.at,
            curve=history.thin("memory", math.floor(first), math.ceil(last), COLUMNS) if known else None,
            ranks=reading.info.world_size if reading.info is not None else 1)
