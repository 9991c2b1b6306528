"""Bytes and lines of a file that somebody else wrote, perhaps still writes, perhaps meant badly. Touches the disk.

Memory is bounded by what is handed out, never by what a header or a compressed file promises.
"""

from __future__ import annotations

import codecs
import math
import os
import stat
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tuimon.errors import LogError
from tuimon.formats.progress import Watch, unwatched

BLOCK: Final = 1 << 20
MAX_LINE: Final = 16 << 20
MAX_WHOLE: Final = 256 << 20
"""Bytes of a file that has to be held as a whole (JSON)."""
GZIP: Final = b"\x1f\x8b"


def open_file(path: str) -> int:
    """A descriptor of a regular file. LogError for what is none or cannot be opened."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO must not keep us waiting
    except OSError as error:
        raise LogError(f"cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise LogError("is not a regular file")
    return fd


def head(path: str, size: int = 4096) -> bytes:
    """The first bytes, unpacked where the file is gzip. LogError where they cannot be read."""
    for piece in Pieces(path):
        return piece[:size]
    return b""


class Pieces:
    """The bytes of a file, unpacked where it is gzip, in pieces of at most BLOCK bytes. LogError for damage."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.ends_early = False
        """Whether a compressed file ended before its end, as one that is still written does."""

    def __iter__(self) -> Iterator[bytes]:
        with os.fdopen(open_file(self._path), "rb", buffering=0) as file:
            try:
                first = file.read(BLOCK)
                if not first.startswith(GZIP):
                    while first:
                        yield first
                        first = file.read(BLOCK)
                    return
                unpack, at, data = zlib.decompressobj(wbits=31), 0, first
                while True:
                    while data and not unpack.eof:
                        got = unpack.decompress(data, BLOCK)
                        at += len(data) - len(unpack.unconsumed_tail) - len(unpack.unused_data)
                        data = unpack.unconsumed_tail or unpack.unused_data
                        if got:
                            yield got
                    if unpack.eof and data.startswith(GZIP):  # another member: what appending to a .gz makes
                        unpack = zlib.decompressobj(wbits=31)
                        continue
                    if unpack.eof and data.strip(b"\0"):
                        return  # what stands behind the end is none of ours; gzip ignores it as well
                    more = file.read(BLOCK)
                    if not more:
                        self.ends_early = not unpack.eof
                        return
                    data = data + more if unpack.eof else more
            except OSError as error:
                raise LogError(f"cannot be read: {error.strerror}") from None
            except zlib.error as error:
                words = str(error).split(": ")[-1]
                raise LogError(f"byte {at}: damaged gzip ({words})") from None


def torn(place: str) -> str:
    """The note about an end that was left out."""
    return f"{place} is torn, as in a file that is still being written: left out"


@dataclass(frozen=True, slots=True)
class Lines:
    """Some lines of a file."""

    first: int
    """Number of the first, counted from 1."""
    lines: list[str]
    """Without their ends."""
    torn: bool
    """Whether the last one has no end: the end of the file, perhaps in the midst of being written."""
    cut: bool = False
    """Whether it certainly is cut off: the compressed file ends early."""


def _size(path: str) -> int:
    """Bytes on the disk; 0 where nobody can say."""
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def lines(path: str, watch: Watch = unwatched) -> Iterator[Lines]:
    """The lines of a text file, about BLOCK at a time; UTF-8 or, with its mark, UTF-16.

    A last line without an end is handed out alone. LogError for an endless line.
    """
    pieces = Pieces(path)
    decode: codecs.IncrementalDecoder | None = None
    kept, number = "", 1
    size, done = _size(path), 0
    for piece in pieces:
        done += len(piece)
        watch("reading", done / size if done <= size else math.nan)  # NaN: it was packed, into nobody knows how much
        if decode is None:
            wide = piece.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
            decode = codecs.getincrementaldecoder("utf-16" if wide else "utf-8-sig")("replace")
        kept += decode.decode(piece)
        whole, newline, rest = kept.rpartition("\n")
        if len(rest) > MAX_LINE:
            raise LogError(f"line {number + whole.count(chr(10)) + len(newline)}: longer than {MAX_LINE >> 20} MiB")
        kept = rest
        if newline:
            found = [line.removesuffix("\r") for line in whole.split("\n")] if "\r" in whole else whole.split("\n")
            yield Lines(number, found, torn=False)
            number += len(found)
    if kept or pieces.ends_early:
        yield Lines(number, [kept.removesuffix("\r")], torn=True, cut=pieces.ends_early)


def whole_text(path: str) -> str:
    """A file's text at once. LogError where it is larger than MAX_WHOLE."""
    size, parts = 0, []
    for piece in Pieces(path):
        size += len(piece)
        if size > MAX_WHOLE:
            raise LogError(f"larger than {MAX_WHOLE >> 20} MiB")
        parts.append(piece)
    return b"".join(parts).decode("utf-8-sig", "replace")
