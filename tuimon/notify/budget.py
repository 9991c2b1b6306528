"""When to send: what comes together is told together, and a run that flickers does not ring all night. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from tuimon.notify.message import Message, together

GATHER_S: Final = 2.0
"""An explosion is seen by three rules within a second: one message."""
MOST: Final = 10
WINDOW_S: Final = 600.0
"""In so many seconds at most MOST messages; what is more follows as one."""


@dataclass(slots=True)
class Budget:
    """Messages that wait. `now` is in seconds of a clock that only goes forward."""

    gather: float = GATHER_S
    most: int = MOST
    window: float = WINDOW_S
    _waiting: list[Message] = field(default_factory=list)
    _since: float = 0.0
    _sent: deque[float] = field(default_factory=deque)

    def put(self, message: Message, now: float) -> None:
        """Have it told."""
        if not self._waiting:
            self._since = now
        self._waiting.append(message)

    def due(self, now: float, *, last: bool = False) -> Message | None:
        """What is to be sent now, or None. `last`: nothing will follow, and nobody will ask again."""
        while self._sent and now - self._sent[0] >= self.window:
            self._sent.popleft()
        may = last or (now - self._since >= self.gather and len(self._sent) < self.most)
        if not self._waiting or not may:
            return None
        found, self._waiting = together(self._waiting), []
        self._sent.append(now)
        return found
