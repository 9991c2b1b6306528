"""The logs of all ranks of one run on the far side, read as one; and how it stands with each. Touches the disk to read.

As `record.ranks` and `record.roster` have it, in plain Python.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from typing import Any, Iterator, Sequence

from tuimon.remote.far import rows as log
from tuimon.remote.far.followed import PORTION, Followed, Message, Vectors, listed, world_in
from tuimon.remote.far.joining import Joiner, Patience
from tuimon.remote.far.rows import Rows
from tuimon.remote.far.standing import Standings
from tuimon.remote.far.summed import Summed, last_step

WAITING = 1 << 18
"""Rows of all ranks together that are held in memory."""
RECENT = 8
TAILED = 64
"""Ranks whose ends are read before the rest, so that there is something to look at."""
MOST_SUMMED = 64
"""Ranks of which each may write its part of the vectors for those to be added up."""
FAR = 1 << 62
LAST = ("step_time", "data_time", "memory", "own_time")


class Lane(Followed):
    """One rank's rows, as they wait for those of the others."""

    def __init__(self, metrics: str, names: Sequence[str], rank: int) -> None:
        super().__init__(metrics, names)
        self._rank = rank
        self.waiting: deque[tuple[int, Rows]] = deque()
        """With the attempt to which they belong."""
        self.rows, self.seen, self.time, self.sign = 0, -1, 0.0, 0.0
        self.is_read, self.patience = False, Patience()
        self.last: dict[str, float] = {}
        self.lately: dict[str, list[float]] = {"own_time": [], "step_time": []}

    def segments(self) -> list[str]:
        """Names, oldest first."""
        return listed(self._metrics).get(self._rank, [])

    def fill(self, names: list[str], room: int, portion: int) -> tuple[list[Message], bool]:
        """Read on, unless enough waits; what is told beside rows, and whether anything was read."""
        try:
            found = os.lstat(self._path(names[-1]))
        except OSError:
            return [], False
        self.sign = found.st_mtime
        self.patience.saw(self.sign, time.time())
        self.is_read = self._segment == names[-1] and self._offset == found.st_size
        if self.is_read or self.rows >= room:
            return [], False
        before = self._segment, self._offset
        told = self.poll(names, portion)
        self.is_read = not self.is_behind
        return told, before != (self._segment, self._offset)

    @property
    def attempt(self) -> int:
        """The one that is read."""
        return self._attempt

    def _rows(self, block: Rows) -> Iterator[Message]:
        part: Any
        for _, part in super()._rows(block):
            self.waiting.append((self._attempt, part))
            self.rows += len(part)
            self.seen, self.time = part.steps[-1], part.times[-1]
            for name in LAST:
                self._note_last(name, part)
        yield from ()

    def _note_last(self, name: str, part: Rows) -> None:
        if name not in part.names:
            return
        i = part.names.index(name)
        mask = part.present[i]
        known = [value for k, value in enumerate(part.values[i]) if mask is None or mask[k]]
        if known:
            self.last[name] = known[-1]
            if name in self.lately:
                self.lately[name] = (self.lately[name] + known[-RECENT:])[-RECENT:]

    def _keep(self, block: Rows) -> None:
        """The run's rows are kept, not each rank's."""

    def _other(self, kind: int, payload: bytes) -> Iterator[Message]:
        before = self._attempt
        yield from super()._other(kind, payload)
        if self._attempt != before:
            self.seen = -1

    def upto(self, attempt: int, limit: int) -> tuple[list[Rows], int]:
        """What waits of an attempt up to a step, and how many rows of attempts before; it waits no more."""
        found: list[Rows] = []
        late = 0
        while self.waiting and self.waiting[0][0] <= attempt:
            number, block = self.waiting.popleft()
            if number < attempt:
                late += len(block)
                continue
            part = block.between(0, limit)
            found.append(part)
            if len(part) < len(block):
                self.waiting.appendleft((number, block.cut(len(part), len(block))))
                break
        self.rows -= late + sum(map(len, found))
        return found, late


