"""The part of the app that gives the terminal to ssh for a while, where another machine asks for a login again."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Final

from tuimon.viewer import terminal
from tuimon.viewer.login import Login
from tuimon.viewer.placed import Placed
from tuimon.viewer.views import GONE, Way

LOOKS: Final = 0.1
"""Seconds between two looks whether it is over."""
PATIENCE: Final = 3.0
"""Seconds after a Ctrl+C that ssh is given to go."""
_NOTHING: Final[dict[Way, str]] = {
    "here": "this run is on this machine",
    "live": "the link is up, there is nothing to log in to",
    "gone": f"the process that held the link has ended: {GONE}",
}
"""Why there is none."""
_KEYS: Final = (signal.SIGINT, signal.SIGQUIT)
"""What a person sends with the keyboard."""


class LoggingIn(Placed):
    """An app that can lend its terminal."""

    _login: Login | None
    _is_lent = False
    _interrupted = float("inf")
    """When ssh was told to stop."""

    def action_log_in(self) -> None:
        """Log in at the other machine again."""
        way, other = self._frame.way, self._front.login
        login = self._login if other is None else Login(other)
        if login is not None and (other is not None or way in ("down", "refused")):
            if not self._is_lent:
                self._is_lent = True
                self.run_worker(self._lend(login), group="login")
        else:
            self._front.flash(f"log in again: {_NOTHING.get(way, _NOTHING['live'])}")

    def takes_for_login(self, number: int) -> bool:
        """Whether a signal is meant for the ssh that has the terminal, not for this panel."""
        if self._is_lent and number in _KEYS:
            self._interrupted = time.monotonic()
            return True
        return False

    async def _lend(self, login: Login) -> None:
        """Give the terminal away until it is over, or, where whoever does it hangs, until it was interrupted."""
        self._interrupted = float("inf")
        terminal.hold(self)
        try:
            with self.suspend():   # nothing may be raised in here: the terminal would not be taken again
                is_asked = login.ask()
                while is_asked and not login.is_over and time.monotonic() < self._interrupted + PATIENCE:  # noqa: ASYNC110
                    await asyncio.sleep(LOOKS)   # it is another process that says so, in a file
        finally:
            login.withdraw()
            self._is_lent = False
            terminal.release(self, whole=True)
