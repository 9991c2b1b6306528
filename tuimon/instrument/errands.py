"""What takes seconds and must keep neither the training thread nor the writer: one thread, one errand at a time."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Final

_LOG: Final = logging.getLogger("tuimon")
Errand = Callable[[], None]


class Errands:
    """Hashing and saving. The thread is started by the first errand; it dies with the process unless `close` waits."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Errand | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def send(self, errand: Errand) -> None:
        """Have it done after those before it; never waits."""
        self._queue.put(errand)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="tuimon-errands", daemon=True)
            self._thread.start()

    def close(self, seconds: float) -> bool:
        """Wait for what was sent, at most so long; whether all is done."""
        thread, self._thread = self._thread, None
        if thread is None:
            return True
        self._queue.put(None)
        thread.join(seconds)
        return not thread.is_alive()

    def leave(self, last: Errand) -> None:
        """Have `last` done after what was sent, and no more: at once where nothing is under way. Takes no lock."""
        thread, self._thread = self._thread, None
        if thread is None:
            last()
        else:
            self._queue.put(last)
            self._queue.put(None)

    def _run(self) -> None:
        while (errand := self._queue.get()) is not None:
            try:
                errand()
            except Exception:  # the outermost frame of the thread; an errand reports its own failures
                _LOG.warning("a background errand broke, training goes on", exc_info=True)
            errand = None  # while it waits for the next one it keeps nothing alive
