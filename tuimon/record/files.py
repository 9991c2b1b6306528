"""The file operations that recording needs, as one small seam, so that faults can be injected. Touches the disk."""

from __future__ import annotations

import errno
import os
import stat
from typing import Final, Protocol

from tuimon.private import open_file


class Files(Protocol):
    """What the writers ask of an operating system; every method may raise OSError."""

    def open(self, path: str, flags: int, mode: int, dir_fd: int | None = None) -> int:
        """A file descriptor. `dir_fd`: of the folder in which `path` lies, where that is held open."""

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        """Bytes written, possibly fewer than given."""

    def reserve(self, fd: int, offset: int, length: int) -> None:
        """Keep room on the disk for bytes to be written there, without making the file longer."""

    def ftruncate(self, fd: int, length: int) -> None:
        """Cut the file, and give up what room was kept behind."""

    def sync(self, fd: int) -> None:
        """Make the file's data durable."""

    def close(self, fd: int) -> None:
        """Give the descriptor back."""

    def rename(self, old: str, new: str, old_in: int | None = None, new_in: int | None = None) -> None:
        """Atomically put `old` in the place of `new`, of folders that are held open or of paths."""


class OsFiles:
    """The real thing."""

    def open(self, path: str, flags: int, mode: int, dir_fd: int | None = None) -> int:
        """A file descriptor."""
        return open_file(path, flags, mode, dir_fd=dir_fd)

    def pwrite(self, fd: int, data: bytes | memoryview, offset: int) -> int:
        """Bytes written."""
        return os.pwrite(fd, data, offset)

    def reserve(self, fd: int, offset: int, length: int) -> None:
        """Keep room on the disk."""
        from tuimon.record.room import reserve

        reserve(fd, offset, length)

    def ftruncate(self, fd: int, length: int) -> None:
        """Cut the file."""
        os.ftruncate(fd, length)

    def sync(self, fd: int) -> None:
        """Make the file's data durable (macOS has no fdatasync)."""
        getattr(os, "fdatasync", os.fsync)(fd)

    def close(self, fd: int) -> None:
        """Give the descriptor back."""
        os.close(fd)

    def rename(self, old: str, new: str, old_in: int | None = None, new_in: int | None = None) -> None:
        """Atomically put `old` in the place of `new`."""
        os.replace(old, new, src_dir_fd=old_in, dst_dir_fd=new_in)


OS: Files = OsFiles()
LEAST_ROOM: Final = 64 << 10
"""Bytes below which a file system counts as full: the last ones of it may be there for others."""


FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What a disk says that has no room, or none for this user."""


def is_full(path: str | os.PathLike[str]) -> bool:
    """Whether the file system that holds a path has no room for this user; False where that cannot be told."""
    try:
        there = os.statvfs(path)
    except OSError:
        return False
    return there.f_blocks > 0 and there.f_bavail * there.f_frsize < LEAST_ROOM


def open_to_read(path: str | os.PathLike[str]) -> int:
    """A descriptor of a regular file of a run. OSError for what is none, a link included; never waits for a pipe."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file")
    return fd


def write_fully(files: Files, fd: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset`, or leave the file cut back to `offset` and raise OSError.

    A full disk shows as a short write without an error: the next call raises. Cutting back keeps a torn frame from
    standing in the middle of the file once space returns.
    """
    view, written = memoryview(data), 0
    try:
        while written < len(data):
            count = files.pwrite(fd, view[written:], offset + written)
            if count <= 0:
                raise OSError("write returned 0 bytes")
            written += count
    except OSError:
        if written:
            try:
                files.ftruncate(fd, offset)
            except OSError:
                pass  # the reader skips a torn frame; the next write starts at the same offset and covers it
        raise


def write_atomically(path: str, data: bytes, files: Files = OS) -> None:
    """Replace the file at `path` by `data`, durable and never half-written; mode 0600."""
    aside = f"{path}.tmp.{os.getpid()}"
    fd = files.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            write_fully(files, fd, data, 0)
            files.sync(fd)
        finally:
            files.close(fd)
        files.rename(aside, path)
    except OSError:
        try:
            os.unlink(aside)
        except OSError:
            pass
        raise
