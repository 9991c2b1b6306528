"""A checkpoint that all ranks write together, behind training: rank 0 says where, each writes its part and says what.

By notes on the board: no collective, so nothing here can come between those of training. Every wait ends: with the
process that is waited for, some time after the ranks have parted, or by the clock. Background threads only.
"""

from __future__ import annotations

import json
import math
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from tuimon.errors import CheckpointError
from tuimon.instrument.host import one_line
from tuimon.instrument.ranks import chunks
from tuimon.instrument.ranks.layouts import Layout
from tuimon.instrument.ranks.world import Board, World
from tuimon.record.manifest import CheckpointInfo, Written

PATIENCE: Final = 600.0
"""Seconds for which a rank may write longer than another."""
FAREWELL: Final = 60.0
"""Seconds for which the others are waited for once the ranks have parted: less than `close` waits for a save."""
ARRIVAL: Final = 10.0
"""Seconds after which a directory that rank 0 has made must be seen everywhere."""
_QUICK: Final = 0.005
_SLOW: Final = 0.25


@dataclass(slots=True)
class Part:
    """What a rank has to write."""

    key: str
    """By which all ranks know this checkpoint."""
    tensors: Mapping[str, Tensor]
    layouts: Mapping[str, Layout]
    own: Mapping[str, Any] = field(default_factory=dict)
    """In portable types: what is this rank's alone; nothing for rank 0, whose state.pt has it."""

    @property
    def bytes(self) -> int:
        """Of all ranks' parts."""
        return sum(self.tensors[key].element_size() * math.prod(layout.size) for key, layout in self.layouts.items())


