"""The wire format of protocol buffers: a message's fields, without a schema, read and written. Pure.

In what is read no length is believed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5
_DOUBLE: Final = struct.Struct("<d")
_FLOAT: Final = struct.Struct("<f")


def fields(data: bytes) -> Iterator[tuple[int, int, Any]]:
    """(field number, wire type, value) of each field: an unsigned int, or bytes (4, 8 or as many as it says).

    ValueError for what is no message.
    """
    at, end = 0, len(data)
    while at < end:
        key, at = varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, at = varint(data, at)
            yield number, wire, value
            continue
        if wire == BYTES:
            size, at = varint(data, at)
        elif wire == FIXED64:
            size = 8
        elif wire == FIXED32:
            size = 4
        else:
            raise ValueError(f"wire type {wire}")
        if size > end - at:
            raise ValueError("a field that is longer than its message")
        yield number, wire, data[at:at + size]
        at += size


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The number that begins at `at`, and where it ends. ValueError where it does not end."""
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number that does not end")


def signed(value: int) -> int:
    """An int64 field's value."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def double(value: bytes) -> float:
    """A FIXED64 field as a double."""
    return float(_DOUBLE.unpack(value)[0])


def single(value: bytes) -> float:
    """A FIXED32 field as a float."""
    return float(_FLOAT.unpack(value)[0])


def put_varint(value: int) -> bytes:
    """An int64 as a varint: of what is negative ten bytes."""
    value &= (1 << 64) - 1
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def put(number: int, value: float | bytes) -> bytes:
    """A field: an int as a varint, a float as a double, bytes with their length before them."""
    if isinstance(value, bytes):
        return put_varint(number << 3 | BYTES) + put_varint(len(value)) + value
    if isinstance(value, int):
        return put_varint(number << 3 | VARINT) + put_varint(value)
    return put_varint(number << 3 | FIXED64) + _DOUBLE.pack(value)
