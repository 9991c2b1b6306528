"""The recorder: what the training thread hands its measurements to. Appends to a queue; the rest is the writer's.

Law 1 lives here: `row`, `tensors`, `weights`, `probes`, `mark` and `event` do no I/O, take no lock, never wait and
never raise because of the disk. A forked child records nothing.
"""

from __future__ import annotations

import atexit
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from tuimon.control.commands import GUARD, Command
from tuimon.control.person import this_person
from tuimon.control.spool import Inbox, new_id, prepare
from tuimon.control.states import Verb
from tuimon.diagnosis.model import Diagnosis, RunContext
from tuimon.instrument.autopilot import Autopilot, Policy
from tuimon.instrument.ending import ending, last_error
from tuimon.instrument.guard import HORIZON, Guard
from tuimon.instrument.journal import Journal
from tuimon.instrument.mailbox import Mailbox
from tuimon.instrument.memory import Memory
from tuimon.instrument.protocols import Judge
from tuimon.instrument.queueing import LIMIT, Intake, Note
from tuimon.instrument.ranks.joining import Joining, attempt_note
from tuimon.instrument.ranks.shares import Part
from tuimon.instrument.writer import Pace, Situation, Writer, command_fields
from tuimon.record.chunk import Bools, Mark, Vectors
from tuimon.record.files import OS, Files
from tuimon.record.liveness import START_SLACK
from tuimon.record.rundir import RunDir, RunInfo
from tuimon.record.segments import ProbeRow, Row, TensorRow, WeightRow

PATIENCE: Final = 5.0
"""Seconds that `close` waits for the last write; a disk that hangs longer than that does not hold up the exit."""
_LOG: Final = logging.getLogger("tuimon")
_ACTIVE: Final[set[Recorder]] = set()
"""Those that write, until their last turn is done; those that have had it are swept out by the next one."""


