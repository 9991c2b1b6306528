"""A feed in a process of its own. Touches processes and pipes.

Reading, judging and loading numpy want the same interpreter as the screen. In another process they keep no key waiting,
and a run has been read by the time the screen stands. The process is forked before anything is loaded, so that it has
the same modules and costs a millisecond. It ends with its input; where it dies, or cannot be made, a thread reads.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from tuimon.control.states import Verb
from tuimon.record.rundir import RunDir
from tuimon.viewer import interpreter
from tuimon.viewer.feed import Feed
from tuimon.viewer.views import Frame, Rules, differs
from tuimon.viewer.wanted import NOW, Wanted
from tuimon.viewer.wire import Receiver, Sender

DEAF: Final = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
"""Signals of the terminal: what they mean is up to the screen."""
PATIENCE: Final = 0.7
"""Seconds that leaving waits for what was asked to be written down."""
OUTLIVES: Final = 30.0
"""Seconds that the process which reads may take for it after that: it may still be loading."""


class Apart:
    """The process that reads, seen from the screen's: one run at a time."""

    def __init__(self, pid: int, commands: int, frames: int) -> None:
        """`commands`, `frames`: the pipes to and from it."""
        self.pid = pid
        os.set_blocking(commands, False)
        self._commands, self._frames = commands, frames
        self._feed: ApartFeed | None = None
        self._serial = 0
        self._lock = threading.RLock()
        self._receiver = threading.Thread(target=self._receive, name="tuimon-frames", daemon=True)
        self.is_lost = False
        """Whether it no longer reads."""

    def open(self, feed: ApartFeed, *command: object) -> None:
        """From now on another run is read, whose frames bear the number that the feed gets here."""
        with self._lock:
            self._serial += 1
            feed.serial = self._serial   # before frames can meet it: one of the run before may come at any moment
            self._feed = feed
            self.send("open", self._serial, *command)

    def send(self, *command: object) -> bool:
        """Tell it something; whether it was told. One that does not listen, with a pipe full of wishes, is given up."""
        data = pickle.dumps(command, pickle.HIGHEST_PROTOCOL)
        with self._lock:
            if not self.is_lost:
                with contextlib.suppress(OSError):
                    if os.write(self._commands, data) == len(data):
                        return True
                self._lose()
        return False

    def listen(self) -> None:
        """Begin to take frames."""
        with self._lock:
            if self._receiver.ident is None:
                self._receiver.start()

    def close(self) -> None:
        """End it, once it has written down what it was asked."""
        with self._lock:
            if self._feed is not None:
                self._feed.close()
            self.is_lost = True
            with contextlib.suppress(OSError):
                os.close(self._commands)
                if self._receiver.ident is None:   # nobody takes what it is about to say
                    os.close(self._frames)
        deadline = time.monotonic() + PATIENCE
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(self.pid, os.WNOHANG)[0] == 0:
                if time.monotonic() > deadline:   # a disk that hangs: it ends when the disk does
                    return
                time.sleep(0.002)

    def _receive(self) -> None:
        """In a thread of its own, which is the one to load numpy, for what frames hold."""
        try:
            with open(self._frames, "rb") as frames:
                arrays: list[Any] = []
                while True:
                    serial, changes = Receiver(frames, arrays).receive()
                    feed = self._feed
                    if feed is not None and feed.serial == serial:
                        feed.receive(changes)
        except Exception:
            # The outermost frame of this thread: whatever it is that cannot be read, reading goes on elsewhere.
            with self._lock:
                self._lose()

    def _lose(self) -> None:
        if not self.is_lost:
            self.is_lost = True
            with contextlib.suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)
            if self._feed is not None:
                self._feed.read_here()


class ApartFeed:
    """What the screen sees of one run that the other process reads. Has what `Feed` has."""

    def __init__(self, apart: Apart, path: Path, rules: Rules, period: float, hosts: Path | None = None) -> None:
        """Reading begins."""
        self._apart, self._path, self._rules, self._period = apart, path, rules, period
        self._hosts = hosts
        self._deliver: Callable[[], object] = lambda: None
        self._lock = threading.RLock()
        self._wanted = NOW
        self._kept: dict[str, Any] = {}
        """The fields of the newest frame."""
        self._newest: Frame | None = None
        self._here: Feed | None = None
        """Where the other process is lost: a thread of this one."""
        self._is_started = self._is_closed = False
        self.serial = 0
        apart.open(self, str(path), rules, period, hosts)
        if apart.is_lost:
            self.read_here()

    def telling(self, deliver: Callable[[], object]) -> ApartFeed:
        """Itself; `deliver` is called when there is a frame to take, at once where one has come before."""
        with self._lock:
            self._deliver, waiting = deliver, self._newest is not None
        if waiting:
            deliver()
        return self

    def start(self) -> None:
        """Begin to take frames."""
        with self._lock:
            self._is_started = True
            if self._here is not None:
                self._here.start()
                return
        self._apart.listen()

    def close(self) -> None:
        """Take no more."""
        with self._lock:
            self._is_closed = True
            here = self._here
        if here is not None:
            here.close()

    def take(self) -> Frame | None:
        """The newest frame, once."""
        with self._lock:
            if self._here is not None:
                return self._here.take()
            frame, self._newest = self._newest, None
        return frame

    def want(self, wanted: Wanted) -> None:
        """What frames are to show from now on; the next one comes at once."""
        self._wanted = wanted
        self._tell("want", wanted)

    def pace(self, period: float) -> None:
        """From now on at least so many seconds between two frames."""
        self._period = period
        self._tell("pace", period)

    def ask(self, verb: Verb, args: Mapping[str, Any], base: str) -> None:
        """Have a command written to the spool."""
        self._tell("ask", verb, dict(args), base)

    def _tell(self, what: str, *how: object) -> None:
        """Whoever reads, by the name of what `Feed` does."""
        if not self._apart.send(what, *how) and self._here is not None:
            getattr(self._here, what)(*how)

    def receive(self, changes: dict[str, Any]) -> None:
        """A newer frame: the fields in which it differs from the last."""
        with self._lock:
            self._kept.update(changes)
            waiting, self._newest = self._newest is not None, Frame(**self._kept)
            if self._is_closed or self._here is not None:
                return
        if not waiting:
            with contextlib.suppress(RuntimeError):   # the screen has gone in between
                self._deliver()

    def _call(self) -> None:
        """Whoever is to be told by then: reading may begin before that is known."""
        self._deliver()

    def read_here(self) -> None:
        """Have a thread read what the other process no longer does."""
        with self._lock:
            if self._is_closed or self._here is not None:
                return
            self._here = Feed(RunDir(self._path), self._call, rules=self._rules, period=self._period,
                              hosts=self._hosts)
            self._here.want(self._wanted)
            if self._is_started:
                self._here.start()


