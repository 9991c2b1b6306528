"""The command spool: a file per command, written aside and renamed into place. Touches the disk.

Viewers submit; the run's writer thread polls. No socket, so no stale sockets, no path limit, and it works in
containers and over network file systems. Identity is the file's owner.

    commands/tmp/<name>   being written          commands/new/<name>   to be read, then unlinked

A reader trusts nothing in there: links are not followed, pipes do not block it, what cannot be removed is refused once
and then passed over, and one poll reads at most BATCH files out of LISTED names, whatever the flood. Where others than
its owner can write into the run directory or the spool, nothing is put there and nothing there is obeyed.
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Final

from tuimon.control.commands import GUARD, MAX_BYTES, Command, decode, encode
from tuimon.errors import CommandError
from tuimon.private import ENTERING, make_folder
from tuimon.record.files import OS, Files, write_fully
from tuimon.record.ownership import distrust, is_ours

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
BATCH: Final = 64
"""Commands read in one poll: a flood of files must not hold up the writer thread."""
LISTED: Final = 2048
"""Names looked at in one poll; they are read in the order of their names, which begin with the time of sending."""
REMEMBERED: Final = 65_536
"""Ids and stuck names kept; the oldest are forgotten first, long after such a command has expired."""
INSIDE: Final = (GUARD, "script")
"""Who asks from within the training process: what runs even where nobody may command it."""


def new_id() -> str:
    """A fresh command id."""
    return secrets.token_hex(8)


def prepare(spool: Path) -> None:
    """Create the spool's directories, readable by their owner only."""
    for folder in (spool, spool / "tmp", spool / "new"):
        make_folder(folder)


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


class Untrusted(OSError):
    """Somebody else could have written what is there, or could change what is put there."""


@contextmanager
def _entered(spool: Path, name: str) -> Iterator[int]:
    """One of the spool's folders, held open, no link followed below the run directory, no name resolved twice.

    Untrusted where it is not one user's alone. Root may enter anybody's.
    """
    run = os.open(spool.parent, ENTERING & ~os.O_NOFOLLOW)   # how a person calls the run is theirs to choose
    held = [run]
    try:
        owner = os.fstat(run).st_uid
        if os.geteuid() != 0 and not is_ours(os.fstat(run), run):
            raise Untrusted(errno.EPERM, f"the run directory belongs to user {owner}")
        for label in ("the run directory", spool.name, f"{spool.name}/{name}"):
            if label != "the run directory":
                held.append(os.open(label.rpartition("/")[2], ENTERING, dir_fd=held[-1]))
            why = distrust(os.fstat(held[-1]), owner)
            if why:
                raise Untrusted(errno.EPERM, f"{label} {why}")
        yield held[-1]
    finally:
        for fd in held:
            os.close(fd)


def barred(spool: Path) -> str:
    """Why nothing can be asked of this run by this user, however it stands, as a sentence's beginning; "" where it can.

    A run without a spool is not barred: it may be about to make one.
    """
    try:
        with _entered(spool, "new"):
            return ""
    except FileNotFoundError:
        return ""
    except OSError as error:
        return error.strerror or str(error)


def submit(spool: Path, command: Command, files: Files = OS) -> None:
    """Put a command where the run will find it; OSError if the directory is gone, full or not its owner's alone."""
    name = f"{time.time_ns():020d}-{command.id}.json"
    raw = encode(command)
    with _entered(spool, "tmp") as aside, _entered(spool, "new") as new:
        fd = files.open(name, _WRITE, 0o600, aside)
        try:
            try:
                write_fully(files, fd, raw, 0)
                if os.fstat(aside).st_uid != os.fstat(fd).st_uid:
                    os.fchmod(fd, 0o644)   # root's word to a user's run: the folder keeps everybody else out
                files.sync(fd)
            finally:
                files.close(fd)
            files.rename(name, name, aside, new)
        except OSError:
            try:
                os.unlink(name, dir_fd=aside)
            except OSError:
                pass   # it never came to be
            raise


@dataclass(frozen=True, slots=True)
class Rejected:
    """A file in the spool that is not a command to obey."""

    id: str
    why: str
    command: Command | None = field(default=None, compare=False)
    """What it would have been; None where it cannot be read as one."""
    uid: int = field(default=-1, compare=False)
    """Whose file it is; -1 where that is not known."""


