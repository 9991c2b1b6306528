"""Room on a disk that is kept before it is needed, so that a disk which fills up later takes at least that much.

Linux's fallocate, of which Python has only the half that makes the file longer: a reader would find zeros there. Local
file systems keep their word (ext4, XFS, tmpfs, an overlay of them); btrfs writes elsewhere than where room was kept,
NFS and other systems than Linux keep none. Loaded by who writes alone: ctypes takes a few milliseconds.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
from collections.abc import Callable
from typing import Any, Final

_KEEP_SIZE: Final = 1


def reserve(fd: int, offset: int, length: int) -> None:
    """Keep room for bytes to be written there, whether or not the file ends before; OSError where that cannot be."""
    call = _fallocate()
    if call is None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    if call(fd, _KEEP_SIZE, offset, length):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


@functools.cache
def _fallocate() -> Callable[[int, int, int, int], int] | None:
    try:
        here = ctypes.CDLL(None, use_errno=True)
        call: Any = getattr(here, "fallocate64", None) or here.fallocate   # musl's is of 64 bits by this name
    except (OSError, AttributeError):
        return None
    call.argtypes = ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64
    found: Callable[[int, int, int, int], int] = call
    return found