class Together:
    """One rank's end."""

    def __init__(
        self, board: Board, world: World, *, gone: Callable[[int], str], parted: Callable[[], str],
        patience: float = PATIENCE, farewell: float = FAREWELL,
    ) -> None:
        """gone: why a rank will say nothing any more, "" where it may. parted: the same of the ranks' meeting."""
        self.world = world
        self._shared, self._gone, self._parted = board, gone, parted
        self._own: Board | None = None
        self._patience, self._farewell = patience, farewell

    def host(self, part: Part, *, spare: bool) -> Hosted:
        """Of rank 0: what is saved beside the rest. spare: it may write all by itself where the others do not."""
        return Hosted(self, part, spare=spare)

    def finish(self, key: str, *, id: str = "", why: str = "") -> None:  # noqa: A002  # the word users see
        """Of rank 0: say what became of it. Nobody needs the other notes any more."""
        self._put(_end(key), {"id": id, "why": why})
        with suppress(RuntimeError):
            for name in (_place(key), *(_part(key, k) for k in self._others)):
                self._board.drop(name)

    def join(self, part: Part) -> CheckpointInfo:
        """Of another rank: write its part of what rank 0 saves, and hear what became of it."""
        begun, rank = time.perf_counter(), self.world.rank
        told = self._hear((_place(part.key), _end(part.key)), 0)
        if "path" not in told:
            raise CheckpointError(told["why"] or "rank 0 alone saved it")
        try:
            folder = self._reached(Path(told["path"]), told["host"])
            files = chunks.write_part(folder, rank, part.tensors, part.layouts, part.own)
        except Exception as error:
            self._put(_part(part.key, rank), {"why": one_line(error)})
            raise
        self._put(_part(part.key, rank), {"files": {name: [f.sha256, f.size] for name, f in files.items()}})
        told = self._hear((_end(part.key),), 0)
        if not told["id"]:
            raise CheckpointError(told["why"])
        size = sum(file.size for file in files.values())
        return CheckpointInfo(told["id"], 0, size, time.perf_counter() - begun, files[chunks.shards(rank)].sha256,
                              folder.parent / told["id"], world=self.world.size)

    def excuse(self, key: str, why: str) -> None:
        """This rank has no part to write."""
        with suppress(CheckpointError):
            self._put(_part(key, self.world.rank) if self.world.rank else _end(key), {"id": "", "why": why})

    def gather(self, folder: Path, part: Part) -> dict[str, Written]:
        """Of rank 0: all files but state.pt, once every rank has written its own."""
        ranks = range(self.world.size)
        self._put(_place(part.key), {"path": str(folder.absolute()), "host": socket.gethostname()})
        files = chunks.write_part(folder, 0, part.tensors, part.layouts, {})
        for rank in self._others:
            told = self._hear((_part(part.key, rank),), rank)
            if "files" not in told:
                raise CheckpointError(f"rank {rank}: {told['why']}")
            files |= {name: Written(*told["files"][name])
                      for name in (chunks.shards(rank), chunks.index(rank), chunks.own(rank))}
        indexes = [(folder / chunks.index(k)).read_bytes() for k in ranks]
        saved = chunks.gathered(indexes, [files[chunks.shards(k)].size for k in ranks])
        absent = next((key for key in part.layouts if key not in saved), None)
        if absent is not None:
            raise CheckpointError(f"no rank has written {absent}")
        return files | {chunks.METADATA: chunks.write_metadata(folder, saved)}

    @property
    def _board(self) -> Board:
        """By a connection that is opened when it is needed."""
        if self._own is None:
            self._own = self._shared.apart()
        return self._own

    @property
    def _others(self) -> range:
        return range(1, self.world.size)

    def _put(self, name: str, note: Mapping[str, Any]) -> None:
        try:
            self._board.put(name, json.dumps(note))
        except RuntimeError as error:
            raise CheckpointError(f"the ranks have lost each other: {one_line(error)}") from error

    def _hear(self, names: Sequence[str], rank: int) -> dict[str, Any]:
        """The first of these notes, which that rank will leave. CheckpointError where it does not."""
        until, pause, farewell = time.monotonic() + self._patience, _QUICK, math.inf
        while True:
            why = self._gone(rank)   # first: it may have left its word just before
            if (told := self._look(names)) is not None:
                return told
            if why:
                raise CheckpointError(f"rank {rank} {why}")
            now, parted = time.monotonic(), self._parted()
            if parted and farewell == math.inf:
                farewell = now + self._farewell
            if now > min(until, farewell):
                raise CheckpointError(f"rank {rank} has not said what it wrote: {parted or 'it takes too long'}")
            time.sleep(pause)
            pause = min(2 * pause, _SLOW)

    def _look(self, names: Sequence[str]) -> dict[str, Any] | None:
        try:
            said = next((note for name in names if (note := self._board.look(name)) is not None), None)
        except RuntimeError as error:   # with rank 0 its store went
            raise CheckpointError(f"the ranks have lost each other: {one_line(error)}") from error
        return None if said is None else json.loads(said)

    def _reached(self, folder: Path, host: str) -> Path:
        """Rank 0's directory, seen from here: its name is no other's."""
        until = time.monotonic() + ARRIVAL
        while not folder.is_dir():
            if time.monotonic() > until:
                raise CheckpointError(f"rank 0 saves in {folder.parent} on {host}, which cannot be reached from here")
            time.sleep(_SLOW)
        return folder


class Hosted:
    """What `Checkpoints.save` has written beside: all ranks' parts."""

    def __init__(self, together: Together, part: Part, *, spare: bool) -> None:
        self._together, self._part, self._spare = together, part, spare
        self.world, self.bytes, self.why = together.world.size, part.bytes, ""

    def write(self, aside: Path) -> Mapping[str, Written]:
        """All of it; nothing where rank 0, which has all there is, writes alone after all."""
        try:
            return self._together.gather(aside, self._part)
        except CheckpointError as error:
            if not self._spare:
                raise
            self.why = f"rank 0 alone: {error}"
            return {}


def _place(key: str) -> str:
    return f"save/{key}/place"


def _part(key: str, rank: int) -> str:
    return f"save/{key}/part/{rank}"


def _end(key: str) -> str:
    return f"save/{key}/end"
