"""Norms of tensors that are spread over ranks, put together as `record.joined` has it; a test holds them equal. Pure.

At those steps only that all ranks have which write any. What a tensor changed by does not add up, and is left out.
"""

from __future__ import annotations

import math
import struct
from array import array
from typing import Iterator, Sequence, Tuple

from tuimon.remote.far import rows as log
from tuimon.remote.far.followed import Message, Vectors
from tuimon.remote.far.wire import WireError, bits_of, mask_of

WAITING = 4 << 20
"""Numbers that wait for those of other ranks."""
KEPT = 4 << 20
"""Bytes of what was put together that are kept; every second is forgotten beyond."""

Part = Tuple["array[float]", bytes]
"""(P,) norms, and a byte each: whether it was seen."""


def last_step(payload: bytes) -> int:
    """Of a frame of vectors; -1 where it is none."""
    try:
        count, _ = struct.unpack_from("<II", payload)
        return int(struct.unpack_from("<q", payload, 8 * count)[0]) if count else -1
    except struct.error:
        return -1


class Summed:
    """Of one run."""

    def __init__(self) -> None:
        self._parts: dict[tuple[int, int, int], dict[int, Part]] = {}
        """Attempt, step, kind -> rank -> its part."""
        self._numbers, self._serial, self._bytes = 0, 0, 0
        self._payloads: dict[int, bytes] = {}
        self.kept: list[Vectors] = []
        """What was put together, in no segment."""

    def add(self, rank: int, attempt: int, kind: int, payload: bytes) -> None:
        """One rank's frame."""
        try:
            for step, norms, seen in _rows_of(kind, payload):
                self._parts.setdefault((attempt, step, kind), {})[rank] = norms, seen
                self._numbers += len(norms)
        except (struct.error, WireError, ValueError):
            return
        while self._numbers > WAITING and len(self._parts) > 1:
            self._drop(min(self._parts))

    def upto(self, attempt: int, limit: int, ranks: Sequence[int]) -> Iterator[Message]:
        """What all these have, up to a step; what lies before waits no more."""
        for key in sorted(key for key in self._parts if key[0] <= attempt and (key[0] < attempt or key[1] <= limit)):
            parts, (number, step, kind) = self._drop(key), key
            wanted = [parts[rank] for rank in ranks if rank in parts]
            if number < attempt or len(wanted) < max(2, len(ranks)) or len({len(norms) for norms, _ in wanted}) > 1:
                continue   # of other tensors: stages of a pipeline
            payload = _payload(kind, step, *_whole(wanted))
            self._keep(Vectors(kind, attempt, "", self._serial, len(payload)), payload)
            yield {"k": "frame", "kind": kind}, payload

    def payload(self, vectors: Vectors) -> bytes:
        """One of those kept; b"" where it is not any more."""
        return self._payloads.get(vectors.start, b"")

    def _drop(self, key: tuple[int, int, int]) -> dict[int, Part]:
        parts = self._parts.pop(key)
        self._numbers -= sum(len(norms) for norms, _ in parts.values())
        return parts

    def _keep(self, vectors: Vectors, payload: bytes) -> None:
        self._serial += 1
        self._payloads[vectors.start] = payload
        self.kept.append(vectors)
        self._bytes += len(payload)
        if self._bytes > KEPT:
            self.kept = self.kept[::2]
            self._payloads = {one.start: self._payloads[one.start] for one in self.kept}
            self._bytes = sum(map(len, self._payloads.values()))


def _rows_of(kind: int, payload: bytes) -> Iterator[tuple[int, array[float], bytes]]:
    """Step, norms, and which were seen."""
    count, width = struct.unpack_from("<II", payload)
    steps = struct.unpack_from(f"<{count}q", payload, 8)
    at = 8 + 8 * count + (count if kind == log.TENSORS else 0)
    values = array("f")
    values.frombytes(payload[at:at + 4 * count * width])
    if len(values) < count * width:
        raise ValueError("a frame that ends early")
    at += 4 * count * width
    seen = mask_of(payload[at:at + (count * width + 7) // 8], count * width)
    for i, step in enumerate(steps):
        yield step, values[i * width:(i + 1) * width], seen[i * width:(i + 1) * width]


def _whole(parts: Sequence[Part]) -> Part:
    width = len(parts[0][0])
    squares, seen = [0.0] * width, bytearray(width)
    for norms, mask in parts:
        for i, value in enumerate(norms):
            if mask[i]:
                squares[i] += value * value
                seen[i] = 1
    return array("f", [math.sqrt(square) if there else math.nan for square, there in zip(squares, seen)]), bytes(seen)


def _payload(kind: int, step: int, norms: array[float], seen: bytes) -> bytes:
    measured = b"\0" if kind == log.TENSORS else b""   # no change
    return struct.pack("<IIq", 1, len(norms), step) + measured + norms.tobytes() + bits_of(seen)
