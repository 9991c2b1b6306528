"""The command spool: a file per command, written aside and renamed into place. Touches the disk.

Viewers submit; the run's writer thread polls. No socket, so no stale sockets, no path limit, and it works in
containers and over network file systems. Identity is the file's owner.

    commands/tmp/<name>   being written          commands/new/<name>   to be read, then unlinked
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tuimon.control.commands import MAX_BYTES, Command, decode, encode
from tuimon.errors import CommandError

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
BATCH = 64
"""Commands read in one poll: a flood of files must not hold up the writer thread."""


def new_id() -> str:
    """A fresh command id."""
    return secrets.token_hex(8)


def prepare(spool: Path) -> None:
    """Create the spool's directories, readable by their owner only."""
    for folder in (spool, spool / "tmp", spool / "new"):
        folder.mkdir(mode=0o700, exist_ok=True)


def submit(spool: Path, command: Command) -> None:
    """Put a command where the run will find it; OSError if the directory is gone or full."""
    name = f"{time.time_ns():020d}-{command.id}.json"
    raw = encode(command)
    aside = spool / "tmp" / name
    fd = os.open(aside, _WRITE, 0o600)
    try:
        try:
            written = 0
            while written < len(raw):
                written += os.write(fd, raw[written:])
            os.fsync(fd)
        finally:
            os.close(fd)
        aside.rename(spool / "new" / name)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


@dataclass(frozen=True, slots=True)
class Rejected:
    """A file in the spool that is not a command to obey."""

    id: str
    why: str


@dataclass(slots=True)
class Inbox:
    """The reading end, one per run. Remembers ids, so that a command is obeyed once."""

    spool: Path
    attempt: int
    clock: Callable[[], float] = time.time
    _seen: set[str] = field(default_factory=set)

    def poll(self) -> list[Command | Rejected]:
        """What has arrived since the last poll, oldest first; read files are gone afterwards. Never raises."""
        new = self.spool / "new"
        try:
            names = sorted(os.listdir(new))[:BATCH]
        except OSError:
            return []
        found: list[Command | Rejected] = []
        for name in names:
            result = self._read(new / name)
            if result is not None:
                found.append(result)
        return found

    def _read(self, path: Path) -> Command | Rejected | None:
        label = path.name[:100]
        try:
            fd = os.open(path, _READ)
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
        self._seen.add(command.id)
        if command.attempt is not None and command.attempt != self.attempt:
            return Rejected(command.id, f"addressed to attempt {command.attempt}; this is attempt {self.attempt}")
        if command.has_expired(self.clock()):
            return Rejected(command.id, f"expired: issued {self.clock() - command.issued:.0f} s ago")
        return command

    @staticmethod
    def _discard(path: Path) -> None:
        try:
            path.unlink()
        except OSError:
            # A directory, or a file system gone read-only: it is read again, and refused as a duplicate.
            return
