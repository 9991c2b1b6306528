"""A run of another machine, seen through its mirror (see `remote`): how the link stands, and what is wished over it.

Touches the disk; knows no thread. Time is an argument.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Final

from tuimon.record.events import Event
from tuimon.record.far import LOOK, REFUSED, Far, is_kept, read_far
from tuimon.record.files import write_atomically
from tuimon.record.hosts import REACHING, host_of, look_at
from tuimon.record.readonly import ONLY_LOOKS, is_read_only
from tuimon.record.rundir import RunDir
from tuimon.viewer.lines import Tone, lapse
from tuimon.viewer.views import Way

EVERY: Final = 0.5
"""Seconds between two looks."""
SLOW, LOST = 4.0, 15.0
"""Seconds without a word after which the link is amber, and red."""
CALM: Final = 0.4
"""Seconds that a window stands before more of it is asked for."""


class Afar:
    """The link behind a run directory, if there is one."""

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self.far: Far | None = None
        """None: a run of this machine."""
        self._heard, self._looked = math.inf, -math.inf
        self._read()
        self._is_kept = True
        self._wish: tuple[int, int] | None = None
        self._wished = math.inf
        self._told: tuple[int, int] | None = None

    def look(self, mono: float) -> None:
        """Read what the link says, now and then."""
        if mono - self._looked >= EVERY:
            self._looked = mono
            look_at(self._run)
            if self._read():
                self._is_kept = is_kept(host_of(self._run) or self._run)

    def _read(self) -> bool:
        found = read_far(self._run)
        if found is not None:
            self.far, self._heard = found
        return found is not None

    @property
    def is_thin(self) -> bool:
        """Whether the log here is an outline of the one there."""
        return self.far is not None and self.far.thin

    @property
    def host(self) -> str:
        """The other machine; "" where there is none."""
        return "" if self.far is None else self.far.host

    def here(self, event: Event) -> Event:
        """An event by the clock of this machine."""
        skew = 0.0 if self.far is None else self.far.skew
        return replace(event, time=event.time + skew) if skew else event

    @property
    def reading(self) -> str:
        """How far the other machine has read its log, while it lags."""
        far = self.far
        return "" if far is None or far.share >= 1.0 else f"read {100 * far.share:.0f} % on {far.host}"

    def status(self, now: float) -> tuple[str, Tone] | None:
        """What the link has to say before anything else; None where it is as it should be."""
        if self.far is None:
            return None
        silence = now - self._heard
        if not self._is_kept:
            return f"◌ no link {lapse(silence)}", "critical"
        if self.far.state == REFUSED:
            return f"◌ logged out {lapse(silence)}", "critical"
        if self.far.state == REACHING:
            return "◌ asking for the run", "dim"
        if self.far.state != "live":
            return f"◌ reconnecting {lapse(silence)}", "critical" if silence > LOST else "warning"
        if silence > SLOW:
            return f"◌ no word {lapse(silence)}", "critical" if silence > LOST else "warning"
        return None

    @property
    def way(self) -> Way:
        """How the run is reached."""
        if self.far is None:
            return "here"
        if not self._is_kept:
            return "gone"
        return "live" if self.far.state == "live" else "refused" if self.far.state == REFUSED else "down"

    @property
    def only_looks(self) -> str:
        """Why nothing can be asked of the run by this view, and how it could be; "" where it can."""
        if is_read_only():
            return ONLY_LOOKS
        is_link = self.far is not None and not self.far.control
        return f"{ONLY_LOOKS}; tuimon watch --control lets it order" if is_link else ""

    @property
    def problem(self) -> str:
        """Why the link is down, or what is wrong with the run there; else ""."""
        far = self.far
        if far is not None and not self._is_kept:
            return f"the process that held the link to {far.host} has ended"
        if far is not None and far.state == REFUSED and "Permission denied" in far.why:
            return f"{far.host} asks for a login"
        return "" if far is None or not far.why else f"{far.host}: {far.why.rstrip('.')}"

    def wish(self, window: tuple[int, int] | None, mono: float) -> None:
        """Look closely at some steps, or at the whole. Told when the window has stood for a moment."""
        if self.far is None:
            return
        if window != self._wish:
            self._wish, self._wished = window, mono
        if self._wish != self._told and mono - self._wished >= CALM and (self.far.thin or self._wish is None):
            self._told = self._wish
            try:
                write_atomically(str(self._run.path / LOOK), json.dumps(self._wish).encode())
            except OSError:
                return   # what there is stays on the screen
