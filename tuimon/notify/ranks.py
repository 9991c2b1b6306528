"""The ranks of a run, as its helper looks at them now and then: who has gone, or has been silent for long.

Touches the disk and the process table.
"""

from __future__ import annotations

import time
from typing import Final

from tuimon.record.roster import GONE, Roster, Standing, lost, signs_of
from tuimon.record.rundir import RunDir, RunInfo

SILENT_S: Final = 30.0
"""For so long a rank says nothing before anybody is woken: a disk may be busy for some seconds."""
EVERY_S: Final = 2.0
MANY: Final = 256
"""Ranks that are looked at in a second, at most."""


class Ranks:
    """Of one attempt."""

    def __init__(self, run: RunDir, info: RunInfo, silent: float = SILENT_S) -> None:
        self._run, self._world, self._attempt, self._silent = run, info.world_size, info.attempt, silent
        self._roster = Roster(run)
        self._next = 0.0

    def look(self, mono: float, *, is_last: bool = False) -> tuple[tuple[int, Standing], ...] | None:
        """Those that are lost; None where it is not time to look. One that never came may be as it was meant.

        is_last: once more, after the run has ended: then only of those that said why is it known that they were lost.
        """
        if mono < self._next and not is_last:
            return None
        self._next = mono + max(EVERY_S, self._world / MANY)
        signs, wall = signs_of(self._run.metrics, self._world), time.time()
        now = max(wall, *signs)
        found = [self._roster.look(rank, self._attempt, signs, now) for rank in range(self._world)]
        if is_last:
            return tuple((rank, one) for rank, one in enumerate(found) if one.state == "crashed")
        return tuple((rank, found[rank]) for rank in lost([one.state for one in found]) if found[rank].state in GONE
                     or (found[rank].state == "silent" and now - signs[rank] > self._silent))
