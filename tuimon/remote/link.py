"""The near end of the link. Starts ssh, and a process that keeps the mirror up to date while the panel is open.

That process is forked before anything heavy is loaded; it ends with whoever watches. It starts ssh anew when the link
is lost, without asking anybody anything, and goes on where the other machine's log stands then.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tuimon.control.commands import MAX_BYTES
from tuimon.errors import TuimonError
from tuimon.record.far import LOOK
from tuimon.record.files import open_to_read
from tuimon.record.rundir import RunDir
from tuimon.record.text import clean
from tuimon.remote.far.wire import BOOT, MAGIC, Packer, Unpacker, WireError
from tuimon.remote.host import Target, bundle, command, later, start
from tuimon.remote.mirror import Mirror, make_folder

PROTOCOL: Final = 1
PING: Final = 4.0
SILENT: Final = 15.0
"""Seconds without a word after which a link is given up."""
PATIENCE: Final = 60.0
"""That a person is given for passwords and the like, counted anew with every word of ssh."""
WAITS: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds before each new try."""
FIRST: Final = 20.0
"""That the panel waits for the first picture."""
_KEPT: Final = 4000


class Unreached(TuimonError):
    """The other machine, or the run there, was not reached."""


class _Left(Exception):
    """Whoever watched has gone."""


@dataclass(slots=True)
class Line:
    """One ssh and what is said over it."""

    process: subprocess.Popen[bytes]
    packer: Packer = field(default_factory=Packer)
    unpacker: Unpacker = field(default_factory=Unpacker)
    hello: dict[str, Any] = field(default_factory=dict)
    opened: dict[str, Any] = field(default_factory=dict)
    words: str = ""
    """What ssh printed, and what a login there does."""
    is_mute: bool = False
    """Whether ssh has nothing more to complain of."""
    waiting: list[tuple[dict[str, Any], bytes]] = field(default_factory=list)
    """Messages that came with the answer."""
    is_whole: bool = False
    """Whether all of the far side was sent."""
    leash: int | None = None
    """A pipe whose other end is closed when nobody watches any more."""
    spoke: float = field(default_factory=time.monotonic)
    """When anything came last, be it part of a message."""

    @property
    def output(self) -> int:
        """Where its words come from."""
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    @property
    def errors(self) -> int:
        """Where its complaints come from."""
        assert self.process.stderr is not None
        return self.process.stderr.fileno()

    def say(self, head: dict[str, Any], body: bytes = b"") -> None:
        """Tell the other side."""
        self.raw(self.packer.pack(head, body))

    def raw(self, data: bytes) -> None:
        """OSError where it has gone."""
        assert self.process.stdin is not None
        while data:
            data = data[os.write(self.process.stdin.fileno(), data):]

    def hear(self, timeout: float) -> list[tuple[dict[str, Any], bytes]] | None:
        """What came; None at the end. WireError for what is nothing of ours."""
        leash = [] if self.leash is None else [self.leash]
        ready, _, _ = select.select([self.output, *([] if self.is_mute else [self.errors]), *leash], [], [], timeout)
        if self.leash in ready:
            raise _Left
        if self.errors in ready:
            words = os.read(self.errors, 65536)
            self.is_mute = not words
            self.words = (self.words + words.decode("utf-8", "replace"))[-_KEPT:]
        if self.output not in ready:
            return []
        data, self.spoke = os.read(self.output, 1 << 18), time.monotonic()
        return self.unpacker.feed(data) if data else None

    def close(self) -> None:
        """End it."""
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        # By number: after the fork it is another process's child, for which Popen can do nothing.
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.returncode is None:
                with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                    os.kill(self.process.pid, number)
                    self.process.wait(1.0)

    def complaint(self) -> str:
        """The last thing that was said by ssh, for a person."""
        lines = [line for line in self.words.splitlines() if line.strip()]
        return clean(lines[-1], 200) if lines else "ssh ended without a word"


def reach(target: Target, *, control: bool, leash: int | None = None) -> Line:
    """A line to the run; Unreached, with the reason in one sentence, where there is none.

    `leash`: behind the panel, where nobody can answer a question, and as long as its other end is open.
    """
    alone = leash is not None
    for sent in (False, True):
        line = Line(start(command(target, alone=alone, sent=sent), alone=alone), leash=leash)
        try:
            return _greeted(line, target, control=control)
        except (OSError, WireError) as error:
            status, words = _ended(line), line.complaint()
            line.close()
            if status == 255 or sent:   # ssh's own
                why = words if status == 255 or not isinstance(error, WireError) else str(error)
                raise Unreached(f"{target.label}: {why}") from None
        except BaseException:
            line.close()
            raise
    raise AssertionError("two tries")


def _ended(line: Line) -> int | None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        line.process.wait(0.5)
    with contextlib.suppress(OSError):
        os.set_blocking(line.errors, False)
        line.words += (os.read(line.errors, 65536) or b"").decode("utf-8", "replace")
    return line.process.poll()


