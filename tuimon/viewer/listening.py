"""Waits for keys as long as none come; Textual looks ten times a second. Touches a pipe of its own."""

from __future__ import annotations

import contextlib
import math
import os
import selectors
import threading
import time
from collections.abc import Callable
from typing import Final

from textual.constants import ESCAPE_DELAY

AWAKE: Final = 1.0 + ESCAPE_DELAY
"""Seconds after the last input in which it looks as often as Textual wants: an escape may be the beginning of a key."""
LONGEST: Final = 5.0
"""Seconds after which it looks by itself."""


class Ear(selectors.SelectSelector):
    """A selector that lets its caller sleep after a while in which nothing came, until something does."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()
        self._pipe: tuple[int, int] | None = os.pipe()
        self._woken = self._pipe[0]
        self.register(self._woken, selectors.EVENT_READ)
        self._until = clock() + AWAKE

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What can be read, after `timeout` seconds at most, or LONGEST where nothing has come for a while."""
        found = super().select(timeout if self._clock() < self._until else LONGEST)
        if found:
            self._until = max(self._until, self._clock() + AWAKE)
        return [one for one in found if one[0].fd != self._woken or not os.read(self._woken, 1)]

    def wake(self) -> None:
        """Come back at once, and look often from now on: its caller is about to be told to end. From any thread."""
        self._until = math.inf
        with self._lock, contextlib.suppress(OSError):
            if self._pipe is not None:
                os.write(self._pipe[1], b"\0")

    def close(self) -> None:
        """Textual's thread has ended."""
        super().close()
        with self._lock:
            for fd in self._pipe or ():
                os.close(fd)
            self._pipe = None
