"""What is told of one link, beside whatever comes over it: how it stands, when it was heard, how far two clocks differ.

Touches the disk and the process table.
"""

from __future__ import annotations

import math
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tuimon import private
from tuimon.record.far import FILE, Far, write_far
from tuimon.record.liveness import boot_id
from tuimon.record.rundir import RunDir, cache_root

SKEW: Final = 2.0
"""Seconds by which two clocks may differ unnoticed: the road there and back is in it."""
STEP: Final = 30.0
"""Seconds by which no message is late: a clock was set."""


class Linked:
    """Writes down what is told over a link."""

    def __init__(self, run: RunDir, far: Far) -> None:
        self.run, self.far = run, far
        self.is_ready = False
        """Whether there is something to look at."""
        self._heard = 0.0
        """Wall clock of the last word from there; 0 where none has come."""
        self._apart = math.inf

    def heard(self, now: float, there: object = None) -> None:
        """The other machine spoke; `there`: what its clock says."""
        self._heard = now
        if isinstance(there, int | float) and abs(there) < 1e12:
            self._compare(now - there)
        if self.far.state != "live":
            self.say(state="live", why="", since=now)
        else:
            self._date()

    def _compare(self, apart: float) -> None:
        """Two clocks: what came late says nothing of them, and one may be set."""
        self._apart = min(self._apart, apart) if abs(apart - self._apart) < STEP else apart
        skew = self._apart if abs(self._apart) > SKEW else 0.0
        if abs(skew - self.far.skew) > SKEW / 2:   # rows that follow each other stay as far apart as they are
            self.say(skew=skew)

    def say(self, **changes: Any) -> None:
        """Something about the link is different."""
        self.far = self.far.changed(**changes)
        write_far(self.run, self.far)
        if self._heard:   # that a try has failed is no word from there
            self._date()

    def _date(self) -> None:
        os.utime(self.run.path / FILE, (self._heard, self._heard))

    def take(self, head: Mapping[str, Any], body: bytes) -> None:
        """One message; WireError for one that is none."""
        raise NotImplementedError

    def close(self) -> None:
        """Give the files back."""


def make_folder(root: Path | None = None, owner: int | None = None) -> Path:
    """A place for what process `owner` looks at, or this one; those of viewers that are gone are removed."""
    base = (cache_root() if root is None else root) / "far"
    private.make_folder(base, parents=0o700, follow=True)
    here = _processes()
    for name in os.listdir(base):
        pid, _, rest = name.partition("-")
        if pid.isdigit() and here and rest.startswith(f"{here}-") and not os.path.exists(f"/proc/{pid}"):
            shutil.rmtree(base / name, ignore_errors=True)
    folder = base / f"{owner or os.getpid()}-{here or 0}-{secrets.token_hex(4)}"
    private.make_folder(folder, fresh=True)
    return folder


def _processes() -> str:
    """Which processes are meant by numbers here: a home may be shared by machines; "" where that cannot be told."""
    try:
        return f"{boot_id()[:8]}.{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:
        return ""
