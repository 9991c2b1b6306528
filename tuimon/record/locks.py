"""Files that a process holds for as long as it lives, however it ends: whoever asks learns whether it is there.

Touches the disk.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from tuimon.private import open_file


def hold(path: Path) -> int | None:
    """A descriptor that one process has at a time; None where another has it. OSError as it comes."""
    fd = open_file(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except OSError:
        return fd   # a file system without locks
    return fd


def is_held(path: Path) -> bool | None:
    """Whether some process holds it; None where that cannot be told."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return None
    else:
        return False
    finally:
        os.close(fd)
