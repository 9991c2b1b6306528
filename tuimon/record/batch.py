"""The rows of many frames at once. Pure.

A run that does twenty steps a second leaves a frame for each step: taken one by one, a million of them cost 40 s, and
together 1. Frames of the same shape lie in memory like the records of a table, so numpy takes them apart in one go.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuimon.record import log
from tuimon.record.chunk import Bools, Floats, Ints
from tuimon.record.log import RowBlock

_Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of several frames, in order."""

    block: RowBlock
    frame: Ints
    """(n,) which of the frames given each row comes from."""
    damaged: int
    """Frames that contradict themselves."""


@dataclass(slots=True)
class _Table:
    """Where the rows of all frames are put together. n rows."""

    steps: Ints
    times: Floats
    columns: dict[str, Floats] = field(default_factory=dict)
    present: dict[str, Bools] = field(default_factory=dict)

    def column(self, name: str) -> tuple[Floats, Bools]:
        if name not in self.columns:
            self.columns[name] = np.full(len(self.steps), np.nan)
            self.present[name] = np.zeros(len(self.steps), np.bool_)
        return self.columns[name], self.present[name]


def decode_many(data: bytes, begin: Ints, end: Ints) -> Rows:
    """The rows of ROWS payloads, both (f,), that lie in `data`; one that contradicts itself costs its own rows."""
    if len(begin) == 1:
        return _decode_one(memoryview(data)[begin[0]:end[0]])
    raw = np.frombuffer(data, np.uint8)
    counts = np.zeros(len(begin), np.int64)
    readable = end - begin >= 6
    counts[readable] = _field(raw, begin[readable], "<u4")
    counts[8 * counts > end - begin] = 0   # more rows than bytes: nothing is made room for
    places = np.concatenate(([0], np.cumsum(counts)))
    table = _Table(np.zeros(int(places[-1]), np.int64), np.zeros(int(places[-1])))
    taken = np.zeros(len(begin), np.bool_)
    for frames in _alike(end - begin, counts):
        taken[frames] = _take(data, raw, begin[frames], end[frames], places[frames], table)
    frame = np.repeat(np.arange(len(begin)), counts)
    block = RowBlock(table.steps, table.times, table.columns, table.present)
    if taken.all():
        return Rows(block, frame, 0)
    keep = taken[frame]
    return Rows(block.where(keep), frame[keep], int((~taken).sum()))


def _decode_one(payload: memoryview) -> Rows:
    """The same for one frame, as a live log has it in each poll: in a third of the time."""
    try:
        block, damaged = log.decode_rows(payload), 0
    except ValueError:
        block, damaged = RowBlock(np.zeros(0, np.int64), np.zeros(0), {}, {}), 1
    return Rows(block, np.zeros(len(block.steps), np.int64), damaged)


def _field(raw: _Bytes, at: Ints, dtype: str) -> NDArray[Any]:
    """A little-endian number at each of several places."""
    size = np.dtype(dtype).itemsize
    return np.ascontiguousarray(raw[at[:, None] + np.arange(size)]).view(dtype)[:, 0]


def _alike(sizes: Ints, counts: Ints) -> list[Ints]:
    """The frames of each size and number of rows, in order."""
    order = np.lexsort((counts, sizes))
    changes = np.flatnonzero((np.diff(sizes[order]) != 0) | (np.diff(counts[order]) != 0)) + 1
    return [group for group in np.split(order, changes) if len(group)]


def _take(data: bytes, raw: _Bytes, begin: Ints, end: Ints, places: Ints, table: _Table) -> Bools:
    """Put the rows of frames of one size and number of rows into the table; which of them were sound."""
    sound = np.zeros(len(begin), np.bool_)
    size = int(end[0] - begin[0])
    waiting = np.arange(len(begin))
    while len(waiting):
        first = int(begin[waiting[0]])
        try:
            names, at = log.row_names(memoryview(data)[first:first + size])
            (n,) = struct.unpack_from("<I", data, first)
            same = np.ones(len(waiting), np.bool_) if len(waiting) == 1 else (
                raw[begin[waiting][:, None] + np.arange(at)] == raw[first:first + at]).all(1)
            need = at + 16 * n + 8 * n * len(names) + (n * len(names) + 7) // 8
            if need > size:
                raise ValueError("rows frame contradicts itself")
            group = waiting[same]
            _fill(data, raw, begin[group], names, at, n, places[group], table)
            sound[group] = True
        except (struct.error, IndexError, ValueError):
            same = np.arange(len(waiting)) == 0
        waiting = waiting[~same]
    return sound


def _fill(data: bytes, raw: _Bytes, begin: Ints, names: tuple[str, ...], at: int, n: int, places: Ints,
          table: _Table) -> None:
    """Put m frames of equal columns, n rows each, where they belong."""
    if n == 0:
        return
    m, k = len(begin), len(names)
    size = 16 * n + 8 * n * k
    bits = (n * k + 7) // 8
    rows: Any
    if m == 1:
        start = int(begin[0]) + at
        numbers = np.frombuffer(data, "<i8", size // 8, start)[None]
        packed = np.frombuffer(data, np.uint8, bits, start + size)[None]
        rows = slice(int(places[0]), int(places[0]) + n)
    else:
        whole = np.lib.stride_tricks.sliding_window_view(raw, size + bits)[begin + at]
        numbers = np.ascontiguousarray(whole[:, :size]).view("<i8")
        packed = whole[:, size:]
        rows = (places[:, None] + np.arange(n)).reshape(-1)
        if len(rows) == rows[-1] - rows[0] + 1:
            rows = slice(int(rows[0]), int(rows[-1]) + 1)
    present = np.unpackbits(packed, axis=1, count=n * k).view(np.bool_)
    floats = numbers.view("<f8")
    table.steps[rows] = numbers[:, :n].reshape(-1)
    table.times[rows] = floats[:, n:2 * n].reshape(-1)
    for i, name in enumerate(names):
        values, there = table.column(name)
        values[rows] = floats[:, (2 + i) * n:(3 + i) * n].reshape(-1)
        there[rows] = present[:, i * n:(i + 1) * n].reshape(-1)
