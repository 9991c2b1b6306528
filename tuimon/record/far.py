"""far.json: that a run directory is a picture of a run on another machine, and how the link to it stands.

Written by `remote.mirror`; the file's time is when the other machine was last heard. Touches the disk.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from tuimon.record.files import open_to_read, write_atomically
from tuimon.record.locks import is_held
from tuimon.record.plain import built
from tuimon.record.rundir import RunDir

FILE: Final = "far.json"
LOOK: Final = "look.json"
"""Steps that a viewer wishes to see closely: [first, last], or null. Written by the viewer."""
LOGIN: Final = "login.json"
"""How often a person wished to log in again. Written by the viewer, which leaves the terminal to ssh for that."""
KEPT: Final = "kept.lock"
"""Held by the process that keeps the picture up to date."""
REFUSED: Final = "refused"
_MOST: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class Far:
    """The link."""

    host: str
    state: str = "live"
    """live, reaching (for the first time), reconnecting, or refused: only a person can log in there, and nothing more
    is tried until one wishes to."""
    since: float = 0.0
    """Wall clock since when it has been live."""
    login: int = 0
    """Up to which wish to log in that was tried."""
    why: str = ""
    """Of a link that is down, or of a run that is not there any more."""
    alive: bool | None = None
    """Whether the training process is there, as the other machine sees it."""
    share: float = 1.0
    """How much of the log the other machine has read, 0 to 1."""
    thin: bool = False
    """Whether the log here is an outline of the one there."""
    skew: float = 0.0
    """Seconds by which the clock here is ahead of the one there; 0.0: they agree."""
    control: bool = False
    """Whether commands are handed on."""
    refused: str = ""
    """Id of the last command that could not be handed over there."""
    refusal: str = ""
    """And why."""

    def changed(self, **changes: Any) -> Far:
        """With other values."""
        return replace(self, **changes)


def write_far(run: RunDir, far: Far) -> None:
    """Put it down; OSError where that cannot be."""
    write_atomically(str(run.path / FILE), json.dumps(asdict(far)).encode())


def read_far(run: RunDir) -> tuple[Far, float] | None:
    """The link and the wall clock of the last word from there; None for a run of this machine."""
    try:
        with os.fdopen(open_to_read(run.path / FILE), "rb") as file:
            heard = os.fstat(file.fileno()).st_mtime
            return built(Far, json.loads(file.read(_MOST))), heard
    except (OSError, ValueError, TypeError, RecursionError):
        return None


def is_kept(run: RunDir) -> bool:
    """Whether somebody keeps it up to date; True where that cannot be told."""
    return is_held(run.path / KEPT) is not False


def ask_login(run: RunDir, number: int) -> None:
    """Wish for the `number`th time to log in; OSError where that cannot be written."""
    write_atomically(str(run.path / LOGIN), json.dumps(number).encode())


def asked_login(run: RunDir) -> int:
    """How often that was wished."""
    try:
        with os.fdopen(open_to_read(run.path / LOGIN), "rb") as file:
            return int(json.loads(file.read(100)))
    except (OSError, ValueError, TypeError):
        return 0
