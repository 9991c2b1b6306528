"""Putting a report down where a person asked for it. Touches the disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from tuimon.errors import UsageError
from tuimon.record.rundir import label

_NEW: Final = os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW


def default_name(source: str) -> str:
    """"exploding-20251127-171045-ecc06f-report.html"; of a file its name without what comes after the first dot."""
    name = Path(os.path.abspath(source)).name
    return f"{label(name if os.path.isdir(source) else name.split('.')[0])}-report.html"


def refuse_existing(path: str) -> None:
    """UsageError where there is such a file: said before the work is done rather than after it."""
    if os.path.lexists(path):
        raise UsageError(f"{path} is there already; --force writes over it, -o names another")


def write(path: str, words: str, *, force: bool = False) -> None:
    """Write a file whole. UsageError where there is one already (unless forced) or where it cannot be written."""
    try:
        fd = os.open(path, _NEW | (os.O_TRUNC if force else os.O_EXCL), 0o644)
    except FileExistsError:
        refuse_existing(path)
        raise
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(words.encode("utf-8", "replace"))
    except OSError as error:
        raise UsageError(f"{path} could not be written to its end: {error.strerror}") from None