class Together(Followed):
    """As `Followed`, of all ranks."""

    def __init__(self, metrics: str, names: Sequence[str], world: int) -> None:
        super().__init__(metrics, names)
        self._lanes = [Lane(metrics, names, rank) for rank in range(world)]
        self._joiner = Joiner(world, names)
        self._standings = Standings(os.path.dirname(metrics))
        self._number, self._told, self._began = 0, -1, 0.0
        self._frames: deque[tuple[int, int, Message]] = deque()
        """Of rank 0: attempt, and the step behind which it stands."""
        self._worlds: dict[int, int] = {}
        """Attempt -> how many ranks."""
        self._missing: list[int] = []
        self._summed = Summed()
        """Vectors of which each of several ranks writes its part only."""
        self.late = 0

    @property
    def share(self) -> float:
        """How much of it has been read, 0 to 1; rank 0's stands for all."""
        return self._lanes[0].share

    @property
    def lanes(self) -> list[Lane]:
        """Of the attempt that is told."""
        return self._lanes[:self._joiner.world]

    @property
    def missing(self) -> list[int]:
        """Without which the others are told."""
        return self._missing

    @property
    def joiner(self) -> Joiner:
        """Of the attempt that is told."""
        return self._joiner

    def poll(self, names: list[str] | None = None, portion: int = PORTION) -> list[Message]:
        """Read a portion of each; what all have come past, or all but the missing ones. `names` are those of no one."""
        del names
        paths, more = listed(self._metrics), False
        room, portion = max(256, WAITING // len(self._lanes)), max(1 << 15, portion // len(self._lanes))
        for rank, lane in enumerate(self._lanes):
            lane.is_read = True
            if rank in paths:
                attempt = lane.attempt
                told, is_more = lane.fill(paths[rank], room, portion)
                more = more or is_more
                self._note_vectors(rank, attempt, told)
                if rank == 0:
                    self._note_frames(told)
        first = self._lanes[0]
        self.beat, self.is_replaced = first.beat, first.is_replaced
        found: list[Message] = []
        while True:
            if self._number:
                self._join(found)
            if not self._next_attempt(found):
                break
        self.vectors = first.vectors if self._writers == [0] else self._summed.kept
        self.is_behind = more
        self.is_through = self.is_through or (not more and all(lane.is_read for lane in self._lanes))
        return found

    def _note_frames(self, told: list[Message]) -> None:
        for head, body in told:
            number, step = self._frames[-1][0] if self._frames else self._number, -1
            if head["kind"] == log.HEAD:
                number = int(json.loads(body)["attempt"])
                self._worlds[number] = world_in(body)
            elif head["kind"] == log.MARK:
                step = int(json.loads(body)["step"])
            elif head["kind"] in log.VECTORS:
                step = last_step(body)
            self._frames.append((number, step, (head, body)))

    def _note_vectors(self, rank: int, attempt: int, told: list[Message]) -> None:
        for head, body in told:
            if head["kind"] == log.HEAD:
                attempt = int(json.loads(body)["attempt"])
            elif head["kind"] in (log.TENSORS, log.WEIGHTS) and self._writers_of(attempt) != [0]:
                self._summed.add(rank, attempt, head["kind"], body)

    def _writers_of(self, attempt: int) -> list[int] | None:
        """The ranks that write vectors; None as long as some have not said."""
        world = self._worlds.get(attempt, len(self._lanes))
        said = [self._standings.of(rank, attempt) for rank in range(min(world, MOST_SUMMED + 1))]
        if world > MOST_SUMMED and sum(bool((one or {}).get("vectors")) for one in said) > 1:
            return []   # more than are added up
        if not all(said):
            return None
        return [rank for rank, one in enumerate(said) if one and one.get("vectors", rank == 0)]

    @property
    def _writers(self) -> list[int]:
        """The same of the attempt that is told, as far as it is known."""
        found = self._writers_of(self._number)
        return [0] if found is None else found

    def _is_silent(self, rank: int, now: float) -> bool:
        lane, signs = self._lanes[rank], [one.sign for one in self._lanes]
        return lane.is_read and lane.patience.is_over(
            now - max(lane.sign, self._began), lambda: self._standings.freshest(rank, lane.attempt, signs, now))

    def _now(self) -> float:
        return max([time.time()] + [lane.sign for lane in self.lanes])

    def _limit(self) -> int:
        """The step that all have come past that are not missing."""
        lanes, now = self.lanes, self._now()
        lead = max([FAR if lane.attempt > self._number else lane.seen for lane in lanes
                    if lane.attempt >= self._number] or [-1])
        ends, self._missing = [], []
        for rank, lane in enumerate(lanes):
            if lane.attempt > self._number:
                ends.append(FAR)
                continue
            seen = lane.seen if lane.attempt == self._number else -1
            is_silent = self._is_silent(rank, now)
            if is_silent and seen < lead:
                self._missing.append(rank)
            ends.append(FAR if is_silent else seen)
        return min(ends)

    def _join(self, found: list[Message]) -> None:
        limit, parts = self._limit(), []
        for lane in self.lanes:
            here, late = lane.upto(self._number, limit)
            fresh = [part for part in (block.between(self._told + 1, FAR) for block in here) if len(part)]
            self.late += late + sum(map(len, here)) - sum(map(len, fresh))
            parts.append(fresh)
        whole, writers = self._joiner.join(parts), self._writers
        while self._frames and self._frames[0][0] <= self._number and self._frames[0][1] <= limit:
            _, step, (head, body) = self._frames.popleft()
            if head["kind"] == log.MARK:
                found.extend(self._rows(whole.between(0, step)))
                whole = whole.between(step + 1, FAR)
            if head["kind"] not in log.VECTORS:
                found.extend(self._other(head["kind"], body))
            elif writers == [0] or head["kind"] == log.PROBES:
                found.append((head, body))
        found.extend(self._summed.upto(self._number, limit, writers))
        found.extend(self._rows(whole))
        self._told = max(self._told, self.last_step)

    def _next_attempt(self, found: list[Message]) -> bool:
        """Begin the next attempt, once rank 0 is there and no other has anything left of this one."""
        first = next((one for one in self._frames if one[0] > self._number), None)
        now = self._now()
        if first is None or (self._number and any(
                any(number == self._number for number, _ in lane.waiting)
                or (lane.attempt <= self._number and not self._is_silent(rank, now))
                for rank, lane in enumerate(self.lanes))):
            return False
        self._frames.remove(first)
        number, _, (head, body) = first
        world = self._worlds.get(number, 1)
        self._lanes += [Lane(self._metrics, self._names, rank) for rank in range(len(self._lanes), world)]
        self._number, self._joiner, self._began = number, Joiner(world, self._names), self._lanes[0].sign
        self._told = int(json.loads(body)["from_step"])
        found.extend(self._other(head["kind"], body))
        return True

    def tail(self, most: int, size: int = 256 << 10) -> list[Rows]:
        """The last rows to which all have come, of a log that has not been read so far."""
        if len(self._lanes) > TAILED:
            return []
        parts = [lane.tail(most, size) for lane in self._lanes]
        if not all(parts):
            return []
        first, last = max(part[0].steps[0] for part in parts), min(part[-1].steps[-1] for part in parts)
        near = [[block.between(first, last) for block in part] for part in parts]
        whole = Joiner(len(self._lanes), self._names).join(near)
        return [whole] if len(whole) else []

    def payload(self, vectors: Vectors) -> bytes:
        """A frame of vectors; b"" where it stands there no more."""
        return super().payload(vectors) if vectors.segment else self._summed.payload(vectors)

    def cost(self, first: int, last: int) -> int:
        """Bytes that are read again for some steps."""
        return sum(lane.cost(first, last) for lane in self.lanes)

    def near(self, first: int, last: int) -> Iterator[Rows]:
        """The rows of some steps, read once more; of an attempt of another world what one rank knows."""
        whole = self._joiner.again().join([list(lane.near(first, last)) for lane in self.lanes])
        if len(whole):
            yield whole
