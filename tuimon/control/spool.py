"""The command spool: a file per command, written aside and renamed into place. Touches the disk.

Viewers submit; the run's writer thread polls. No socket, so no stale sockets, no path limit, and it works in
containers and over network file systems. Identity is the file's owner.

    commands/tmp/<name>   being written          commands/new/<name>   to be read, then unlinked

A reader trusts nothing in there: links are not followed, pipes do not block it, what cannot be removed is refused once
and then passed over, and one poll reads at most BATCH files out of LISTED names, whatever the flood.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from tuimon.control.commands import MAX_BYTES, Command, decode, encode
from tuimon.errors import CommandError
from tuimon.record.files import OS, Files, write_fully

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
BATCH: Final = 64
"""Commands read in one poll: a flood of files must not hold up the writer thread."""
LISTED: Final = 2048
"""Names looked at in one poll; they are read in the order of their names, which begin with the time of sending."""
REMEMBERED: Final = 65_536
"""Ids and stuck names kept; the oldest are forgotten first, long after such a command has expired."""


def new_id() -> str:
    """A fresh command id."""
    return secrets.token_hex(8)


def prepare(spool: Path) -> None:
    """Create the spool's directories, readable by their owner only."""
    for folder in (spool, spool / "tmp", spool / "new"):
        folder.mkdir(mode=0o700, exist_ok=True)


def clear(spool: Path) -> None:
    """Remove what was sent to a run that has ended: an unread stop is not for the next attempt. Never raises."""
    for folder in (spool / "new", spool / "tmp"):
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            try:
                (folder / name).unlink()
            except OSError:
                continue  # a directory, say: the reader passes it over


def submit(spool: Path, command: Command, files: Files = OS) -> None:
    """Put a command where the run will find it; OSError if the directory is gone or full."""
    name = f"{time.time_ns():020d}-{command.id}.json"
    raw = encode(command)
    aside = spool / "tmp" / name
    fd = files.open(str(aside), _WRITE, 0o600)
    try:
        try:
            write_fully(files, fd, raw, 0)
            files.sync(fd)
        finally:
            files.close(fd)
        files.rename(str(aside), str(spool / "new" / name))
    except OSError:
        aside.unlink(missing_ok=True)
        raise


@dataclass(frozen=True, slots=True)
class Rejected:
    """A file in the spool that is not a command to obey."""

    id: str
    why: str


class Inbox:
    """The reading end, one per run. Remembers ids, so that a command is obeyed once."""

    def __init__(self, spool: Path, attempt: int, clock: Callable[[], float] = time.time) -> None:
        self.spool, self.attempt, self._clock = spool, attempt, clock
        self._seen: dict[str, None] = {}
        self._stuck: dict[str, None] = {}
        self.is_there = True
        """Whether a command could be put here, as of the last poll."""

    def poll(self) -> list[Command | Rejected]:
        """What has arrived since the last poll, oldest first; read files are gone afterwards. Never raises."""
        found: list[Command | Rejected] = []
        for name in sorted(self._names())[:BATCH]:
            result = self._read(self.spool / "new" / name)
            if result is not None:
                found.append(result)
        return found

    def _names(self) -> list[str]:
        try:
            with os.scandir(self.spool / "new") as entries:
                fresh = (entry.name for entry in entries if entry.name not in self._stuck)
                names = list(islice(fresh, LISTED))
        except OSError as error:
            self.is_there = isinstance(error, FileNotFoundError) and not self.is_there and self._make_anew()
            return []
        self.is_there = True
        return names

    def _make_anew(self) -> bool:
        """A spool that somebody removed is made again, as long as its run directory stands.

        At the second look, so as not to come in the way of somebody who is removing all of it.
        """
        try:
            prepare(self.spool)
        except OSError:
            return False
        return True

    def _read(self, path: Path) -> Command | Rejected | None:
        label = _printable(path.name)
        try:
            fd = os.open(path, _READ)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._discard(path)
            return Rejected(label, f"unreadable: {error.strerror}")
        try:
            owner = os.fstat(fd).st_uid
            raw = os.read(fd, MAX_BYTES + 1)
        except OSError as error:
            return Rejected(label, f"unreadable: {error.strerror}")
        finally:
            os.close(fd)
            self._discard(path)
        if owner not in (os.geteuid(), 0):
            return Rejected(label, f"written by user {owner}, who may not command this run")
        try:
            command = decode(raw)
        except CommandError as error:
            return Rejected(label, f"malformed: {error}")
        return self._accept(command)

    def _accept(self, command: Command) -> Command | Rejected:
        if command.id in self._seen:
            return Rejected(command.id, "duplicate")
        _remember(self._seen, command.id)
        if command.attempt is not None and command.attempt != self.attempt:
            return Rejected(command.id, f"addressed to attempt {command.attempt}; this is attempt {self.attempt}")
        now = self._clock()
        if command.has_expired(now):
            return Rejected(command.id, f"expired: issued {now - command.issued:.0f} s ago")
        return command

    def _discard(self, path: Path) -> None:
        """Remove a file that was read. What stays (a directory, a read-only file system) is not looked at again."""
        try:
            path.unlink()
        except FileNotFoundError:
            return
        except OSError:
            _remember(self._stuck, path.name)


def _remember(seen: dict[str, None], name: str) -> None:
    seen[name] = None
    while len(seen) > REMEMBERED:
        del seen[next(iter(seen))]


def _printable(name: str) -> str:
    """A file name as a label in the event log: it was chosen by whoever wrote the file."""
    return "".join(c if c.isprintable() else "?" for c in name[:100])
