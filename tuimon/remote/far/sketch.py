"""A log at a glance, however long it is: a few dozen losses, and the best validation loss. As `record.sketch`.

Touches the disk, only to read, and never through a link. Python and its library alone.
"""

from __future__ import annotations

import json
import math
import os
import struct
import time
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

from tuimon.remote.far import rows as log
from tuimon.remote.far.followed import listed, read_at, size_of
from tuimon.remote.far.rows import Rows

POINTS, PLACES = 32, 24
WHOLE = 1 << 17
LOOK, LARGEST, WINDOW = 1 << 12, 1 << 20, 1 << 16
HOPS = 8
BESTS = 4096
Losses = List[Tuple[int, float]]
Logs = Dict[int, List[str]]
"""Rank -> paths of its log, in order."""


def logs_of(run: str) -> Logs:
    """Those of a run."""
    folder = os.path.join(run, "metrics")
    return {rank: [os.path.join(folder, name) for name in names] for rank, names in listed(folder).items()}


def whole(value: Any) -> bool:
    """Whether it counts something."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 1 << 53


def losses_of(logs: Sequence[list[str]], names: Sequence[str]) -> list[float]:
    """At most POINTS losses, evenly over the steps; NaN where one of a stretch was not finite.

    Of the logs of several ranks the mean of what is looked at.
    """
    return _thinned(sorted([one for paths in logs for one in _looked_at(paths, names)], key=lambda one: one[0]))


def _looked_at(paths: list[str], names: Sequence[str]) -> Losses:
    found: Losses = []
    sizes = [size_of(path) for path in paths]
    total, start, attempt = sum(sizes), 0, 0
    for path, size in zip(paths, sizes):
        begun = _begun(read_at(path, 0, LOOK))
        if begun is not None and begun[0] != attempt:
            attempt, after = begun
            found = [one for one in found if one[0] <= after]   # the rest is done again
        if total <= WHOLE:
            found += _losses(read_at(path, 0, size), names)
        else:
            places = [total * i // PLACES - start for i in range(PLACES)]
            for at in [at for at in places if 0 <= at < size]:
                found += _losses(_frame_after(path, at), names)
            if start + size == total:
                found += _losses(read_at(path, max(0, size - LOOK), LOOK), names)
        start += size
    return found


def _begun(data: bytes) -> tuple[int, int] | None:
    for kind, start, end in log.walk(data):
        try:
            body = json.loads(data[start:end]) if kind == log.HEAD else {}
            if whole(body.get("attempt")) and whole(body.get("from_step")):
                return body["attempt"], body["from_step"]
        except (ValueError, AttributeError, RecursionError):
            pass
        return None
    return None


def _losses(data: bytes, names: Sequence[str]) -> Losses:
    spans = [(start, end) for kind, start, end in log.walk(data) if kind == log.ROWS]
    return [pair for rows in log.decode(data, spans, names) for pair in measured(rows, "loss")]


def measured(rows: Rows, name: str) -> Iterator[tuple[int, float]]:
    """Steps and values of a column, where it has any."""
    if name in rows.names:
        at = rows.names.index(name)
        mask = rows.present[at]
        for i, (step, value) in enumerate(zip(rows.steps, rows.values[at])):
            if mask is None or mask[i]:
                yield step, value


def _frame_after(path: str, at: int) -> bytes:
    """The first frame of rows within a few frames after that place."""
    data = read_at(path, at, LOOK)
    begin = data.find(log.MAGIC)
    for _ in range(HOPS if begin >= 0 else 0):
        head = read_at(path, at + begin, log.HEADER.size)
        if len(head) < log.HEADER.size or not head.startswith(log.MAGIC):
            break
        _, kind, _, length, _, _ = log.HEADER.unpack(head)
        if kind == log.ROWS and length <= LARGEST:
            return read_at(path, at + begin, log.HEADER.size + length)
        begin += log.HEADER.size + length
    return b""


def _thinned(found: Losses) -> list[float]:
    if not found:
        return []
    first, span = found[0][0], found[-1][0] - found[0][0] + 1
    columns: dict[int, list[float]] = {}
    for step, value in found:
        columns.setdefault((step - first) * POINTS // span, []).append(value)
    means = [sum(some) / len(some) for some in columns.values()]
    return [mean if math.isfinite(mean) else math.nan for mean in means]


class Best:
    """The best validation loss in a log that may be growing: walks from header to header, and goes on where it was."""

    def __init__(self, names: Sequence[str], rank: int = 0) -> None:
        self._names, self._code, self._rank = names, list(names).index("val_loss"), rank
        self._segment, self._at, self._attempt = "", 0, 0
        self._bests: Losses = []

    @property
    def best(self) -> tuple[int, float] | None:
        """Step and value."""
        return self._bests[-1] if self._bests else None

    def advance(self, logs: Logs, until: float, clock: Callable[[], float] = time.monotonic) -> bool:
        """Read on; whether the end was reached."""
        paths = logs.get(self._rank, [])
        while paths:
            if self._segment not in paths:
                self._segment, self._at = paths[0], 0
                self._forget(-1)
            size = size_of(self._segment)
            while self._at + log.HEADER.size <= size and self._window(size):
                if clock() >= until:
                    return False
            later = paths[paths.index(self._segment) + 1:]
            if not later:
                break
            self._segment, self._at = later[0], 0
        return True

    def _window(self, size: int) -> bool:
        """Walk through the next stretch; False at a frame that is still being written."""
        data, at = read_at(self._segment, self._at, WINDOW), 0
        while at + log.HEADER.size <= len(data):
            magic, kind, _, length, _, _ = log.HEADER.unpack_from(data, at)
            if magic != log.MAGIC or length > log.MOST_PAYLOAD:
                begin = data.find(log.MAGIC, at + 1)
                at = begin if begin >= 0 else max(at + 1, len(data) - 3)
                continue
            end = at + log.HEADER.size + length
            if self._at + end > size:
                behind = data.find(log.MAGIC, at + 1)
                self._at += at if behind < 0 else behind
                return behind >= 0
            if kind in (log.ROWS, log.HEAD) and length <= LARGEST:
                self._take(data[at:end] if end <= len(data) else read_at(self._segment, self._at + at, end - at), kind)
            at = end
        self._at += at
        return at > 0

    def _take(self, raw: bytes, kind: int) -> None:
        if kind == log.HEAD:
            begun = _begun(raw)
            if begun is not None and begun[0] != self._attempt:
                self._attempt = begun[0]
                self._forget(begun[1])
            return
        if not _holds(raw, log.HEADER.size, self._code):
            return
        spans = [(start, end) for _, start, end in log.walk(raw)]
        for rows in log.decode(raw, spans, self._names):
            self._add(measured(rows, "val_loss"))

    def _forget(self, after: int) -> None:
        """What comes after a step is done again."""
        self._bests = [one for one in self._bests if one[0] <= after]

    def _add(self, values: Iterator[tuple[int, float]]) -> None:
        for step, value in values:
            if math.isfinite(value) and (not self._bests or value < self._bests[-1][1]):
                self._bests.append((step, value))
        if len(self._bests) > BESTS:
            self._bests = [*self._bests[:-1:2], self._bests[-1]]


def _holds(raw: bytes, at: int, code: int) -> bool:
    """Whether rows have the column of that code: a look, without decoding."""
    try:
        (columns,) = struct.unpack_from("<H", raw, at + 4)
        at += 6
        for _ in range(columns):
            if raw[at] == code:
                return True
            at += 2 + raw[at + 1] if raw[at] == 255 else 1
    except (IndexError, struct.error):
        pass
    return False
