"""Whose something is: this user's, by whatever number its file system shows them, or somebody else's who could do harm.

Touches the disk; writes, where a foreign owner is met, an empty file for a moment.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

from tuimon.record.readonly import is_read_only

_PROBE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SHOWN: Final[dict[tuple[int, int, int], int]] = {}
"""As whose our files are shown, by device, owner of the folder, and who we are."""


def is_ours(found: os.stat_result, folder: int) -> bool:
    """Whether a folder, held open, or what lies in it belongs to this user, whatever number its file system shows.

    NFS shows as nobody's what a squashed root makes; SMB and FUSE mounts may show everything as one user's. Where a
    foreign owner is met, an empty file is made in that folder and removed: an owner as whose it is shown is us, there.
    A file system that tells users apart shows it as ours, and who is foreign stays so. One file does for all folders of
    one owner on one device; not for those of others, as a server may give a file the owner of its folder. Nothing is
    made where this process may only look.

    What is believed: the file system. Whoever serves it to us could show our own number as well, so that no check of
    owners holds against them. Whom else it shows by the same number cannot be told from us: they have been let in by
    whoever mounted or exported it so. Modes are checked all the same.
    """
    if found.st_uid == os.geteuid():
        return True
    return found.st_dev == os.fstat(folder).st_dev and found.st_uid == _shown_as(folder)


def _shown_as(folder: int) -> int | None:
    """The user as whose a file is shown that we make there; None where none can be made."""
    here = os.fstat(folder)
    whose = here.st_dev, here.st_uid, os.geteuid()
    if whose in _SHOWN:
        return _SHOWN[whose]
    if is_read_only():
        return None
    name = f".whose-{os.urandom(8).hex()}"
    try:
        fd = os.open(name, _PROBE, 0o600, dir_fd=folder)
    except OSError:
        return None
    try:
        return _SHOWN.setdefault(whose, os.fstat(fd).st_uid)
    finally:
        os.close(fd)
        with suppress(OSError):
            os.unlink(name, dir_fd=folder)


def distrust(found: os.stat_result, *owners: int, folder: int | None = None) -> str:
    """Why what others have put there could be meant to harm, as the end of a sentence; "" where only its owner writes.

    `owners`: who may own it besides this user and root. `folder`: in which it lies, where its owner may be this user
    by another number.
    """
    if found.st_uid not in (os.geteuid(), 0, *owners) and (folder is None or not is_ours(found, folder)):
        return f"belongs to user {found.st_uid}"
    if found.st_mode & 0o022:
        return f"can be written to by others (mode {found.st_mode & 0o777:04o}; chmod go-w if it is yours)"
    return ""
