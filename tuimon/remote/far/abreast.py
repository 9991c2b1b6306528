"""A run of several ranks at a glance, as `record.together` and `record.roster` have it, in plain Python.

Touches the disk, only to read, and of each rank little. A test holds what is told here against those two.
"""

from __future__ import annotations

import math
import os
from typing import Dict, Iterator, List, Sequence

from tuimon.remote.far import rows as log
from tuimon.remote.far.followed import read_at, size_of
from tuimon.remote.far.joining import SILENT, Patience
from tuimon.remote.far.sketch import Best, Logs, measured
from tuimon.remote.far.standing import Standings

LOOKED_AT, WALKED, SKETCHED = 512, 64, 16
"""Ranks of which the end is read, whose validation losses are looked for, of which the losses are sketched."""
NEAR, TAIL, BACK = 1 << 12, 1 << 14, 1 << 18
"""Bytes that are looked at of each: most often the first will do. Of the last the last FEW frames of rows."""
FEW = 8
MOST = 1 << 16

Lost = Dict[str, List[int]]


class Abreast:
    """Of one run."""

    def __init__(self, run: str, world: int, names: Sequence[str]) -> None:
        self.world, self._names = world, names
        self._standings = Standings(run)
        self.best = Bests(world, names)

    def sketched(self, logs: Logs) -> list[list[str]]:
        """Of the logs those of which the losses are sketched."""
        ranks = range(self.world) if self.world <= SKETCHED else [i * self.world // SKETCHED for i in range(SKETCHED)]
        return [logs.get(rank, []) for rank in ranks]

    def last(self, logs: Logs) -> tuple[int | None, float | None]:
        """The step to which all have come that are not silent, and the loss where all of them had one last."""
        if self.world > LOOKED_AT:
            return None, None
        signs = _signs(logs, self.world)
        for size in (NEAR, TAIL, BACK):
            ends: dict[int, int] = {}
            losses: list[dict[int, float]] = []
            for rank in [rank for rank in range(self.world) if rank in logs]:
                blocks = self._end_of(logs[rank][-1], size)
                if blocks:
                    ends[rank] = blocks[-1].steps[-1]
                if any("loss" in block.names for block in blocks):
                    losses.append({step: loss for block in blocks for step, loss in measured(block, "loss")})
            common = set(losses[0]).intersection(*losses[1:]) if losses else set()
            if common and (len(losses) == self.world or size > NEAR):
                break   # of fewer, one might have its last loss farther back
        step = min([end for rank, end in ends.items() if max(signs) - signs[rank] <= SILENT] or [-1])
        is_whole = common and len(ends) == self.world
        return (None if step < 0 else step,
                sum(each[max(common)] for each in losses) / len(losses) if is_whole else None)

    def _end_of(self, path: str, size: int) -> list[log.Rows]:
        data = read_at(path, max(0, size_of(path) - size), size)
        if size == BACK:   # there may be much else in between
            begin = len(data)
            for _ in range(FEW):
                begin = max(0, data.rfind(log.MAGIC + bytes([log.ROWS]), 0, begin))
            data = data[begin:]
        spans = [(start, end) for kind, start, end in log.walk(data) if kind == log.ROWS]
        return log.decode(data, spans, self._names)

    def lost(self, logs: Logs, attempt: int, now: float) -> Lost:
        """The ranks that are not there, as they should be, by their states."""
        if self.world > LOOKED_AT:
            return {}
        signs = _signs(logs, self.world)
        now = max([now, *signs])
        states = [self._standings.state(rank, attempt, signs, now, Patience())[0] for rank in range(self.world)]
        lives, there = "live" in states, any(state != "missing" for state in states)
        expected = ["died", "crashed"] + ["silent"] * lives + ["missing"] * there
        return {state: [rank for rank, one in enumerate(states) if one == state]
                for state in expected if state in states}


def _signs(logs: Logs, world: int) -> list[float]:
    """When the log of each was written last; 0.0 where there is none."""
    signs = [0.0] * world
    for rank, paths in logs.items():
        if rank < world:
            try:
                signs[rank] = os.lstat(paths[-1]).st_mtime
            except OSError:
                continue
    return signs


class _Walked(Best):
    """All validation losses of one rank."""

    def __init__(self, names: Sequence[str], rank: int) -> None:
        super().__init__(names, rank)
        self.values: dict[int, float] = {}

    def _forget(self, after: int) -> None:
        self.values = {step: value for step, value in self.values.items() if step <= after}

    def _add(self, values: Iterator[tuple[int, float]]) -> None:
        self.values.update(values)
        while len(self.values) > MOST:
            self.values.pop(next(iter(self.values)))


class Bests:
    """As `Best`, of all ranks: the least mean over those that have any, at the steps at which all of these do."""

    def __init__(self, world: int, names: Sequence[str]) -> None:
        self._walks = [_Walked(names, rank) for rank in range(world)] if world <= WALKED else []
        self.best: tuple[int, float] | None = None

    def advance(self, logs: Logs, until: float) -> bool:
        """Read on; whether the end was reached."""
        for walk in self._walks:
            if not walk.advance(logs, until):
                return False
        known = [walk.values for walk in self._walks if walk.values]
        common = set(known[0]).intersection(*known[1:]) if known else set()
        means = [(sum(each[step] for each in known) / len(known), step) for step in common]
        least = min([one for one in means if math.isfinite(one[0])], default=None)
        self.best = least and (least[1], least[0])
        return True
