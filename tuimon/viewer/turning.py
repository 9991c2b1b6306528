"""Shows a place once it is drawn: what lies between two places is no picture. Touches the app's timers.

A place is built, laid out, told its data and drawn in several turns of the loop; each would be on the screen for a
moment, the first of them blank.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from textual.timer import Timer

from tuimon.viewer import terminal

LOOK: Final = 0.02
"""Seconds between two looks at whether all is drawn."""
PATIENCE: Final = 0.3
"""Seconds after which a place is shown without its data: what it waits for is said there."""
LATEST: Final = 2.0
"""Seconds after which it is shown as far as it has come."""


class Turning:
    """Holds the screen from the key that leads to a place until that is drawn."""

    def __init__(self, app: Any, is_drawn: Callable[[], bool], is_told: Callable[[], bool],
                 clock: Callable[[], float] = time.monotonic) -> None:
        """`is_drawn`: whether there is a picture everywhere; `is_told`: whether it has got its data."""
        self._app, self._is_drawn, self._is_told, self._clock = app, is_drawn, is_told, clock
        self._held = False
        self._building = 0
        """Places on their way: the next key does not wait for the last one's."""
        self._since = 0.0
        self._timer: Timer | None = None

    def begin(self) -> None:
        """From here on nothing is shown."""
        self._building += 1
        self._held = self._held or terminal.hold(self._app)

    def built(self) -> None:
        """The place is there; its data may be under way."""
        self._building -= 1
        self._since = self._clock()
        if self._timer is None:
            self._timer = self._app.set_interval(LOOK, self.look)

    def look(self) -> None:
        """Show it, if it is drawn."""
        if self._building:
            return
        terminal.lay_out(self._app)
        waited = self._clock() - self._since
        if waited < LATEST and not (self._is_drawn() and (self._is_told() or waited >= PATIENCE)):
            return
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        if self._held:
            self._held = False
            terminal.release(self._app, whole=True)
