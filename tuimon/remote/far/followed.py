"""One run's log on the far side, as far as it has been read: its outline, its last rows, where the vectors lie.

Touches the disk, only to read, and never through a link. Python and its library alone.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections import deque
from typing import Any, Dict, Iterable, Iterator, NamedTuple, Sequence, Tuple

from tuimon.remote.far import rows as log
from tuimon.remote.far.rows import Rows
from tuimon.remote.far.thin import Outline, rows_of

PORTION = 1 << 20
"""Bytes read in one go: about 50 ms of work."""
PAGE = 64 << 10
CLOSELY = 64 << 20
"""Bytes that are read again for a closer look: about 2 s."""
RECENT = 512
"""Rows kept as they are."""
MARKS = 10_000
MOST_RANKS = 1 << 16
"""More than that is damage."""
VECTORS = 200_000
"""Places of frames that hold vectors; every second one is forgotten beyond."""
_NAME = re.compile(r"^r(\d+)-(\d{3,})\.tlog$")

Message = Tuple[Dict[str, Any], bytes]


class Attempt(NamedTuple):
    """From where on one training process tells."""

    number: int
    from_step: int
    head: bytes


class Vectors(NamedTuple):
    """A frame of per-tensor or per-probe values."""

    kind: int
    attempt: int
    segment: str
    start: int
    """First byte of the payload."""
    size: int


def read_at(path: str, at: int, size: int) -> bytes:
    """Bytes of a regular file that is no link; b"" where there are none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        return os.pread(fd, size, at) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    except OSError:
        return b""
    finally:
        os.close(fd)


def size_of(path: str) -> int:
    """Bytes of a file; 0 where there is none."""
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0


def listed(metrics: str) -> dict[int, list[str]]:
    """The segments of every rank, oldest first."""
    found: dict[int, list[tuple[int, str]]] = {}
    try:
        names = os.listdir(metrics)
    except OSError:
        return {}
    for name in names:
        match = _NAME.match(name)
        if match:
            found.setdefault(int(match.group(1)), []).append((int(match.group(2)), name))
    return {rank: [name for _, name in sorted(each)] for rank, each in found.items()}


