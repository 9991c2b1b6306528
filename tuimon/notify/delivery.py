"""One thread per target: it tries until a message has arrived or there is no sense in it. Waits, and calls channels.

A target that hangs holds up nobody but itself. What has come meanwhile goes with the next try, as one message.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tuimon.notify.channels import Outcome
from tuimon.notify.message import Message, together
from tuimon.notify.targets import Target

FIRST_S: Final = 1.0
LONGEST_S: Final = 60.0
"""Between two tries: doubled from the first to the longest."""
PATIENCE_S: Final = 3600.0
"""After which a message that has not arrived is given up."""

Send = Callable[[Target, Message], Outcome]


@dataclass(frozen=True, slots=True)
class Report:
    """What became of one message at one target."""

    target: Target
    message: Message
    tries: int
    why: str
    """Why it has not arrived; "" where it has."""
    is_final: bool = True
    """Whether it is over: otherwise it is tried again."""


class Delivery:
    """One target's. `tell` is told from the thread what becomes of each message."""

    def __init__(self, target: Target, send: Send, tell: Callable[[Report], None], *, first: float = FIRST_S,
                 longest: float = LONGEST_S, patience: float = PATIENCE_S) -> None:
        self.target, self._send, self._tell = target, send, tell
        self._first, self._longest, self._patience = first, longest, patience
        self._queue: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._open, self._lock = 0, threading.Lock()
        threading.Thread(target=self._run, name=f"tuimon-{target.kind}", daemon=True).start()

    def put(self, message: Message) -> None:
        """Have it sent; never waits."""
        with self._lock:
            self._open += 1
        self._queue.put(message)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on the way."""
        with self._lock:
            return self._open == 0

    def hurry(self) -> None:
        """Try again now: there is little time left."""
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._deliver(self._queue.get())

    def _deliver(self, message: Message) -> None:
        waiting, tries, pause, until = [message], 0, self._first, time.monotonic() + self._patience
        while True:
            waiting += self._more()
            whole = together(waiting)
            outcome = self._send(self.target, whole)
            tries += 1
            is_final = outcome.arrived or not outcome.again or time.monotonic() >= until
            if is_final or tries == 1:   # a line at the first failure and at the end, not at each try between
                self._tell(Report(self.target, whole, tries, outcome.why, is_final))
            if is_final:
                with self._lock:
                    self._open -= len(waiting)
                return
            self._wake.wait(max(pause, outcome.wait))
            self._wake.clear()
            pause = min(self._longest, 2 * pause)

    def _more(self) -> list[Message]:
        found: list[Message] = []
        while True:
            try:
                found.append(self._queue.get_nowait())
            except queue.Empty:
                return found
