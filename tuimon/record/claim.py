"""The run directory that was prepared for a training process: $TUIMON_RUN_DIR. Touches the environment.

It is for one run of one process. `reserve` takes it out of the environment before the process starts others, so that
no worker and no program that a script calls takes it for its own; a forked child finds nothing either. Loads nothing
but the standard library: it is there before the script's first line.
"""

from __future__ import annotations

import os
from typing import Final

VARIABLE: Final = "TUIMON_RUN_DIR"
_reserved: Final[dict[int, str]] = {}
"""Process number: directory."""


def reserve() -> None:
    """Take it out of the environment and keep it for this process. Idempotent."""
    path = os.environ.pop(VARIABLE, None)
    if path:
        _reserved[os.getpid()] = os.path.abspath(os.path.expanduser(path))


def reserved() -> str | None:
    """The directory that is kept for this process and not yet taken."""
    reserve()
    return _reserved.get(os.getpid())


def take() -> str | None:
    """The same, once: whoever takes it writes there."""
    found = reserved()
    _reserved.pop(os.getpid(), None)
    return found
