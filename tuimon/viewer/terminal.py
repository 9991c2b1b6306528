"""The one place that touches Textual's private parts and the process's signals; each touch is guarded."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable
from typing import Any, Final

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
