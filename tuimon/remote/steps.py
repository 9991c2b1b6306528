"""How far a connection has come, for whoever sits there and waits. Touches the terminal and the clock.

While ssh logs in, the terminal is ssh's own: it may ask there. Nothing is written over; what takes long is told once,
below. After that one line says which step it is and since when, and is gone when there is something to look at.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from tuimon.record.text import clean

HINT: Final = 10.0
"""Seconds after which a step is said to hang, and why that may be."""
EVERY: Final = 0.5
STEPS: Final[dict[str, tuple[str, str]]] = {
    "login": ("not logged in yet", "ssh may wait for an answer; Ctrl+C gives up"),
    "starting": ("logged in, starting tuimon there", "that machine may be busy, or its disk slow"),
    "sending": ("logged in, starting Python there and sending the reader", "the way there may be slow"),
    "reading": ("looking for the run there", "its disk may be slow"),
    "picture": ("the first picture is on its way", "the way from there may be slow"),
}
"""What each step is called, and what may be the matter where it takes long."""
_LONGEST: Final = 500
_LAST: Final = re.compile(
    r"ssh: .*|.*: Permission denied \(.*\)\.?|Host key verification failed\.|.*Too many authentication failures.*"
    r"|kex_exchange_identification: .*|(Connection|Disconnected|Received disconnect) .*")
"""What ssh ends with: it is told as the reason why there is no link, and not here as well."""


class Steps:
    """Where a connection stands."""

    def __init__(self, host: str = "", sink: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """`sink`: the terminal; None: nobody is told."""
        self._host, self._sink, self._clock = host, sink, clock
        self._step, self._what = "login", ""
        self._since, self._drawn = clock(), 0.0
        self._half = b""
        """Of a line of ssh's."""
        self._kept, self._kept_since = "", 0.0
        """What may be the last that ssh says."""
        self._is_hinted = self._is_shown = False

    def go(self, step: str, what: str = "") -> None:
        """The next step; `what`: more about it."""
        if step != self._step:
            self._let_go()
            self._step, self._what, self._since = step, what, self._clock()
            self._show()

    def tick(self) -> None:
        """Some time has passed."""
        now = self._clock()
        if self._sink is None:
            return
        if self._kept and now - self._kept_since >= EVERY:
            self._let_go()
        if self._step != "login":
            if now - self._drawn >= EVERY:
                self._show()
        elif now - self._since >= HINT and not self._is_hinted:
            self._is_hinted = True
            self.say(self._words(now))

    def pass_on(self, words: bytes) -> None:
        """What ssh says beside its questions: banners, warnings, that a password was wrong."""
        *lines, self._half = (self._half + words).split(b"\n")
        for line in lines:
            said = clean(line.decode("utf-8", "replace").rstrip("\r"), _LONGEST)
            if not said.strip():
                continue
            self._let_go()
            if _LAST.fullmatch(said):
                self._kept, self._kept_since = said, self._clock()
            else:
                self.say(said)

    def _let_go(self) -> None:
        """It was not the last."""
        kept, self._kept = self._kept, ""
        if kept:
            self.say(kept)

    def say(self, words: str) -> None:
        """In a line of its own."""
        self._write(f"{words}\n")

    def done(self) -> None:
        """There is something to look at, or there will not be."""
        if self._is_shown:
            self._write("\r\x1b[K")
        self._sink = None

    def _words(self, now: float) -> str:
        words, hint = STEPS[self._step]
        what, age = f" ({self._what})" if self._what else "", now - self._since
        waited = f", {age:.0f} s" if age >= 1.0 else ""
        return f"{self._host}: {words}{what}{waited}{f': {hint}' if age >= HINT else ''}"

    def _show(self) -> None:
        if self._sink is None:
            return
        self._drawn, self._is_shown = self._clock(), True
        with suppress(OSError, ValueError):
            width = os.get_terminal_size(self._sink).columns or 80
            self._write(f"\r\x1b[K{clean(self._words(self._drawn), width - 1)}")

    def _write(self, words: str) -> None:
        if self._sink is not None:
            with suppress(OSError):   # it has gone: whoever watches notices
                os.write(self._sink, words.encode("utf-8", "replace"))
