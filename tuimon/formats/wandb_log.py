"""W&B's offline `.wandb` files: LevelDB log framing around Record messages. Touches the disk.

After a head of 7 bytes, blocks of 32 KiB hold records: CRC-32 u32 of type and data, length u16, type (whole, first,
middle, last), data. Read: history (what was logged, step by step) and exit. Source: wandb 0.31's .proto files; the
tests read what it wrote: values as JSON in field 16. Its .proto also has typed fields.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator
from typing import Any, Final

from tuimon.errors import LogError
from tuimon.formats import protobuf, stored
from tuimon.formats.table import Table, TableBuilder

HEAD: Final = b":W&B\xe1\xbe\x00"
BLOCK: Final = 1 << 15
_RECORD: Final = struct.Struct("<IHB")
_WHOLE, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
LARGEST: Final = 16 << 20
"""Bytes of a record that is put together from its parts."""
ROWS: Final = 1 << 13
HISTORY: Final = 2
EXIT: Final = 18
_TYPES: Final = {kind: zlib.crc32(bytes([kind])) for kind in (_WHOLE, _FIRST, _MIDDLE, _LAST)}


def read_wandb(path: str) -> tuple[Table, str]:
    """A table out of a .wandb file, and the state that it tells of. LogError with the byte for damage."""
    builder, state = TableBuilder(), "unknown"
    rows: list[dict[str, Any]] = []
    at: list[int] = []

    def take() -> None:
        builder.add_records(rows, lambda row, name: f"byte {at[row]}, key {name[:40]!r}")
        rows.clear()
        at.clear()

    for offset, record in _records(path, builder):
        try:
            for number, wire, value in protobuf.fields(record):
                if number == HISTORY and wire == protobuf.BYTES:
                    rows.append(_history(value, builder))
                    at.append(offset)
                elif number == EXIT and wire == protobuf.BYTES:
                    code = next((v for n, w, v in protobuf.fields(value) if n == 1 and w == protobuf.VARINT), 0)
                    state = "crashed" if code else "finished"
        except (ValueError, struct.error, RecursionError) as error:
            raise LogError(f"byte {offset}: not a W&B record ({str(error).splitlines()[0][:80]})") from None
        if len(rows) == ROWS:
            take()
    take()
    return builder.table(), state


def _records(path: str, builder: TableBuilder) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes of each record."""
    with os.fdopen(stored.open_file(path), "rb", buffering=BLOCK) as file:
        try:
            if file.read(7) != HEAD:
                raise LogError("not a .wandb file of version 0")
            offset = begun = 7
            parts: list[bytes] = []
            while True:
                left = BLOCK - offset % BLOCK
                head = file.read(min(7, left))
                if left < 7 or len(head) < 7:
                    if len(head) < min(7, left):
                        break
                    offset += left  # a block's last bytes, too few for a record
                    continue
                told, length, kind = _RECORD.unpack(head)
                if kind not in _TYPES or length > left - 7:
                    if told == length == kind == 0:
                        file.seek(left - 7, os.SEEK_CUR)
                        offset += left
                        continue
                    raise LogError(f"byte {offset}: damaged (no record begins here)")
                data = file.read(length)
                if len(data) < length:
                    break
                if zlib.crc32(data, _TYPES[kind]) != told:
                    raise LogError(f"byte {offset}: damaged (checksum)")
                if kind in (_WHOLE, _FIRST):
                    begun, parts = offset, []
                parts.append(data)
                if sum(map(len, parts)) > LARGEST:
                    parts = [b""]
                offset += 7 + length
                if kind in (_WHOLE, _LAST):
                    yield begun, b"".join(parts)
                    parts = []
        except OSError as error:
            raise LogError(f"cannot be read: {error.strerror}") from None
    if head or parts:
        builder.notes.append(stored.torn(f"the last record, at byte {offset},"))


def _history(message: bytes, builder: TableBuilder) -> dict[str, Any]:
    """One row of what was logged: those of its keys that mean something to us."""
    row: dict[str, Any] = {}
    for number, wire, value in protobuf.fields(message):
        if number == 1 and wire == protobuf.BYTES:
            name, found = _item(value, builder)
            if name:
                row[name] = found
        elif number == 2 and wire == protobuf.BYTES:
            step = next((v for n, w, v in protobuf.fields(value) if n == 1 and w == protobuf.VARINT), 0)
            row.setdefault("_step", protobuf.signed(step))
    return row


def _item(message: bytes, builder: TableBuilder) -> tuple[str, Any]:
    """Name ("" for what we do not know) and value of one HistoryItem."""
    path: list[str] = []
    value: Any = None
    for number, wire, raw in protobuf.fields(message):
        if number in (1, 2) and wire == protobuf.BYTES:
            path.append(raw.decode("utf-8", "replace"))
        elif number in (8, 16) and wire == protobuf.BYTES:
            value = raw
        elif number == 4 and wire == protobuf.VARINT:
            value = bool(raw)
        elif number == 5 and wire == protobuf.VARINT:
            value = (raw >> 1) ^ -(raw & 1)  # sint64
        elif number == 6 and wire == protobuf.FIXED64:
            value = protobuf.double(raw)
        elif number == 7 and wire == protobuf.BYTES:
            value = raw.decode("utf-8", "replace")
    name = "/".join(part for part in path if part)
    if not builder.takes(name) and not (isinstance(value, bytes) and value[:1] == b"{"):
        return "", None
    return name, json.loads(value) if isinstance(value, bytes) else value
