"""What tests of recording and steering stand on: a run on a real disk with a real writer thread, and fakes around it.

Fakes of the parts that know torch keep their contracts; a judge finds what a test tells it to; a loop trains in a thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tuimon.control.commands import Command, Who
from tuimon.control.spool import new_id, submit
from tuimon.diagnosis.model import Diagnosis, Incident
from tuimon.errors import CheckpointError
from tuimon.instrument.recorder import Recorder
from tuimon.instrument.steering import Steering
from tuimon.instrument.stopping import TrainingStopped
from tuimon.instrument.writer import Pace
from tuimon.record.events import Event, EventReader
from tuimon.record.liveness import identity
from tuimon.record.rundir import RunDir, RunInfo, create_run
from tuimon.record.segments import LogReader

FAST = Pace(turn=0.002, poll=0.005, beat=0.02, sync=5.0)
DEADLINE = 20.0
ADA = Who("ada", 1000, "desk", 7, "viewer")


def wait_for(condition: Callable[[], Any], what: str = "", seconds: float = DEADLINE) -> Any:
    """The first true value of `condition`; fails after a deadline."""
    until = time.monotonic() + seconds
    pause = threading.Event()
    while not (found := condition()):
        assert time.monotonic() < until, f"waited in vain for {what or condition}"
        pause.wait(0.002)
    return found


def incident(rule: str = "exploding-gradients", *, onset: int, detected: int | None = None, severity: str = "critical",
             resolved: int | None = None, treatable: bool = True) -> Incident:
    """One incident."""
    return Incident(
        rule, "T110", "gradients", severity, "open" if resolved is None else "resolved", onset,  # type: ignore[arg-type]
        onset if detected is None else detected, resolved, None, "high", "Exploding gradients", "because", (), (),
        "exploding", rescue_helps=treatable,
    )


def diagnosis(steps: int, *incidents: Incident) -> Diagnosis:
    """A diagnosis with these incidents."""
    return replace(Diagnosis.nothing(), steps=steps, incidents=incidents)


class ScriptedJudge:
    """Finds at each step what `find(last step, marks so far)` says."""

    def __init__(self, find: Callable[[int, list[Any]], tuple[Incident, ...]] = lambda _step, _marks: ()) -> None:
        self.find, self.last, self.marks, self.fed = find, 0, [], []
        self.diagnosis = Diagnosis.nothing()

    def feed(self, chunk: Any) -> None:
        self.fed.append(chunk)
        self.marks += chunk.marks
        if len(chunk):
            self.last = int(chunk.steps[-1])
        self.diagnosis = diagnosis(self.last, *self.find(self.last, self.marks))


@dataclass(frozen=True)
class Overriding:
    lr_scale: float = 1.0
    clip: float | None = None
    warmup_from: int | None = None
    warmup_steps: int = 0


class FakeOverrides:
    def __init__(self, script_clip: float | None = None) -> None:
        self.in_force, self.script_clip = Overriding(), script_clip

    def set(self, *, lr_scale: float, clip: float | None, warmup_from: int | None, warmup_steps: int) -> None:
        self.in_force = Overriding(lr_scale, clip, warmup_from, warmup_steps)

    def undo(self) -> None:
        self.in_force = Overriding()


@dataclass(frozen=True)
class FakeSnapshot:
    step: int
    weights: float
    proven: bool = False
    bytes: int = 8
    seconds: float = 0.0
    sha256: str = "ab" * 32


@dataclass
class Lent:
    step: int
    released: bool = False

    def release(self) -> None:
        self.released = True


class FakeSnapshots:
    """Keeps a number, `weights`, as its training state."""

    def __init__(self, *, initial: bool = True) -> None:
        self.weights = 0.0
        self.kept: dict[int, FakeSnapshot] = {}
        self.broken = False
        self.lent: list[Lent] = []
        if initial:
            self.capture(0)

    @property
    def steps(self) -> tuple[int, ...]:
        return tuple(sorted(self.kept))

    @property
    def healthy(self) -> FakeSnapshot | None:
        return next((self.kept[s] for s in reversed(self.steps) if self.kept[s].proven), None)

    @property
    def initial(self) -> FakeSnapshot | None:
        return self.kept.get(0)

    def capture(self, step: int) -> FakeSnapshot:
        self.kept[step] = FakeSnapshot(step, self.weights)
        return self.kept[step]

    def detach(self, step: int) -> Lent:
        self.lent.append(Lent(self.kept[step].step))
        return self.lent[-1]

    def restore(self, step: int) -> FakeSnapshot:
        if self.broken:
            raise CheckpointError("the digest has changed")
        self.weights = self.kept[step].weights
        self.void_after(step)
        return self.kept[step]

    def promote(self, step: int) -> bool:
        if step not in self.kept:
            return False
        self.kept[step] = replace(self.kept[step], proven=True)
        return True

    def void_after(self, step: int) -> tuple[int, ...]:
        gone = tuple(s for s in self.steps if s > step)
        for s in gone:
            del self.kept[s]
        return gone


@dataclass(frozen=True)
class Saved:
    id: str
    bytes: int = 100
    sha256: str = "cd" * 32


@dataclass
class FakeCheckpoints:
    saved: list[tuple[int, int, float]] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    broken: bool = False
    told: list[tuple[str, str]] = field(default_factory=list)

    def promote(self, id: str) -> None:  # noqa: A002
        self.told.append(("promote", id))

    def doubt(self, id: str) -> None:  # noqa: A002
        self.told.append(("doubt", id))

    def gone_back_to(self, id: str) -> None:  # noqa: A002
        self.told.append(("gone back to", id))

    def save(self, captured: Lent, step: int, *, attempt: int, overrides: Mapping[str, Any], **_more: Any) -> Saved:
        assert not captured.released
        assert self.gate.wait(DEADLINE)
        if self.broken:
            raise OSError(28, "No space left on device")
        self.saved.append((step, attempt, overrides["lr_scale"]))
        return Saved(f"step-{step:09d}")


def info_of(run: RunDir, **more: Any) -> RunInfo:
    """What a run says about itself."""
    return RunInfo(run.name, identity(), **more)


class Rig:
    """A run: recorder, steering, fakes, and the other end: spool, events, metrics."""

    def __init__(self, root: Path, judge: ScriptedJudge | None = None, *, initial: bool = True, script_clip: float | None = None,
                 every: int = 20, settle: Callable[[], None] | None = None,
                 steering: Callable[..., Steering] = Steering, **options: Any) -> None:
        self.run = create_run("test", root)
        self.judge = judge or ScriptedJudge()
        self.overrides = FakeOverrides(script_clip)
        self.snapshots = FakeSnapshots(initial=initial)
        self.checkpoints = FakeCheckpoints()
        self.recorder = Recorder(
            self.run, info_of(self.run), attempt=1, from_step=0, judge=lambda _context: self.judge,
            **{"pace": FAST, **options},
        )
        self.steering = steering(
            self.recorder, self.overrides, self.snapshots, self.checkpoints, every=every, settle=settle,
            copy=lambda step: self.snapshots.detach(self.snapshots.capture(step).step),
        )
        self._reader = EventReader(self.run.events)
        self.events: list[Event] = []
        self.step = 0
        self.recorder.start()

    def train(self, upto: int, loss: float = 1.0) -> None:
        """Steps on this thread, without a pause."""
        while self.step < upto:
            self.one_step(loss)

    def one_step(self, loss: float = 1.0) -> None:
        self.step += 1
        self.snapshots.weights += 1.0
        values = {"loss": loss, "grad_norm": 2.0, "lr": 1e-3 * self.overrides.in_force.lr_scale, "lr_scheduled": 1e-3}
        self.recorder.row(self.step, time.time(), values)
        self.steering.at_boundary(self.step)

    def judged(self, step: int) -> None:
        """Wait until the guard has seen a step."""
        wait_for(lambda: self.recorder.diagnosis.steps >= step, f"judgement of step {step}")

    def settled(self, step: int) -> None:
        """Wait until the guard has seen a step and what follows from it has been posted."""
        self.judged(step)
        turns = len(self.judge.fed)
        self.recorder.row(step, time.time(), {})
        wait_for(lambda: len(self.judge.fed) > turns)

    def ask(self, verb: str, *, attempt: int | None = 1, name: str = "", who: Who = ADA, base: str | None = None,
            **args: Any) -> Command:
        """Put a command into the spool, as a viewer does."""
        command = Command(name or new_id(), verb, args, attempt, time.time(), who=who, base_rev=base)  # type: ignore[arg-type]
        submit(self.run.commands, command)
        return command

    def delivered(self, command: Command) -> Command:
        """Wait until the training thread would see it."""
        wait_for(lambda: self.outcomes(command), f"receipt of {command.verb}")
        mailbox = self.recorder.mailbox   # before the first step it is due anyway
        wait_for(lambda: mailbox.due == 0 and (self.step or mailbox._letters), "the letter")
        return command

    def seen(self, kind: str, **fields: Any) -> list[Event]:
        """Events of a kind with these fields so far."""
        self.events += self._reader.poll()
        return [e for e in self.events if e.kind == kind and all(e.fields.get(k) == v for k, v in fields.items())]

    def wait(self, kind: str, **fields: Any) -> Event:
        """The first such event."""
        return wait_for(lambda: self.seen(kind, **fields), f"{kind} {fields}")[0]

    def outcomes(self, command: Command) -> list[str]:
        """What has been said about a command so far."""
        return [e.text("outcome") for e in self.seen("command", id=command.id)]

    def ended(self, command: Command) -> Event:
        """What finally became of it."""
        return wait_for(lambda: [e for e in self.seen("command", id=command.id)
                                 if e.text("outcome") in {"applied", "refused"}], f"the end of {command.verb}")[0]

    def obeyed(self, verb: str, **args: Any) -> Event:
        """Ask, take one step, and say what became of it."""
        command = self.delivered(self.ask(verb, **args))
        self.one_step()
        return self.ended(command)

    def ticks(self, command: Command) -> list[Event]:
        """The ticks of a rescue."""
        return self.seen("rescue", id=command.id)

    def log(self) -> LogReader:
        """A reader at the beginning of the metrics."""
        return LogReader(self.run.metrics)

    def close(self, state: str = "finished") -> None:
        self.checkpoints.gate.set()
        self.steering.close()
        self.recorder.close(state)


@contextmanager
def rig(root: Path, judge: ScriptedJudge | None = None, **options: Any) -> Iterator[Rig]:
    """A run that is closed at the end."""
    made = Rig(root, judge, **options)
    try:
        yield made
    finally:
        made.close()


class Loop:
    """A training loop in a thread, until told to end."""

    def __init__(self, made: Rig, pause: float = 0.001) -> None:
        self._rig, self._pause = made, pause
        self._end = threading.Event()
        self.raised: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            while not self._end.wait(self._pause):
                self._rig.one_step()
        except (TrainingStopped, AssertionError) as error:
            self.raised = error

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def __enter__(self) -> Loop:  # noqa: PYI034  # Self is not in the standard library of 3.10
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        if self._thread.is_alive() and self._rig.steering.state in {"held", "paused"}:
            self._rig.recorder.order("resume", "test")
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()
