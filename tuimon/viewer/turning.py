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
"""Seconds after which a place is shown as far as it has come: what it waits for is said there."""


class Turning:
    """Holds the screen from the key that leads to a place until that is drawn."""

    def __init__(self, app: Any, is_drawn: Callable[[], bool], clock: Callable[[], float] = time.monotonic) -> None:
        self._app, self._is_drawn, self._clock = app, is_drawn, clock
        self._held = False
        self._building = 0
        """Places on their way: the next key does not wait for the last one's."""
        self._until = 0.0
        self._timer: Timer | None = None

    def begin(self) -> None:
        """From here on nothing is shown."""
        self._building += 1
        self._held = self._held or terminal.hold(self._app)

    def built(self) -> None:
        """The place is there; its data may be under way."""
        self._building -= 1
        self._until = self._clock() + PATIENCE
        if self._timer is None:
            self._timer = self._app.set_interval(LOOK, self.look)

    def look(self) -> None:
        """Show it, if it is drawn."""
        if self._building:
            return
        terminal.lay_out(self._app.screen)
        if not self._is_drawn() and self._clock() < self._until:
            return
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        if self._held:
            self._held = False
            terminal.release(self._app, whole=True)
