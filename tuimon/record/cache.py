"""Stores of what can be had again: JSON and arrays in one file each, in this user's cache folder. Touches the disk.

    $XDG_CACHE_HOME/tuimon (else ~/.cache/tuimon), 0700      <name>.tuimon, 0600
    file     TUIMON C1 | header length u32 | crc32 of it u32 | header JSON | arrays, each from a multiple of 64
    header   meta, and of each array: name, dtype, shape, crc32

Law: a store that is damaged, foreign, of another version or not ours alone is none; nothing here raises for it.
"""

from __future__ import annotations

import json
import math
import os
import stat
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from tuimon.private import make_folder, open_file
from tuimon.record.ownership import distrust, is_ours
from tuimon.record.plain import finite

MAGIC: Final = b"TUIMONC1"
SUFFIX: Final = ".tuimon"
MOST_BYTES: Final = 512 << 20
"""Of all stores together; the ones that were not used for longest go first."""
MOST_HEADER: Final = 16 << 20
_HEAD: Final = struct.Struct("<8sII")
_ALIGNED: Final = 64
_DTYPES: Final = ("<i8", "<f8", "<f4", "|b1")

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Stored:
    """What a store held."""

    meta: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


class Cache:
    """The stores in one folder."""

    def __init__(self, root: Path, most: int = MOST_BYTES) -> None:
        self.root, self._most = root, most

    def store(self, name: str, meta: Mapping[str, Any], arrays: Arrays) -> bool:
        """Put a store in the place of the one of that name; whether it is there now."""
        aside = f"{name}{SUFFIX}.tmp.{os.getpid()}"
        folder = self._folder(make=True)
        if folder is None:
            return False
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
            with os.fdopen(open_file(aside, flags, dir_fd=folder), "wb") as file:
                for piece in _pieces(meta, arrays):
                    file.write(piece)
            os.replace(aside, name + SUFFIX, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError:
            _forget(folder, aside)
            return False
        else:
            self._prune(folder)
        finally:
            os.close(folder)
        return True

    def load(self, name: str) -> Stored | None:
        """The store of that name; None where there is none that can be used."""
        folder = self._folder(make=False)
        if folder is None:
            return None
        try:
            fd = os.open(name + SUFFIX, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=folder)
            with os.fdopen(fd, "rb", buffering=0) as file:
                found = os.fstat(fd)
                if not _is_private(found, folder) or not stat.S_ISREG(found.st_mode):
                    return None
                stored = _read(file, min(found.st_size, self._most))
                with suppress(OSError):   # on a disk that is read-only
                    os.utime(fd)   # used now: others go first
        except (OSError, ValueError, KeyError, TypeError, RecursionError, MemoryError):
            return None
        finally:
            os.close(folder)
        return stored

    def remove(self, name: str) -> None:
        """Forget a store."""
        folder = self._folder(make=False)
        if folder is not None:
            _forget(folder, name + SUFFIX)
            os.close(folder)

    def _folder(self, *, make: bool) -> int | None:
        """The folder, if nobody else can write to it."""
        try:
            if make:
                make_folder(self.root, parents=0o700)
            folder = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        if _is_private(os.fstat(folder), folder):
            return folder
        os.close(folder)
        return None

    def _prune(self, folder: int) -> None:
        """Keep the stores within their bounds, and nothing that a viewer left half-written."""
        stores: list[tuple[float, int, str]] = []
        for name in os.listdir(folder):
            if SUFFIX not in name:
                continue
            with suppress(FileNotFoundError):   # another viewer was quicker
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
                stores.append((found.st_mtime, found.st_size, name))
        total, newest = 0, max(stores)[0] if stores else 0.0
        for written, size, name in sorted(stores, reverse=True):
            total += size
            if total > self._most or (not name.endswith(SUFFIX) and written < newest - 3600):
                _forget(folder, name)


def _is_private(found: os.stat_result, folder: int) -> bool:
    return is_ours(found, folder) and not distrust(found, found.st_uid)


def _forget(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except OSError:
        pass


def _pieces(meta: Mapping[str, Any], arrays: Arrays) -> Iterator[bytes | memoryview]:
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    listed = [{"name": name, "dtype": array.dtype.newbyteorder("<").str, "shape": array.shape, "crc": _crc(array)}
              for name, array in whole.items()]
    header = json.dumps({"meta": finite(meta), "arrays": listed}, allow_nan=False).encode()
    yield _HEAD.pack(MAGIC, len(header), zlib.crc32(header))
    yield header
    at = _HEAD.size + len(header)
    for array in whole.values():
        yield b"\0" * (-at % _ALIGNED)
        yield array.reshape(-1).view(np.uint8).data
        at += -at % _ALIGNED + array.nbytes


def _crc(array: NDArray[Any]) -> int:
    return zlib.crc32(array.reshape(-1).view(np.uint8).data)


def _read(file: IO[bytes], size: int) -> Stored:
    """ValueError or KeyError for what is no store."""
    magic, length, crc = _HEAD.unpack(_exactly(file, _HEAD.size))
    if magic != MAGIC or length > min(MOST_HEADER, size):
        raise ValueError("not a store")
    header = _exactly(file, length)
    if zlib.crc32(header) != crc:
        raise ValueError("a damaged store")
    body = json.loads(header)
    at, arrays = _HEAD.size + length, {}
    for told in body["arrays"]:
        shape = tuple(int(n) for n in told["shape"])
        if told["dtype"] not in _DTYPES or any(n < 0 for n in shape):
            raise ValueError("not an array of ours")
        need = math.prod(shape) * np.dtype(told["dtype"]).itemsize
        if at + need > size:
            raise ValueError("a store that ends early")
        file.seek(-at % _ALIGNED, os.SEEK_CUR)
        array = np.empty(shape, told["dtype"])
        _fill(file, array.reshape(-1).view(np.uint8).data)
        if _crc(array) != told["crc"]:
            raise ValueError("a damaged store")
        arrays[str(told["name"])] = array
        at += -at % _ALIGNED + need
    return Stored(dict(body["meta"]), arrays)


def _exactly(file: IO[bytes], size: int) -> bytes:
    raw = bytearray(size)
    _fill(file, memoryview(raw))
    return bytes(raw)


def _fill(file: IO[bytes], into: memoryview) -> None:
    at = 0
    while at < len(into):
        count = file.readinto(into[at:])  # type: ignore[attr-defined]  # a raw file has it
        if not count:
            raise ValueError("a store that ends early")
        at += count
