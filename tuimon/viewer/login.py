"""A login over the terminal, in the place of a link that needs a person for it. Touches the disk.

The link's own process starts ssh (see `remote.keeping`); the panel asks for it, leaves the terminal and waits.
"""

from __future__ import annotations

import contextlib

from tuimon.record.far import LOGIN, ask_login, asked_login, is_kept, read_far
from tuimon.record.hosts import host_of
from tuimon.record.rundir import RunDir


class Login:
    """Of one run, which may be one of this machine: then there is none."""

    def __init__(self, run: RunDir) -> None:
        self._run = host_of(run) or run
        self._number = 0

    def ask(self) -> bool:
        """Have it begin; False where the link has gone, with its place."""
        if not is_kept(self._run):
            return False   # nobody would begin
        found = read_far(self._run)
        self._number = max(asked_login(self._run), found[0].login if found else 0) + 1
        try:
            ask_login(self._run, self._number)
        except OSError:
            return False
        return True

    @property
    def is_over(self) -> bool:
        """Whether it has come to an end, whichever: that of the process that was asked for it is one."""
        found = read_far(self._run)
        return found is None or found[0].login >= self._number or not is_kept(self._run)

    def withdraw(self) -> None:
        """It is not waited for any more."""
        with contextlib.suppress(OSError):
            (self._run.path / LOGIN).unlink()
