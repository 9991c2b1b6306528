"""The metrics log on disk: append-only segments, one writer per rank, readers that follow. Touches the disk.

    metrics/r0-000.tlog, r0-001.tlog ...    a new segment per attempt and every 64 MB; never rewritten
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from tuimon.record import log
from tuimon.record.chunk import Chunk, Mark, ProbeRows, TensorRows
from tuimon.record.files import OS, Files, open_to_read, write_fully
from tuimon.record.log import Row, TensorRow
from tuimon.record.probes import ProbeRow

SEGMENT_BYTES: Final = 64 << 20
ROWS_PER_FRAME: Final = 4096
VECTOR_BYTES_PER_FRAME: Final = 8 << 20
READ_BYTES: Final = 32 << 20
"""Read in one poll, so that opening a long run shows progress."""
_CREATE: Final = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_T = TypeVar("_T")
_NAME: Final = re.compile(r"^r(\d+)-(\d{3,})\.tlog$")

__all__ = ["Beat", "LogReader", "LogWriter", "ProbeRow", "Row", "TensorRow", "segment_paths"]


def segment_paths(metrics: Path, rank: int = 0) -> list[Path]:
    """The segments of one rank, oldest first; empty where the directory is missing."""
    try:
        names = os.listdir(metrics)
    except OSError:
        return []
    found = [(int(m.group(2)), n) for n in names if (m := _NAME.match(n)) and int(m.group(1)) == rank]
    return [metrics / name for _, name in sorted(found)]


class LogWriter:
    """Appends to the newest segment. Every method may raise OSError, and then nothing of that call is in the file."""

    def __init__(
        self, metrics: Path, *, attempt: int, from_step: int, tensors: int, probes: int = 0, rank: int = 0,
        files: Files = OS,
    ) -> None:
        self._metrics, self._rank, self._files = metrics, rank, files
        self._head = {"attempt": attempt, "from_step": from_step, "tensors": tensors, "probes": probes, "rank": rank}
        self._fd, self._offset, self._sequence = -1, 0, 0
        self._open_segment()

    def append(self, items: Sequence[Row | TensorRow | ProbeRow | Mark]) -> None:
        """Write a stretch in order: its tensor rows, its probe rows, its rows, and marks in their place."""
        if not items:
            return
        sequence, parts = self._sequence, []
        rows: list[Row] = []
        vectors: list[TensorRow] = []
        probes: list[ProbeRow] = []

        def flush() -> None:
            nonlocal sequence
            for block in _blocks(vectors, _rows_per_frame(self._head["tensors"])):
                parts.append(log.encode_tensors(sequence, block))
                sequence += 1
            for probes_block in _blocks(probes, _rows_per_frame(self._head["probes"])):
                parts.append(log.encode_probes(sequence, probes_block))
                sequence += 1
            for rows_block in _blocks(rows, ROWS_PER_FRAME):
                parts.append(log.encode_rows(sequence, rows_block))
                sequence += 1
            rows.clear()
            vectors.clear()
            probes.clear()

        for item in items:
            if isinstance(item, Row):
                rows.append(item)
            elif isinstance(item, TensorRow):
                vectors.append(item)
            elif isinstance(item, ProbeRow):
                probes.append(item)
            else:
                flush()
                body = {"step": item.step, "kind": item.kind, "fields": dict(item.fields)}
                parts.append(log.encode_json(log.MARK, sequence, body))
                sequence += 1
        flush()
        self._write(b"".join(parts), sequence)

    def gap(self, dropped: int, why: str) -> None:
        """Say in band that rows are missing here."""
        self._write(log.encode_json(log.GAP, self._sequence, {"dropped": dropped, "why": why}), self._sequence + 1)

    def beat(self, wall: float, mono: float, state: str) -> None:
        """Say that the process lives."""
        body = {"wall": wall, "mono": mono, "state": state}
        self._write(log.encode_json(log.BEAT, self._sequence, body), self._sequence + 1)

    def sync(self) -> None:
        """Make what was written durable against power loss."""
        self._files.sync(self._fd)

    def close(self) -> None:
        """Give the file back. Idempotent."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            self._files.close(fd)

    def _write(self, data: bytes, sequence: int) -> None:
        if self._offset and self._offset + len(data) > SEGMENT_BYTES:
            self.close()
            self._open_segment()
        if self._fd < 0:
            self._open_segment()
        write_fully(self._files, self._fd, data, self._offset)
        self._offset += len(data)
        self._sequence = sequence

    def _open_segment(self) -> None:
        """O_EXCL: two writers on one directory get two files, never one torn one."""
        existing = segment_paths(self._metrics, self._rank)
        number = int(_NAME.match(existing[-1].name).group(2)) + 1 if existing else 0  # type: ignore[union-attr]  # listed by that pattern
        while True:
            try:
                path = self._metrics / f"r{self._rank}-{number:03d}.tlog"
                fd = self._files.open(str(path), _CREATE, 0o600)
            except FileExistsError:
                number += 1
                continue
            break
        head = log.encode_json(log.HEAD, self._sequence, self._head)
        try:
            write_fully(self._files, fd, head, 0)
        except OSError:
            self._files.close(fd)
            try:
                os.unlink(path)  # an empty segment would only say that a disk was full
            except OSError:
                pass
            raise
        self._fd, self._offset = fd, len(head)
        self._sequence += 1


