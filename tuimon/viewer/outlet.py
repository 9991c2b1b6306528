"""The way out to the terminal: waits for none that is gone, nor for long, once told to end, for one that stands still.

Touches the terminal. Has what Textual's writing thread wants of a file.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable
from typing import Final

CHUNK: Final = 4096
LOOK: Final = 0.1
"""Seconds between two looks whether to go on waiting."""


class Outlet:
    """Writes to a terminal through a description of its own, so that not to block is nobody else's concern."""

    def __init__(self, fd: int, encoding: str = "utf-8", clock: Callable[[], float] = time.monotonic) -> None:
        self._encoding, self._clock = encoding, clock
        try:
            flags = os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
            self._fd = os.open(os.ttyname(fd), flags)
        except OSError:   # it belongs to another user (su), or has no name here: as it is, then
            self._fd = os.dup(fd)
        self.is_gone = False
        """Whether the terminal takes nothing any more."""
        self._until: float | None = None

    def hurry(self, seconds: float) -> None:
        """Drop what has not been taken within so many seconds from now."""
        self._until = self._clock() + seconds

    def wait(self) -> None:
        """Take your time again."""
        self._until = None

    def write(self, text: str) -> None:
        """Write all of it; what a terminal that is gone, or late, does not take is dropped."""
        data = memoryview(text.encode(self._encoding, "replace"))
        while data and not self.is_gone:
            late = self._until is not None and self._clock() > self._until
            try:
                if select.select([], [self._fd], [], 0.0 if late else LOOK)[1]:
                    data = data[os.write(self._fd, data[:CHUNK]):]
                    continue
            except BlockingIOError:
                pass
            except (OSError, ValueError):
                self.is_gone = True
            if late:
                return

    def flush(self) -> None:
        """Nothing is kept back."""

    def fileno(self) -> int:
        """The descriptor."""
        return self._fd

    def isatty(self) -> bool:
        """Whether it still is a terminal."""
        return os.isatty(self._fd)

    def close(self) -> None:
        """Give the descriptor back."""
        with contextlib.suppress(OSError):
            os.close(self._fd)
