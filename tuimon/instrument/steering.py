"""Steering: what a run does about its commands, at its step boundaries, on the training thread.

The fast path is one comparison of one attribute. All else happens where a letter waits or something is due: the state
table says what a command does, this file does it and says what became of it. Outside of `stop`, nothing here raises.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from tuimon.control.commands import Command
from tuimon.control.revision import Revisions
from tuimon.control.states import WAITING, Apply, Refuse, State, Verb, outcome
from tuimon.instrument.ending import StopLadder
from tuimon.instrument.errands import Errand, Errands
from tuimon.instrument.mailbox import Earned, Letter, Ready
from tuimon.instrument.protocols import Captured, Checkpoints, Discovery, Overrides, Snapshots
from tuimon.instrument.recorder import Recorder
from tuimon.instrument.rescue import put_back, rescue, say_override, target
from tuimon.instrument.saving import Saving

EVERY: Final = 20
"""Steps between snapshots."""
LOOK: Final = 0.1
"""Seconds between two looks while standing still: a letter wakes at once, a dead writer is seen by looking."""
SAVING: Final = 120.0
"""Seconds that `close` waits for a checkpoint that is being written."""
_LOG: Final = logging.getLogger("tuimon")


@dataclass(frozen=True, slots=True)
class Done:
    """Applied."""

    why: str = ""


@dataclass(frozen=True, slots=True)
class Later:
    """Begun; whoever ends it says what became of it."""


Result = Done | Later | Refuse


class Steering:
    """One per run. Everything but `should_stop` and `checkpoint` is for the training thread."""

    def __init__(
        self, recorder: Recorder, overrides: Overrides, snapshots: Snapshots | None, checkpoints: Checkpoints | None, *,
        every: int = EVERY, settle: Callable[[], None] | None = None,
        copy: Callable[[int], Captured] | None = None, discovery: Discovery | None = None,
        saving: Callable[..., Saving] = Saving, amiss: Callable[[], str] = str,
    ) -> None:
        """With what it needs of others.

        settle: hands over measurements still on the device. copy: captures for a checkpoint without snapshots.
        discovery: finds what belongs into one and was not passed. saving: what makes them. amiss: what is wrong
        with how the run was attached, so that what this process did alone would be, too; "" where nothing is.
        """
        self._recorder, self._overrides, self._every = recorder, overrides, every
        self._snapshots, self._settle, self._copy = snapshots, settle, copy
        self._amiss = amiss
        self._mailbox, self._situation = recorder.mailbox, recorder.situation
        self._ladder = StopLadder()
        self._errands = Errands()
        self._revisions = Revisions(time.monotonic)
        self._saving = saving(
            recorder, checkpoints, copy if snapshots is None else self._lend, overrides, self._errands, discovery,
        )
        self._warming: tuple[str, int] | None = None
        self._earning: set[int] = set()
        self.has_moved = self._is_off = self._is_dismissed = False
        self._verbs: dict[Verb, Callable[[Command, int], Result]] = {
            "pause": self._nothing, "resume": self._nothing, "hold": self._nothing, "stop": self._stop,
            "checkpoint": self._save, "rollback": self._roll_back, "set-lr-scale": self._set_lr_scale,
            "set-clip": self._set_clip, "rescue": self._rescue, "undo-overrides": self._undo,
        }

    @property
    def should_stop(self) -> bool:
        """Whether the run was told to stop: for loops, frameworks and the patched loader."""
        return self._ladder.is_stopping

    @property
    def state(self) -> State:
        """The run's state."""
        return self._situation.state

    def checkpoint(self) -> None:
        """Ask for a checkpoint at the next step boundary, as a viewer would."""
        self._recorder.order("checkpoint", "script")

    def at_boundary(self, step: int) -> None:
        """After the `step`-th update, before anything of the next: raises TrainingStopped at the end of a stop."""
        if step < self._mailbox.due:
            return
        self._ladder.boundary(step)
        try:
            self._attend(step)
        except Exception as error:  # the outermost frame: a part that breaks switches itself off
            self._break(step, error)

    def send(self, errand: Errand) -> None:
        """Have it done in the background, before the run is closed."""
        self._errands.send(errand)

    def goes_on_from(self, step: int, checkpoint: str) -> None:
        """This attempt goes on from a checkpoint of the run, by its id: it is kept."""
        self._saving.goes_on_from(step, checkpoint)

    def part_ways(self) -> None:
        """Nothing here comes by at boundaries any more: for who has to tell others."""

    def dismiss(self) -> None:
        """A run that stands still goes on: it is being closed, and nobody could resume it."""
        self._is_dismissed = True

    def close(self) -> bool:
        """Wait for checkpoints that are being written; whether they are. Before the recorder is closed."""
        self._refuse_what_waits()
        return self._errands.close(SAVING)

    def leave(self, state: str, error: str | None) -> None:
        """The run is over, after what is being saved. Waits for nothing and takes no lock."""
        self._refuse_what_waits()
        recorder = self._recorder
        self._errands.leave(lambda: recorder.end(state, error))

    def _refuse_what_waits(self) -> None:
        for command in self._saving.waiting():
            self._recorder.answer(command, self._situation.step, "refused", "the run has ended")

    def release(self) -> None:
        """After the end: keep no way to the model."""
        self._snapshots = self._settle = self._copy = None
        self._verbs = {}
        self._saving.release()

    def _attend(self, step: int) -> None:
        self.has_moved = False
        if self.state == "starting":
            self._enter("running", step, "first step")
            if text := self._amiss():
                self._warn(step, text)
        self._read(step)
        if self.state in WAITING:
            self._stand_still(step)
        if self._warming is not None and step >= self._warming[1]:
            self._end_warmup(step, cut_short=False)
        self._snapshot_if_due(step)
        self._mailbox.schedule(self._next(step))

    def _next(self, step: int) -> float:
        """The step at which there is something to do, letters aside."""
        if self._ladder.is_stopping:
            return 0
        due = [float("inf")]
        if self._snapshots is not None and not self._is_off:
            due.append(step - step % self._every + self._every)
        if self._warming is not None:
            due.append(self._warming[1])
        return min(due)

    def _read(self, step: int) -> None:
        while (letter := self._mailbox.next()) is not None:
            self._take(letter, step)

    def _stand_still(self, step: int) -> None:
        """Block the training thread until a letter changes the state. Ctrl+C gets through: it stays the user's."""
        self._hand_over()
        while self.state in WAITING:
            if self._is_dismissed:
                return
            if not self._recorder.is_attended:
                self._enter("running", step, "nobody reads commands any more, so nobody could resume")
                return
            self._mailbox.wait(LOOK)
            self._read(step)

    def _take(self, letter: Letter, step: int) -> None:
        if isinstance(letter, Command):
            self._obey(letter, step)
        elif isinstance(letter, Ready):
            self._save_what_waits(step, letter.command)
        elif isinstance(letter, Earned):
            if self._snapshots is not None:
                self._earn(letter.step, step)
            self._saving.earned(letter.step)
        else:
            if self._snapshots is not None:
                self._snapshots.void_after(letter.after_step)
                self._recorder.event("snapshot-void", step, after_step=letter.after_step)
            self._saving.voided(letter.after_step)

    def _earn(self, earned: int, step: int) -> None:
        self._earning.add(earned)
        self._errands.send(lambda: self._promote(earned, step))

    def _promote(self, earned: int, step: int) -> None:
        """On the background thread, for it takes a hash; on this one where a restore cannot wait for its turn."""
        if earned not in self._earning or self._snapshots is None:
            return
        is_kept = self._snapshots.promote(earned)
        if is_kept and earned in self._earning:
            self._recorder.event("snapshot-healthy", step, snapshot_step=earned)
        self._earning.discard(earned)

    def _obey(self, command: Command, step: int) -> None:
        allowed = outcome(self.state, command.verb)
        if not isinstance(allowed, Apply):
            why = allowed.why if isinstance(allowed, Refuse) else "the run has not reached a step boundary yet"
            self._recorder.answer(command, step, "refused", why)
            return
        before = self.state
        why = self._revisions.against(command) or ("" if command.verb == "checkpoint" else self._amiss())
        try:
            result = Refuse(why) if why else self._verbs[command.verb](command, step)
        except Exception as error:
            _LOG.debug("%s", command.verb, exc_info=True)
            result = Refuse(f"{type(error).__name__}: {error}"[:300])
        if isinstance(result, Refuse):
            self._recorder.answer(command, step, "refused", result.why)
            return
        is_new = allowed.then not in (before, self.state)
        if is_new:
            self._situation.state = allowed.then
        if isinstance(result, Done):
            self._revisions.applied(command, step)
            why = result.why or (f"already {before}" if command.verb in _ABOUT_STATE and allowed.then == before else "")
            self._recorder.answer(command, step, "applied", why, state=allowed.then if is_new else "", by=_by(command))

    def _warn(self, step: int, text: str) -> None:
        self._recorder.event("note", step, text=text)
        with suppress(Exception):   # warnings are errors here, or stderr is closed
            warnings.warn(text, RuntimeWarning, stacklevel=2)

    def _enter(self, state: State, step: int, why: str) -> None:
        if state != self._situation.state:
            self._situation.state = state
            self._recorder.event("state", step, state=state, why=why)

    @staticmethod
    def _nothing(_command: Command, _step: int) -> Result:
        """The state table does it all."""
        return Done()

    def _stop(self, _command: Command, step: int) -> Result:
        self._save_what_waits(step)
        return Done("" if self._ladder.stop() else "already stopping")

    def _save(self, command: Command, step: int) -> Result:
        if self.state not in WAITING and self._saving.looks_first(command):
            return Later()
        why = self._saving.save(command, step)
        return Refuse(why) if why else Later()

    def _save_what_waits(self, step: int, command: str | None = None) -> None:
        """Checkpoints, or this one, that were put off until somebody had looked for schedules."""
        for found in self._saving.waiting(command):
            try:
                why = self._saving.save(found, step, looked=command is not None)
            except Exception as error:
                why = f"{type(error).__name__}: {error}"[:300]
            if why:
                self._recorder.answer(found, step, "refused", why)

    def _lend(self, step: int) -> Captured:
        """This boundary's state, for a checkpoint; it stays a snapshot like others."""
        snapshots = self._snapshots
        assert snapshots is not None
        if step not in snapshots.steps:
            self._capture(snapshots, step)
        return snapshots.detach(step)

    def _roll_back(self, command: Command, step: int) -> Result:
        to_step = self._target(command, step)
        if self._snapshots is None or isinstance(to_step, str):
            return Refuse(str(to_step))
        self._hand_over()
        put_back(self._recorder, self._snapshots, to_step, step)
        self._saving.went_back(to_step)
        self.has_moved = True
        return Done()

    def _rescue(self, command: Command, step: int) -> Result:
        to_step = self._target(command, step)
        if self._snapshots is None or isinstance(to_step, str):
            return Refuse(str(to_step))
        self._hand_over()
        self._enter("held", step, _by(command))
        cut = rescue(self._recorder, self._overrides, self._snapshots, command, to_step, step)
        if isinstance(cut, str):
            return Refuse(cut)
        self._saving.went_back(to_step)
        self.has_moved = True
        self._end_warmup(step, cut_short=True)
        self._warming = (command.id, step + cut.warmup)
        self._enter("running", step, _by(command))
        return Done()

    def _target(self, command: Command, step: int) -> int | str:
        for earned in sorted(self._earning):
            self._promote(earned, step)
        return target(self._snapshots, _whole(command.args, "step"))

    def _hand_over(self) -> None:
        """Nothing measured stays on the device: people see the step a run is held at, a mark stands behind its rows."""
        if self._settle is not None:
            self._settle()

    def _set_lr_scale(self, command: Command, step: int) -> Result:
        now = self._overrides.in_force
        self._put(float(command.args["scale"]), now.clip, step)
        return Done()

    def _set_clip(self, command: Command, step: int) -> Result:
        limit = command.args["max_norm"]
        self._put(self._overrides.in_force.lr_scale, None if limit is None else float(limit), step)
        return Done()

    def _put(self, lr_scale: float, clip: float | None, step: int) -> None:
        """A warm-up that is under way goes on: it ramps up to whatever scale is in force."""
        now = self._overrides.in_force
        self._overrides.set(lr_scale=lr_scale, clip=clip, warmup_from=now.warmup_from, warmup_steps=now.warmup_steps)
        say_override(self._recorder, self._overrides, step)

    def _undo(self, _command: Command, step: int) -> Result:
        self._overrides.undo()
        self._end_warmup(step, cut_short=True)
        say_override(self._recorder, self._overrides, step)
        return Done()

    def _end_warmup(self, step: int, *, cut_short: bool) -> None:
        """The last tick. A warm-up that is cut short is over all the same: nobody should wait for it."""
        if self._warming is not None:
            self._recorder.event("rescue", step, id=self._warming[0], tick="done", cut_short=cut_short)
            self._warming = None

    def _snapshot_if_due(self, step: int) -> None:
        """Not while something is wrong, not at a boundary that went back: that state is kept already."""
        snapshots = self._snapshots
        if snapshots is None or self._is_off or self.has_moved or step % self._every or not self._is_calm:
            return
        if not self._ladder.is_stopping and step not in snapshots.steps:
            self._capture(snapshots, step)

    @property
    def _is_calm(self) -> bool:
        return self._situation.is_calm

    def _capture(self, snapshots: Snapshots, step: int) -> None:
        taken = snapshots.capture(step)
        self._recorder.event("snapshot", step, snapshot_step=taken.step, bytes=taken.bytes, seconds=taken.seconds)

    def _break(self, step: int, error: Exception) -> None:
        """No snapshots from here on; commands are still obeyed as far as they can be."""
        _LOG.debug("steering", exc_info=True)
        if not self._is_off:
            self._recorder.event("fault", step, part="steering", error=f"{type(error).__name__}: {error}"[:500])
        self._is_off = True
        if self.state in WAITING:
            self._enter("running", step, "steering broke: nobody could resume")
        self._mailbox.schedule(self._next(step))


_ABOUT_STATE: Final[frozenset[Verb]] = frozenset({"pause", "resume", "hold"})


def _by(command: Command) -> str:
    return f"{command.verb} by {command.who.user} ({command.who.origin or 'unknown origin'})"


def _whole(args: Any, name: str) -> int | None:
    value = args.get(name)
    return None if value is None else int(value)
