"""The way from the training thread to the writer thread: a bounded queue that thins instead of losing its end.

The law of this file: the training thread never waits here. It appends to a deque, which needs no lock in CPython. Only
when the writer has been stuck for minutes and the queue is full does it thin, under a lock that it merely tries: if the
writer holds it, the writer is emptying the queue at this moment and there is nothing to thin.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tuimon.record.chunk import Mark
from tuimon.record.segments import ProbeRow, Row, TensorRow, WeightRow

LIMIT: Final = 65_536
"""Items kept while nothing can be written: two minutes at 500 steps a second, all night at one."""
BYTES: Final = 256 << 20
"""What the vectors among them may occupy; per-tensor rows are far larger than scalar rows."""

Item = Row | TensorRow | WeightRow | ProbeRow | Mark
_ROWS: Final = (Row, TensorRow, WeightRow, ProbeRow)


@dataclass(frozen=True, slots=True)
class Note:
    """Something for events.jsonl, on its way there."""

    kind: str
    step: int
    time: float
    fields: dict[str, Any]


def thin(items: Sequence[Item], limit: int) -> tuple[list[Item], int]:
    """About half of the rows of each kind, evenly spaced in steps, and all marks; how many steps that touched.

    Evenly, however often it was thinned before: a long stretch that could not be written keeps its shape, its first
    row and its newest. Should marks alone exceed `limit`, the older half goes.
    """
    spaced = {kind: _spaced([i.step for i in items if type(i) is kind]) for kind in _ROWS}
    kept = [item for item in items if isinstance(item, Mark) or next(spaced[type(item)])]
    if len(kept) >= limit:
        del kept[:len(kept) - limit // 2]
    before, after = (Counter(map(type, some)) for some in (items, kept))
    return kept, max((count - after[kind] for kind, count in before.items()), default=0)


def _spaced(steps: Sequence[int]) -> Iterator[bool]:
    """Whether each is kept: those at least a stride apart, and the last; at most half of them and two."""
    if not steps:
        return
    stride = 2 * (steps[-1] - steps[0]) / len(steps)
    last_kept = None
    for step in steps[:-1]:
        keep = last_kept is None or step - last_kept >= max(1.0, stride)
        last_kept = step if keep else last_kept
        yield keep
    yield True


def size_of(item: Item) -> int:
    """Bytes of the vectors in an item."""
    if isinstance(item, TensorRow):
        return item.grad.nbytes + item.seen.nbytes + (0 if item.update is None else item.update.nbytes)
    return item.values.nbytes + item.seen.nbytes if isinstance(item, WeightRow | ProbeRow) else 0


class Intake:
    """What the training thread has handed over and the writer has not yet taken."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._items: deque[Item] = deque()
        self._notes: deque[Note] = deque(maxlen=limit)
        self._draining = threading.Lock()
        self._vector_bytes = 0
        self._thinned = 0
        self.is_closed = False
        """True in a forked child, and after the end: what comes then is not kept."""

    def put(self, item: Item) -> None:
        """Hand over; never waits, never raises, whatever state the writer is in."""
        if self.is_closed:
            return
        self._items.append(item)
        self._vector_bytes += size_of(item)
        if len(self._items) >= self._limit or self._vector_bytes >= BYTES:
            self._thin()

    def note(self, *notes: Note) -> None:
        """Hand over events, which are taken all together; of more than the limit the oldest go."""
        if not self.is_closed:
            self._notes.extend(notes)   # at once

    def _thin(self) -> None:
        if not self._draining.acquire(blocking=False):
            return
        try:
            waiting = list(self._items)
            self._vector_bytes = sum(map(size_of, waiting))
            if len(waiting) < self._limit and self._vector_bytes < BYTES:
                return
            kept, dropped = thin(waiting, self._limit)
            for _ in waiting:
                self._items.popleft()
            self._items.extendleft(reversed(kept))  # in front of what another thread may have added meanwhile
            self._thinned += dropped
            self._vector_bytes = sum(map(size_of, kept))
        finally:
            self._draining.release()

    def take(self) -> tuple[list[Item], list[Note], int]:
        """Everything handed over so far, in order, and how many rows were thinned out of it. Writer thread only."""
        with self._draining:
            items = [self._items.popleft() for _ in range(len(self._items))]
            self._vector_bytes = 0
            thinned, self._thinned = self._thinned, 0
        notes = [self._notes.popleft() for _ in range(len(self._notes))]
        return items, notes, thinned

    def __len__(self) -> int:
        return len(self._items)
