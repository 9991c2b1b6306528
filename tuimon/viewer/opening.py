"""What stands on the terminal while the screen is still being loaded. Touches the terminal and the process's signals.

Textual alone takes as long to load as a person takes to wonder. The words stand where the panel will have them, in the
terminal's own colours, and the panel is drawn over them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Final, NoReturn

from tuimon.record.text import clean
from tuimon.viewer.first import OPENED

ENTER: Final = "\x1b[?1049h\x1b[H\x1b[2J\x1b[?25l"
LEAVE: Final = "\x1b[?1049l\x1b[?25h"
ENDING: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Signals that would end the process at once, and leave the terminal as it is."""


@contextlib.contextmanager
def opening(name: str, is_taken: Callable[[], bool], sink: int = 2) -> Iterator[None]:
    """Say that `name` is being read. `is_taken`: whether somebody else has the terminal by now, and gives it back."""
    before = {number: signal.signal(number, _leave) for number in ENDING}
    try:
        title, sentence = OPENED
        _say(sink, f"{ENTER} \x1b[1mtuimon\x1b[0m  {clean(name, 60)}\x1b[4;5H{title}\x1b[5;3H{sentence}")
        yield
    finally:
        if not is_taken():
            _say(sink, LEAVE)
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)


def _say(sink: int, words: str) -> None:
    with contextlib.suppress(OSError):   # the terminal is gone: the screen will notice
        os.write(sink, words.encode(errors="replace"))
