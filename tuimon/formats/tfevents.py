"""TensorBoard's event files: TFRecord framing, Event messages, scalars of every age. Touches the disk.

A record is: length u64, its masked CRC-32C, the message, its masked CRC-32C. Short records and those that hold scalars
are checked; images and long histograms are passed over. Source: the .proto files and record
writer of TensorBoard 2.21; the tests read what it wrote.
"""

from __future__ import annotations

import os
import re
import struct
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from tuimon.errors import LogError
from tuimon.formats import protobuf, stored
from tuimon.formats.crc32c import masked_crcs
from tuimon.formats.table import Table, TableBuilder

_HEAD: Final = struct.Struct("<QI")
_CRC: Final = struct.Struct("<I")
LARGEST: Final = 1 << 20
"""Bytes of a record that is looked into: scalars need less, longer ones are images and graphs."""
SHORT: Final = 1 << 12
"""Bytes up to which every record is checked, for a damaged scalar may look like none."""
CHECKED: Final = 1 << 15
"""Records whose checksums are worked out together."""
_NUMERIC: Final = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 19: "<f2"}
"""TensorProto's data types that a scalar comes in."""


def read_events(files: Sequence[tuple[str, str]]) -> Table:
    """A table out of one run's files, (path, prefix for its tags) by their beginnings. LogError for damage."""
    builder = TableBuilder()
    for path, prefix in files:
        try:
            _read_file(path, prefix, builder)
        except LogError as error:
            raise LogError(f"{os.path.basename(path)}: {error}" if len(files) > 1 else str(error)) from None
    return builder.table()


@dataclass(slots=True)
class _Rows:
    """Scalars in file order; those of one step that follow each other are one row."""

    steps: array[int] = field(default_factory=lambda: array("q"))
    times: array[float] = field(default_factory=lambda: array("d"))
    tags: dict[str, tuple[array[int], array[float]]] = field(default_factory=dict)
    """Tag -> rows and values."""

    def add(self, step: int, time: float, tag: str, value: float) -> None:
        """One scalar more."""
        rows, values = self.tags.setdefault(tag, (array("q"), array("d")))
        if not self.steps or self.steps[-1] != step or (rows and rows[-1] == len(self.steps) - 1):
            self.steps.append(step)
            self.times.append(time)
        rows.append(len(self.steps) - 1)
        values.append(value)


def _read_file(path: str, prefix: str, builder: TableBuilder) -> None:
    rows = _Rows()
    waiting: list[tuple[int, bytes]] = []
    for offset, record in _records(path, builder):
        message = record[12:-4]
        try:
            found = _plain(message) or list(_scalars(message))
        except (ValueError, struct.error):
            _check([(offset, record)])
            raise LogError(f"byte {offset}: not an event") from None
        for step, time, raw, value in found:
            tag = prefix + raw.decode("utf-8", "replace")
            if builder.takes(tag):
                rows.add(step, time, tag, value)
        if found or len(record) <= SHORT:
            waiting.append((offset, record))
            if len(waiting) == CHECKED:
                _check(waiting)
                waiting = []
    _check(waiting)
    count = len(rows.steps)
    every = np.arange(count)
    builder.add_sparse({
        "step": (every, rows.steps), "wall_time": (every, rows.times),
        **{tag: (np.array(at, np.int64), values) for tag, (at, values) in rows.tags.items()},
    }, count, lambda row, tag: f"step {rows.steps[row]}, tag {tag[:40]!r}")


