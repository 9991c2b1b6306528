"""What is one person's alone: folders and files that are made so. Whether others have a hand in one: `ownership`.

Folders are 0700 and files 0600 from the moment they exist, never wider and then narrowed. A umask that takes away even
the owner's own rights is put right at once. Touches the disk.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Final

ENTERING: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""Flags that open a folder, and nothing through a link."""
Path = str | os.PathLike[str]


def make_folder(path: Path, *, parents: int | None = None, mode: int = 0o700, follow: bool = False,
                fresh: bool = False) -> None:
    """Make it, unless it is there. OSError where it cannot be.

    `parents`: with those above it, in that mode. `follow`: it may be a link to a folder, where the place is chosen.
    `fresh`: it may not be there.
    """
    try:
        os.mkdir(path, mode)
    except FileNotFoundError:
        above = os.path.dirname(os.path.abspath(path))
        if parents is None or above == os.path.abspath(path):
            raise
        make_folder(above, parents=parents, mode=parents, follow=True)
        make_folder(path, mode=mode, follow=follow, fresh=fresh)
        return
    except OSError:
        if fresh or not os.path.isdir(path):
            raise
        if os.path.islink(path) and not follow:
            raise NotADirectoryError(errno.ENOTDIR, "it is a link", path) from None
        return   # a read-only file system may say so of one that is there
    found = os.lstat(path).st_mode
    if 0o700 & ~found:
        os.chmod(path, found & 0o7777 | 0o700)


def open_file(path: Path, flags: int, mode: int = 0o600, *, dir_fd: int | None = None) -> int:
    """A descriptor. A file that this makes has the owner's bits of `mode`, whatever the umask."""
    fd = os.open(path, flags, mode, dir_fd=dir_fd)
    if flags & os.O_CREAT:
        found = os.fstat(fd)
        if mode & 0o600 & ~found.st_mode and not found.st_size:
            with suppress(OSError):   # not ours; as whose ours is shown does not tell (see `ownership.is_ours`)
                os.fchmod(fd, found.st_mode & 0o7777 | mode & 0o600)
    return fd