def _rows_per_frame(width: int) -> int:
    return max(1, VECTOR_BYTES_PER_FRAME // (8 * max(1, width)))


def _blocks(items: Sequence[_T], size: int) -> list[Sequence[_T]]:
    return [items[i:i + size] for i in range(0, len(items), size)]


@dataclass(frozen=True, slots=True)
class Beat:
    """The last sign of life in the log."""

    wall: float
    mono: float
    """Monotonic clock of the writing machine."""
    state: str


@dataclass(slots=True)
class _Stretch:
    """Frames of one attempt being put together into a chunk."""

    blocks: list[log.RowBlock] = field(default_factory=list)
    tensors: list[TensorRows] = field(default_factory=list)
    probes: list[ProbeRows] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)

    def chunk(self) -> Chunk:
        steps = np.concatenate([b.steps for b in self.blocks]) if self.blocks else np.zeros(0, np.int64)
        times = np.concatenate([b.times for b in self.blocks]) if self.blocks else np.zeros(0)
        names = list(dict.fromkeys(name for b in self.blocks for name in b.columns))
        columns, present = {}, {}
        for name in names:
            columns[name] = np.concatenate([b.columns.get(name, np.full(len(b.steps), np.nan)) for b in self.blocks])
            present[name] = np.concatenate(
                [b.present.get(name, np.zeros(len(b.steps), np.bool_)) for b in self.blocks]
            )
        return Chunk(
            steps, times, columns, present, TensorRows.join(self.tensors), tuple(self.marks),
            ProbeRows.join(self.probes),
        )


