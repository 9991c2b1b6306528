"""The metrics log on disk: append-only segments, one writer per rank. Touches the disk. `reader` follows them.

    metrics/r0-000.tlog, r0-001.tlog ...    a new segment per attempt and every 64 MB; never rewritten
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from tuimon.record import log
from tuimon.record.chunk import Mark
from tuimon.record.files import OS, Files, write_fully
from tuimon.record.log import Row, TensorRow, WeightRow
from tuimon.record.probes import ProbeRow
from tuimon.record.reader import Beat, LogReader, segment_number, segment_paths

SEGMENT_BYTES: Final = 64 << 20
ROWS_PER_FRAME: Final = 4096
VECTOR_BYTES_PER_FRAME: Final = 8 << 20
_CREATE: Final = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW
_T = TypeVar("_T")

__all__ = ["Beat", "LogReader", "LogWriter", "ProbeRow", "Row", "TensorRow", "WeightRow", "segment_paths"]


class LogWriter:
    """Appends to the newest segment. Every method may raise OSError, and then nothing of that call is in the file."""

    def __init__(
        self, metrics: Path, *, attempt: int, from_step: int, tensors: int, probes: int = 0, rank: int = 0,
        world: int = 1, files: Files = OS,
    ) -> None:
        self._metrics, self._rank, self._files = metrics, rank, files
        self._head = {"attempt": attempt, "from_step": from_step, "tensors": tensors, "probes": probes, "rank": rank}
        if world > 1:
            self._head["world"] = world
        self._fd, self._offset, self._sequence = -1, 0, 0
        self._is_torn = False
        """Whether something may stand behind the end of what was written."""
        self._open_segment()

    def append(self, items: Sequence[Row | TensorRow | WeightRow | ProbeRow | Mark]) -> None:
        """Write a stretch in order: its vectors, its rows, and marks in their place."""
        if not items:
            return
        sequence, parts = self._sequence, []
        rows: list[Row] = []
        vectors: list[TensorRow] = []
        weights: list[WeightRow] = []
        probes: list[ProbeRow] = []

        def flush() -> None:
            nonlocal sequence
            for block in _blocks(vectors, _rows_per_frame(self._head["tensors"])):
                parts.append(log.encode_tensors(sequence, block))
                sequence += 1
            for weights_block in _blocks(weights, _rows_per_frame(self._head["tensors"])):
                parts.append(log.encode_sparse(log.WEIGHTS, sequence, weights_block))
                sequence += 1
            for probes_block in _blocks(probes, _rows_per_frame(self._head["probes"])):
                parts.append(log.encode_sparse(log.PROBES, sequence, probes_block))
                sequence += 1
            for rows_block in _blocks(rows, ROWS_PER_FRAME):
                parts.append(log.encode_rows(sequence, rows_block))
                sequence += 1
            rows.clear()
            vectors.clear()
            weights.clear()
            probes.clear()

        for item in items:
            if isinstance(item, Row):
                rows.append(item)
            elif isinstance(item, TensorRow):
                vectors.append(item)
            elif isinstance(item, WeightRow):
                weights.append(item)
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
        if self._is_torn:  # frames of a half-written stretch, written again below, must not stand behind it
            self._files.ftruncate(self._fd, self._offset)
            self._is_torn = False
        try:
            write_fully(self._files, self._fd, data, self._offset)
        except BaseException:
            self._is_torn = True
            raise
        self._offset += len(data)
        self._sequence = sequence

    def _open_segment(self) -> None:
        """O_EXCL: two writers on one directory get two files, never one torn one."""
        existing = segment_paths(self._metrics, self._rank)
        number = segment_number(existing[-1].name) + 1 if existing else 0
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
            with suppress(OSError):
                os.unlink(path)  # an empty segment would only say that a disk was full
            with suppress(OSError):
                self._files.close(fd)
            raise
        self._fd, self._offset, self._is_torn = fd, len(head), False
        self._sequence += 1


def _rows_per_frame(width: int) -> int:
    return max(1, VECTOR_BYTES_PER_FRAME // (8 * max(1, width)))


def _blocks(items: Sequence[_T], size: int) -> list[Sequence[_T]]:
    return [items[i:i + size] for i in range(0, len(items), size)]