class Inbox:
    """The reading end, one per run. Remembers ids, so that a command is obeyed once."""

    def __init__(
        self, spool: Path, attempt: int, clock: Callable[[], float] = time.time, *, since: float = 0.0,
    ) -> None:
        """since: wall clock from which an order that names no attempt can have been meant for this one."""
        self.spool, self.attempt, self._clock, self._since = spool, attempt, clock, since
        self._seen: dict[str, None] = {}
        self._stuck: dict[str, None] = {}
        self._distrusted = ""
        self.is_there = True
        """Whether a command could be put here, as of the last poll."""

    def poll(self) -> list[Command | Rejected]:
        """What has arrived since the last poll, oldest first; read files are gone afterwards. Never raises."""
        found: list[Command | Rejected] = []
        try:
            with _entered(self.spool, "new") as new:
                self.is_there, self._distrusted = True, ""
                for name in sorted(self._names(new))[:BATCH]:
                    result = self._read(name, new)
                    if result is not None:
                        found.append(result)
        except Untrusted as error:
            why, self.is_there = f"no command is obeyed: {error.strerror}", False
            if why != self._distrusted:
                self._distrusted = why
                return [Rejected("", why)]
        except OSError as error:
            self.is_there = isinstance(error, FileNotFoundError) and not self.is_there and self._make_anew()
        return found

    def _names(self, new: int) -> list[str]:
        with os.scandir(new) as entries:
            fresh = (entry.name for entry in entries if entry.name not in self._stuck)
            return list(islice(fresh, LISTED))

    def _make_anew(self) -> bool:
        """A spool that somebody removed is made again, as long as its run directory stands.

        At the second look, so as not to come in the way of somebody who is removing all of it.
        """
        try:
            prepare(self.spool)
        except OSError:
            return False
        return True

    def _read(self, name: str, new: int) -> Command | Rejected | None:
        label = _printable(name)
        try:
            fd = os.open(name, _READ, dir_fd=new)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._discard(name, new)
            return Rejected(label, f"unreadable: {error.strerror}")
        try:
            found = os.fstat(fd)
            raw = os.read(fd, MAX_BYTES + 1)
        except OSError as error:
            return Rejected(label, f"unreadable: {error.strerror}")
        finally:
            os.close(fd)
            self._discard(name, new)
        uid = found.st_uid
        why = distrust(found, folder=new)
        if why.startswith("belongs"):
            return Rejected(label, f"written by user {uid}, who may not command this run", uid=uid)
        if why:
            return Rejected(label, f"it {why}", uid=uid)
        try:
            command = decode(raw)
        except CommandError as error:
            return Rejected(label, f"malformed: {error}", uid=uid)
        # who wrote the file, as its disk shows them, is who asked, whatever it says; nor is that this process itself
        origin = "" if command.who.origin in INSIDE else command.who.origin
        return self._accept(replace(command, who=replace(command.who, uid=uid, origin=origin)))

    def _accept(self, command: Command) -> Command | Rejected:
        why = self._refusal(command)
        _remember(self._seen, command.id)
        return Rejected(command.id, why, command, command.who.uid) if why else command

    def _refusal(self, command: Command) -> str:
        if command.id in self._seen:
            return "duplicate"
        if command.attempt is not None and command.attempt != self.attempt:
            return f"addressed to attempt {command.attempt}; this is attempt {self.attempt}"
        if command.attempt is None and command.issued < self._since:
            return f"asked {self._since - command.issued:.0f} s before this attempt began"
        now = self._clock()
        return f"expired: issued {now - command.issued:.0f} s ago" if command.has_expired(now) else ""

    def _discard(self, name: str, new: int) -> None:
        """Remove a file that was read. What stays (a directory, a read-only file system) is not looked at again."""
        try:
            os.unlink(name, dir_fd=new)
        except FileNotFoundError:
            return
        except OSError:
            _remember(self._stuck, name)


def _remember(seen: dict[str, None], name: str) -> None:
    seen[name] = None
    while len(seen) > REMEMBERED:
        del seen[next(iter(seen))]


def _printable(name: str) -> str:
    """A file name as a label in the event log: it was chosen by whoever wrote the file."""
    return "".join(c if c.isprintable() else "?" for c in name[:100])
