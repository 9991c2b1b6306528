"""The standard streams as a command finds and leaves them. Touches descriptors.

A stream may be closed (`tuimon runs >&-`). Then whatever is opened next would get its number, and be written into.
"""

from __future__ import annotations

import fcntl
import os
import sys
from contextlib import suppress
from typing import Final, TextIO

_STREAMS: Final = (("stdin", "r", os.O_RDONLY), ("stdout", "w", os.O_RDONLY), ("stderr", "w", os.O_WRONLY))
"""How each is opened on nothing: an end of input, an output that refuses, complaints that nobody hears."""


def open_closed() -> None:
    """Each that is closed stands open on nothing, for this process and those that it starts."""
    for name, mode, flags in _STREAMS:
        if getattr(sys, name) is None:
            number = os.open(os.devnull, flags)   # the lowest that is free: its own
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115  # for good


def was_closed(output: TextIO) -> bool:
    """Whether an output stands open on nothing, and refuses."""
    with suppress(OSError, ValueError):
        return fcntl.fcntl(output.fileno(), fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    return False


def settle() -> None:
    """What standard error would not take is let go, for at the interpreter's end it would change the exit status."""
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        from tuimon.record.printing import hush

        with suppress(OSError, ValueError):
            hush(sys.stderr)
