"""Events as TensorBoard's files hold them, many scalars at once. Pure.

    Event    1 wall_time double, 2 step int64, 3 file_version, 5 summary, 7 session_log
    Summary  1 value: 1 tag, 2 simple_value float, 8 tensor, 9 metadata

One event carries all scalars of a step. Rows of one pattern have the same bytes but for time, step and numbers, so a
pattern is one array (rows, bytes). Numbers are singles: TensorBoard keeps no others.
Source: event.proto, summary.proto and tensor.proto of TensorBoard 2.21; the tests read them with its own reader.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tuimon.formats.crc32c import masked_crcs, masked_crcs_in
from tuimon.formats.exports.patterns import groups
from tuimon.formats.protobuf import put, put_varint
from tuimon.record.chunk import Bools, Floats, Ints, Vectors

TAGS: Final = 256
"""Scalars in one event at most, so that no record is longer than readers look into."""
ROWS: Final = 1 << 13
"""Rows that are encoded together."""
_START: Final = 1
"""SessionLog's status of a start."""
_STRING: Final = 7
"""TensorProto's data type of texts."""
Bytes = NDArray[np.uint8]


def beginning(time: float) -> bytes:
    """What every file begins with: the version, and a start, for readers take but the second for one that goes back."""
    return framed([put(1, time) + put(3, b"brain.Event:2")]) + start(time, 0)


def start(time: float, step: int) -> bytes:
    """The run begins here, or goes on here having passed it: readers forget what they have of `step` and later."""
    return framed([put(1, time) + put(2, step) + put(7, put(1, _START))])


def text(time: float, step: int, tag: str, words: str) -> bytes:
    """A text, shown as Markdown under its tag."""
    tensor = put(1, _STRING) + put(2, put(2, put(1, 1))) + put(8, words.encode("utf-8", "replace"))
    metadata = put(1, put(1, b"text"))
    value = put(1, tag.encode("utf-8", "replace")) + put(8, tensor) + put(9, metadata)
    return framed([put(1, time) + put(2, step) + put(5, put(1, value))])


def framed(messages: Sequence[bytes]) -> bytes:
    """Messages as records."""
    heads = [struct.pack("<Q", len(message)) for message in messages]
    sums = zip(masked_crcs(heads).tolist(), masked_crcs(messages).tolist(), strict=True)
    return b"".join(
        head + struct.pack("<I", first) + message + struct.pack("<I", second)
        for head, message, (first, second) in zip(heads, messages, sums, strict=True)
    )


def scalars(steps: Ints, times: Floats, columns: Mapping[str, tuple[Floats, Bools]]) -> bytes:
    """Rows (n) as records; columns: tag -> values (n,) and whether each is there. A row without any gives none."""
    named = [(tag.encode("utf-8", "replace"), *column) for tag, column in columns.items()]
    parts = []
    for at in range(0, len(steps), ROWS):
        rows = slice(at, at + ROWS)
        blocks = []
        for first in range(0, len(named), TAGS):
            some = named[first:first + TAGS]
            values = np.stack([values[rows] for _, values, _ in some], 1)
            there = np.stack([present[rows] for _, _, present in some], 1)
            with np.errstate(over="ignore", under="ignore", invalid="ignore"):
                singles = values.astype("<f4")
            blocks += _blocks([tag for tag, _, _ in some], steps[rows], times[rows], singles, there)
        parts.append(_records(blocks, len(steps[rows])))
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class _Same:
    """Messages (m, length) of one pattern, and the rows they belong to."""

    rows: Ints
    messages: Bytes


def _blocks(tags: Sequence[bytes], steps: Ints, times: Floats, values: Vectors, there: Bools) -> list[_Same]:
    wide = _varint_lengths(steps)
    codes = np.concatenate([wide[:, None], there.astype(np.uint8)], 1)
    found = []
    for (length, *pattern), rows in groups(codes):
        chosen = [i for i, present in enumerate(pattern) if present]
        if chosen:
            found.append(_Same(rows, _messages(
                [tags[i] for i in chosen], steps[rows], times[rows], values[rows][:, chosen], length)))
    return found


def _messages(tags: Sequence[bytes], steps: Ints, times: Floats, values: Vectors, length: int) -> Bytes:
    """Events (m, bytes) that carry the same tags and whose steps are varints of the same length."""
    bare = [put(1, tag) + b"\x15" for tag in tags]
    summary, places = b"", []
    for one in bare:
        summary += b"\x0a" + put_varint(len(one) + 4) + one
        places.append(len(summary))
        summary += bytes(4)
    head = b"\x09" + bytes(8) + b"\x10" + bytes(length) + b"\x2a" + put_varint(len(summary))
    made = np.tile(np.frombuffer(head + summary, np.uint8), (len(steps), 1))
    made[:, 1:9] = np.ascontiguousarray(times.astype("<f8")).view(np.uint8).reshape(-1, 8)
    rest = steps.astype(np.uint64)
    for j in range(length):
        more = 0x80 if j < length - 1 else 0
        made[:, 10 + j] = ((rest >> np.uint64(7 * j)) & np.uint64(0x7F)).astype(np.uint8) | more
    raw = np.ascontiguousarray(values).view(np.uint8).reshape(len(steps), -1, 4)
    for i, place in enumerate(places):
        made[:, len(head) + place:len(head) + place + 4] = raw[:, i]
    return made


def _varint_lengths(steps: Ints) -> NDArray[np.uint8]:
    """Bytes that each step takes (n,)."""
    rest = steps.astype(np.uint64)
    lengths = np.ones(len(steps), np.uint8)
    for j in range(1, 10):
        lengths += rest >= np.uint64(1 << 7 * j)
    return lengths


def _records(blocks: Sequence[_Same], count: int) -> bytes:
    """Records of all blocks, by row; of one row in the order of the blocks."""
    if not blocks:
        return b""
    lengths = np.concatenate([np.full(len(b.rows), b.messages.shape[1], np.int64) for b in blocks])
    order = np.argsort(np.concatenate([b.rows for b in blocks]), kind="stable")
    starts = np.empty(len(lengths), np.int64)
    starts[order] = np.cumsum(lengths[order] + 16) - (lengths[order] + 16)
    flat = np.empty(int((lengths + 16).sum()), np.uint8)
    heads = {int(n): struct.pack("<QI", n, int(masked_crcs([struct.pack("<Q", n)])[0])) for n in np.unique(lengths)}
    at = 0
    for block in blocks:
        size, first = block.messages.shape[1], starts[at:at + len(block.rows)]
        head = np.frombuffer(heads[size], np.uint8)
        if len(blocks) == 1 and len(block.rows) == count:
            wide = flat.reshape(count, size + 16)
            wide[:, :12], wide[:, 12:-4] = head, block.messages
        else:
            flat[first[:, None] + np.arange(12)] = head
            flat[first[:, None] + np.arange(12, 12 + size)] = block.messages
        at += len(block.rows)
    sums = masked_crcs_in(flat, starts + 12, lengths).astype("<u4")
    flat[(starts + 12 + lengths)[:, None] + np.arange(4)] = sums.view(np.uint8).reshape(-1, 4)
    return flat.tobytes()
