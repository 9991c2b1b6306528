"""The log format: frames of bytes to and from values. Pure.

    frame    F5 54 4D 31 | kind u8 | 0 u8 | version u16 | length u32 | crc32 u32 | sequence u64 | payload
             little endian; the CRC covers kind, version, length, sequence and payload

    HEAD     JSON: attempt, from_step, tensors, probes, rank, world (of several)   first frame of every segment
    ROWS     n u32, k u16, k names, steps i64[n], times f64[n], values f64[k][n], present bits [k][n]
             a name is one byte, its position in METRICS, or 255, length u8, UTF-8
    TENSORS  m u32, P u32, steps i64[m], measured u8[m], grad f32[m][P], seen bits [m][P], update f32[sum measured][P]
    MARK     JSON: step, kind, fields
    GAP      JSON: dropped, why
    BEAT     JSON: wall, mono, state
    PROBES   m u32, K u32, steps i64[m], values f32[m][K], seen bits [m][K]
    WEIGHTS  as PROBES, of the P tensors: their own norms

Every frame stands alone: losing one costs its own rows. A reader that finds damage looks for the next magic.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np

from tuimon.record.chunk import Bools, Floats, Ints, Mark, SparseRows, TensorRows, Vectors
from tuimon.record.metrics import METRICS
from tuimon.record.plain import finite, is_whole
from tuimon.record.probes import ProbeRow

MAGIC: Final = b"\xf5TM1"
VERSION: Final = 1
HEAD, ROWS, TENSORS, MARK, GAP, BEAT, PROBES, WEIGHTS = 1, 2, 3, 4, 5, 6, 7, 8
MAX_PAYLOAD: Final = 64 << 20
"""Longer lengths are damage: nothing is allocated for them."""

_HEADER: Final = struct.Struct("<4sBxHIIQ")
_COVERED: Final = struct.Struct("<BxHIQ")
HEADER_BYTES: Final = _HEADER.size
HEADER: Final = np.dtype([("magic", "S4"), ("kind", "u1"), ("zero", "u1"), ("version", "<u2"), ("length", "<u4"),
                          ("crc", "<u4"), ("sequence", "<u8")])
"""The head of a frame, for many at once."""
_CODES: Final[dict[str, int]] = {name: i for i, name in enumerate(METRICS)}
_NAMES: Final[tuple[str, ...]] = tuple(METRICS)
_CUSTOM: Final = 255


@dataclass(frozen=True, slots=True)
class Row:
    """The scalars of one step."""

    step: int
    time: float
    """Wall clock, seconds since the epoch."""
    values: Mapping[str, float]
    """Only what was measured."""


@dataclass(frozen=True, slots=True)
class TensorRow:
    """The per-tensor vectors of one step."""

    step: int
    grad: Vectors
    """(P,) gradient norms."""
    seen: Bools
    """(P,) whether the tensor had a gradient."""
    update: Vectors | None
    """(P,) relative change; None where the update was not measured at this step."""


@dataclass(frozen=True, slots=True)
class WeightRow:
    """The norms of the tensors themselves after one step."""

    step: int
    values: Vectors
    """(P,) L2 norms."""
    seen: Bools
    """(P,) whether that tensor's was measured; the value is meaningless where it was not."""


class Span(NamedTuple):
    """Where one intact frame lies in the bytes that were looked through."""

    kind: int
    sequence: int
    start: int
    """First byte of its payload."""
    end: int


@dataclass(frozen=True, slots=True)
class Frame:
    """One intact frame and where it ends."""

    kind: int
    sequence: int
    payload: memoryview
    end: int


def encode_frame(kind: int, sequence: int, payload: bytes) -> bytes:
    """The bytes of one frame."""
    crc = zlib.crc32(payload, zlib.crc32(_COVERED.pack(kind, VERSION, len(payload), sequence)))
    return _HEADER.pack(MAGIC, kind, VERSION, len(payload), crc, sequence) + payload


def encode_json(kind: int, sequence: int, body: Mapping[str, Any]) -> bytes:
    """A frame that carries JSON; non-finite numbers travel as words."""
    return encode_frame(kind, sequence, json.dumps(finite(body), allow_nan=False).encode())


def encode_rows(sequence: int, rows: Sequence[Row]) -> bytes:
    """A frame of rows, column by column."""
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    n, k = len(rows), len(names)
    where = {name: i for i, name in enumerate(names)}
    values, present = np.zeros((k, n), "<f8"), np.zeros((k, n), np.bool_)
    for j, row in enumerate(rows):
        for name, value in row.values.items():
            i = where[name]
            values[i, j] = value
            present[i, j] = True
    head = struct.pack("<IH", n, k) + b"".join(_encode_name(name) for name in names)
    steps = np.fromiter((r.step for r in rows), "<i8", n)
    times = np.fromiter((r.time for r in rows), "<f8", n)
    bits = np.packbits(present.reshape(-1))
    return encode_frame(
        ROWS, sequence, b"".join((head, steps.tobytes(), times.tobytes(), values.tobytes(), bits.tobytes()))
    )


