"""The one place that touches Textual's private parts and the process's signals; each touch is guarded."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from tuimon.viewer.terse import terse

if TYPE_CHECKING:
    from textual.driver import Driver

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


def terse_driver(env: Mapping[str, str]) -> type[Driver] | None:
    """Textual's driver for terminals, sending fewer bytes; None, its own choice, where that is another one."""
    if os.name != "posix" or env.get("TEXTUAL_DRIVER"):
        return None
    from textual.drivers.linux_driver import LinuxDriver

    class TerseDriver(LinuxDriver):
        """Says a colour once."""

        def write(self, data: str) -> None:
            """Hand on what differs."""
            super().write(terse(data))

    return TerseDriver