class Recorder:
    """One attempt of one run. All methods may be called from any thread; `row` and those of vectors from one."""

    def __init__(
        self, run: RunDir, info: RunInfo, *, attempt: int, from_step: int, context: RunContext | None = None,
        on_critical: Policy = "warn", controls: bool = True, judge: Callable[[RunContext], Judge] | None = None,
        files: Files = OS, pace: Pace | None = None, horizon: int = HORIZON, limit: int = LIMIT,
        memory: Callable[[], float] | None = None, unwritable: str = "", part: Part | None = None,
        joining: Joining | None = None,
    ) -> None:
        """`memory` says how many bytes training holds; it is called by the writer thread.

        unwritable: why there is no run directory; then all is judged and steered, and nothing written. part: what this
        rank is of several. joining: of a rank other than 0, which records where rank 0 does, judges nothing and is
        asked nothing.
        """
        self.info, self.from_step = info, from_step
        self._part, self._joining, world = part, joining, 1 if part is None else part.world.size
        self.situation = Situation(from_step)
        self.mailbox = Mailbox()
        self._newest: Mapping[str, float] = {}
        self.last_step = from_step
        self.ended = ""
        """The state in which it ended; "" while it has not."""
        self._intake = Intake(limit)
        self._journal = Journal(
            run, attempt=attempt, from_step=from_step, tensors=len(info.tensors),
            probes=len(info.probes), files=files, limit=limit, off=unwritable, world=world, joining=joining,
        )
        self.is_in_memory = bool(unwritable)
        """Whether it never had a directory."""
        self._who = this_person(GUARD, host=info.process.host)
        self._pid = os.getpid()
        self._is_open = False
        self._is_closed = False
        autopilot = Autopilot(on_critical, self._who, horizon=horizon, attempt=attempt, can_hold=controls)
        self._writer = Writer(
            self._intake, self._journal, _inbox(run, info, attempt), self.mailbox, self.situation,
            None if joining else self._guard(judge, context or RunContext(), horizon, part), autopilot,
            Memory(memory), controls=controls, pace=pace or Pace(), has_spool=joining is None,
        )

    @property
    def run(self) -> RunDir:
        """Where it is recorded; of a rank that has not found it yet, only a name."""
        return self._journal.run

    @property
    def attempt(self) -> int:
        """Of that run."""
        return self._journal.attempt

    @property
    def last(self) -> Mapping[str, float]:
        """The newest row handed over: what the run looked like at its last measured step, as far as this rank knows."""
        return self._newest if self._part is None else self._part.shares.told(self._newest)

    def _guard(
        self, judge: Callable[[RunContext], Judge] | None, context: RunContext, horizon: int, part: Part | None
    ) -> Guard | None:
        try:
            if judge is None:
                from tuimon.diagnosis.engine import Engine

                judge = Engine
            return Guard(judge(context), len(self.info.tensors), horizon, self.from_step, len(self.info.probes),
                         None if part is None else part.judged)
        except Exception as error:
            self.event("fault", self.from_step, part="guard", error=f"{type(error).__name__}: {error}"[:500])
            return None

    def start(self) -> None:
        """Open the files, say who runs, start the writer. Never raises: without a disk the run is still steered."""
        if self._joining is None:
            self._begin()
        try:
            self._writer.start()
        except RuntimeError as error:
            _LOG.warning("nothing is recorded, training goes on: %s", error)
            self._intake.is_closed = True
            self._journal.close()   # nobody else would give the files back
            return
        self._is_open = True
        _sweep()
        _ACTIVE.add(self)

    def _begin(self) -> None:
        if not self.is_in_memory:
            self._journal.open()
            try:
                prepare(self.run.commands)
            except OSError as error:
                _LOG.debug("no spool: %s", error)
        world = {} if self._part is None else {"world": self._part.world.size}
        self._intake.note(attempt_note(self.info, self.attempt, self.from_step, **world))
        self.mark(Mark(self.from_step, "attempt", {"number": self.attempt, "from_step": self.from_step}))

    def row(self, step: int, time: float, values: Mapping[str, float]) -> None:
        """The scalars of one step. The mapping is kept: the caller must not change it afterwards.

        A step's vectors go first, so that a log that ends here is complete up to its last row.
        """
        self._newest, self.last_step = values, step
        self._intake.put(Row(step, time, values))

    def tensors(self, step: int, grad: Vectors, seen: Bools, update: Vectors | None) -> None:
        """The per-tensor vectors of one step, each (P,); kept, not copied."""
        self._intake.put(TensorRow(step, grad, seen, update))

    def weights(self, step: int, norms: Vectors, seen: Bools) -> None:
        """The norms of the weights after one step, each (P,); kept, not copied."""
        self._intake.put(WeightRow(step, norms, seen))

    def probes(self, step: int, values: Vectors, seen: Bools) -> None:
        """What the activation probes of one step measured, each (K,); kept, not copied."""
        self._intake.put(ProbeRow(step, values, seen))

    def mark(self, mark: Mark) -> None:
        """A break that judges and charts must know, in its place between the rows."""
        self._intake.put(mark)

    def event(self, kind: str, step: int, **fields: Any) -> None:
        """A line for events.jsonl."""
        self._intake.note(Note(kind, step, time.time(), fields))

    def answer(self, command: Command, step: int, result: str, why: str = "", *, state: str = "", by: str = "") -> None:
        """The `command` event that says what became of it; `state`: which the run entered by it, and `by` whom.

        The guard learns of both at once: a run that goes on is judged as one whose order to go on has been seen.
        """
        now = time.time()
        entered = [Note("state", step, now, {"state": state, "why": by})] if state else []
        self._intake.note(*entered, Note("command", step, now, command_fields(command, result, why)))

    def order(self, verb: Verb, origin: str) -> Command:
        """A command from within this process, on its way to the next step boundary."""
        command = Command(new_id(), verb, {}, self.attempt, time.time(), who=replace(self._who, origin=origin))
        self.event("command", self.situation.step, **command_fields(command, "received"))
        self.mailbox.post(command)
        return command

    @property
    def diagnosis(self) -> Diagnosis:
        """The latest, from the guard."""
        return self.situation.diagnosis

    @property
    def trouble(self) -> str:
        """What keeps this run from being recorded right now; "" where nothing does."""
        return self._journal.trouble

    @property
    def is_attended(self) -> bool:
        """Whether the spool is still read: otherwise nobody could ever release a held run."""
        return self._is_open and not self._is_closed and self._writer.is_listening()

    def close(self, state: str, error: str | None = None) -> None:
        """Say how it ended, write what is left, give the files back. Idempotent; a forked child's call does nothing."""
        self.end(state, error)
        self.wait()

    def end(self, state: str, error: str | None = None) -> None:
        """Say how it ended; the writer does the rest in its own time. Takes no lock and never waits."""
        if self._is_closed or os.getpid() != self._pid:
            return
        self._is_closed, self.ended = True, state
        if self._is_open:
            self.event("end", max(self.last_step, self.situation.step), state=state, error=error)
            self._writer.leave()

    def wait(self) -> None:
        """Until what was handed over before the end is written and the files are given back; not for ever."""
        if not (self._is_closed and self._is_open) or os.getpid() != self._pid:
            return
        if not self._writer.finish(PATIENCE):
            _LOG.warning("the disk did not take the end of %s within %.0f s", self.run.name, PATIENCE)
        self._intake.is_closed = True
        _ACTIVE.discard(self)

    @property
    def is_writing(self) -> bool:
        """Whether it has not had its last turn."""
        return self._writer.is_alive()

    def _forget(self) -> None:
        """In a forked child: record nothing, answer nothing."""
        self._intake.is_closed = True
        self.mailbox.shut()


def _inbox(run: RunDir, info: RunInfo, attempt: int) -> Inbox:
    """What is asked while torch loads is obeyed; what was asked of the attempt before is not."""
    return Inbox(run.commands, attempt, since=0.0 if attempt == 1 else info.process.started - START_SLACK)


def is_recorded(run: RunDir) -> bool:
    """Whether this process is writing to it, and not about to stop."""
    for recorder in [r for r in list(_ACTIVE) if r.run.path == run.path and r.ended]:
        recorder.wait()
    _sweep()
    return any(recorder.run.path == run.path for recorder in list(_ACTIVE))


def _sweep() -> None:
    for recorder in list(_ACTIVE):
        if not recorder.is_writing:
            _ACTIVE.discard(recorder)


def close_recorders() -> None:
    """At the end of the process: whatever is still open."""
    error = last_error()
    for recorder in list(_ACTIVE):
        recorder.close(*ending(error, stopping=recorder.situation.state == "stopping"))


atexit.register(close_recorders)


def _after_fork_in_child() -> None:
    for recorder in list(_ACTIVE):
        recorder._forget()  # noqa: SLF001  # the same file's own
    _ACTIVE.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)
