"""How much may be on its way: little enough that what is sent next is not old when it arrives. Pure; time is given.

Every message is answered. What is answered late stood in a queue somewhere between here and there: less is sent then.
"""

from __future__ import annotations

from collections import deque

LEAST, FIRST, MOST = 1500, 8192, 512 << 10
"""Bytes on their way."""
QUEUE = 0.1
"""Seconds that a message may wait on the way."""
FORGET = 0.0005
"""Share of the way up by which the shortest answer is taken to be longer now, each time: roads change."""


class Window:
    """What was sent and not yet answered."""

    def __init__(self) -> None:
        self.size = float(FIRST)
        self.flying = 0
        """Bytes."""
        self.shortest = float("inf")
        """Seconds to the quickest answer."""
        self.rate = 0.0
        """Bytes a second that arrive while the road is full; 0.0 before anything was answered."""
        self.best = 0.0
        """The most that it ever was: a road that is not full says little of itself."""
        self._is_known = False
        """Whether the road was full once: until then more and more is tried."""
        self._sent: deque[tuple[float, int, int]] = deque()
        """Of each message: when, its bytes, what was flying with it."""

    @property
    def has_room(self) -> bool:
        """Whether something more may be sent now."""
        return self.flying < self.size

    @property
    def is_calm(self) -> bool:
        """Whether something may be sent that can wait."""
        return self.flying < 0.35 * self.size

    def sent(self, count: int, now: float) -> None:
        """A message of so many bytes has gone."""
        self.flying += count
        self._sent.append((now, count, self.flying))

    def answered(self, messages: int, now: float) -> None:
        """The far end has taken so many messages more."""
        for _ in range(min(messages, len(self._sent))):
            sent, count, flying = self._sent.popleft()
            self.flying -= count
            took = max(1e-4, now - sent)
            rate = flying / took
            self.rate = rate if not self.rate else self.rate + 0.2 * (rate - self.rate)
            self.best = max(self.best, self.rate)
            self.shortest = min(took, self.shortest + FORGET * (took - self.shortest)
                                if self.shortest < float("inf") else took)
            if took - self.shortest - count / self.best > QUEUE:   # besides its own length
                self._is_known = True
                self.best += 0.2 * (rate - self.best)
                self.size = max(LEAST, 0.8 * self.size)
            elif flying > 0.5 * self.size:
                self.size = min(MOST, self.size + count * (count / self.size if self._is_known else 1.0))
