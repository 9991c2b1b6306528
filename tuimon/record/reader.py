"""Follows the segments of a metrics log. Touches the disk. Law: damage is counted and passed over, never raised."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from tuimon.record import log
from tuimon.record.batch import decode_many
from tuimon.record.chains import Chain, chains
from tuimon.record.chunk import Bools, Chunk, Ints, Mark, ProbeRows, TensorRows, WeightRows, joined_rows
from tuimon.record.files import open_to_read
from tuimon.record.places import Places
from tuimon.record.plain import built, is_whole

READ_BYTES: Final = 8 << 20
"""Read in one poll, so that opening a long run shows progress; what is decoded of it still fits a processor's cache."""
_NONE: Final = np.zeros(0, np.int64)
_BEFORE: Final = 64
"""Bytes at the end of what was read by which the log is known again: rows hold the time at which they were written."""
_NAME: Final = re.compile(r"^r(\d+)-(\d{3,})\.tlog$")


def segment_paths(metrics: Path, rank: int = 0) -> list[Path]:
    """The segments of one rank, oldest first; empty where the directory is missing."""
    try:
        names = os.listdir(metrics)
    except OSError:
        return []
    return list(_segments_of(metrics, rank, tuple(names)))


@lru_cache(maxsize=8)   # a log is looked at four times a second, and seldom has another segment
def _segments_of(metrics: Path, rank: int, names: tuple[str, ...]) -> tuple[Path, ...]:
    found = [(int(m.group(2)), n) for n in names if (m := _NAME.match(n)) and int(m.group(1)) == rank]
    return tuple(metrics / name for _, name in sorted(found))


def size_of(path: Path) -> int:
    """Bytes of a file; 0 where it is gone."""
    try:
        return os.stat(path, follow_symlinks=False).st_size
    except OSError:
        return 0


@lru_cache(maxsize=256)
def segment_number(name: str) -> int:
    """The number in the name of a segment; ValueError where it is none."""
    found = _NAME.match(name)
    if found is None:
        raise ValueError(f"{name} is not a segment of a log")
    return int(found.group(2))


def segment_name(number: int, rank: int = 0) -> str:
    """The name that a segment is given."""
    return f"r{rank}-{number:03d}.tlog"


@dataclass(frozen=True, slots=True)
class Beat:
    """The last sign of life in the log."""

    wall: float
    mono: float
    """Monotonic clock of the writing machine."""
    state: str


@dataclass(frozen=True, slots=True)
class Place:
    """How far a log has been read: whoever goes on from here sees what a reader from the beginning would see."""

    segment: str = ""
    """Name of the segment; "" before the first."""
    offset: int = 0
    attempt: int = 0
    last_step: int = -1
    tensors: int = 0
    probes: int = 0
    damaged: int = 0
    beat: Beat | None = None


@dataclass(slots=True)
class _Stretch:
    """Frames of one attempt being put together into a chunk."""

    blocks: list[log.RowBlock] = field(default_factory=list)
    tensors: list[TensorRows] = field(default_factory=list)
    probes: list[ProbeRows] = field(default_factory=list)
    weights: list[WeightRows] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    waiting: list[Chain] = field(default_factory=list)
    """Frames of rows that are still to be decoded."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was put into it yet."""
        return not (self.blocks or self.tensors or self.probes or self.weights or self.marks)

    def chunk(self) -> Chunk:
        whole = self.blocks[0] if len(self.blocks) == 1 else log.RowBlock(*joined_rows(self.blocks))
        return Chunk(
            whole.steps, whole.times, whole.columns, whole.present, TensorRows.join(self.tensors), tuple(self.marks),
            ProbeRows.join(self.probes), WeightRows.join(self.weights),
        )


