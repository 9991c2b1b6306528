"""Rows of a log as columns, out of its bytes and onto the wire and back. Pure. The format is that of `record.log`."""

from __future__ import annotations

import struct
import zlib
from array import array
from itertools import accumulate
from typing import Any, Collection, Iterator, Sequence

from tuimon.remote.far.wire import WireError, bits_of, mask_of, planes, unplanes

MAGIC = b"\xf5TM1"
HEADER = struct.Struct("<4sBxHIIQ")
COVERED = struct.Struct("<BxHIQ")
VERSION = 1
HEAD, ROWS, TENSORS, MARK, GAP, BEAT, PROBES, WEIGHTS = 1, 2, 3, 4, 5, 6, 7, 8
VECTORS = (TENSORS, PROBES, WEIGHTS)
"""Frames that begin with a count, a width and the steps."""
MOST_PAYLOAD = 64 << 20
TICK = 1024.0
"""Times go over the link to a thousandth of a second."""
GREATEST = 3.0e38
"""Finite numbers beyond it, and those of which nothing would be left, go over in full."""
LEAST = 1.2e-38


class Rows:
    """n rows, k columns."""

    __slots__ = ("names", "present", "steps", "times", "values")

    def __init__(self, names: tuple[str, ...], steps: array[int], times: array[float], values: list[array[float]],
                 present: list[bytes | None]) -> None:
        """`steps` (n,) int64; `times` (n,), `values` k times (n,), float64; `present` k times 0 or 1 a row, or None."""
        self.names, self.steps, self.times, self.values, self.present = names, steps, times, values, present

    def __len__(self) -> int:
        return len(self.steps)

    def cut(self, first: int, last: int) -> Rows:
        """Rows from index `first` up to `last`."""
        return Rows(self.names, self.steps[first:last], self.times[first:last], [v[first:last] for v in self.values],
                    [None if p is None else p[first:last] for p in self.present])

    @staticmethod
    def joined(blocks: list[Rows]) -> list[Rows]:
        """Neighbours of one shape together."""
        found: list[Rows] = []
        for block in blocks:
            last = found[-1] if found else None
            if last is None or last.names != block.names or any(last.present) or any(block.present):
                found.append(block)
            else:
                found[-1] = Rows(last.names, last.steps + block.steps, last.times + block.times,
                                 [a + b for a, b in zip(last.values, block.values)], block.present)
        return found

    def between(self, first: int, last: int) -> Rows:
        """Rows with first <= step <= last; steps grow."""
        return self.cut(sum(s < first for s in self.steps), sum(s <= last for s in self.steps))


