"""A run's log at a glance, however long it is: a few dozen losses, and the best validation loss. Touches the disk.

Both read little of it: `losses_of` looks at some places of the log, `Validation` walks from header to header, jumping
over what is large, and goes on where it stopped.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from tuimon.record import log
from tuimon.record.chunk import Floats, Ints
from tuimon.record.files import open_to_read
from tuimon.record.plain import is_whole
from tuimon.record.reader import segment_number, segment_paths, size_of

POINTS: Final = 32
"""Most losses in a sketch."""
WHOLE: Final = 1 << 17
"""A log up to this many bytes is read whole."""
PLACES: Final = 24
"""Places of a longer log at which a few rows are read, besides its end."""
_LOOK: Final = 1 << 12
_HOPS: Final = 8
"""Frames that are passed over in search of one with rows."""
_LARGEST: Final = 1 << 20
_WINDOW: Final = 1 << 16
ROWS: Final = log.MAGIC + bytes((log.ROWS,))
"""How a frame of rows begins."""
_BESTS: Final = 4096
"""Most best values that are remembered, for when an attempt takes the latest back."""


def losses_of(metrics: Path, ranks: Sequence[int] = (0,)) -> tuple[float, ...]:
    """At most POINTS losses, evenly over the steps; NaN where one of a stretch was not finite. Never raises.

    Of several ranks the mean of what is looked at.
    """
    return _thinned([block for rank in ranks for block in _looked_at(metrics, rank)])


def _looked_at(metrics: Path, rank: int) -> list[log.RowBlock]:
    found: list[log.RowBlock] = []
    attempt = 0
    sizes = [(path, size_of(path)) for path in segment_paths(metrics, rank)]
    total = sum(size for _, size in sizes)
    places = [total * i // PLACES for i in range(PLACES)]
    start = 0
    for path, size in sizes:
        inside = [at - start for at in places if start <= at < start + size]
        try:
            fd = open_to_read(path)
        except OSError:
            continue
        try:
            begun = beginning(fd)
            if begun is not None and begun[0] != attempt:
                attempt, after = begun
                found = [block.where(block.steps <= after) for block in found]   # the rest is done again
            if total <= WHOLE:
                found += _decoded(os.pread(fd, size, 0))
            else:
                found += [block for at in inside for block in _rows_after(fd, at)]
                found += _decoded(os.pread(fd, _LOOK, max(0, size - _LOOK))) if start + size == total else []
        except OSError:
            pass
        finally:
            os.close(fd)
        start += size
    return found


def beginning(fd: int) -> tuple[int, int] | None:
    """Attempt and first step of a segment; None where its head does not tell."""
    head = next(iter(log.frames(os.pread(fd, _LOOK, 0))), None)
    if not isinstance(head, log.Frame) or head.kind != log.HEAD:
        return None
    try:
        return _start(log.decode_json(head.payload))
    except ValueError:
        return None


def _start(head: dict[str, object]) -> tuple[int, int] | None:
    attempt, after = head.get("attempt"), head.get("from_step")
    return (attempt, after) if is_whole(attempt) and is_whole(after) else None


def last_rows(fd: int) -> log.Frame | None:
    """The last frame of rows in a segment, however far back it stands: a run that is held says so for days."""
    end = os.fstat(fd).st_size
    while end > 0:
        start = max(0, end - _LARGEST)
        data = os.pread(fd, end - start, start)
        at = data.rfind(ROWS)
        if at < 0:
            end = start + len(ROWS) - 1 if start else 0   # it may stand across the edge
            continue
        size = log.frame_bytes(os.pread(fd, log.HEADER_BYTES, start + at))
        frame = next(iter(log.frames(os.pread(fd, size, start + at))), None)
        if isinstance(frame, log.Frame):
            return frame
        end = start + at + len(ROWS) - 1   # it only looked like one
    return None


def _decoded(data: bytes) -> list[log.RowBlock]:
    found = []
    for frame in log.frames(data):
        if isinstance(frame, log.Frame) and frame.kind == log.ROWS and log.holds(frame.payload, "loss"):
            try:
                found.append(log.decode_rows(frame.payload))
            except ValueError:
                continue
    return found


def _rows_after(fd: int, at: int) -> list[log.RowBlock]:
    """The first intact frame of rows within a few frames after that place."""
    data = os.pread(fd, _LOOK, at)
    begin = data.find(log.MAGIC)
    if begin < 0:
        return []
    at += begin
    data = data[begin:]
    for _ in range(_HOPS):
        head = log.peek(data, 0)
        if head is None:
            return []
        kind, length = head
        whole = log.HEADER_BYTES + length
        if kind == log.ROWS and whole <= _LARGEST:
            return _decoded(data[:whole] if whole <= len(data) else os.pread(fd, whole, at))
        at += whole
        data = data[whole:] if whole + log.HEADER_BYTES < len(data) else os.pread(fd, _LOOK, at)
    return []


def _thinned(blocks: list[log.RowBlock]) -> tuple[float, ...]:
    """One value for each of POINTS stretches of steps that has any: the mean, or NaN."""
    parts = [(b.steps[b.present["loss"]], b.columns["loss"][b.present["loss"]]) for b in blocks]
    if not parts:
        return ()
    steps: Ints = np.concatenate([p[0] for p in parts])
    values: Floats = np.concatenate([p[1] for p in parts])
    order = np.argsort(steps, kind="stable")   # a resumed attempt stands later in the log
    steps, values = steps[order], values[order]
    if not len(steps):
        return ()
    column = (steps - steps[0]) * POINTS // (steps[-1] - steps[0] + 1)
    starts = np.flatnonzero(np.concatenate(([True], column[1:] != column[:-1])))
    with np.errstate(over="ignore", invalid="ignore"):
        means = np.add.reduceat(values, starts) / np.diff(np.concatenate((starts, [len(values)])))
    return tuple(np.where(np.isfinite(means), means, np.nan).tolist())


class Validation:
    """The best validation loss in a log that may be growing."""

    def __init__(self, metrics: Path, rank: int = 0) -> None:
        self._metrics, self._rank = metrics, rank
        self._current: Path | None = None
        self._offset = 0
        self._attempt = 0
        self._bests: list[tuple[int, float]] = []
        """Step and value of each that was better than all before it."""

    @property
    def best(self) -> tuple[int, float] | None:
        """Step and value; None while there is none. What a resumed attempt did again does not count."""
        return self._bests[-1] if self._bests else None

    def advance(self, is_over: Callable[[], bool]) -> bool:
        """Read on until the end, or until `is_over()`; whether the end was reached. Never raises."""
        while True:
            paths = segment_paths(self._metrics, self._rank)
            if not paths:
                return True
            if self._current is None:
                self._current = paths[0]
            if not self._walk(self._current, is_over):
                return False
            newer = [path for path in paths if segment_number(path.name) > segment_number(self._current.name)]
            if not newer:
                return True
            self._current, self._offset = newer[0], 0

    def _walk(self, path: Path, is_over: Callable[[], bool]) -> bool:
        try:
            fd = open_to_read(path)
        except OSError:
            return True
        try:
            size = os.fstat(fd).st_size
            while self._offset + log.HEADER_BYTES <= size:
                if not self._window(fd, size):
                    return True
                if is_over():
                    return False
        except OSError:
            pass
        finally:
            os.close(fd)
        return True

    def _window(self, fd: int, size: int) -> bool:
        """Walk through the next window; False at a frame that is still being written."""
        data = os.pread(fd, _WINDOW, self._offset)
        at, end = 0, len(data)
        while at + log.HEADER_BYTES <= end:
            head = log.peek(data, at)
            if head is None:
                begin = data.find(log.MAGIC, at + 1)
                if begin < 0:
                    at = max(at + 1, end - len(log.MAGIC) + 1)
                    break
                at = begin
                continue
            kind, length = head
            whole = log.HEADER_BYTES + length
            if self._offset + at + whole > size:
                return self._stop(at, data)
            if kind in (log.ROWS, log.HEAD) and whole <= _LARGEST:
                self._take(data[at:at + whole] if at + whole <= end else os.pread(fd, whole, self._offset + at))
            at += whole
        self._offset += at
        return at > 0

    def _stop(self, at: int, data: bytes) -> bool:
        """At a header whose frame ends beyond the file: a torn tail, unless a whole frame stands behind it."""
        behind = data.find(log.MAGIC, at + 1)
        if behind < 0:
            self._offset += at
            return False
        self._offset += behind
        return True

    def _take(self, raw: bytes) -> None:
        is_rows = log.peek(raw, 0) is not None and raw[4] == log.ROWS
        if is_rows and not log.holds(raw[log.HEADER_BYTES:log.HEADER_BYTES + 600], "val_loss"):
            return
        for frame in log.frames(raw):
            if isinstance(frame, int):
                continue
            try:
                if frame.kind == log.HEAD:
                    self._begin(log.decode_json(frame.payload))
                elif frame.kind == log.ROWS:
                    self._add(log.decode_rows(frame.payload))
            except ValueError:
                continue

    def _begin(self, head: dict[str, object]) -> None:
        begun = _start(head)
        if begun is not None and begun[0] != self._attempt:
            self._attempt, after = begun
            self._forget(after)

    def _forget(self, after: int) -> None:
        """What comes after a step is done again."""
        self._bests = [one for one in self._bests if one[0] <= after]

    def _add(self, block: log.RowBlock) -> None:
        there = block.present["val_loss"] & np.isfinite(block.columns["val_loss"])
        steps, values = block.steps[there], block.columns["val_loss"][there]
        before = np.concatenate(([self._bests[-1][1] if self._bests else np.inf], values))
        better = values < np.minimum.accumulate(before)[:-1]
        self._bests += zip(steps[better].tolist(), values[better].tolist(), strict=True)
        if len(self._bests) > _BESTS:
            self._bests = [*self._bests[:-1:2], self._bests[-1]]
