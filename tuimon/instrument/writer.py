"""The writer thread: the only one that touches the disk while a run trains. Drains, judges, reads the spool, beats.

One turn every 50 ms: what the training thread handed over is written, then judged; ten times a second the spool is
read; once a second the memory that training holds is put into the newest row, and there is a heartbeat, also while the
run is held; every 5 s and after a mark all of it is made durable. A part that breaks is switched off with one `fault`
event, and the others go on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tuimon.control.commands import GUARD, Command
from tuimon.control.spool import Inbox, Rejected
from tuimon.control.states import Defer, State, outcome
from tuimon.diagnosis.model import Diagnosis
from tuimon.diagnosis.told import incident_fields
from tuimon.instrument.autopilot import Autopilot
from tuimon.instrument.guard import Guard, is_alarming
from tuimon.instrument.journal import Journal
from tuimon.instrument.mailbox import Mailbox
from tuimon.instrument.memory import Memory
from tuimon.instrument.queueing import Intake, Item, Note
from tuimon.instrument.words import told
from tuimon.record.chunk import Mark
from tuimon.record.segments import Row

_LOG: Final = logging.getLogger("tuimon")
TOLD: Final = 8
"""Refused files that get an event of their own in QUIET seconds; of a flood the rest is counted in one."""
QUIET: Final = 1.0
VAIN: Final = 100
"""Turns that fail one after the other before the thread gives up."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between the writer's duties."""

    turn: float = 0.05
    poll: float = 0.1
    beat: float = 1.0
    sync: float = 5.0


class Situation:
    """What the training thread and the writer thread tell each other about the run, one attribute each."""

    def __init__(self, from_step: int) -> None:
        self.state: State = "starting"
        """Written by the training thread only."""
        self.step = from_step
        """Last step that was written; written by the writer thread only, like the rest."""
        self.diagnosis = Diagnosis.nothing()
        self.is_calm = True
        """Whether nothing open speaks against trusting the weights."""


def command_fields(command: Command, result: str, why: str = "") -> dict[str, Any]:
    """Fields of a `command` event."""
    return {
        "id": command.id, "verb": command.verb, "args": dict(command.args), "who": command.who.fields(),
        "outcome": result, "why": why,
    }


