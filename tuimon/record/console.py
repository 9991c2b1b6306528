"""A console that grows, read by line: what a training process printed. Touches the disk; only ever reads.

The index is sparse: it knows where every 1,024th line begins, and one in every 256 kB where lines are long, so that any
range of lines costs a read or two however large the file is, and memory stays small. A line is what ends in a line
feed; a last one without is a line too, and grows.
"""

from __future__ import annotations

import os
import stat
from array import array
from bisect import bisect_right
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

EVERY: Final = 1024
"""Lines from one entry of the index to the next, at most."""
STRETCH: Final = 256 << 10
"""Bytes after which the next line gets an entry, however few lines that is."""
LINE_BYTES: Final = 64 << 10
"""Bytes of a line that are read; of a longer one its end where a carriage return rewrote it, else its beginning."""
POLL_BYTES: Final = 64 << 20
"""Bytes taken in by one poll, so that opening a huge file shows progress."""
_BLOCK: Final = 1 << 20
_HEAD: Final = 64
"""Bytes at the file's beginning by which a rewritten file is told from a grown one."""
_OPEN: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class ConsoleReader:
    """Follows one file. `poll` takes in what is new; `read` gives lines by number, counted from 0.

    A file that is missing, no regular file, or may not be read counts as empty. One that was truncated, replaced or
    rewritten from its beginning is read anew, and `generation` rises.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.generation = 0
        """How often the file turned out to be another one."""
        self.size = 0
        """Bytes taken in."""
        self.lines = 0
        """Lines, the unfinished last one included."""
        self.exists = False
        """Whether there is a file that can be read."""
        self.is_behind = False
        """Whether there is more to take in at once."""
        self._fd = -1
        self._known: tuple[int, int] = (0, 0)
        self._head = b""
        self._at, self._number = array("q", [0]), array("q", [0])
        self._complete = 0

    def poll(self, budget: int = POLL_BYTES) -> bool:
        """Take in at most about `budget` new bytes; whether anything changed. Never raises."""
        before = (self.generation, self.size, self.exists)
        try:
            self._follow(budget)
        except OSError:
            self._forget()
        return before != (self.generation, self.size, self.exists)

    def close(self) -> None:
        """Give the file back. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @property
    def complete(self) -> int:
        """Lines that have ended, and never change."""
        return self._complete

    @property
    def entries(self) -> int:
        """Entries of the index: it also numbers the segments between them."""
        return len(self._at)

    def read(self, first: int, count: int) -> list[tuple[bytes, int]]:
        """Lines `first` to `first + count`, as far as they exist: what is read of each, and its length in bytes."""
        first, last = max(0, first), min(self.lines, first + count)
        found: list[tuple[bytes, int]] = []
        at = bisect_right(self._number, first) - 1
        try:
            while first < last:
                begin = self._number[at]
                taken = self._segment(at, first - begin, last - begin)
                found += taken
                first += len(taken)
                at += 1
                if not taken:
                    break
        except OSError:
            pass   # gone in between: the next poll tells
        return found

    def segment(self, index: int) -> tuple[int, int, bytes]:
        """Of a segment the number of its first line, how many have ended, and those, with line feeds between them."""
        first = self._number[index]
        count = max(0, min(self._after(index), self._complete) - first)
        try:
            body, ends = self._body(index)
            if count <= len(ends):
                return first, count, body[:ends[count - 1]] if count else b""
            return first, count, b"\n".join(line for line, _ in self._segment(index, 0, count))
        except OSError:
            return first, 0, b""

    def segment_of(self, line: int) -> int:
        """The segment that holds a line."""
        return bisect_right(self._number, line) - 1

    def _after(self, index: int) -> int:
        return self._number[index + 1] if index + 1 < len(self._number) else self.lines

    def _segment(self, index: int, first: int, last: int) -> list[tuple[bytes, int]]:
        """Lines `first` to `last` of a segment. All its lines begin within STRETCH bytes, by the index's rule."""
        last = min(last, self._after(index) - self._number[index])
        if first >= last:
            return []
        begin, end = self._at[index], self._end(index)
        unended = end - begin - (0 if end == self.size and self.lines > self._complete else 1)
        body, ends = self._body(index)
        starts = [0, *(ends[:last] + 1).tolist()]
        found: list[tuple[bytes, int]] = []
        for i in range(first, min(last, len(starts))):
            start = starts[i]
            stop = int(ends[i]) if i < len(ends) else unended
            length = stop - start
            if length <= LINE_BYTES and stop <= len(body):
                found.append((body[start:stop], length))
            else:
                found.append((self._long(begin + start, length), length))
        return found

    def _end(self, index: int) -> int:
        return self._at[index + 1] if index + 1 < len(self._at) else self.size

    def _body(self, index: int) -> tuple[bytes, NDArray[np.int64]]:
        """The bytes of a segment, but for the rest of a long last line, and where the line feeds are in them."""
        begin = self._at[index]
        body = os.pread(self._fd, min(self._end(index) - begin, STRETCH + LINE_BYTES), begin)
        return body, np.flatnonzero(np.frombuffer(body, np.uint8) == 0x0A)

    def _long(self, start: int, length: int) -> bytes:
        tail = os.pread(self._fd, LINE_BYTES, start + length - LINE_BYTES) if length > LINE_BYTES else b""
        rewritten = tail.rstrip(b"\r").find(b"\r")
        return tail[rewritten:] if rewritten >= 0 else os.pread(self._fd, min(length, LINE_BYTES), start)

    def _follow(self, budget: int) -> None:
        there = os.stat(self.path, follow_symlinks=False)
        if self._fd >= 0 and ((there.st_dev, there.st_ino) != self._known or there.st_size < self.size
                              or os.pread(self._fd, len(self._head), 0) != self._head):
            self._forget()
        if self._fd < 0:
            if not stat.S_ISREG(there.st_mode):
                self._forget()
                return
            self._fd = os.open(self.path, _OPEN)
            opened = os.fstat(self._fd)
            self._known, self.exists = (opened.st_dev, opened.st_ino), True
        target = min(os.fstat(self._fd).st_size, self.size + budget)
        while self.size < target:
            block = os.pread(self._fd, min(_BLOCK, target - self.size), self.size)
            if not block:
                break
            self._index(block)
        if len(self._head) < _HEAD:
            self._head = os.pread(self._fd, min(_HEAD, self.size), 0)
        self.is_behind = self.size < os.fstat(self._fd).st_size and self.size >= target

    def _index(self, block: bytes) -> None:
        starts = np.flatnonzero(np.frombuffer(block, np.uint8) == 0x0A) + (self.size + 1)
        i = 0
        while i < len(starts):
            by_line = self._number[-1] + EVERY - self._complete - 1
            by_bytes = int(np.searchsorted(starts, self._at[-1] + STRETCH))
            i = max(i, min(by_line, by_bytes))
            if i >= len(starts):
                break
            self._at.append(int(starts[i]))
            self._number.append(self._complete + i + 1)
            i += 1
        self._complete += len(starts)
        self.size += len(block)
        self.lines = self._complete + (not block.endswith(b"\n"))

    def _forget(self) -> None:
        self.close()
        if self.exists:
            self.generation += 1
        self.size = self.lines = self._complete = 0
        self.exists = self.is_behind = False
        self._head = b""
        self._at, self._number = array("q", [0]), array("q", [0])
