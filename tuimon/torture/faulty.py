"""An operating system whose N-th file operation fails: a shim over the seam through which all writing goes.

SQLite's idea: fail call 1, then call 2, and so on until a run goes through clean; once, or for ever after. Touches the
disk.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Container
from typing import Final

from tuimon.record import files

FOR_EVER: Final = 1 << 60
OPERATIONS: Final = ("open", "pwrite", "reserve", "ftruncate", "sync", "close", "rename")


class FaultyOS(files.OsFiles):
    """Counts the operations; those whose numbers are in `failing` fail with `error`.

    short: a failing write first writes half, a clean one is left to be completed by another call. A failing close has
    closed, as on Linux. durable: False leaves `sync` to its count, for sweeps of thousands. before: called at the
    beginning of each, for disks that are slow or hang.
    """

    def __init__(
        self, failing: Container[int] = (), error: int = errno.ENOSPC, *, short: bool = False, durable: bool = True,
        before: Callable[[], None] | None = None,
    ) -> None:
        self.failing, self.error, self.short, self.durable = failing, error, short, durable
        self.before = before
        self.calls = 0

    def _begin(self) -> bool:
        """Whether this one fails."""
        if self.before is not None:
            self.before()
        self.calls += 1
        return self.calls in self.failing

    def _may_fail(self) -> None:
        if self._begin():
            raise self._raised()

    def _raised(self) -> OSError:
        return OSError(self.error, os.strerror(self.error))

    def open(self, path: str, flags: int, mode: int, dir_fd: int | None = None) -> int:
        """A file descriptor."""
        self._may_fail()
        return super().open(path, flags, mode, dir_fd)

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        """Bytes written."""
        fails, half = self._begin(), data[:len(data) // 2]
        if fails and self.short and len(half):
            super().pwrite(fd, half, offset)
        if fails:
            raise self._raised()
        return super().pwrite(fd, half if self.short and len(half) else data, offset)

    def reserve(self, fd: int, offset: int, length: int) -> None:
        """Keep room on the disk."""
        self._may_fail()
        super().reserve(fd, offset, length)

    def ftruncate(self, fd: int, length: int) -> None:
        """Cut the file."""
        self._may_fail()
        super().ftruncate(fd, length)

    def sync(self, fd: int) -> None:
        """Make the file's data durable."""
        self._may_fail()
        if self.durable:
            super().sync(fd)

    def close(self, fd: int) -> None:
        """Give the descriptor back."""
        fails = self._begin()
        super().close(fd)
        if fails:
            raise self._raised()

    def rename(self, old: str, new: str, old_in: int | None = None, new_in: int | None = None) -> None:
        """Atomically put `old` in the place of `new`."""
        self._may_fail()
        super().rename(old, new, old_in, new_in)


def let_loose(faulty: FaultyOS) -> None:
    """Have every writer of this process go through it: for a process of one's own, for the rest of its life."""
    for name in OPERATIONS:
        setattr(files.OS, name, getattr(faulty, name))


def slow(seconds: float) -> Callable[[], None]:
    """What makes each operation take so long."""
    return lambda: time.sleep(seconds)
