"""Follows the logs of all ranks of a run as one. Touches the disk. Law: never raises on damage, never guesses.

A step is told once every rank has come past it, or is missing. Rows of a rank that comes back later are counted and do
not change what was told. What the others wrote meanwhile waits in their files: no more than WAITING values in memory.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from tuimon.errors import LogError
from tuimon.record.chunk import Chunk, Mark, ProbeRows, TensorRows, WeightRows
from tuimon.record.far import FILE as FAR
from tuimon.record.halts import Halt
from tuimon.record.halts import Line as Halted
from tuimon.record.joined import Joiner, joined_vectors, joined_weights, stacked
from tuimon.record.paces import Paces
from tuimon.record.patience import Patience
from tuimon.record.places import Places
from tuimon.record.reader import READ_BYTES, Beat, LogReader, Place, segment_paths
from tuimon.record.roster import Rank, Ranks, Roster
from tuimon.record.rundir import RunDir
from tuimon.record.worlds import MOST_RANKS, segments_of, world_of

WAITING: Final = 4 << 20
"""Rows of all ranks together that are held in memory."""
RECENT: Final = 32
_END: Final = 1 << 62
_PLACE: Final = "attempt "
_LAST: Final = ("step_time", "data_time", "memory", "own_time")
_RECENT: Final = ("own_time", "step_time")


class _Part(NamedTuple):
    """Something that waits for other ranks."""

    attempt: int
    chunk: Chunk
    begin: Place
    """From where on it was read, and maybe what came before it."""


@dataclass(slots=True)
class _Line:
    """What was read of one rank and waits for the others."""

    log: LogReader
    places: Places | None = None
    parts: list[_Part] = field(default_factory=list)
    seen: int = -1
    """Last step of the attempt that was read."""
    attempt: int = 0
    last: dict[str, float] = field(default_factory=dict)
    time: float = 0.0
    sign: float = 0.0
    """When its file was written last; 0.0 where there is none."""
    patience: Patience = field(default_factory=Patience)
    recent: dict[str, list[float]] = field(default_factory=dict)
    """Of its last rows, those of _RECENT."""
    is_read: bool = False
    """Whether all that its file holds was read."""
    is_new: bool = True
    """Whether more was read of it since its rows were looked at."""

    told: tuple[int, int] | None = None
    """Attempt and step up to which what is read next was told before; None where it was not."""

    @property
    def rows(self) -> int:
        return sum(len(part.chunk) for part in self.parts)

    def halt(self, told: int) -> Halted:
        """Where it stands; `told`: up to which step."""
        place, is_again = (self.parts[0].begin, True) if self.parts else (self.log.place, self.told is not None)
        attempt, seen = (place.attempt, told) if is_again else (self.attempt, self.seen)
        return Halted(place, is_again, attempt, seen, self.time, dict(self.last), dict(self.recent))

    def fresh(self, chunk: Chunk) -> Chunk | None:
        """What of it was not told before."""
        if self.told is None:
            return chunk
        if self.attempt < self.told[0]:
            return None
        rest = chunk if self.attempt > self.told[0] else chunk.cut(self.told[1])[1]
        self.told = self.told if rest is None else None
        return rest

    def go_on(self, halt: Halt, line: Halted) -> None:
        """From there."""
        self.attempt, self.seen, self.time = line.attempt, line.seen, line.time
        self.last, self.recent = dict(line.last), dict(line.recent)
        if line.is_again:
            self.told = halt.attempt, halt.told
            if self.places is not None:
                self.places.supersede(line.place.last_step)


def reader_of(metrics: Path, *, start: Place | None = None, places: Places | None = None) -> LogReader | RanksReader:
    """Who reads the log of a run, of however many ranks; several have `places` of their own, where these are given."""
    world = world_of(metrics) if segment_paths(metrics) else planned(metrics)
    if world > 1:
        return RanksReader(metrics, world, start=start, is_archived=places is not None)
    return LogReader(metrics, start=start, places=places)


def planned(metrics: Path) -> int:
    """How many ranks are going to write into a log, where none has yet; what comes over a link comes as one."""
    if os.path.lexists(metrics.parent / FAR):
        return 1
    try:
        info = RunDir(metrics.parent).read_info()
    except LogError:
        return 1
    return 1 if info is None else max(1, min(info.world_size, MOST_RANKS))


class RanksReader:
    """As `LogReader`, of all ranks together."""

    def __init__(self, metrics: Path, world: int, *, start: Place | None = None, is_archived: bool = False,
                 halt: Halt | None = None, clock: Callable[[], float] = time.time) -> None:
        """`start`: what was told up to there is not told again. `clock`: wall time, by which files are dated.

        is_archived: whether it is learned where the rows of each rank lie. `halt`: where another one stood, to go on
        without reading again what it has told.
        """
        self._metrics, self._clock = metrics, clock
        self._is_archived = is_archived
        self._start = (start.attempt, start.last_step) if start is not None and start.segment else None
        self._lines: list[_Line] = []
        self._add(world)
        self._joiner = Joiner(world)
        self.worlds: list[tuple[int, Joiner]] = []
        """After which step which attempt's joiner tells."""
        self._told, self.attempt = -1, 0
        self._began = 0.0
        self._missing: tuple[int, ...] = ()
        self._limit = -2
        """Up to which step all that waited was told."""
        self._roster = Roster(RunDir(metrics.parent))
        self.late = 0
        self.is_through = True
        if halt is not None:
            self._go_on(halt)

    def _go_on(self, halt: Halt) -> None:
        self._lines = []
        for rank, one in enumerate(halt.lines):
            places = halt.places[rank] if rank < len(halt.places) else None
            line = _Line(LogReader(self._metrics, rank, start=one.place, places=places), places)
            line.go_on(halt, one)
            self._lines.append(line)
        self.attempt, self._told, self._began, self.late = halt.attempt, halt.told, halt.began, halt.late
        self.worlds, self._joiner = list(halt.worlds), halt.worlds[-1][1]
        self._is_archived = bool(halt.places)

    @property
    def halt(self) -> Halt | None:
        """Where it stands, for another one to go on from; None before it has begun."""
        if not self.worlds:
            return None
        return Halt(self.attempt, self._told, self._began, self.late, tuple(self.worlds),
                    [line.halt(self._told) for line in self._lines], self.places)

    def _add(self, world: int) -> None:
        """Lines for so many ranks."""
        for rank in range(len(self._lines), world):
            places = Places.few() if self._is_archived else None
            self._lines.append(_Line(LogReader(self._metrics, rank, places=places), places))

    @property
    def places(self) -> list[Places]:
        """Where the rows of each rank lie; none where that is not learned."""
        return [line.places for line in self._lines if line.places is not None]

    @property
    def place(self) -> Place:
        """How far the run has been told: the step in place of bytes."""
        name = f"{_PLACE}{self.attempt}" if self.attempt else ""
        return Place(name, max(0, self._told), self.attempt, self._told, damaged=self.damaged, beat=self.beat)

    @property
    def damaged(self) -> int:
        """Damaged stretches of all ranks' logs."""
        return sum(line.log.damaged for line in self._lines)

    @property
    def consumed(self) -> int:
        """Bytes of all ranks' logs that were taken in."""
        return sum(line.log.consumed for line in self._lines)

    @property
    def beat(self) -> Beat | None:
        """Rank 0's last sign of life."""
        return self._lines[0].log.beat

    @property
    def gaps(self) -> list[Mapping[str, object]]:
        """What rank 0 reported as dropped."""
        return self._lines[0].log.gaps

    @property
    def is_replaced(self) -> bool:
        """Whether another run took the directory."""
        return self._lines[0].log.is_replaced

    def stands(self) -> bool:
        """Whether the logs are still those that were read."""
        return all(line.log.stands() for line in self._lines)

    def poll(self, budget: int = READ_BYTES, upto: Place | None = None) -> list[Chunk]:
        """What all ranks, or all but the missing ones, have come past since the last poll."""
        while True:
            more = self._fill(budget)
            done = self._join(upto)
            if done or not more:
                self.is_through = not more and all(line.is_read for line in self._lines)
                return done

    @property
    def ranks(self) -> Ranks:
        """The same by this reader's own clock."""
        return self.ranks_at(self._clock())

    def ranks_at(self, now: float) -> Ranks:
        """The ranks as of the last poll; `now`: wall clock. Asks the process table."""
        lines, attempt, found = self._lines[:self._joiner.world], self._lines[0].attempt, list[Rank]()
        signs = [line.sign if line.attempt == attempt else 0.0 for line in lines]
        now = max(now, *(line.sign for line in lines))
        for number, line in enumerate(lines):
            told = self._roster.look(number, attempt, signs, now, line.patience)
            own, steps = (tuple(line.recent.get(name, ())) for name in _RECENT)
            found.append(Rank(number, line.seen, line.time, told.state, signs[number], told.why, dict(line.last), own,
                              steps, told.host, told.device))
        return Ranks(self._joiner.world, tuple(found), self._missing, self.late, self._joiner.paces.slow)

    @property
    def paces(self) -> Paces:
        """How long each rank works itself, in the attempt that is told."""
        return self._joiner.paces

    def _fill(self, budget: int) -> bool:
        """Read on in every rank's log, except where much waits already; whether anything was read."""
        paths, more, now = segments_of(self._metrics), False, self._clock()
        share, room = max(budget // len(self._lines), 1 << 16), max(256, WAITING // len(self._lines))
        for rank, line in enumerate(self._lines):
            there = paths.get(rank, [])
            size = 0
            if there:
                try:
                    status = os.stat(there[-1], follow_symlinks=False)
                except OSError:
                    continue
                line.sign, size = status.st_mtime, status.st_size
                line.patience.saw(line.sign, now)
            place = line.log.place
            line.is_read = not there or (place.segment == there[-1].name and place.offset == size)
            if line.rows >= room or line.is_read:
                continue
            before, begin = line.log.consumed, line.log.place
            for chunk in line.log.poll(share, paths=there):
                self._take(line, chunk, begin)
            line.is_read = line.log.is_through
            more = more or line.log.consumed > before
        return more

    def _take(self, line: _Line, chunk: Chunk, begin: Place) -> None:
        for mark in chunk.marks:
            if mark.kind == "attempt":
                line.attempt, line.seen = mark.whole("number", line.attempt), -1
        if (fresh := line.fresh(chunk)) is not None:
            line.parts.append(_Part(line.attempt, fresh, begin))
        line.is_new = True
        if not len(chunk):
            return
        line.seen, line.time = int(chunk.steps[-1]), float(chunk.times[-1])
        self._began = self._began or float(chunk.times[0])
        for name in _LAST:
            _, values = chunk.measured(name)
            if len(values):
                line.last[name] = float(values[-1])
                if name in _RECENT:
                    line.recent[name] = [*line.recent.get(name, ()), *values[-RECENT:].tolist()][-RECENT:]

    def _join(self, upto: Place | None) -> list[Chunk]:
        done: list[Chunk] = []
        while True:
            attempt = self.attempt
            if attempt:
                self._join_attempt(done, upto)
            if not self._next_attempt(done, upto):
                return done

    def _join_attempt(self, done: list[Chunk], upto: Place | None) -> None:
        lines, now = self._lines[:self._joiner.world], self._clock()
        newest = max((line.sign for line in lines), default=0.0)
        lead = max(_END if line.attempt > self.attempt else line.seen for line in lines if line.attempt >= self.attempt)
        ends, missing = [], []
        for rank, line in enumerate(lines):
            if line.attempt > self.attempt:   # all of this one was read
                ends.append(_END)
                continue
            seen = line.seen if line.attempt == self.attempt else -1
            is_silent = self._is_silent(rank, max(newest, now))
            if is_silent and seen < lead:
                missing.append(rank)
            ends.append(_END if is_silent else seen)
        self._missing = tuple(missing)
        limit = min(ends)
        if upto is not None:
            limit = min(limit, upto.last_step if upto.attempt == self.attempt else
                        limit if upto.attempt > self.attempt else -1)
        if limit != self._limit or self._lines[0].is_new:
            self._limit, self._lines[0].is_new = limit, False
            self._tell(limit, done)

    def _is_silent(self, rank: int, now: float) -> bool:
        line, signs = self._lines[rank], [one.sign for one in self._lines]
        return line.is_read and line.patience.is_over(
            now - max(line.sign, self._began), lambda: self._roster.freshest(rank, line.attempt, signs, now))

    def _tell(self, limit: int, done: list[Chunk]) -> None:
        """All that waits of the attempt, up to a step."""
        blocks, vectors, weights = [], list[TensorRows](), list[WeightRows]()
        marks, probes = list[Mark](), list[ProbeRows]()
        for rank, line in enumerate(self._lines[:self._joiner.world]):
            taken, kept = [], []
            for part in line.parts:
                if part.attempt < self.attempt:
                    self.late += len(part.chunk)
                elif part.attempt > self.attempt:
                    kept.append(part)
                else:
                    near, rest = part.chunk.cut(limit)
                    taken.append(near)
                    if rest is not None:
                        kept.append(part._replace(chunk=rest))
            line.parts = kept
            block = stacked(taken)
            fresh = block.steps > self._told
            self.late += int((~fresh).sum())
            blocks.append(block if fresh.all() else block.where(fresh))
            if self._roster.has_vectors(rank, self.attempt):
                vectors.append(TensorRows.join([c.tensors for c in taken if len(c.tensors)]))
                weights.append(WeightRows.join([c.weights for c in taken if len(c.weights)]))
            if rank == 0:
                marks = [m for c in taken for m in c.marks if m.kind != "attempt"]
                probes = [c.probes for c in taken if len(c.probes)]
        whole = self._joiner.join(blocks)
        if len(whole.steps):
            self._told = int(whole.steps[-1])
        if not (len(whole.steps) or marks or probes or any(map(len, vectors)) or any(map(len, weights))):
            return
        chunk = Chunk(whole.steps, whole.times, whole.columns, whole.present, joined_vectors(vectors), tuple(marks),
                      ProbeRows.join(probes), joined_weights(weights))
        if self._start is not None:
            if (self.attempt, self._told) <= self._start:
                return
            chunk = chunk.cut(self._start[1])[1] or chunk if self.attempt == self._start[0] else chunk
        done.append(chunk)

    def _next_attempt(self, done: list[Chunk], upto: Place | None) -> bool:
        """Begin the next attempt, once rank 0 is there and no other has anything left of this one."""
        lines = self._lines
        later = [part for part in lines[0].parts if part.attempt > self.attempt]
        now = max(self._clock(), *(line.sign for line in lines))
        if not later or (self.attempt and any(
                any(part.attempt == self.attempt for part in line.parts)
                or (line.attempt <= self.attempt and not self._is_silent(rank, now))
                for rank, line in enumerate(lines[:self._joiner.world]))):
            return False
        if upto is not None and later[0].attempt > upto.attempt:
            return False
        number, chunk, _ = later[0]
        mark = next((m for m in chunk.marks if m.kind == "attempt"), Mark(-1, "attempt", {"number": number}))
        world = min(max(1, mark.whole("world", 1)), MOST_RANKS)
        self._add(world)
        self.attempt, self._told, self._joiner = number, mark.whole("from_step", -1), Joiner(world)
        self.worlds = [one for one in self.worlds if one[0] < self._told] + [(self._told, self._joiner)]
        self._began, self._limit = float(chunk.times[0]) if len(chunk) else lines[0].sign, -2
        if self._start is None or self._start[0] < number:
            done.append(Chunk.of([], marks=(mark,)))
        return True
