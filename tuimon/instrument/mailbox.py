"""What the writer thread leaves for the training thread: commands, and news about snapshots.

The training thread reads one attribute per step boundary (`due`). Everything else happens only where a letter waits, or
where the thread stands still on purpose.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from dataclasses import dataclass

from tuimon.control.commands import Command


@dataclass(frozen=True, slots=True)
class Earned:
    """A snapshot that earned its health."""

    step: int


@dataclass(frozen=True, slots=True)
class Voided:
    """Snapshots with a greater step are not to be trusted any more."""

    after_step: int


@dataclass(frozen=True, slots=True)
class Ready:
    """What a command had to wait for is there: it can be obeyed now."""

    command: str
    """Its id."""


Letter = Command | Earned | Voided | Ready


class Mailbox:
    """One per run. Any thread may post; one thread reads."""

    def __init__(self) -> None:
        self.due: float = 0
        """The step from which the training thread has something to do; 0 at once, inf never."""
        self._letters: deque[Letter] = deque()
        self._wake = threading.Event()

    def post(self, letter: Letter) -> None:
        """Leave a letter. Written before `due`: see `schedule`."""
        self._letters.append(letter)
        self.due = 0
        self._wake.set()

    def next(self) -> Letter | None:
        """The oldest unread letter."""
        try:
            return self._letters.popleft()
        except IndexError:
            return None

    def schedule(self, due: float) -> None:
        """Set `due`, unless a letter came meanwhile: it is looked for after `due` is set, so that none is missed."""
        self.due = due
        if self._letters:
            self.due = 0

    def wait(self, seconds: float) -> None:
        """Stand still until a letter comes, at most so long."""
        self._wake.wait(seconds)
        self._wake.clear()

    def shut(self) -> list[Letter]:
        """No more attention is wanted; what was unread."""
        self.due = math.inf
        unread = list(self._letters)
        self._letters.clear()
        return unread