def walk(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Intact frames: kind, where the payload begins, where it ends. What is damaged is passed over."""
    at, end = 0, len(data)
    while at + HEADER.size <= end:
        found = _frame_at(data, at, end)
        if found is None:
            at = data.find(MAGIC, at + 1)
            if at < 0:
                return
            continue
        yield found
        at = found[2]


def _frame_at(data: bytes, at: int, end: int) -> tuple[int, int, int] | None:
    magic, kind, version, length, crc, sequence = HEADER.unpack_from(data, at)
    start = at + HEADER.size
    if magic != MAGIC or length > MOST_PAYLOAD or start + length > end:
        return None
    if zlib.crc32(data[start:start + length], zlib.crc32(COVERED.pack(kind, version, length, sequence))) != crc:
        return None
    return kind, start, start + length


def frame(kind: int, sequence: int, payload: bytes) -> bytes:
    """One frame, as `record.log` makes it."""
    crc = zlib.crc32(payload, zlib.crc32(COVERED.pack(kind, VERSION, len(payload), sequence)))
    return HEADER.pack(MAGIC, kind, VERSION, len(payload), crc, sequence) + payload


def encode(rows: Rows, codes: dict[str, int]) -> bytes:
    """Rows as a payload; `codes` of the columns that have one."""
    n, k = len(rows), len(rows.names)
    names = [name.encode("utf-8", "replace")[:200] for name in rows.names]
    head = b"".join(bytes([codes[name]]) if name in codes else bytes([255, len(raw)]) + raw
                    for name, raw in zip(rows.names, names))
    mask = b"".join(b"\1" * n if p is None else p for p in rows.present)
    return b"".join([struct.pack("<IH", n, k), head, rows.steps.tobytes(), rows.times.tobytes(),
                     *(v.tobytes() for v in rows.values), bits_of(mask)])


def decode(data: bytes, spans: Sequence[tuple[int, int]], names: Sequence[str]) -> list[Rows]:
    """The rows of ROWS payloads in `data`, those that follow each other in one shape together.

    `names`: what the codes of the columns mean. A payload that contradicts itself costs its own rows.
    """
    found: list[Rows] = []
    waiting: list[bytes] = []
    shape: tuple[tuple[str, ...], int] | None = None
    head = b""
    for start, end in spans:
        payload = data[start:end]
        if waiting and len(payload) == len(waiting[0]) and payload.startswith(head):
            waiting.append(payload)
            continue
        if waiting and shape is not None:
            found.append(_singles(waiting, *shape))
        waiting, shape = [], None
        try:
            n, columns, at = _head(payload, names)
            if n == 1 and len(payload) == at + 16 + 8 * len(columns) + (len(columns) + 7) // 8:
                waiting, shape, head = [payload], (columns, at), payload[:at]
            elif n:
                found.append(_block(payload, n, columns, at))
        except (struct.error, IndexError, ValueError, WireError):
            continue
    if waiting and shape is not None:
        found.append(_singles(waiting, *shape))
    return found


def _head(payload: bytes, names: Sequence[str]) -> tuple[int, tuple[str, ...], int]:
    n, k = struct.unpack_from("<IH", payload)
    at, columns = 6, []
    for _ in range(k):
        code, at = payload[at], at + 1
        if code == 255:
            size, at = payload[at], at + 1
            columns.append(payload[at:at + size].decode("utf-8", "replace"))
            at += size
        else:
            columns.append(names[code])
    if at + 16 * n + 8 * n * k > len(payload):
        raise ValueError("more rows than bytes")
    return n, tuple(columns), at


def _singles(payloads: list[bytes], columns: tuple[str, ...], at: int) -> Rows:
    k = len(columns)
    size = (k + 7) // 8
    table = list(zip(*struct.iter_unpack(f"<{at}xqd{k}d{size}s", b"".join(payloads))))
    full = bits_of(b"\1" * k)
    present: list[bytes | None] = [None] * k
    if set(table[-1]) != {full}:
        masks = [mask_of(bits, k) for bits in table[-1]]
        present = [None if all(column) else bytes(column) for column in zip(*masks)]
    return Rows(columns, array("q", table[0]), array("d", table[1]), [array("d", c) for c in table[2:2 + k]], present)


def _block(payload: bytes, n: int, columns: tuple[str, ...], at: int) -> Rows:
    k = len(columns)
    steps, numbers = array("q"), array("d")
    steps.frombytes(payload[at:at + 8 * n])
    numbers.frombytes(payload[at + 8 * n:at + 16 * n + 8 * n * k])
    mask = mask_of(payload[at + 16 * n + 8 * n * k:], n * k)
    masks = [mask[i * n:(i + 1) * n] for i in range(k)]
    return Rows(columns, steps, numbers[:n], [numbers[(1 + i) * n:(2 + i) * n] for i in range(k)],
                [None if all(m) else m for m in masks])


def pack(rows: Rows, coarse: Collection[str] = ()) -> tuple[dict[str, Any], bytes]:
    """Head and body of a message. Values lose what single precision does not hold, times beyond 1 / TICK s.

    Those of the columns `coarse` come to five digits, which takes a quarter less.
    """
    steps = array("q", [rows.steps[0], *(b - a for a, b in zip(rows.steps, rows.steps[1:]))] if rows.steps else [])
    ticks = array("d", [round(t * TICK) / TICK if abs(t) < 1e15 else t for t in rows.times])
    narrow, doubles, masks, wide, sparse = array("f"), array("d"), [], [], []
    for i, (name, values, mask) in enumerate(zip(rows.names, rows.values, rows.present)):
        if any(GREATEST < abs(v) < float("inf") or 0 < abs(v) < LEAST for v in values):
            wide.append(i)
            doubles.extend(values)
        else:
            narrow.extend(_coarse(values) if name in coarse else array("f", values))
        if mask is not None:
            sparse.append(i)
            masks.append(bits_of(mask))
    # Alike bytes of all columns together: of few rows as well they are many.
    parts = [planes(steps.tobytes(), 8), planes(ticks.tobytes(), 8), planes(narrow.tobytes(), 4),
             planes(doubles.tobytes(), 8), *masks]
    return {"n": len(rows), "names": list(rows.names), "wide": wide, "sparse": sparse}, b"".join(parts)


def _coarse(values: array[float]) -> array[float]:
    """The upper 16 bits and a bit more: sign, exponent and 15 of the fraction, to the nearest."""
    bits = array("I", array("f", values).tobytes())
    for i, word in enumerate(bits):
        if word & 0x7F800000 != 0x7F800000:   # a number
            bits[i] = (word + 0x80) & 0xFFFFFF00
    return array("f", bits.tobytes())


def unpack(head: dict[str, Any], body: bytes) -> Rows:
    """The rows of a message; WireError where it is none."""
    n, names = head.get("n"), head.get("names")
    wide, sparse = (_places(head.get(key)) for key in ("wide", "sparse"))
    if not (isinstance(n, int) and 0 <= 16 * n <= len(body) and isinstance(names, list)
            and all(isinstance(name, str) for name in names)):
        raise WireError("rows without a shape")
    at = 0

    def take(size: int) -> bytes:
        nonlocal at
        at += size
        if at > len(body):
            raise WireError("rows that end early")
        return body[at - size:at]

    def numbers(kind: str, count: int) -> array[Any]:
        some: array[Any] = array(kind)
        some.frombytes(unplanes(take(count * some.itemsize), some.itemsize))
        return some

    differences, times = numbers("q", n), numbers("d", n)
    doubled = sum(i in wide for i in range(len(names)))
    found = {False: numbers("f", n * (len(names) - doubled)), True: numbers("d", n * doubled)}
    try:
        steps = array("q", accumulate(differences))
    except OverflowError:
        raise WireError("steps beyond all numbers") from None
    values: list[array[float]] = []
    present: list[bytes | None] = []
    begun = {False: 0, True: 0}
    for i in range(len(names)):
        kind = i in wide
        values.append(array("d", found[kind][begun[kind]:begun[kind] + n]))
        begun[kind] += n
        present.append(mask_of(take((n + 7) // 8), n) if i in sparse else None)
    return Rows(tuple(names), steps, times, values, present)


def _places(told: Any) -> set[int]:
    if not isinstance(told, list) or not all(isinstance(place, int) for place in told):
        raise WireError("rows without a shape")
    return set(told)
