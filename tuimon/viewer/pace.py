"""Frames at the pace of the terminal's own answers. Decides; writes nothing. Time is an argument, in seconds.

After a frame the terminal is asked where its cursor is. The question follows the frame through everything on the way
(ssh's windows alone hold megabytes, which no queue on this side can see), so the answer says: that frame was shown.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from typing import Final

QUESTION: Final = "\x1b7\x1b[H\x1b[6n\x1b8"
"""Where is the cursor? Asked from the top left corner, so that no answer looks like a key (shift+F3 looks like row 1,
column 2), and the cursor is put back."""
WINDOW: Final = 2
"""Frames under way after which nothing is drawn; new data waits for one already, so that a key finds the other free."""
FIRST: Final = 2.0
"""Seconds without any answer after which the terminal is taken for one that gives none."""
LATER: Final = 10.0
"""Seconds after which an answer is given up, of a terminal that has answered before."""


def is_paced(env: Mapping[str, str], asked: bool | None = None) -> bool:
    """Whether to pace: as asked for, else as TUIMON_PACE says (1 or 0), else over SSH."""
    if asked is not None:
        return asked
    said = env.get("TUIMON_PACE", "").strip().lower()
    if said in ("1", "yes", "on", "true"):
        return True
    return said not in ("0", "no", "off", "false") and bool(env.get("SSH_CONNECTION"))


class Pace:
    """Questions under way. Asked by the thread that draws, answered in the thread that reads."""

    def __init__(self, *, wanted: bool) -> None:
        self._wanted, self._mute, self._has_answered = wanted, False, False
        self._open: deque[float] = deque()
        """When each question under way was asked."""
        self._changed = threading.Condition()

    @property
    def is_on(self) -> bool:
        """Whether questions are to be asked."""
        return self._wanted and not self._mute

    @property
    def under_way(self) -> int:
        """Questions without an answer."""
        return len(self._open)

    @property
    def is_full(self) -> bool:
        """Whether anything more would only wait on the way."""
        return len(self._open) >= WINDOW

    def asked(self, now: float) -> None:
        """One more question is on its way."""
        with self._changed:
            self._open.append(now)

    def answered(self) -> None:
        """The oldest question has its answer. One that comes after all was given up switches pacing on again."""
        with self._changed:
            self._has_answered, self._mute = True, False
            if self._open:
                self._open.popleft()
            self._changed.notify_all()

    def look(self, now: float) -> None:
        """Give up what is overdue: pacing as a whole where the terminal never answered."""
        with self._changed:
            if self._open and now - self._open[0] > (LATER if self._has_answered else FIRST):
                self._mute = not self._has_answered
                self._open.clear()
                self._changed.notify_all()

    def settle(self, seconds: float) -> None:
        """Wait, at most so long, until all is answered: a later answer would be typed into the shell."""
        with self._changed:
            self._changed.wait_for(lambda: not self._open, seconds)

    def restart(self) -> None:
        """Forget what was under way: the terminal was left meanwhile."""
        with self._changed:
            self._open.clear()
