"""The helper of one attempt of a run: reads its events like any viewer, has messages sent, ends when it has ended.

Touches the disk, the process table, signals and, through channels, the network. Its standard input is a pipe of the
training process's: the first line says what is wanted, its end that the process has gone or is about to.
"""

from __future__ import annotations

import contextlib
import functools
import os
import queue
import select
import shlex
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tuimon.errors import LogError
from tuimon.notify.budget import Budget
from tuimon.notify.channels import send
from tuimon.notify.delivery import Delivery, Report
from tuimon.notify.ledger import Ledger, lock
from tuimon.notify.message import Message, line
from tuimon.notify.telling import Telling
from tuimon.notify.wishes import Wishes
from tuimon.record.events import EventReader
from tuimon.record.liveness import is_alive
from tuimon.record.rundir import RunDir, RunInfo
from tuimon.record.status import status

if TYPE_CHECKING:
    from tuimon.notify.ranks import Ranks

POLL_S: Final = 0.5
LIFE_S: Final = 2.0
"""Between two looks whether the process lives."""
LINGER_S: Final = 120.0
"""How long the last messages are tried after the run has ended."""
TERMINATED_S: Final = 15.0
"""The same where somebody ends the helper: a cluster gives a job half a minute."""
NICENESS: Final = 10


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between the helper's duties."""

    poll: float = POLL_S
    life: float = LIFE_S
    linger: float = LINGER_S


def main(path: str, attempt: int, lifeline: int = 0) -> int:
    """Everything, in a process that was started for it."""
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    run = RunDir(Path(path))
    wishes = Wishes.decode(_first_line(lifeline))
    try:
        info = run.read_info()
        held = None
        while info is not None and info.attempt == attempt and (held := lock(run)) is None:
            time.sleep(POLL_S)   # that of the attempt before is trying its last messages
            info = run.read_info()
    except (LogError, OSError):
        return 1
    if info is None or info.attempt != attempt or held is None:
        return 0
    Helper(run, info, wishes, lifeline).follow()
    return 0


class Helper:
    """One attempt's."""

    def __init__(self, run: RunDir, info: RunInfo, wishes: Wishes, lifeline: int, pace: Pace | None = None,
                 budget: Budget | None = None) -> None:
        self._run, self._process, self._lifeline, self._pace = run, info.process, lifeline, pace or Pace()
        self._events = EventReader(run.events)
        self._ledger = Ledger(run, info.attempt)
        self._telling = Telling(wishes, info.attempt, line(run.name), line(info.name, 80), line(info.process.host, 80),
                                f"tuimon watch {shlex.quote(line(run.name))}")
        self._budget = budget or Budget()
        self._reports: queue.SimpleQueue[Report] = queue.SimpleQueue()
        sending = functools.partial(send, folder=wishes.folder)
        self._deliveries = [Delivery(t, sending, self._reports.put) for t in wishes.targets]
        self._ranks = _ranks(run, info)
        self._is_cut = False
        self._look = 0.0
        self._terminated = 0.0

    def follow(self, mono: Callable[[], float] = time.monotonic) -> None:
        """Until the run has ended and the last message has arrived, or cannot."""
        def terminated(*_: object) -> None:
            self._terminated = self._terminated or mono() + TERMINATED_S

        signal.signal(signal.SIGTERM, terminated)
        self._ledger.write("watching", 0, {"to": [d.target.label for d in self._deliveries], "pid": os.getpid()})
        while not self._telling.is_over:
            self._turn(mono())
            if (self._terminated and mono() >= self._terminated) or not self._run.path.is_dir():
                break
            if not self._telling.is_over:
                self._pause()
        until = min(mono() + self._pace.linger, self._terminated or float("inf"))
        for delivery in self._deliveries:
            delivery.hurry()
        while not all(d.is_idle for d in self._deliveries) and mono() < until:
            self._write_down(min(0.2, self._pace.poll))
        self._write_down(0.0)

    def _turn(self, now: float) -> None:
        """Read, tell, send, write down."""
        is_gone = self._is_gone(now)   # before reading: what it said last is read after it has gone
        while events := self._events.poll():
            for event in events:
                self._take(self._telling.after(event), now)
        if is_gone and not self._telling.is_over:
            self._take(self._telling.died(status(self._run).step, time.time()), now)
        self._look_at_ranks(now)
        message = self._budget.due(now, last=self._telling.is_over)
        if message is not None:
            for delivery in self._deliveries:
                delivery.put(message)
        self._write_down(0.0)

    def _take(self, messages: list[Message], now: float) -> None:
        for message in messages:
            if message.key not in self._ledger.told:
                self._ledger.told.add(message.key)
                self._budget.put(message, now)

    def _look_at_ranks(self, now: float) -> None:
        found = None if self._ranks is None else self._ranks.look(now, is_last=self._telling.is_over)
        if found is not None:
            lost = {rank: (one.state, one.why or one.host) for rank, one in found}
            self._take(self._telling.ranks(lost, time.time()), now)

    def _is_gone(self, now: float) -> bool:
        if now < self._look and not self._is_cut:
            return False
        self._look = now + self._pace.life
        return is_alive(self._process) is False

    def _pause(self) -> None:
        """Until it is time to look again, or the training process has let go of us."""
        if self._is_cut:
            time.sleep(self._pace.poll)
            return
        readable, _, _ = select.select([self._lifeline], [], [], self._pace.poll)
        self._is_cut = bool(readable) and not os.read(self._lifeline, 1)

    def _write_down(self, wait: float) -> None:
        """What became of messages."""
        with contextlib.suppress(queue.Empty):
            report = self._reports.get(timeout=wait) if wait else self._reports.get_nowait()
            while True:
                self._ledger.report(report)
                report = self._reports.get_nowait()


def _ranks(run: RunDir, info: RunInfo) -> Ranks | None:
    """Of a run of several; of one nothing is loaded for it."""
    if info.world_size == 1:
        return None
    from tuimon.notify.ranks import Ranks

    return Ranks(run, info)


def _first_line(fd: int) -> bytes:
    """All that the pipe ever holds; after it, it only ends."""
    found = b""
    while not found.endswith(b"\n") and (more := os.read(fd, 4096)):
        found += more
    return found
