"""Finds the frames of a log in a stretch of bytes, many at once where they are many. Pure.

Law: the same frames and the same damage as `log.spans`, which takes them one by one.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tuimon.record import log
from tuimon.record.chunk import Bools, Ints

SMALL: Final = 2048
"""Frames up to so many bytes are looked for together; finding larger ones one by one costs less."""
FEW: Final = 32
"""Fewer are not worth it."""
_Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Chain:
    """Intact frames, one after the other; all (f,)."""

    kinds: Ints
    starts: Ints
    """First byte of each payload."""
    ends: Ints

    def where(self, keep: Bools, first: int, end: int) -> Chain:
        """Of the frames from `first` to before `end`, those for which `keep` (f,) is True."""
        if first == 0 and end == len(keep) and keep.all():
            return self
        at = np.flatnonzero(keep[first:end]) + first
        return Chain(self.kinds[at], self.starts[at], self.ends[at])


def chains(data: bytes) -> Iterator[Chain | int]:
    """The intact frames in `data`, and, as plain ints, how many bytes had to be skipped to find the next one."""
    view, at = memoryview(data), 0
    while at < len(data):
        size = log.frame_bytes(data[at:at + log.HEADER_BYTES])
        if 0 < size <= SMALL and len(data) - at >= FEW * size:
            found = _many(data, at)
            if len(found.kinds):
                yield found
                at = int(found.ends[-1])
                continue
        spans: list[log.Span] = []
        until = at
        for span in log.spans(view[at:]):
            if isinstance(span, int):
                if spans:
                    yield _chain(spans, at)
                    spans = []
                yield span
                until += span
                continue
            spans.append(span)
            until = at + span.end
            if len(spans) >= FEW:
                break   # look again whether they have become small
        if spans:
            yield _chain(spans, at)
        if len(spans) < FEW:
            return
        at = until


def _chain(spans: list[log.Span], at: int) -> Chain:
    kinds, _, starts, ends = np.array(spans, np.uint64).astype(np.int64).T
    return Chain(kinds, starts + at, ends + at)


def _many(data: bytes, at: int) -> Chain:
    """The frames that follow each other from `at` on, up to the first that is damaged, large or not complete."""
    raw = np.frombuffer(data, np.uint8)[at:]
    begin = np.flatnonzero(raw[: 1 - len(log.MAGIC)] == log.MAGIC[0])
    for i, byte in enumerate(log.MAGIC[1:], 1):
        begin = begin[raw[begin + i] == byte]
    begin = begin[begin <= len(raw) - log.HEADER_BYTES]
    headers = np.ascontiguousarray(raw[begin[:, None] + np.arange(log.HEADER_BYTES)]).view(log.HEADER)[:, 0]
    size = headers["length"].astype(np.int64) + log.HEADER_BYTES
    end = begin + size
    sound = (size <= SMALL) & (end <= len(raw))
    sound[0] &= begin[0] == 0
    sound[1:] &= end[:-1] == begin[1:]
    count = _first_false(sound)
    begin, size, end, headers = begin[:count], size[:count], end[:count], headers[:count]
    count = _first_false(_intact(raw, begin, size, headers["crc"]))
    return Chain(headers["kind"][:count].astype(np.int64), begin[:count] + log.HEADER_BYTES + at, end[:count] + at)


def _first_false(values: Bools) -> int:
    return len(values) if values.all() else int(values.argmin())


def _intact(raw: _Bytes, begin: Ints, sizes: Ints, given: NDArray[Any]) -> Bools:
    """Whether the checksum of each frame is right."""
    right = np.zeros(len(begin), np.bool_)
    # np.unique would load numpy.ma, which takes longer than to read 5,000 steps.
    for size in sorted(set(sizes.tolist())):
        frames = np.flatnonzero(sizes == size)
        whole = np.lib.stride_tricks.sliding_window_view(raw, size)[begin[frames]]
        covered = np.concatenate((whole[:, 4:12], whole[:, 16:]), axis=1)
        covered[:, 1] = 0   # a byte that no checksum covers
        # A row as one `void` becomes bytes in C; slicing a memoryview costs twice the checksum itself.
        pieces = covered.view(f"V{size - 8}")[:, 0].tolist()
        right[frames] = np.fromiter(map(zlib.crc32, pieces), np.uint32, len(pieces)) == given[frames]
    return right
