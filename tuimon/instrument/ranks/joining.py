"""Where the run of several ranks is recorded: rank 0 takes the place and says it on the board, the others come there.

Nobody waits for it in training. A rank that has heard nothing keeps its rows in memory and looks again, on its writer
thread; after PATIENCE seconds with rows, or where the place cannot be reached from its host, it records in a directory
of its own, as a run of one rank, and says so there. Touches the disk.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from tuimon.errors import LogError, UsageError
from tuimon.instrument.queueing import Item, Note
from tuimon.instrument.ranks.shares import Part
from tuimon.instrument.ranks.world import Board, World
from tuimon.record.rundir import RunDir, RunInfo, create_run

PATIENCE: Final = 60.0
"""Seconds for a word from rank 0."""
LAST_LOOK: Final = 1.0
"""The same for a rank whose run is over."""
_LOOKS: Final = 0.05
_HOME: Final = "home"
_LOG: Final = logging.getLogger("tuimon")


@dataclass(frozen=True, slots=True)
class Joined:
    """Where a rank writes."""

    run: RunDir
    attempt: int
    rank: int
    """By which its files are named."""
    world: int
    notes: tuple[Note, ...] = ()
    """What its events begin with."""
    trouble: str = ""
    """Why nothing can be written anywhere."""
    told: Callable[[Sequence[Item]], list[Item]] | None = None
    """What is to become of rows, where no other rank's stand beside them."""


def publish(board: Board, run: RunDir, info: RunInfo, *, from_step: int, trouble: str = "") -> None:
    """On rank 0: say where the run is recorded. A store that is gone is not this run's to complain of."""
    with suppress(RuntimeError):
        board.put(_HOME, json.dumps({
            "path": str(run.path), "attempt": info.attempt, "from_step": from_step, "trouble": trouble,
            "host": info.process.host, "pid": info.process.pid}))


def write_rank(run: RunDir, info: RunInfo, part: Part, names: Sequence[str]) -> None:
    """Say which rank this is and what it writes; `names`: of the tensors in run.json."""
    world, mine = part.world, [entry.name for entry in info.tensors]
    body: dict[str, Any] = {
        "rank": world.rank, "world": world.size, "attempt": info.attempt, "process": asdict(info.process),
        "device": info.device, "local_rank": world.local_rank, "vectors": bool(part.shares.first.any()),
    }
    if mine != list(names):
        body["tensors"] = mine
    run.write_rank(world.rank, body)


class Joining:
    """One rank's way there; not rank 0's. Writer thread, once it is made."""

    def __init__(
        self, part: Part, info: RunInfo, from_step: int, board: Board | None, patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._part, self._info, self._from_step, self._board, self._clock = part, info, from_step, board, clock
        self._patience, self._until = patience, math.inf
        self._home: Mapping[str, Any] = {}

    def look(self, *, waits: bool = True) -> Joined | None:
        """Where to write; None while that is not known. waits: whether there is something to write."""
        if waits and self._until == math.inf:   # before that, rank 0 may be late as training allows it to be
            self._until = self._clock() + self._patience
        self._hear()
        home = self._home
        if home.get("trouble"):
            why = f"rank 0 cannot record: {home['trouble']}"
            return Joined(RunDir(Path(home["path"])), 1, self._world.rank, self._world.size, trouble=why)
        there = self._reached(home) if home else None
        if there is not None:
            return there
        return self._alone() if self._clock() >= self._until else None

    def last_look(self) -> Joined:
        """The same at the end of the run, when nobody is kept waiting by it."""
        self._until = min(self._until, self._clock() + LAST_LOOK)
        while (found := self.look()) is None:
            time.sleep(_LOOKS)
        return found

    @property
    def _world(self) -> World:
        return self._part.world

    def _hear(self) -> None:
        if self._home or self._board is None:
            return
        try:
            said = self._board.look(_HOME)
            self._home = json.loads(said) if said is not None else {}
        except (RuntimeError, ValueError) as error:   # rank 0 is gone, and the store with it
            _LOG.debug("the board: %s", error)
        if self._home:
            self._board = None   # a connection that is kept would keep a port

    def _reached(self, home: Mapping[str, Any]) -> Joined | None:
        """That directory, if it is rank 0's seen from here."""
        run, attempt = RunDir(Path(home["path"])), home["attempt"]
        try:
            info = run.read_info()
            if info is None or (info.process.host, info.process.pid) != (home["host"], home["pid"]):
                return None
            write_rank(run, replace(self._info, attempt=attempt), self._part, [entry.name for entry in info.tensors])
        except (OSError, LogError) as error:
            _LOG.debug("%s: %s", run.path, error)
            return None
        return Joined(run, attempt, self._world.rank, self._world.size, (self._attempt(attempt, home["from_step"]),))

    def _attempt(self, number: int, from_step: int) -> Note:
        return attempt_note(self._info, number, from_step, rank=self._world.rank, world=self._world.size)

    def _alone(self) -> Joined:
        name, rank, size = self._info.name, self._world.rank, self._world.size
        why = (f"it records in {self._home['path']} on {self._home['host']}, which cannot be reached from here"
               if self._home else "it has said nothing: tuimon may not be attached there")
        text = f"rank {rank} of {size} is recorded here, without rank 0: {why}"
        try:
            run = create_run(f"{name}-rank{rank}")
            run.write_info(self._info)
        except (OSError, UsageError) as error:
            why = f"there is no place for rank {rank}: {error}"
            return Joined(RunDir(Path(name)), 1, rank, size, trouble=why)
        notes = self._attempt(1, self._from_step), Note("note", self._from_step, time.time(), {"text": text})
        return Joined(run, 1, 0, 1, notes, told=self._part.judged)


def attempt_note(info: RunInfo, number: int, from_step: int, **more: int) -> Note:
    """The event by which an attempt begins."""
    process = info.process
    return Note("attempt", from_step, time.time(), {
        "number": number, "from_step": from_step, "pid": process.pid, "process_started": process.started,
        "boot_id": process.boot_id, "host": process.host, "device": info.device, **more})
