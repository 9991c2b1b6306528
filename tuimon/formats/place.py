"""Where what was asked for goes: a file that is there whole or not at all. Touches the disk."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from tuimon.errors import UsageError

_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})
"""What file systems without hard links answer."""


@contextlib.contextmanager
def placed(path: str, *, force: bool) -> Iterator[str]:
    """The path of a fresh, empty file beside `path`; it takes that place when the block ends well, else it goes.

    Its permissions are those of any file that the user makes. UsageError where `path` is taken, already or by then, and
    `force` is not set; where it is no place for a file; or where writing fails.
    """
    check(path, force=force)
    folder, name = os.path.split(path)
    aside = os.path.join(folder, f".{name[:40]}.tmp.{os.getpid()}")
    try:
        os.close(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666))
        try:
            yield aside
            _move(aside, path, force=force)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(aside)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        raise UsageError(f"{path}: cannot be written: {error.strerror or error}") from None


def check(path: str, *, force: bool) -> None:
    """UsageError where nothing can or should be written at `path`."""
    folder = os.path.dirname(path) or "."
    if not os.path.basename(path):
        raise UsageError(f"{path!r}: wanted the name of a file")
    if not os.path.isdir(folder):
        raise UsageError(f"{path}: there is no directory {folder}")
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be written: {getattr(error, 'strerror', None) or error}") from None
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{path}: is there and is no regular file; -o - writes to standard output")
    if not force:
        raise UsageError(f"{path}: is there already; --force replaces it")


def _move(aside: str, path: str, *, force: bool) -> None:
    """Durable first, so that after a power loss there is no empty file under a good name."""
    fd = os.open(aside, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    if force:
        os.replace(aside, path)
        return
    try:
        os.link(aside, path)  # unlike a rename it replaces nothing
    except FileExistsError:
        raise UsageError(f"{path}: is there already; --force replaces it") from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        check(path, force=False)
        os.replace(aside, path)
