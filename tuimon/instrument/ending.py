"""How a run ended, told from what is left of it, and the ladder by which a stop gets out of somebody else's loop."""

from __future__ import annotations

import sys
from typing import Final, Literal

from tuimon.instrument.stopping import TrainingStopped

Ending = Literal["finished", "stopped", "crashed"]
GRACE: Final = 3
"""Boundaries that a loop gets to leave by itself (framework flag, exhausted loader) before TrainingStopped."""


def ending(error: BaseException | None, *, stopping: bool) -> tuple[Ending, str | None]:
    """The state in which a run ends, and the error to show, from the exception that ended its script (None: none did).

    Ctrl+C and sys.exit() of a person are a stop, not a crash; a non-zero exit status is one.
    """
    if error is None:
        return ("stopped" if stopping else "finished"), None
    if isinstance(error, TrainingStopped):
        return "stopped", None
    if isinstance(error, KeyboardInterrupt):
        return "stopped", "KeyboardInterrupt"
    if isinstance(error, SystemExit) and error.code in (None, 0):
        return ("stopped" if stopping else "finished"), None
    text = " ".join(str(error).split())
    return "crashed", f"{type(error).__name__}: {text}"[:500] if text else type(error).__name__


def last_error() -> BaseException | None:
    """The exception that is ending this interpreter, seen from an exit hook; None where none is.

    The interpreter leaves it in `sys` after printing it; a SystemExit is not printed and leaves nothing.
    """
    found = getattr(sys, "last_value", None)
    return found if isinstance(found, BaseException) else None


class StopLadder:
    """Counts the boundaries since a stop. The first rung, `Steering.should_stop`, is for whoever owns the loop."""

    def __init__(self, grace: int = GRACE) -> None:
        self._left = grace
        self.is_stopping = False

    def stop(self) -> bool:
        """Begin; False where it had begun."""
        began = not self.is_stopping
        self.is_stopping = True
        return began

    def boundary(self, step: int) -> None:
        """A boundary after the stop: raises TrainingStopped at the last one granted."""
        if not self.is_stopping:
            return
        self._left -= 1
        if self._left <= 0:
            raise TrainingStopped(step)