class Feeds:
    """Where the frames of a panel come from, whichever run it shows."""

    def __init__(self, run: RunDir | None, rules: Rules, period: float, hosts: Path | None = None) -> None:
        """Reading of `run` begins at once where that costs the screen nothing; None: it is not known yet.

        `hosts`: where other machines tell of their runs, see `record.hosts`.
        """
        self._rules, self._period, self._hosts = rules, period, hosts
        self._apart = apart()
        self._first: ApartFeed | None = None
        if self._apart is not None and run is not None:
            self._first = ApartFeed(self._apart, run.path, rules, period, hosts)
        elif self._apart is not None:
            self._apart.send("load")

    def open(self, path: Path) -> tuple[str, Callable[[Callable[[], object]], ApartFeed | Feed]]:
        """A run's name, and what makes its source, given whom to tell of frames."""
        run, first = RunDir(path), self._first
        self._first = None
        if self._apart is None:
            return run.called, lambda deliver: Feed(
                run, deliver, rules=self._rules, period=self._period, hosts=self._hosts)
        feed = first if first is not None else ApartFeed(self._apart, path, self._rules, self._period, self._hosts)
        return run.called, feed.telling

    def close(self) -> None:
        """End what reads."""
        if self._apart is not None:
            self._apart.close()


def apart() -> Apart | None:
    """The process; None where there can be none: only one thread survives a fork."""
    if sys.platform != "linux" or threading.active_count() > 1:
        return None
    try:
        listening, commands = os.pipe()
        told, frames = os.pipe()
        pid = os.fork()
    except OSError:   # no more processes, or descriptors
        return None
    if pid == 0:
        status = 1
        try:
            os.close(commands)
            os.close(told)
            _serve(listening, frames)
            status = 0
        finally:
            os._exit(status)   # whatever this process has open or registered belongs to its parent
    os.close(listening)
    os.close(frames)
    return Apart(pid, commands, told)


def _serve(listening: int, telling: int) -> None:
    """Read for the screen until its end of the pipe is closed."""
    for number in DEAF:
        signal.signal(number, signal.SIG_IGN)
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(nothing, fd)   # not the terminal: nothing is read from it, and it is nobody's who has left
    feed: Feed | None = None
    # Never closed: another thread may stand in the middle of a frame.
    sender = Sender(open(telling, "wb"))  # noqa: SIM115
    with open(listening, "rb") as commands, contextlib.suppress(EOFError):
        while True:
            what, *rest = pickle.load(commands)  # noqa: S301  # of our own making
            if what == "load":
                import tuimon.viewer.reading  # noqa: F401  # while nothing is to be read yet
            elif what == "open":
                serial, path, rules, period, hosts = rest
                if feed is not None:
                    feed.close()
                feed = _telling(serial, RunDir(Path(path)), rules, period, hosts, sender)
            elif feed is not None:
                getattr(feed, what)(*rest)
    if feed is not None:
        feed.close(OUTLIVES)


def _telling(serial: int, run: RunDir, rules: Rules, period: float, hosts: Path | None, sender: Sender) -> Feed:
    """A feed whose frames go through the pipe: of each, the fields that are not those of the last."""
    last: list[Frame | None] = [None]

    def tell() -> None:
        frame = feed.take()
        if frame is None:
            return
        before, last[0] = last[0], frame
        try:
            sender.send((serial, {f.name: getattr(frame, f.name) for f in fields(frame) if before is None or differs(
                f.name, getattr(before, f.name), getattr(frame, f.name))}))
        except OSError:
            pass   # the screen has gone
        except Exception:
            os._exit(1)   # a frame that cannot be sent: a screen that nobody tells anything reads by itself
        if before is None:
            interpreter.settle()

    feed = Feed(run, tell, rules=rules, period=period, hosts=hosts)
    feed.start()
    return feed