class Followed:
    """Reads on from where it stands."""

    def __init__(self, metrics: str, names: Sequence[str]) -> None:
        """`names`: what the codes of the columns mean."""
        self._metrics, self._names = metrics, names
        self._segment, self._offset, self._file = "", 0, 0
        self.is_replaced = False
        """Whether what was read does not stand there any more: nothing follows."""
        self.outline = Outline()
        self.recent: deque[Rows] = deque()
        self.attempts: list[Attempt] = []
        self.marks: list[tuple[int, int, bytes]] = []
        """Attempt, step, payload."""
        self.vectors: list[Vectors] = []
        self.last_step, self.columns = -1, 1
        self.is_through, self.is_behind = False, True
        """Whether all had once been read that was there, and whether there may be more to read at once."""
        self.beat: dict[str, Any] = {}
        self._pages: list[tuple[int, str, int, int]] = []
        """Last step before it, segment, first byte, end."""

    def segments(self) -> list[str]:
        """Names, oldest first."""
        return listed(self._metrics).get(0, [])

    @property
    def share(self) -> float:
        """How much of it has been read, 0 to 1."""
        names = self.segments()
        total = sum(size_of(self._path(name)) for name in names)
        at = names.index(self._segment) if self._segment in names else 0
        before = sum(size_of(self._path(name)) for name in names[:at])
        return min(1.0, (before + self._offset) / total) if total else 1.0

    def poll(self, names: list[str] | None = None, portion: int = PORTION) -> list[Message]:
        """Read a portion. What it holds as messages, in order: rows, vectors, marks, a new attempt, a sign of life.

        `names`: the segments, where the caller has listed them.
        """
        names = self.segments() if names is None else names
        if not names:
            self.is_behind = False
            return []
        self._segment = self._segment or names[0]
        if not self._stands(names):
            self.is_replaced, self.is_behind = True, False
            return []
        data = read_at(self._path(self._segment), self._offset, portion)
        if len(data) >= log.HEADER.size and not any(True for _ in log.walk(data)):
            length = log.HEADER.unpack_from(data)[3]   # one frame longer than a portion, or damage
            if portion < length <= log.MOST_PAYLOAD:
                data = read_at(self._path(self._segment), self._offset, length + log.HEADER.size)
        found, end = self._take(data)
        if end == 0:
            newer = [n for n in names if _number(n) > _number(self._segment)]
            if newer:
                self._segment, self._offset, self._file = newer[0], 0, 0
            elif len(data) >= portion:
                self._offset += len(data) - log.HEADER.size   # nothing but damage
            else:
                self.is_through, self.is_behind = True, False
                return found
        self.is_behind = True
        self._offset += end
        return found

    def _stands(self, names: list[str]) -> bool:
        """Whether the file that is being read is the one that was begun."""
        try:
            found = os.lstat(self._path(self._segment))
        except OSError:
            return self._segment in names   # the directory may be slow
        self._file = self._file or found.st_ino
        return not self.is_replaced and found.st_ino == self._file and found.st_size >= self._offset

    def _path(self, segment: str) -> str:
        return os.path.join(self._metrics, segment)

    def _take(self, data: bytes) -> tuple[list[Message], int]:
        found: list[Message] = []
        spans: list[tuple[int, int]] = []
        end = 0

        def flush() -> None:
            if spans:
                begin, before = spans[0][0] - log.HEADER.size, self.last_step
                for block in log.decode(data, spans, self._names):
                    found.extend(self._rows(block))
                self._page(before, self._offset + begin, self._offset + spans[-1][1])
                spans.clear()

        for kind, start, stop in log.walk(data):
            end = stop
            if kind == log.ROWS:
                spans.append((start, stop))
                if stop - spans[0][0] > PAGE:
                    flush()
                continue
            if kind in log.VECTORS:
                self._note(Vectors(kind, self._attempt, self._segment, self._offset + start, stop - start))
                found.append(({"k": "frame", "kind": kind}, data[start:stop]))
                continue
            if kind != log.BEAT:
                flush()
            found.extend(self._other(kind, data[start:stop]))
        flush()
        return found, end

    @property
    def _attempt(self) -> int:
        return self.attempts[-1].number if self.attempts else 0

    def _rows(self, block: Rows) -> Iterator[Message]:
        first = next((i for i, step in enumerate(block.steps) if step > self.last_step), len(block))
        block = block.cut(first, len(block))
        if not len(block) or any(b <= a for a, b in zip(block.steps, block.steps[1:])):
            return
        self.last_step, self.columns = block.steps[-1], max(1, len(block.names))
        self._keep(block)
        yield {"k": "rows"}, block   # type: ignore[misc]  # packed when it is sent

    def _keep(self, block: Rows) -> None:
        self.outline.add(block)
        self.recent.append(block)
        while len(self.recent) > 1 and sum(map(len, self.recent)) - len(self.recent[0]) >= RECENT:
            self.recent.popleft()

    def _page(self, before: int, begin: int, end: int) -> None:
        """Remember where rows lie that begin after a step."""
        last = self._pages[-1] if self._pages else None
        if last is not None and last[1] == self._segment and end - last[2] <= PAGE and before > last[0]:
            self._pages[-1] = (last[0], self._segment, last[2], end)
        else:
            self._pages.append((before, self._segment, begin, end))

    def _note(self, vectors: Vectors) -> None:
        self.vectors.append(vectors)
        if len(self.vectors) > VECTORS:
            self.vectors = self.vectors[::2]

    def _other(self, kind: int, payload: bytes) -> Iterator[Message]:
        if len(payload) > PAGE:
            return   # no mark is that long
        try:
            body = json.loads(payload)
            if kind == log.HEAD:
                number, step = int(body["attempt"]), int(body["from_step"])
                if number == self._attempt and self.attempts[-1].head == payload:
                    return
                if number != self._attempt:
                    self.outline.forget_after(step)
                    self.recent.clear()
                    self._pages = [page for page in self._pages if page[0] < step]
                    self.last_step = step
                self.attempts.append(Attempt(number, step, payload))
            elif kind == log.MARK:
                self.marks = [*self.marks[-MARKS:], (self._attempt, int(body["step"]), payload)]
            elif kind == log.BEAT:
                self.beat = body
                return
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return
        yield {"k": "frame", "kind": kind}, payload

    def tail(self, most: int, size: int = 256 << 10) -> list[Rows]:
        """The last rows of a log that has not been read so far, without reading it."""
        for name in reversed(self.segments()):
            whole = size_of(self._path(name))
            data = read_at(self._path(name), max(0, whole - size), size)
            data = data[max(0, data.find(log.MAGIC)):]
            spans = [(start, stop) for kind, start, stop in log.walk(data) if kind == log.ROWS]
            found = log.decode(data, spans[-most:], self._names)
            if found:
                return _last(found, most)
        return []

    def closely(self, first: int, last: int) -> Outline | None:
        """Some steps, read once more; None where that would take too long."""
        if self.cost(first, last) > CLOSELY:
            return None
        outline = Outline()
        for block in self.near(first, last):
            outline.add(block)
        return outline

    def _pages_of(self, first: int, last: int) -> list[tuple[tuple[int, str, int, int], int]]:
        ends = [page[0] for page in self._pages[1:]] + [self.last_step]
        return [(page, until) for page, until in zip(self._pages, ends) if until >= first and page[0] < last]

    def cost(self, first: int, last: int) -> int:
        """Bytes that are read again for some steps."""
        return sum(page[3] - page[2] for page, _ in self._pages_of(first, last))

    def near(self, first: int, last: int) -> Iterator[Rows]:
        """The rows of some steps, read once more."""
        for (before, segment, begin, end), until in self._pages_of(first, last):
            data = read_at(self._path(segment), begin, end - begin)
            spans = [(a, b) for kind, a, b in log.walk(data) if kind == log.ROWS]
            for block in log.decode(data, spans, self._names):
                yield block.between(max(first, before + 1), min(last, until))

    def payload(self, vectors: Vectors) -> bytes:
        """A frame of vectors; b"" where it stands there no more."""
        data = read_at(self._path(vectors.segment), vectors.start - log.HEADER.size, vectors.size + log.HEADER.size)
        return next((data[a:b] for kind, a, b in log.walk(data) if kind == vectors.kind), b"")

    def picture(self, count: int, look: tuple[int, int] | None = None) -> tuple[list[Rows], bool]:
        """The whole log in about `count` buckets, its last rows as they are, the stretch `look` as finely as that.

        And whether anything is left out.
        """
        recent = _last(self.recent, count) if self.outline.size > 1 or len(self.outline.buckets) > count else []
        until = recent[0].steps[0] - 1 if recent else self.last_step
        first, last = look if look is not None else (until + 1, until)
        close = self.closely(first, min(last, until)) if look is not None else None
        found = [self.outline.between(0, min(first - 1, until), count),
                 (close or self.outline).between(first, min(last, until), count),
                 self.outline.between(max(first, last + 1), until, count) if last < until else []]
        is_thin = any(bucket.count > 1 for buckets in found for bucket in buckets)
        return [part for part in [*map(rows_of, found), *Rows.joined(recent)] if len(part)], is_thin


def world_in(head: bytes) -> int:
    """How many ranks write, as the beginning of a segment says."""
    try:
        world = json.loads(head).get("world", 1)
    except (ValueError, AttributeError, RecursionError):
        return 1
    return world if isinstance(world, int) and 0 < world <= MOST_RANKS else 1


def _number(name: str) -> int:
    """Of a segment."""
    return int(name.rpartition("-")[2][:-5])


def _last(blocks: Iterable[Rows], most: int) -> list[Rows]:
    """The last rows of all."""
    found: list[Rows] = []
    for block in reversed(list(blocks)):
        room = most - sum(map(len, found))
        if room <= 0:
            break
        found.insert(0, block.cut(max(0, len(block) - room), len(block)))
    return found