def _greeted(line: Line, target: Target, *, control: bool) -> Line:
    """Say what is wanted and hear whether it is there."""
    heard, known = time.monotonic(), 0
    is_asked = is_sent = False
    while True:
        found = line.hear(0.1)
        if found is None:
            raise OSError("the line has ended")
        if len(line.words) != known:
            known, heard = len(line.words), time.monotonic()
        if line.unpacker.begun == BOOT:
            if is_sent:
                raise WireError("it does not start there")
            line.unpacker.again()
            line.raw(bundle())
            is_sent = True
        elif line.unpacker.begun == MAGIC and not is_asked:
            is_asked = True
            line.raw(MAGIC)
            line.say({"k": "open", "run": target.run, "control": control})
        for i, (head, body) in enumerate(found):
            heard = time.monotonic()
            if head["k"] == "hello":
                line.hello = head
                if head.get("protocol") != PROTOCOL:
                    raise WireError(f"another version of tuimon speaks there: {clean(str(head.get('version')), 20)}")
            elif head["k"] == "error":
                raise Unreached(f"{target.label}: {clean(str(head.get('text')), 300)}")
            elif head["k"] == "opened":
                line.opened, line.waiting = head, found[i + 1:]
                line.say({"k": "ack", "n": i + 1})
                return line
            del body
        if found:
            line.say({"k": "ack", "n": len(found)})
        if time.monotonic() - heard > PATIENCE:
            raise Unreached(f"{target.label}: no answer for {PATIENCE:.0f} s: {line.complaint()}")


class Keeper:
    """Keeps a mirror up to date."""

    def __init__(self, line: Line, target: Target, mirror: Mirror) -> None:
        self._line: Line | None = line
        self._target = Target(target.host, str(line.opened.get("path")))
        self._mirror = mirror
        self._pinged = time.monotonic()
        self._tries, self._next_try, self._wished, self._leash = 0, 0.0, 0, -1

    def run(self, leash: int, ready: int) -> None:
        """Until the other end of `leash` is closed. Says once through `ready` that there is something to look at."""
        told = False
        assert self._line is not None
        self._line.leash = self._leash = leash
        while not select.select([leash], [], [], 0)[0]:
            try:
                self._turn()
            except (OSError, WireError, TuimonError) as error:
                self._lose(str(error))
            except _Left:
                break
            if self._mirror.is_ready and not told:
                told = True
                os.write(ready, b"1")
        if self._line is not None:
            self._line.close()

    def _turn(self) -> None:
        now = time.monotonic()
        line = self._line
        if line is None:
            if now < self._next_try:
                time.sleep(0.1)
                return
            line = self._line = reach(self._target, control=self._mirror.far.control, leash=self._leash)
            self._wished, self._tries = 0, 0   # what is looked at closely is asked for anew
        self._take(line.waiting)
        line.waiting = []
        found = line.hear(0.05)
        if found is None:
            raise OSError(line.complaint())
        self._take(found)
        if now - self._pinged > PING:
            self._pinged = now
            line.say({"k": "ping"})
        if now - line.spoke > SILENT:
            raise OSError(f"no word for {SILENT:.0f} s")
        self._wish(line)
        if self._mirror.far.control:
            self._hand_on(line)

    def _take(self, found: list[tuple[dict[str, Any], bytes]]) -> None:
        if not found or self._line is None:
            return
        wall = time.time()
        for head, body in found:
            self._mirror.heard(wall, head.get("time"))
            if head["k"] == "need" and not self._line.is_whole:
                self._line.is_whole = True
                self._line.say({"k": "code"}, later())
            self._mirror.take(head, body)
        self._line.say({"k": "ack", "n": len(found)})

    def _lose(self, why: str) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None
        wait = WAITS[min(self._tries, len(WAITS) - 1)]
        self._tries, self._next_try = self._tries + 1, time.monotonic() + wait
        with contextlib.suppress(OSError):
            self._mirror.say(state="reconnecting", why=clean(why, 160))

    def _wish(self, line: Line) -> None:
        """Steps that the panel looks at closely."""
        path = self._mirror.run.path / LOOK
        try:
            sign = os.stat(path).st_mtime_ns
            if sign == self._wished:
                return
            self._wished = sign
            wish = json.loads(path.read_bytes()[:1000])
        except (OSError, ValueError):
            return
        first, last = wish if isinstance(wish, list) and len(wish) == 2 else (None, None)
        line.say({"k": "look", "first": first, "last": last})

    def _hand_on(self, line: Line) -> None:
        """Commands that the panel put into the mirror's spool."""
        spool = self._mirror.run.commands / "new"
        for name in sorted(os.listdir(spool))[:16]:
            with os.fdopen(open_to_read(spool / name), "rb") as file:
                age, raw = time.time() - os.fstat(file.fileno()).st_mtime, file.read(MAX_BYTES)
            (spool / name).unlink()
            with contextlib.suppress(ValueError):
                line.say({"k": "command"}, json.dumps({**json.loads(raw), "age": age}).encode())


@contextlib.contextmanager
def reached(target: Target, *, control: bool) -> Iterator[RunDir]:
    """A run of another machine as a run directory, kept up to date while this lasts; Unreached where there is none."""
    line = reach(target, control=control)
    folder = make_folder()
    try:
        mirror = Mirror(folder, str(line.opened.get("run")), target.label, control=control)
        mirror.say()
        mirror.heard(time.time(), line.opened.get("time"))
        leash, held = os.pipe()
        hears, ready = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(held)
            os.close(hears)
            _keep(Keeper(line, target, mirror), leash, ready, folder)
        for fd in (leash, ready):
            os.close(fd)
        for pipe in (line.process.stdin, line.process.stdout, line.process.stderr):
            if pipe is not None:
                pipe.close()
        line.process.returncode = 0   # it is the other process's now
        try:
            select.select([hears], [], [], FIRST)
            yield mirror.run
        finally:
            os.close(held)
            os.close(hears)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _keep(keeper: Keeper, leash: int, ready: int, folder: Path) -> None:
    """The other process: never returns."""
    status = 1
    try:
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        nothing = os.open(os.devnull, os.O_RDWR)
        sys.stdout.flush()
        for fd in range(3):
            os.dup2(nothing, fd)
        keeper.run(leash, ready)
        status = 0
    finally:
        if select.select([leash], [], [], 0)[0]:   # whoever watched may have been killed
            shutil.rmtree(folder, ignore_errors=True)
        os._exit(status)