class LogReader:
    """Follows the segments of one rank. Never raises on damage: counts it and goes on at the next intact frame."""

    def __init__(
        self, metrics: Path, rank: int = 0, *, start: Place | None = None, places: Places | None = None,
    ) -> None:
        """Read from `start` on, else from the beginning. `places` learns where the rows lie."""
        self._metrics, self._rank, self._places = metrics, rank, places
        start = Place() if start is None else start
        self._current: Path | None = metrics / start.segment if start.segment else None
        self._offset = start.offset
        self._last_step = start.last_step
        self._tensors, self._probes = start.tensors, start.probes
        self._before = b""
        self.is_replaced = False
        """Whether what was read does not stand there any more, as another run took the directory: nothing follows."""
        self.attempt = start.attempt
        self.consumed = 0
        """Bytes taken in so far, of all segments."""
        self.beat = start.beat
        self.damaged = start.damaged
        """Stretches that had to be skipped, and frames that contradict themselves or repeat steps."""
        self.gaps: list[Mapping[str, object]] = []
        """What the writer itself reported as dropped."""
        self.is_through = True
        """Whether the last poll came to the end of what there was."""

    @property
    def place(self) -> Place:
        """How far it has read."""
        return Place(
            self._current.name if self._current else "", self._offset, self.attempt, self._last_step, self._tensors,
            self._probes, self.damaged, self.beat,
        )

    def poll(self, budget: int = READ_BYTES, upto: Place | None = None, paths: list[Path] | None = None) -> list[Chunk]:
        """What was added since the last poll, at most about `budget` bytes of it; [] where nothing is new.

        A new attempt begins a new chunk, headed by its mark. `upto`: as far as another reader of the log has come.
        `paths`: the segments there are, where the caller has listed them.
        """
        self.is_through = True
        paths = segment_paths(self._metrics, self._rank) if paths is None else paths
        if not self._stands_in(paths):
            return []
        if upto is not None:
            paths = [p for p in paths if upto.segment and _order(p) <= segment_number(upto.segment)]
        if not paths:
            return []
        if self._current is None:
            self._current = paths[0]
        done: list[Chunk] = []
        stretch = _Stretch()
        while budget > 0 or (not done and stretch.is_empty):   # a run that is held says so for days
            newer = [p for p in paths if _order(p) > _order(self._current)]
            room = None if upto is None or newer else upto.offset - self._offset
            read = self._read(self._current, budget, done, stretch, is_last=not newer, room=room)
            budget -= max(read, 1)
            if self.is_through or (read == 0 and not newer):
                break
            if read == 0:
                self._current, self._offset, self._before = newer[0], 0, b""
        self._finish(done, stretch)
        return done

    def stands(self) -> bool:
        """Whether the log is still the one that was read, or gone as a whole."""
        return self._stands_in(segment_paths(self._metrics, self._rank))

    def _stands_in(self, paths: list[Path]) -> bool:
        if self._current is not None and paths and not self.is_replaced:
            self.is_replaced = self._current not in paths or not self._is_known(self._current)
        return not self.is_replaced

    def _is_known(self, path: Path) -> bool:
        """Whether the bytes before the place where reading goes on are those that were read."""
        size = len(self._before) or min(_BEFORE, self._offset)
        try:
            fd = open_to_read(path)
        except OSError:
            return True   # gone since it was listed
        try:
            there = os.pread(fd, size, self._offset - size)
        except OSError:
            return True
        finally:
            os.close(fd)
        self._before = self._before or there
        return there == self._before

    def _finish(self, done: list[Chunk], stretch: _Stretch) -> None:
        if not stretch.is_empty:
            done.append(stretch.chunk())
            stretch.blocks, stretch.tensors, stretch.probes, stretch.weights, stretch.marks = [], [], [], [], []

    def _read(self, path: Path, budget: int, done: list[Chunk], stretch: _Stretch, *, is_last: bool,
              room: int | None) -> int:
        """Consume what is complete; bytes consumed. A torn tail is left, unless a newer segment ends all hope.

        `room`: bytes that may be consumed at most.
        """
        size = max(budget, 1 << 16)
        data = bytes_at(path, self._offset, size) if room is None or room > 0 else None
        self.is_through = is_last and (data is None or len(data) < size)
        if data is None:
            return 0
        data = data if room is None else data[:room]
        consumed = 0
        for found in chains(data):
            if isinstance(found, int):
                self.damaged += 1
                consumed += found
                continue
            self._chain(found, data, done, stretch)
            consumed = int(found.ends[-1])
        self._decode(data, stretch)
        if consumed == 0 and data and not is_last:
            self.damaged += 1  # the torn end of a closed segment
        self._before = data[max(0, consumed - _BEFORE):consumed] or self._before
        self._offset += consumed
        self.consumed += consumed
        return consumed

    def _chain(self, chain: Chain, data: bytes, done: list[Chunk], stretch: _Stretch) -> None:
        """Take in frames, in order; those of rows wait, to be decoded together."""
        view, at = memoryview(data), 0
        rows = chain.kinds == log.ROWS
        for i in np.flatnonzero(~rows).tolist():
            kind = int(chain.kinds[i])
            if kind == log.HEAD:
                stretch.waiting.append(chain.where(rows, at, i))
                self._decode(data, stretch)
                at = i
            try:
                self._take(kind, view[chain.starts[i]:chain.ends[i]], done, stretch)
            except (ValueError, TypeError):
                self.damaged += 1
        stretch.waiting.append(chain.where(rows, at, len(rows)))

    def _decode(self, data: bytes, stretch: _Stretch) -> None:
        """Take in the frames of rows that were found."""
        starts = np.concatenate([c.starts for c in stretch.waiting]) if stretch.waiting else _NONE
        ends = np.concatenate([c.ends for c in stretch.waiting]) if stretch.waiting else _NONE
        stretch.waiting = []
        if not len(starts):
            return
        rows = decode_many(data, starts, ends)
        self.damaged += rows.damaged
        fresh, block, frame = increasing(rows.block.steps, self._last_step), rows.block, rows.frame
        if not fresh.all():
            self.damaged += len(np.unique(frame[~fresh]))
            block, frame = block.where(fresh), frame[fresh]
        if len(block.steps):
            if self._places is not None:
                after = np.searchsorted(frame, np.arange(len(starts)), "right")
                self._note(starts, ends, np.concatenate(([self._last_step], block.steps))[after])
            self._last_step = int(block.steps[-1])
            stretch.blocks.append(block)

    def _note(self, starts: Ints, ends: Ints, last: Ints) -> None:
        """Remember where rows lie: payloads of frames, and the last step known after each; all (f,)."""
        assert self._places is not None
        assert self._current is not None
        begin = starts - log.HEADER_BYTES + self._offset
        self._places.add(segment_number(self._current.name), begin, ends + self._offset, self._last_step, last)

    def _take(self, kind: int, payload: memoryview, done: list[Chunk], stretch: _Stretch) -> None:
        if kind == log.TENSORS:
            rows = log.decode_tensors(payload)
            if rows.grad.shape[1] != self._tensors:
                raise ValueError("tensor rows of another table")
            stretch.tensors.append(rows)
        elif kind == log.WEIGHTS:
            weights = log.decode_sparse(payload)
            if weights.values.shape[1] != self._tensors:
                raise ValueError("weights of another table")
            stretch.weights.append(weights)
        elif kind == log.PROBES:
            probes = log.decode_sparse(payload)
            if probes.values.shape[1] != self._probes:
                raise ValueError("probe rows of another table")
            stretch.probes.append(probes)
        elif kind == log.MARK:
            mark = log.decode_mark(payload)
            if mark.kind != "attempt":  # taken from the segment's head, which stands in every segment
                stretch.marks.append(mark)
        elif kind == log.BEAT:
            self.beat = built(Beat, log.decode_json(payload))
        elif kind == log.GAP:
            self.gaps.append(log.decode_json(payload))
        elif kind == log.HEAD:
            self._begin(log.decode_json(payload), done, stretch)

    def _begin(self, head: dict[str, object], done: list[Chunk], stretch: _Stretch) -> None:
        attempt, from_step, tensors = head.get("attempt"), head.get("from_step"), head.get("tensors")
        probes = head.get("probes", 0)  # logs of before there were any do not say
        if not (is_whole(attempt) and is_whole(from_step) and is_whole(tensors) and is_whole(probes)):
            raise ValueError("a segment's head has attempt, from_step, tensors and probes")
        if attempt == self.attempt and (tensors, probes) == (self._tensors, self._probes):
            return
        self._finish(done, stretch)   # what was measured of other tensors is no part of the same chunk
        self._tensors, self._probes = tensors, probes
        if attempt == self.attempt:
            return
        self.attempt, self._last_step = attempt, from_step
        if self._places is not None:
            self._places.supersede(from_step)
        world = head.get("world", 1)
        several = {"world": world} if is_whole(world) and world > 1 else {}
        stretch.marks.append(Mark(from_step, "attempt", {"number": attempt, "from_step": from_step, **several}))


def _order(path: Path) -> int:
    return segment_number(path.name)


def bytes_at(path: Path, offset: int, size: int) -> bytes | None:
    """About `size` bytes, or the whole of a frame that is longer; None where they cannot be read."""
    try:
        fd = open_to_read(path)
    except OSError:
        return None
    try:
        data = os.pread(fd, size, offset)
        if len(data) == size and not any(isinstance(f, log.Span) for f in log.spans(data)):
            whole = log.frame_bytes(data)   # one frame longer than the budget, or damage that goes on
            data = os.pread(fd, whole if whole > size else log.MAX_PAYLOAD + (1 << 16), offset)
    except OSError:
        return None
    finally:
        os.close(fd)
    return data


def increasing(steps: Ints, after: int) -> Bools:
    """Which steps (n,) are above all before them, and above `after`."""
    if not len(steps):
        return np.zeros(0, np.bool_)
    if steps[0] > after and (steps[1:] > steps[:-1]).all():
        return np.ones(len(steps), np.bool_)
    before = np.maximum.accumulate(np.concatenate(([after], steps[:-1])))
    return np.asarray(steps > before, np.bool_)
