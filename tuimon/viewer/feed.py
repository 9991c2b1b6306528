"""The feed: one daemon thread that polls a Reading and hands the newest Frame on. Never torch.

At most one frame waits to be taken: a screen behind a slow link gets the newest, never a backlog. `close()` ends the
thread within half a second, also in the middle of a long read, because a frame is only ever offered.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuimon.control.commands import Who
from tuimon.control.person import this_person
from tuimon.control.states import Verb
from tuimon.record.rundir import RunDir
from tuimon.viewer.views import Frame, Rules
from tuimon.viewer.wanted import Wanted

if TYPE_CHECKING:
    from tuimon.viewer.reading import Reading


class Feed:
    """Reads a run for a screen."""

    def __init__(self, run: RunDir, deliver: Callable[[], object], *, rules: Rules = "tuimon", period: float = 0.25,
                 hosts: Path | None = None, clock: Callable[[], float] = time.time,
                 mono: Callable[[], float] = time.monotonic) -> None:
        """`hosts`: where other machines tell of their runs, see `record.hosts`."""
        self._hosts = hosts
        self._run, self._deliver, self._rules, self._period = run, deliver, rules, period
        self._clock, self._mono = clock, mono
        self._stopped, self._wake = threading.Event(), threading.Event()
        self._asked: deque[tuple[Verb, Mapping[str, Any], str]] = deque()
        self._wanted = Wanted()
        self._newest: Frame | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._loop, name="tuimon-feed", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self, patience: float = 0.5) -> None:
        """Stop reading; waits at most so many seconds until what was asked is written down."""
        self._stopped.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(patience)

    def take(self) -> Frame | None:
        """The newest frame, once."""
        with self._lock:
            frame, self._newest = self._newest, None
        return frame

    def want(self, wanted: Wanted) -> None:
        """What frames are to show from now on; the next one comes at once."""
        self._wanted = wanted
        self._wake.set()

    def pace(self, period: float) -> None:
        """From now on at least so many seconds between two frames."""
        self._period = period

    def ask(self, verb: Verb, args: Mapping[str, Any], base: str) -> None:
        """Have a command written to the spool, by the feed's thread: a hanging disk never hangs the screen."""
        self._asked.append((verb, args, base))
        self._wake.set()

    def _loop(self) -> None:
        # numpy, and what draws with it, are loaded here, after the first paint: keys are answered meanwhile.
        from tuimon.viewer.judging import PATIENCE
        from tuimon.viewer.reading import Reading

        reading = Reading(self._run, rules=self._rules, patience=PATIENCE, hosts=self._hosts)
        who = this_person("viewer")
        while not self._stopped.is_set():
            try:
                self._submit(reading, who)
                frame, is_behind = reading.poll(self._clock(), self._mono(), self._wanted), reading.is_behind
            except Exception as error:
                # The outermost frame of the reader: what was read stays on the screen, with the reason beside it.
                frame, is_behind = reading.broken(repr(error)), False
            if frame is not None:
                self._offer(frame)
            if not is_behind:
                self._wake.wait(self._period)
                self._wake.clear()
        self._submit(reading, who)   # what was asked last, before leaving
        reading.close()

    def _submit(self, reading: Reading, who: Who) -> None:
        while self._asked:
            verb, args, base = self._asked.popleft()
            reading.ask(verb, args, self._clock(), who, base)

    def _offer(self, frame: Frame) -> None:
        with self._lock:
            waiting, self._newest = self._newest is not None, frame
        if not waiting:
            # Whoever has not taken the last frame yet will find this one in its place.
            with contextlib.suppress(RuntimeError):   # the screen has gone in between
                self._deliver()
