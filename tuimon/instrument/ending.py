"""How a run ended, told from what is left of it, and the ladder by which a stop gets out of somebody else's loop."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from typing import Any, Final, Literal

from tuimon.instrument.stopping import TrainingStopped
from tuimon.instrument.words import told

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
    return "crashed", told(error)


def last_error() -> BaseException | None:
    """The exception that is ending this interpreter, seen from an exit hook; None where none is.

    The interpreter leaves it in `sys` after printing it; a process of multiprocessing runs its exit hooks while it is
    on its way. At a prompt or in a notebook, what is left there is some earlier cell's. A SystemExit leaves nothing
    there: see `witnessed`.
    """
    under_way = sys.exc_info()[1]
    if under_way is not None:
        return under_way
    if hasattr(sys, "ps1"):
        return None
    found = getattr(sys, "last_value", None)
    return found if isinstance(found, BaseException) else next(iter(_exits), None)


_exits: Final[list[SystemExit]] = []
"""That which is ending this interpreter, once it has got out of the script."""


class _Witness:
    """Lives as long as the SystemExit whose traceback leads through the frame that holds it."""

    def __init__(self, status: Any) -> None:
        self._status = status

    def __del__(self) -> None:
        """Where no frame is left below, nobody has caught it: the interpreter is ending by this status."""
        if threading.get_ident() != threading.main_thread().ident:
            return
        try:
            sys._getframe(1)  # noqa: SLF001  # the only way to ask
        except ValueError:
            _exits[:] = [SystemExit(self._status)]


def witnessed(original: Callable[[Any], Any]) -> Callable[..., Any]:
    """sys.exit, so that its status is known at exit: nothing else that Python code can see tells it.

    What it raises is untouched, and one that is caught is forgotten. `raise SystemExit(3)` and `exit(3)` do not come by
    here: such a run is recorded as finished, unless it stands in `with monitor:`.
    """

    @functools.wraps(original)
    def leave(status: Any = None, /) -> Any:
        witness = _Witness(status)  # noqa: F841  # held by this frame, which the traceback holds
        return original(status)

    return leave


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