class Writer:
    """The thread and what it owns. `step_once` is one turn; `run` repeats it until `finish`."""

    def __init__(
        self, intake: Intake, journal: Journal, inbox: Inbox, mailbox: Mailbox, situation: Situation,
        guard: Guard | None, autopilot: Autopilot, memory: Memory, *, controls: bool, pace: Pace,
        wall: Callable[[], float] = time.time, mono: Callable[[], float] = time.monotonic, has_spool: bool = True,
    ) -> None:
        self._intake, self._journal, self._inbox, self._mailbox = intake, journal, inbox, mailbox
        self._situation, self._guard, self._autopilot = situation, guard, autopilot
        self._memory = memory
        self._controls, self._pace, self._wall, self._mono = controls, pace, wall, mono
        self._is_polling, self._is_leaving = has_spool, False
        self._closing = threading.Event()
        self._next_poll = self._next_beat = self._quiet_until = 0.0
        self._told = self._untold = self._in_vain = 0
        self._has_failed = False
        self._next_sync = mono() + pace.sync
        self._thread = threading.Thread(target=self._run, name="tuimon-writer", daemon=True)

    def start(self) -> None:
        """Begin. RuntimeError where the system has no thread left."""
        self._thread.start()

    def is_listening(self) -> bool:
        """Whether a command could still come: not where this thread or its spool broke, or the directory is gone."""
        return self._thread.is_alive() and self._is_polling and (self._inbox.is_there or not self._journal.off)

    def leave(self) -> None:
        """Ask for the last turn; takes no lock, so that a garbage collection may call it in any thread."""
        self._is_leaving = True

    def is_alive(self) -> bool:
        """Whether it has not had its last turn."""
        return self._thread.is_alive()

    def finish(self, seconds: float) -> bool:
        """Ask for the last turn and wait for it at most so long; whether it was done."""
        self._closing.set()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        pause = self._pace.turn
        while not self._closing.wait(pause) and not self._is_leaving and self._in_vain < VAIN:
            begun = self._mono()
            self._guarded(self.step_once)
            # the next turn is due 50 ms after this one began; half of that is always left to training
            pause = max(self._pace.turn / 2, self._pace.turn - (self._mono() - begun))
        for last in (self._refuse_the_rest, self._drain, self._journal.close):
            self._guarded(last)

    def _guarded(self, work: Callable[[], Any]) -> None:
        """The outermost frame of the thread: what nobody has foreseen costs a turn, not the rest of the run."""
        try:
            work()
            self._in_vain = 0
        except Exception as error:
            self._in_vain += 1
            if self._in_vain == VAIN:
                _LOG.warning("the recording thread broke, training goes on", exc_info=True)
            elif not self._has_failed:
                self._has_failed = True
                _LOG.debug("a turn of the writer", exc_info=True)
                self._intake.note(Note("fault", self._situation.step, self._wall(), {
                    "part": "writer", "error": told(error)}))

    def step_once(self) -> None:
        """One turn."""
        now = self._mono()
        has_mark = self._drain()
        if now >= self._next_poll:
            self._next_poll = now + self._pace.poll
            self._read_spool()
        if now >= self._next_beat:
            self._next_beat = now + self._pace.beat
            self._journal.beat(self._wall(), now, self._situation.state)
        if has_mark or now >= self._next_sync:
            self._next_sync = now + self._pace.sync
            self._journal.sync()

    def _drain(self) -> bool:
        """Write and judge what was handed over; whether there was a mark among it."""
        items, notes, thinned = self._intake.take()
        items = self._with_memory(items)
        self._journal.keep(items, notes, thinned)
        self._journal.flush()
        self._situation.step = next((i.step for i in reversed(items) if isinstance(i, Row)), self._situation.step)
        self._judge(items, notes)
        return any(isinstance(i, Mark) for i in items)

    def _with_memory(self, items: list[Item]) -> list[Item]:
        try:
            return self._memory.noted(items, self._mono())
        except Exception as error:
            self._tell("fault", part="memory", error=f"{type(error).__name__}: {error}"[:500])
            return items

    def _judge(self, items: list[Item], notes: list[Note]) -> None:
        for note in notes:
            self._notice(note)
        guard = self._guard
        if guard is None:
            return
        try:
            if items:
                changed, news = guard.feed(items)
                self._situation.is_calm = not any(map(is_alarming, guard.diagnosis.open_incidents))
                for change, incident in changed:
                    self._tell("incident", **incident_fields(change, incident, guard.diagnosis.leading))
                for letter in news:
                    self._mailbox.post(letter)
                self._situation.diagnosis = guard.diagnosis   # last: who has seen it finds its letters
            order = self._autopilot.decide(guard.diagnosis, self._wall())
        except Exception as error:
            self._switch_off_guard(error)
            return
        if order is not None:
            self._receive(order)

    def _notice(self, note: Note) -> None:
        try:
            self._autopilot.notice(note.kind, note.step, note.fields)
            if self._guard is not None:
                self._guard.notice(note.kind, note.fields)
        except Exception as error:
            self._switch_off_guard(error)

    def _switch_off_guard(self, error: Exception) -> None:
        """No diagnosis from here on; snapshots go on being taken, but none earns its health unjudged."""
        _LOG.debug("guard", exc_info=True)
        self._guard = None
        self._situation.is_calm = True
        self._tell("fault", part="guard", error=f"{type(error).__name__}: {error}"[:500])

    def _read_spool(self) -> None:
        if not self._is_polling:
            return
        try:
            found = self._inbox.poll()
            self._refuse([f for f in found if isinstance(f, Rejected)])
            for command in found:
                if isinstance(command, Command):
                    self._receive(command)
        except Exception as error:
            self._is_polling = False
            self._tell("fault", part="spool", error=f"{type(error).__name__}: {error}"[:500])

    def _refuse(self, strange: list[Rejected]) -> None:
        now = self._mono()
        if now >= self._quiet_until:
            if self._untold:
                self._tell_refused(Rejected("", f"{self._untold} more files like those before"))
            self._told, self._untold, self._quiet_until = 0, 0, now + QUIET
        for rejected in strange:
            if self._told < TOLD:
                self._told += 1
                self._tell_refused(rejected)
            else:
                self._untold += 1

    def _tell_refused(self, rejected: Rejected) -> None:
        if rejected.command is not None:
            self._tell("command", **command_fields(rejected.command, "refused", rejected.why))
            return
        who = {"uid": rejected.uid} if rejected.uid >= 0 else {}
        self._tell("command", id=rejected.id, verb="", args={}, who=who, outcome="refused", why=rejected.why)

    def _receive(self, command: Command) -> None:
        self._tell("command", **command_fields(command, "received"))
        if not self._controls and command.who.origin != GUARD:
            why = "this run was attached with controls=False"
            self._tell("command", **command_fields(command, "refused", why))
            return
        if isinstance(outcome(self._situation.state, command.verb), Defer):
            why = "until the first step boundary"
            self._tell("command", **command_fields(command, "deferred", why))
        self._mailbox.post(command)

    def _refuse_the_rest(self) -> None:
        """Nobody will answer any more what waits for a step boundary that does not come."""
        self._read_spool()
        for letter in self._mailbox.shut():
            if isinstance(letter, Command):
                self._tell("command", **command_fields(letter, "refused", "the run has ended"))

    def _tell(self, kind: str, **fields: Any) -> None:
        """An event of the writer's own; written in this turn or the next."""
        note = Note(kind, self._situation.step, self._wall(), fields)
        self._journal.keep((), (note,))
        self._journal.flush()