def _records(path: str, builder: TableBuilder) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes, framing included, of each record that is not too long to hold scalars."""
    with os.fdopen(stored.open_file(path), "rb", buffering=1 << 20) as file:
        size, offset = os.fstat(file.fileno()).st_size, 0
        try:
            while head := file.read(12):
                length = _HEAD.unpack(head)[0] if len(head) == 12 else 0
                end = offset + 12 + length + 4
                if len(head) == 12 and (length > LARGEST or end > size):
                    _check_length(offset, head)
                if len(head) < 12 or end > size:
                    builder.notes.append(stored.torn(f"the last record, at byte {offset},"))
                    return
                if length > LARGEST:
                    file.seek(end)
                else:
                    yield offset, head + file.read(length + 4)
                offset = end
        except OSError as error:
            raise LogError(f"cannot be read: {error.strerror}") from None


def _check_length(offset: int, head: bytes) -> None:
    if int(masked_crcs([head[:8]])[0]) != _HEAD.unpack(head)[1]:
        raise LogError(f"byte {offset}: damaged (checksum of a length)")


def _check(found: Sequence[tuple[int, bytes]]) -> None:
    """LogError at the first record that does not fit its checksums."""
    for part, words in ((slice(0, 8), "a length"), (slice(12, -4), "a record")):
        where = slice(8, 12) if part.start == 0 else slice(-4, None)
        told = np.array([_CRC.unpack(record[where])[0] for _, record in found], np.uint32)
        bad = np.flatnonzero(told != masked_crcs([record[part] for _, record in found]))
        if len(bad):
            raise LogError(f"byte {found[int(bad[0])][0]}: damaged (checksum of {words})")


_ONE: Final = re.compile(
    rb"\x09(.{8})(?:\x10([\x80-\xff]{0,9}[\x00-\x7f]))?\x2a([\x00-\x7f])\x0a([\x00-\x7f])\x0a([\x00-\x7f])(.+)\x15(.{4})",
    re.DOTALL,
)
"""Time, step, lengths of summary, value and tag, the tag, the number: an event with one scalar, as most are."""


def _plain(event: bytes) -> list[tuple[int, float, bytes, float]]:
    """What `_scalars` finds in the commonest kind of event, three times as fast; nothing for any other."""
    found = _ONE.fullmatch(event)
    if found is None:
        return []
    time, step, summary, value, length, tag, scalar = found.groups()
    if not summary[0] - 2 == value[0] == len(tag) + 7 or length[0] != len(tag):
        return []
    number = protobuf.signed(protobuf.varint(step, 0)[0]) if step else 0
    return [(number, protobuf.double(time), tag, protobuf.single(scalar))]


def _scalars(event: bytes) -> Iterator[tuple[int, float, bytes, float]]:
    """(step, wall time, tag, value) of each scalar in an Event. ValueError for what is none."""
    step, time, summary = 0, 0.0, b""
    for number, wire, value in protobuf.fields(event):
        if number == 1 and wire == protobuf.FIXED64:
            time = protobuf.double(value)
        elif number == 2 and wire == protobuf.VARINT:
            step = protobuf.signed(value)
        elif number == 5 and wire == protobuf.BYTES:
            summary += value  # a message that stands twice is joined
    for number, wire, value in protobuf.fields(summary):
        if number == 1 and wire == protobuf.BYTES:
            tag, scalar = _value(value)
            if tag and scalar is not None:
                yield step, time, tag, scalar


def _value(message: bytes) -> tuple[bytes, float | None]:
    tag, scalar = b"", None
    for number, wire, value in protobuf.fields(message):
        if number == 1 and wire == protobuf.BYTES:
            tag = value
        elif number == 2 and wire == protobuf.FIXED32:
            scalar = protobuf.single(value)
        elif number == 8 and wire == protobuf.BYTES:
            scalar = _tensor(value)
    return tag, scalar


def _tensor(message: bytes) -> float | None:
    """The one number in a TensorProto; None where it holds none, or several."""
    kind, packed = 0, []
    for number, wire, value in protobuf.fields(message):
        if number == 1 and wire == protobuf.VARINT:
            kind = value
        elif number == 4 and wire == protobuf.BYTES and kind in _NUMERIC:
            packed.append((_NUMERIC[kind], value))
        elif number in (5, 6) and wire != protobuf.VARINT:
            packed.append(("<f4" if number == 5 else "<f8", value))
        elif number in (7, 10) and wire == protobuf.VARINT:
            return float(protobuf.signed(value))
    found = [one for form, raw in packed if len(raw) == np.dtype(form).itemsize for one in np.frombuffer(raw, form)]
    return float(found[0]) if len(found) == 1 and len(packed) == 1 else None
