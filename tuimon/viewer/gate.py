"""Holds the screen back while the terminal is behind, so that what it shows next is the newest.

Touches the app's timers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from tuimon.viewer import terminal
from tuimon.viewer.pace import Pace

RETRY: Final = 0.25
"""Seconds until a terminal that was behind is looked at again."""


class Gate:
    """Between the feed and the screen, and between the screen and the terminal.

    New data waits while one frame is under way; anything drawn waits while `pace.WINDOW` are, or while the driver's
    queue is long. What waits is drawn once, as it is by then.
    """

    def __init__(self, app: Any, pace: Pace, ready: Callable[[], object],
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._app, self._pace, self._ready, self._clock = app, pace, ready, clock
        self._held = self._missed = self._waits = self._armed = False

    def lets_pass(self) -> bool:
        """Whether a new frame may be shown now; else `ready` is called once it may."""
        if not self._pace.under_way and terminal.backlog(self._app) <= terminal.BACKLOG:
            return True
        self._waits = True
        self._arm()
        return False

    def drawn(self) -> None:
        """Something was sent to the terminal, or was left out because all is held."""
        if self._held:
            self._missed = True
            return
        terminal.ask(self._app)
        if self._pace.is_full or terminal.backlog(self._app) > terminal.FULL:
            self._held = terminal.hold(self._app)
        if self._pace.under_way or self._held:
            self._arm()

    def look(self) -> None:
        """The terminal has answered, or some time has passed."""
        self._pace.look(self._clock())
        behind = terminal.backlog(self._app)
        if self._held and not self._pace.is_full and behind <= terminal.BACKLOG:
            self._held = False
            terminal.release(self._app, whole=self._missed)
            self._missed = False
        if self._waits and not self._pace.under_way and behind <= terminal.BACKLOG:
            self._waits = False
            self._ready()
        if self._held or self._waits or self._pace.under_way:
            self._arm()

    def _arm(self) -> None:
        if not self._armed:
            self._armed = True
            self._app.set_timer(RETRY, self._timed)

    def _timed(self) -> None:
        self._armed = False
        self.look()
