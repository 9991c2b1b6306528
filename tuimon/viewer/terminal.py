"""The one place that touches Textual's private parts and the process's signals; each touch is guarded."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from tuimon.viewer.terse import terse

if TYPE_CHECKING:
    from textual._xterm_parser import XTermParser
    from textual.driver import Driver
    from textual.message import Message

    from tuimon.viewer.background import Background

BACKLOG: Final = 2
"""Writes that may wait in the driver's queue before a frame is skipped: past 30, Textual's whole loop would block."""
ENDING: Final = (signal.SIGTERM, signal.SIGHUP)


def backlog(app: Any) -> int:
    """Writes that wait for the terminal; 0 where that cannot be told."""
    queue = getattr(getattr(getattr(app, "_driver", None), "_writer_thread", None), "_queue", None)
    try:
        return int(queue.qsize()) if queue is not None else 0
    except (AttributeError, NotImplementedError):
        return 0


def on_ending_signals(leave: Callable[[], object]) -> None:
    """Have SIGTERM and SIGHUP leave by the front door: Textual 8.2 exits on them without restoring the terminal."""
    loop = asyncio.get_running_loop()
    for number in ENDING:
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
            loop.add_signal_handler(number, leave)


def is_lost(fd: int = 0) -> bool:
    """Whether the terminal is gone: a viewer on a dead one would burn 39 % of a core for ever."""
    try:
        return not os.isatty(fd)
    except OSError:
        return True


def terse_driver(env: Mapping[str, str], background: Background | None = None,
                 found: Callable[[bool], object] | None = None) -> type[Driver] | None:
    """Textual's driver for terminals, sending fewer bytes; None, its own choice, where that is another one.

    Keys typed before the screen was there come first. An answer of the terminal about its background that is still
    under way is kept out of the keys, and `found` told, in the thread that reads.
    """
    if os.name != "posix" or env.get("TEXTUAL_DRIVER"):
        return None
    from textual.drivers import linux_driver

    class TerseDriver(linux_driver.LinuxDriver):
        """Says a colour once."""

        def write(self, data: str) -> None:
            """Hand on what differs."""
            super().write(terse(data))

        def run_input_thread(self) -> None:
            """Read through the sieve, where something is to be kept out or put first."""
            names = vars(linux_driver)   # the loop finds its parser there
            plain = names.get("XTermParser")
            if plain is not None and background is not None and (background.is_late or background.typed):
                names["XTermParser"] = _sieving(plain, background, found)
            try:
                super().run_input_thread()
            finally:
                names["XTermParser"] = plain

    return TerseDriver


def _sieving(plain: type[XTermParser], background: Background,
             found: Callable[[bool], object] | None) -> type[XTermParser]:
    """Textual's parser of input, which knows no answer to a question about colours and would take it for keys."""
    sieve = background.sieve

    class SievingParser(plain):  # type: ignore[valid-type, misc]  # a class given by the caller
        """What was typed first; then what is typed, without answers."""

        _ahead = background.typed

        def feed(self, data: str) -> Iterable[Message]:
            """"" is the end of input."""
            was_known = sieve.dark is not None
            ahead, self._ahead = self._ahead, ""
            typed = ahead + (sieve.feed(data) if data else "")
            if found is not None and sieve.dark is not None and not was_known:
                found(sieve.dark)
            if typed:
                yield from super().feed(typed)
            if not data:
                yield from super().feed("")

        def tick(self) -> Iterable[Message]:
            """Now and then."""
            ahead, self._ahead = self._ahead + sieve.flush(), ""
            if ahead:
                yield from super().feed(ahead)
            yield from super().tick()

    return SievingParser