def _encode_name(name: str) -> bytes:
    code = _CODES.get(name)
    if code is not None:
        return bytes((code,))
    raw = name.encode("utf-8", "replace")[:200]
    return bytes((_CUSTOM, len(raw))) + raw


def encode_tensors(sequence: int, rows: Sequence[TensorRow]) -> bytes:
    """A frame of per-tensor vectors; all rows have the same length."""
    m, tensors = len(rows), len(rows[0].grad)
    measured = np.array([r.update is not None for r in rows], np.uint8)
    parts = [
        struct.pack("<II", m, tensors),
        np.fromiter((r.step for r in rows), "<i8", m).tobytes(),
        measured.tobytes(),
        np.stack([r.grad for r in rows]).astype("<f4").tobytes(),
        np.packbits(np.stack([r.seen for r in rows]).reshape(-1)).tobytes(),
        b"".join(r.update.astype("<f4").tobytes() for r in rows if r.update is not None),
    ]
    return encode_frame(TENSORS, sequence, b"".join(parts))


def encode_sparse(kind: int, sequence: int, rows: Sequence[ProbeRow] | Sequence[WeightRow]) -> bytes:
    """A frame of PROBES or WEIGHTS; all rows have the same length."""
    m, width = len(rows), len(rows[0].values)
    parts = [
        struct.pack("<II", m, width),
        np.fromiter((r.step for r in rows), "<i8", m).tobytes(),
        np.stack([r.values for r in rows]).astype("<f4").tobytes(),
        np.packbits(np.stack([r.seen for r in rows]).reshape(-1)).tobytes(),
    ]
    return encode_frame(kind, sequence, b"".join(parts))


def peek(raw: bytes, at: int) -> tuple[int, int] | None:
    """Kind and payload length of the frame whose header stands at `at`, unverified; None where there is no header."""
    if raw[at:at + 4] != MAGIC or at + HEADER_BYTES > len(raw):
        return None
    _, kind, _, length, _, _ = _HEADER.unpack_from(raw, at)
    return (kind, length) if length <= MAX_PAYLOAD else None


def holds(payload: bytes | memoryview, name: str) -> bool:
    """Whether a ROWS payload has a column of that name, which is one of METRICS: a look, without decoding."""
    columns = int.from_bytes(payload[4:6], "little")
    at, code = 6, _CODES[name]
    for _ in range(columns):
        if at >= len(payload):
            return False
        if payload[at] == code:
            return True
        at += 2 + payload[at + 1] if payload[at] == _CUSTOM and at + 1 < len(payload) else 1
    return False


def frames(data: bytes | memoryview) -> Iterator[Frame | int]:
    """Intact frames in `data`, and, as plain ints, how many bytes had to be skipped to find the next one.

    Stops before an incomplete frame at the end, which may be one that is still being written.
    """
    view = memoryview(data)
    for found in spans(data):
        yield found if isinstance(found, int) else Frame(
            found.kind, found.sequence, view[found.start:found.end], found.end)


def spans(data: bytes | memoryview) -> Iterator[Span | int]:
    """As `frames`, saying only where they lie."""
    view, raw = memoryview(data), b""
    at, end = 0, len(data)
    while at + HEADER_BYTES <= end:
        span = _span_at(view, at, end)
        if span is not None:
            yield span
            at = span[3]
            continue
        raw = raw or bytes(data)
        found = _next_intact(view, raw, at + 1)
        if found < 0:
            return
        yield found - at
        at = found


def frame_bytes(data: bytes) -> int:
    """How long the frame at the beginning of `data` says it is; 0 where there is none."""
    if len(data) < HEADER_BYTES or data[:4] != MAGIC:
        return 0
    length = int(_HEADER.unpack_from(data)[3])
    return HEADER_BYTES + length if length <= MAX_PAYLOAD else 0


def _span_at(view: memoryview, at: int, end: int) -> Span | None:
    magic, kind, version, length, crc, sequence = _HEADER.unpack_from(view, at)
    start = at + HEADER_BYTES
    until = start + length
    if magic != MAGIC or length > MAX_PAYLOAD or until > end:
        return None
    if zlib.crc32(view[start:until], zlib.crc32(_COVERED.pack(kind, version, length, sequence))) != crc:
        return None
    return Span(kind, sequence, start, until)


def _next_intact(view: memoryview, raw: bytes, start: int) -> int:
    """Where the next intact frame begins; -1 where there is none yet."""
    at, end = raw.find(MAGIC, start), len(raw)
    while 0 <= at <= end - HEADER_BYTES:
        if _span_at(view, at, end) is not None:
            return at
        at = raw.find(MAGIC, at + 1)
    return -1


@dataclass(frozen=True, slots=True)
class RowBlock:
    """A decoded ROWS frame."""

    steps: Ints
    times: Floats
    columns: dict[str, Floats]
    present: dict[str, Bools]

    def where(self, keep: Bools) -> RowBlock:
        """The rows for which `keep` (n,) is True."""
        return RowBlock(
            self.steps[keep], self.times[keep], {k: v[keep] for k, v in self.columns.items()},
            {k: v[keep] for k, v in self.present.items()},
        )