class LogReader:
    """Follows the segments of one rank. Never raises on damage: counts it and goes on at the next intact frame."""

    def __init__(self, metrics: Path, rank: int = 0) -> None:
        self._metrics, self._rank = metrics, rank
        self._current: Path | None = None
        self._offset = 0
        self._last_step = -1
        self._tensors = self._probes = 0
        self.attempt = 0
        self.consumed = 0
        """Bytes taken in so far, of all segments."""
        self.beat: Beat | None = None
        self.damaged = 0
        """Stretches that had to be skipped, and frames that contradict themselves or repeat steps."""
        self.gaps: list[Mapping[str, object]] = []
        """What the writer itself reported as dropped."""

    def poll(self, budget: int = READ_BYTES) -> list[Chunk]:
        """What was added since the last poll, at most `budget` bytes of it; [] where nothing is new.

        A new attempt begins a new chunk, headed by its mark.
        """
        paths = segment_paths(self._metrics, self._rank)
        if not paths:
            return []
        if self._current is None:
            self._current = paths[0]
        done: list[Chunk] = []
        stretch = _Stretch()
        while budget > 0:
            newer = [p for p in paths if p.name > self._current.name]
            read = self._read(self._current, budget, done, stretch, is_last=not newer)
            budget -= max(read, 1)
            if read == 0:
                if not newer:
                    break
                self._current, self._offset = newer[0], 0
        self._finish(done, stretch)
        return done

    def _finish(self, done: list[Chunk], stretch: _Stretch) -> None:
        if stretch.blocks or stretch.tensors or stretch.probes or stretch.marks:
            done.append(stretch.chunk())
            stretch.blocks, stretch.tensors, stretch.probes, stretch.marks = [], [], [], []

    def _read(self, path: Path, budget: int, done: list[Chunk], stretch: _Stretch, *, is_last: bool) -> int:
        """Consume what is complete; bytes consumed. A torn tail is left, unless a newer segment ends all hope."""
        try:
            fd = open_to_read(path)
        except OSError:
            return 0
        try:
            size = max(budget, 1 << 16)
            data = os.pread(fd, size, self._offset)
            if len(data) == size and not any(isinstance(f, log.Frame) for f in log.frames(data)):
                data = os.pread(fd, log.MAX_PAYLOAD + (1 << 16), self._offset)  # one frame larger than the budget
        except OSError:
            return 0
        finally:
            os.close(fd)
        consumed = 0
        for found in log.frames(data):
            if isinstance(found, int):
                self.damaged += 1
                consumed += found
                continue
            try:
                self._take(found, done, stretch)
            except ValueError:
                self.damaged += 1
            consumed = found.end
        if consumed == 0 and data and not is_last:
            self.damaged += 1  # the torn end of a closed segment
        self._offset += consumed
        self.consumed += consumed
        return consumed

    def _take(self, frame: log.Frame, done: list[Chunk], stretch: _Stretch) -> None:
        if frame.kind == log.ROWS:
            block = log.decode_rows(frame.payload)
            fresh = _increasing(block.steps, self._last_step)
            if not fresh.all():
                self.damaged += 1
                block = log.RowBlock(
                    block.steps[fresh], block.times[fresh], {k: v[fresh] for k, v in block.columns.items()},
                    {k: v[fresh] for k, v in block.present.items()},
                )
            if len(block.steps):
                self._last_step = int(block.steps[-1])
                stretch.blocks.append(block)
        elif frame.kind == log.TENSORS:
            rows = log.decode_tensors(frame.payload)
            if rows.grad.shape[1] != self._tensors:
                raise ValueError("tensor rows of another table")
            stretch.tensors.append(rows)
        elif frame.kind == log.PROBES:
            probes = log.decode_probes(frame.payload)
            if probes.values.shape[1] != self._probes:
                raise ValueError("probe rows of another table")
            stretch.probes.append(probes)
        elif frame.kind == log.MARK:
            mark = log.decode_mark(frame.payload)
            if mark.kind != "attempt":  # taken from the segment's head, which stands in every segment
                stretch.marks.append(mark)
        elif frame.kind == log.BEAT:
            body = log.decode_json(frame.payload)
            self.beat = Beat(float(body["wall"]), float(body["mono"]), str(body["state"]))
        elif frame.kind == log.GAP:
            self.gaps.append(log.decode_json(frame.payload))
        elif frame.kind == log.HEAD:
            self._begin(log.decode_json(frame.payload), done, stretch)

    def _begin(self, head: dict[str, object], done: list[Chunk], stretch: _Stretch) -> None:
        attempt, from_step, tensors = head.get("attempt"), head.get("from_step"), head.get("tensors")
        probes = head.get("probes", 0)  # logs of before there were any do not say
        if not (isinstance(attempt, int) and isinstance(from_step, int) and isinstance(tensors, int)
                and isinstance(probes, int)):
            raise ValueError("a segment's head has attempt, from_step, tensors and probes")  # noqa: TRY004
        self._tensors, self._probes = tensors, probes
        if attempt == self.attempt:
            return
        self._finish(done, stretch)
        self.attempt, self._last_step = attempt, from_step
        stretch.marks.append(Mark(from_step, "attempt", {"number": attempt, "from_step": from_step}))


def _increasing(steps: np.ndarray[tuple[int, ...], np.dtype[np.int64]], after: int) -> np.ndarray[
    tuple[int, ...], np.dtype[np.bool_]
]:
    """Which steps are above all before them."""
    if not len(steps):
        return np.zeros(0, np.bool_)
    before = np.maximum.accumulate(np.concatenate(([after], steps[:-1])))
    return np.asarray(steps > before, np.bool_)
