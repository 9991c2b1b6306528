"""A run without a screen: follow its directory, say a line a second, print one JSON object at the end.

It learns of the run only what any other viewer would: through the log, the events and the process table.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NoReturn, Protocol, TextIO

from tuimon.diagnosis.context import context_of
from tuimon.diagnosis.engine import Engine
from tuimon.diagnosis.model import SEVERITIES, Diagnosis, RunContext, Severity, diagnosis_json, plain
from tuimon.diagnosis.notebook import NotebookEngine
from tuimon.errors import LogError
from tuimon.launch.process import Started
from tuimon.launch.words import Rules
from tuimon.record.chunk import Chunk
from tuimon.record.events import EventReader
from tuimon.record.printing import mention, print_words
from tuimon.record.ranks import RanksReader, reader_of
from tuimon.record.reader import LogReader
from tuimon.record.rundir import CONSOLE_TAIL, RunDir
from tuimon.record.status import Told, status
from tuimon.record.text import clean

POLL_S: Final = 0.1
LINE_S: Final = 1.0


class Judge(Protocol):
    """What `Engine` and `NotebookEngine` have in common."""

    @property
    def diagnosis(self) -> Diagnosis:
        """So far."""

    def feed(self, chunk: Chunk) -> None:
        """Take in the next stretch."""


class Following:
    """What a run directory has said so far. `poll` reads what is new; nothing is kept but the last values."""

    def __init__(self, run: RunDir, rules: Rules) -> None:
        self.run, self._rules = run, rules
        self._events = EventReader(run.events)
        self._log: LogReader | RanksReader | None = None
        self._judge: Judge | None = None
        self._told = Told()
        self._restored: set[str] = set()
        self.last: dict[str, float] = {}
        """Last measured value of each metric."""
        self.loss_first: float | None = None
        self.steps = 0

    def poll(self) -> None:
        """Read everything that has been added since the last time."""
        if self._judge is None:
            context = self._context()
            if context is None:
                return  # not attached yet: the log does not exist
            self._log = reader_of(self.run.metrics)   # of how many ranks is known now
            self._judge = NotebookEngine(context) if self._rules == "notebook" else Engine(context)
        while self._log is not None and (chunks := self._log.poll()):
            for chunk in chunks:
                self._take(chunk, self._judge)
        while events := self._events.poll():
            for event in events:
                self._told = self._told.after(event)
                if event.kind == "rescue" and event.text("tick") == "restored":
                    self._restored.add(event.text("id"))

    def _context(self) -> RunContext | None:
        try:
            info = self.run.read_info()
        except LogError:
            return None  # damaged or of another version: judged as far as it can be read, which is not at all
        return None if info is None else context_of(info)

    def _take(self, chunk: Chunk, judge: Judge) -> None:
        judge.feed(chunk)
        for name in chunk.columns:
            _, values = chunk.measured(name)
            if len(values):
                self.last[name] = float(values[-1])
                if name == "loss" and self.loss_first is None:
                    self.loss_first = float(values[0])
        if len(chunk):
            self.steps = int(chunk.steps[-1])

    @property
    def diagnosis(self) -> Diagnosis:
        """So far."""
        return Diagnosis.nothing() if self._judge is None else self._judge.diagnosis

    @property
    def state(self) -> str:
        """As the run itself says."""
        return self._told.state

    @property
    def rescues(self) -> int:
        """How often healthy weights were put back."""
        return len(self._restored)

    def line(self, total: int | None) -> str:
        """Where the run stands, for a person."""
        parts = [f"{self.state:8}", f"step {self.steps:,}" + (f"/{total:,}" if total else "")]
        for name, word in (("loss", "loss"), ("grad_norm", "grad"), ("lr", "lr"), ("val_loss", "val")):
            if name in self.last:
                parts.append(f"{word} {self.last[name]:.4g}")
        leading = self.diagnosis.leading
        if not self.steps:
            parts.append(f"no training step yet  {last_line(self.run)[:100]}".rstrip())
        elif leading is None:
            parts.append("healthy")
        else:
            parts.append(f"{leading.severity}: {leading.headline} since {leading.onset_step}")
        if self.state == "held":
            parts.append(f"waiting for somebody: tuimon watch {self.run.name}")
        return "  ".join(parts)

    def result(self) -> dict[str, Any]:
        """The final object: design, section 7, and where the run began and ended."""
        loss = self.last.get("loss")
        return {
            **diagnosis_json(self.diagnosis, source=self.run.name, state=status(self.run).state,
                             is_measured=self.steps > 0),
            "steps": self.steps,
            "loss_first": None if self.loss_first is None else plain(self.loss_first),
            "loss_last": None if loss is None else plain(loss),
            "rescues": self.rescues,
        }


@dataclass(frozen=True, slots=True)
class Ended:
    """How a followed training process came to its end."""

    status: int
    """Its exit status; negative: the signal that killed it."""
    told: int = 0
    """The signal by which whoever follows it was told to go; 0 where it ended by itself."""

    @property
    def interrupted(self) -> int:
        """128 and that signal, as a shell says it; 0 without one."""
        return 128 + self.told if self.told else 0


def attend(started: Started, following: Following, err: TextIO, clock: Callable[[], float] = time.monotonic) -> Ended:
    """Follow to the end, a line a second. Ctrl+C, SIGTERM and SIGHUP end the run. Leaves no process behind."""
    told = 0
    try:
        with told_to_go():
            mention(f"{started.run.name}: {started.launch.statement}", err)
            follow(started, following, err, clock)
    except KeyboardInterrupt as error:
        told = error.args[0] if error.args else signal.SIGINT
        mention("ending the run", err)
    finally:
        status = _end(started)
    following.poll()
    return Ended(status, int(told))


def _end(started: Started) -> int:
    """End it, however often somebody presses Ctrl+C meanwhile: the second time it is killed."""
    try:
        with told_to_go():
            return started.end()
    except KeyboardInterrupt:
        with ignoring():
            return started.end(stop_s=0.0, terminate_s=0.5)


def reaches(diagnosis: Diagnosis, fail_on: Severity) -> bool:
    """Whether an incident that is open now is at least that bad."""
    worst = SEVERITIES.index(fail_on)
    return any(SEVERITIES.index(i.severity) >= worst for i in diagnosis.open_incidents)


def print_json(body: Mapping[str, Any], out: TextIO) -> None:
    """The final object."""
    print_words(json.dumps(body, indent=1, allow_nan=False), file=out, flush=True)


@contextmanager
def ignoring() -> Iterator[None]:
    """Nothing interrupts."""
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if is_main else None
    try:
        yield
    finally:
        if is_main:
            signal.signal(signal.SIGINT, before)


@contextmanager
def told_to_go() -> Iterator[None]:
    """SIGTERM and SIGHUP are raised like Ctrl+C: a job that is told to go leaves no training behind, held for ever."""
    def leave(number: int, _frame: object) -> NoReturn:
        raise KeyboardInterrupt(number)

    is_main = threading.current_thread() is threading.main_thread()
    numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if is_main and signal.getsignal(n) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def follow(started: Started, following: Following, err: TextIO, clock: Callable[[], float]) -> None:
    """Until the training process has ended."""
    due = clock()
    while started.poll() is None:
        following.poll()
        if clock() >= due:
            mention(following.line(started.launch.total_steps), err)
            due = clock() + LINE_S
        time.sleep(POLL_S)


def last_line(run: RunDir) -> str:
    """The last thing that the training process printed, clean; "" where it printed nothing."""
    return clean((run.last_words() or "").strip(), CONSOLE_TAIL)