@dataclass(frozen=True, slots=True)
class RawRows:
    """What stands in a ROWS payload, where it stands. n rows, k columns."""

    names: tuple[str, ...]
    steps: Ints
    """(n,)"""
    times: Floats
    values: Floats
    """(k, n)"""
    present: Bools
    """(k, n)"""


def decode_rows(payload: memoryview) -> RowBlock:
    """The rows in a ROWS payload; ValueError if it contradicts itself (CRC was right, so a foreign writer)."""
    raw = view_rows(payload)
    return RowBlock(
        raw.steps.astype(np.int64), raw.times.astype(np.float64),
        {name: raw.values[i].astype(np.float64) for i, name in enumerate(raw.names)},
        {name: raw.present[i] for i, name in enumerate(raw.names)},
    )


def view_rows(payload: memoryview) -> RawRows:
    """The rows in a ROWS payload, as views of it; ValueError if it contradicts itself."""
    try:
        n, _ = struct.unpack_from("<IH", payload)
        names, at = row_names(payload)
        k = len(names)
        steps = np.frombuffer(payload, "<i8", n, at)
        times = np.frombuffer(payload, "<f8", n, at + 8 * n)
        values = np.frombuffer(payload, "<f8", n * k, at + 16 * n).reshape(k, n)
        bits = np.frombuffer(payload, np.uint8, (n * k + 7) // 8, at + 16 * n + 8 * n * k)
    except (struct.error, IndexError) as error:
        raise ValueError(f"rows frame contradicts itself: {error}") from None
    return RawRows(names, steps, times, values, np.unpackbits(bits, count=n * k).astype(np.bool_).reshape(k, n))


def row_names(payload: memoryview) -> tuple[tuple[str, ...], int]:
    """The columns of a ROWS payload and where the steps begin; struct.error or IndexError where it ends before."""
    (k,) = struct.unpack_from("<H", payload, 4)
    at, names = 6, []
    for _ in range(k):
        code, at = payload[at], at + 1
        if code == _CUSTOM:
            size, at = payload[at], at + 1
            names.append(bytes(payload[at:at + size]).decode("utf-8", "replace"))
            at += size
        else:
            names.append(_NAMES[code])
    return tuple(names), at


def decode_tensors(payload: memoryview) -> TensorRows:
    """The vectors in a TENSORS payload; ValueError if it contradicts itself."""
    try:
        m, tensors = struct.unpack_from("<II", payload)
        at = 8
        steps = np.frombuffer(payload, "<i8", m, at).astype(np.int64)
        at += 8 * m
        measured = np.frombuffer(payload, np.uint8, m, at).astype(np.bool_)
        at += m
        grad = np.frombuffer(payload, "<f4", m * tensors, at).astype(np.float32).reshape(m, tensors)
        at += 4 * m * tensors
        size = (m * tensors + 7) // 8
        bits = np.frombuffer(payload, np.uint8, size, at)
        given = np.frombuffer(payload, "<f4", int(measured.sum()) * tensors, at + size)
    except struct.error as error:
        raise ValueError(f"tensors frame contradicts itself: {error}") from None
    update = np.full((m, tensors), np.nan, np.float32)
    update[measured] = given.reshape(-1, tensors)
    return TensorRows(steps, grad, update, np.unpackbits(bits, count=m * tensors).astype(np.bool_).reshape(m, tensors))


def decode_sparse(payload: memoryview) -> SparseRows:
    """The rows in a payload of PROBES or WEIGHTS; ValueError if it contradicts itself."""
    try:
        m, width = struct.unpack_from("<II", payload)
    except struct.error as error:
        raise ValueError(f"probes or weights frame contradicts itself: {error}") from None
    shape, at = (m, width), 8 + 8 * m
    steps = np.frombuffer(payload, "<i8", m, 8).astype(np.int64)
    values = np.frombuffer(payload, "<f4", m * width, at).astype(np.float32).reshape(shape)
    bits = np.frombuffer(payload, np.uint8, (m * width + 7) // 8, at + 4 * m * width)
    return SparseRows(steps, values, np.unpackbits(bits, count=m * width).astype(np.bool_).reshape(shape))


def decode_json(payload: memoryview) -> dict[str, Any]:
    """The object in a JSON payload; ValueError if it is none."""
    try:
        body = json.loads(bytes(payload))
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None
    if not isinstance(body, dict):
        raise ValueError("a JSON frame holds an object")  # noqa: TRY004  # damage, not a caller's type error
    return body


def decode_mark(payload: memoryview) -> Mark:
    """The mark in a MARK payload; ValueError if it is none."""
    body = decode_json(payload)
    step, kind, fields = body.get("step"), body.get("kind"), body.get("fields")
    if not is_whole(step) or not isinstance(kind, str) or not isinstance(fields, dict):
        raise ValueError("a mark has step, kind and fields")  # damage
    return Mark(step, kind, fields)
