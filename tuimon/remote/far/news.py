"""What is added to a log while somebody looks: how much of it goes, how finely, and when. Pure; time is given.

Rows go as they are, a message at a time, as often as LIVE_EVERY. Where the road carries little more than they take,
those columns that only this run has come to five digits; where it carries less, what waits becomes an outline.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Collection, Dict, Iterable, Iterator, Sequence, Tuple

from tuimon.remote.far import rows as log
from tuimon.remote.far.pace import Window
from tuimon.remote.far.rows import Rows
from tuimon.remote.far.thin import thinned
from tuimon.remote.far.wire import MOST_PLAIN, planes

LIVE_EVERY = 0.075
"""Seconds between two messages of rows, where all of them could go at once."""
BURST = 0.5
"""Seconds for which rows may take more than they may."""
RATES = (1500.0, 8000.0)
"""Bytes a second that what is new may take: vectors half of what arrives, but no less; rows and vectors no more."""
WAITING = 0.25
"""Seconds of rows that may wait before they are thinned; always FEWEST, as fewer than that cannot be thinned."""
FEWEST = 4
PIECES = (384, 4096)
"""Bytes of a message of those that many follow, where less than FAST bytes a second arrive and elsewhere."""
FAST = 40_000.0
BYTES, COARSE = 3.8, 2.8
"""That a number of a row takes on its way where there is no structure in it, and one of five digits."""
TIGHT = 0.5
"""Share of what arrives beyond which rows come to five digits."""

Message = Tuple[Dict[str, Any], bytes]


def piece_of(window: Window) -> int:
    """Bytes of one message of many."""
    return PIECES[window.rate > FAST]


class News:
    """What was added since all had been read, and is still to be told."""

    def __init__(self, common: Iterable[str], window: Window) -> None:
        """`common`: the metrics that every run has, and that are judged."""
        self._common, self._window = frozenset(common), window
        self._fresh: deque[tuple[dict[str, Any], Any]] = deque()
        """In order: rows, or a frame."""
        self._going: deque[Rows] = deque()
        """Rows that go as they are."""
        self._coarse: frozenset[str] = frozenset()
        """Their columns that come to five digits."""
        self.pieces: deque[Message] = deque()
        """Of vectors that are on their way."""
        self.is_thin = False
        """Whether something was left out of what was told."""
        self._next_at = self._paid_at = self._gathered_at = self._spent_at = float("-inf")
        self._spare = 0.0
        """Bytes of vectors that may go now."""

    def add(self, found: Iterable[tuple[dict[str, Any], Any]]) -> None:
        """As it was read."""
        self._fresh.extend(found)

    def next(self, now: float) -> Message | None:
        """What to say of it next."""
        if not self._going:
            told = self._frame(now)
            if told is not None:
                return told
        if now < self._next_at or now < self._paid_at:
            return None
        if not self._going:
            self._gather(now)
        if not self._going:
            return None
        part = self._going.popleft()
        size = max(1, int(piece_of(self._window) / (COARSE * len(part.names) + 12)))
        if len(part) > size:
            self._going.appendleft(part.cut(size, len(part)))
        part = part.cut(0, size)
        head, body = log.pack(part, self._coarse)
        each = (COARSE if self._coarse else BYTES) * len(part.names) + 12
        self._paid_at = max(self._paid_at, now - BURST) + len(part) * each / RATES[1]
        if not self._going:
            self._next_at = now + LIVE_EVERY
        return {"k": "rows", "thin": self.is_thin, **head}, body

    def own(self, rows: Iterable[Rows]) -> frozenset[str]:
        """Metrics that only this run has."""
        return frozenset(name for block in rows for name in block.names) - self._common

    def _frame(self, now: float) -> Message | None:
        """A frame that stands before all rows."""
        while self._fresh and self._fresh[0][0]["k"] == "frame":
            head, body = self._fresh.popleft()
            if head["kind"] not in log.VECTORS:
                if head["kind"] == log.HEAD:
                    self.pieces.clear()   # what is only now on its way would be taken for the new attempt's
                return head, body
            if not self.pieces and self._may_spend(len(body), now):
                self.pieces.extend(framed(head, body, piece_of(self._window)))
        return None

    def _gather(self, now: float) -> None:
        """Decide about all rows that wait."""
        rows: list[Rows] = []
        vectors: list[tuple[dict[str, Any], Any]] = []
        while self._fresh and self._fresh[0][0].get("kind") in (None, *log.VECTORS):
            head, body = self._fresh.popleft()
            if head["k"] == "rows":
                rows.append(body)
            else:
                vectors.append((head, body))   # they do not care about their place among the rows
        self._fresh.extendleft(reversed(vectors))
        if not rows:
            return
        span, self._gathered_at = min(1.0, now - self._gathered_at), now
        columns, arrives = max(len(block.names) for block in rows), min(RATES[1], self._window.best)
        taken = sum(map(len, rows)) * (BYTES * columns + 12) / max(LIVE_EVERY, span)
        is_coarse = taken > TIGHT * self._window.best
        self._coarse = self.own(rows) if is_coarse else frozenset()
        each = (COARSE if self._coarse else BYTES) * columns + 12
        told, is_thin = thinned(Rows.joined(rows), max(FEWEST, int(WAITING * arrives / each)))
        self.is_thin = self.is_thin or is_thin
        self._going.extend(told)

    def _may_spend(self, count: int, now: float) -> bool:
        """Whether so many bytes of vectors may go: half of what there is to spend; a large one when all was saved."""
        rate = max(RATES[0], min(RATES[1], 0.5 * self._window.rate))
        span, self._spent_at = min(10.0, now - self._spent_at), now
        self._spare = min(2 * rate, self._spare + span * rate / 2)
        if count > self._spare and self._spare < 2 * rate:
            return False
        self._spare -= count
        return True


def framed(head: dict[str, Any], body: bytes, piece: int) -> Iterator[Message]:
    """Vectors, in pieces of so many bytes; they compress better by planes."""
    if len(body) > MOST_PLAIN // 2:
        return
    whole = len(body) // 4 * 4
    body = planes(body[:whole], 4) + body[whole:]
    last = max(0, len(body) - 1) // piece * piece
    for at in range(0, last, piece):
        yield {"k": "part", "at": at, "g": head.get("g")}, body[at:at + piece]
    yield {**head, "planes": 4, "at": last}, body[last:]


def packed(rows: Sequence[Rows], first: int, last: int, mark: dict[str, Any], piece: int,
           coarse: Collection[str] = ()) -> Iterator[Message]:
    """The rows of some steps, in messages of about so many bytes; to five digits what is in those columns."""
    for block in rows:
        if not len(block) or block.steps[0] > last or block.steps[-1] < first:
            continue
        part = block.between(first, last)
        size = max(1, piece // (4 * len(part.names) + 12))
        for at in range(0, len(part), size):
            head, body = log.pack(part.cut(at, at + size), coarse)
            yield {"k": "rows", **head, **mark}, body
