"""A terminal at the far end of a link: what the program writes lies in the link until it is delivered."""

from __future__ import annotations

import os
import re
import time
import zlib
from collections import deque

from pty_terminal import Terminal

ASKS = b"\x1b[6n"
ANSWER = b"\x1b[1;1R"
CHUNK = 256
"""Bytes that a link carries at once."""


class FarTerminal(Terminal):
    """Delivers at once while `flows`; else by `deliver`. The link has room for everything, as ssh and modems seem to."""

    flows = True

    def __init__(self, *args: object, **kwargs: object) -> None:
        self.link = bytearray()
        super().__init__(*args, **kwargs)

    def take(self, data: bytes) -> None:
        """Into the link."""
        self.link += data
        if self.flows:
            self.deliver(len(self.link))

    def deliver(self, count: int) -> int:
        """So many bytes arrive; the questions among them are answered: how many those are."""
        data = bytes(self.link[:count])
        del self.link[:count]
        before = len(re.findall(re.escape(ASKS), bytes(self.raw[-3:])))
        tail = bytes(self.raw[-3:])
        super().take(data)
        asked = (tail + data).count(ASKS) - before
        for _ in range(asked):
            self.answer()
        return asked

    def answer(self) -> None:
        """Say where the cursor is."""
        os.write(self._master, ANSWER)

    def deliver_frame(self) -> bool:
        """Everything up to the next question arrives; False where none is on its way."""
        at = self.link.find(ASKS)
        return at >= 0 and self.deliver(at + len(ASKS)) > 0

    @property
    def frames(self) -> int:
        """Frames in the link."""
        return self.link.count(b"\x1b[?2026l")


class SlowTerminal(FarTerminal):
    """A link of so many bytes a second and so much delay each way, with ssh's compression or without."""

    flows = False

    def __init__(self, *args: object, rate: float, delay: float, compressed: bool = False, **kwargs: object) -> None:
        self.rate, self.delay = rate, delay
        self._zip = zlib.compressobj(6) if compressed else None
        self._arriving: deque[tuple[float, bytes]] = deque()
        self._answers: deque[float] = deque()
        self._free = 0.0
        """When the link has carried all that it holds."""
        self.carried = self.written = 0
        super().__init__(*args, **kwargs)

    def take(self, data: bytes) -> None:
        """The link is busy with it for as long as it takes."""
        now = time.monotonic()
        self.written += len(data)
        for i in range(0, len(data), CHUNK):
            piece = data[i:i + CHUNK]
            size = len(piece) if self._zip is None else len(self._zip.compress(piece) + self._zip.flush(zlib.Z_SYNC_FLUSH))
            self.carried += size
            self._free = max(self._free, now) + size / self.rate
            self._arriving.append((self._free + self.delay, piece))

    def pump(self, seconds: float) -> bool:
        """Write, carry and show."""
        is_open = super().pump(min(seconds, 0.01))
        now = time.monotonic()
        while self._arriving and self._arriving[0][0] <= now:
            self.link += self._arriving.popleft()[1]
        self.deliver(len(self.link))
        while self._answers and self._answers[0] <= now:
            self._answers.popleft()
            super().answer()
        return is_open

    def answer(self) -> None:
        """On its way back."""
        self._answers.append(time.monotonic() + self.delay)
