"""What state a run is in, for lists and headers: derived from what it wrote and whether it lives. Touches the disk."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tuimon.errors import LogError
from tuimon.record.events import Event, EventReader, last_events
from tuimon.record.files import is_full, open_to_read
from tuimon.record.liveness import ProcessIdentity, is_alive
from tuimon.record.rundir import Launch, RunDir, RunInfo
from tuimon.record.text import clean

if TYPE_CHECKING:
    from tuimon.record import log  # with numpy: only where metrics are read

SILENT_S: Final = 60.0
"""A run on another machine that has not written for this long is presumed dead: it beats every second."""
TAIL_BYTES: Final = 1 << 18
NEAR_BYTES: Final = 1 << 14
"""Of the metrics, what is looked at first: most often enough, and much cheaper in a list of many runs."""

FULL_AFTER: Final = 3.0
"""Seconds without rows after which a full disk may be the reason."""
FULL: Final = "the disk with this run is full: training goes on, its rows wait in memory"
UNMEASURED: Final = "nothing measured"
"""In words, the verdict on a run of which no step is known."""
ENDED: Final = frozenset({"finished", "stopped", "crashed", "died"})


@dataclass(frozen=True, slots=True)
class RunStatus:
    """One line of `tuimon runs`."""

    state: str
    """starting, running, paused, held, stopping, finished, stopped, crashed, died, or unreadable."""
    attempt: int = 0
    step: int = 0
    total_steps: int | None = None
    loss: float | None = None
    """Last measured; may be non-finite."""
    last_sign: float | None = None
    """Wall clock of the last sign of life in the log, seconds since the epoch."""
    started: float | None = None
    verdict: str = ""
    """Worst open incident's severity, or "healthy"; "" where nothing has been measured that could be judged."""
    headline: str = ""
    """Of that incident."""
    why: str = ""
    """What ended it, or why it cannot be read."""
    since: int | None = None
    """Step at which that incident began; None where there is none, or an old log does not say."""
    lr: float | None = None
    """Learning rate beside that loss."""
    step_time: float | None = None
    """Seconds that a step usually takes, of those measured last."""
    is_full: bool = False
    """Whether it lives and a full disk is why nothing more of it is known."""
    world: int = 1
    """Ranks that train together."""
    lost: tuple[tuple[int, str], ...] = ()
    """Those of them that are not there: number, and "silent", "missing", "died" or "crashed"."""

    @property
    def eta(self) -> float | None:
        """Seconds until its last step, while it runs; None where that cannot be told."""
        if self.state != "running" or not self.step_time or not self.total_steps or self.step > self.total_steps:
            return None
        return (self.total_steps - self.step) * self.step_time

    @property
    def is_maimed(self) -> bool:
        """Whether it lives, and not all of its ranks do; one that never attached may be as it was meant."""
        return self.is_live and any(state != "missing" for _, state in self.lost)

    @property
    def is_live(self) -> bool:
        """Whether a training process stands behind it."""
        return self.state not in ENDED and self.state != "unreadable"


@dataclass(frozen=True, slots=True)
class Told:
    """What the events of a run say about its state: a pure fold. Its texts are clean."""

    state: str = "starting"
    attempt: int = 0
    why: str = ""
    incidents: tuple[tuple[str, str, str, int | None], ...] = ()
    """Open ones: rule, severity, headline, first faulty step."""
    leads: str = ""
    """The rule of the one that is told first, as the guard said last."""
    labels: tuple[tuple[str, str], ...] = ()
    """Metrics that mean something else than their name says, and what."""
    step: int = 0
    """Last completed one, where it has ended: of a run that ended on a full disk the log goes less far."""
    trouble: str = ""
    """Why something is not in the log, as told last."""

    def after(self, event: Event) -> Told:
        """With one more event."""
        if event.kind == "attempt":
            return Told(attempt=event.attempt)
        if event.kind in ("state", "end"):
            state = clean(event.text("state"), 20) or self.state
            # why it runs is why it stood before: no reason for what it is or has come to
            why = "" if state == "running" else clean(event.text("error") or event.text("why"))
            return replace(self, state=state, why=why, step=event.step if event.kind == "end" else 0)
        if event.kind == "incident":
            rule, leads = clean(event.text("rule"), 60), clean(event.text("leads"), 60)
            others = tuple(i for i in self.incidents if i[0] != rule)
            if event.text("change") == "resolved":
                return replace(self, incidents=others, leads=leads)
            severity, headline = clean(event.text("severity"), 20), clean(event.text("headline"))
            return replace(
                self, incidents=(*others, (rule, severity, headline, event.whole("onset_step"))), leads=leads)
        if event.kind == "gap":
            return replace(self, trouble=clean(event.text("why")))
        if event.kind == "label":
            metric = clean(event.text("metric"), 60)
            rest = tuple(label for label in self.labels if label[0] != metric)
            return replace(self, labels=(*rest, (metric, clean(event.text("text")))))
        return self

    def worst(self) -> tuple[str, str, int | None]:
        """Severity, headline and first step of the worst open incident; of equals, of the one that leads."""
        order = {"critical": 2, "warning": 1, "info": 0}
        worst = max(self.incidents, key=lambda i: (order.get(i[1], -1), i[0] == self.leads), default=None)
        return worst[1:] if worst else ("healthy", "", None)


def told(run: RunDir) -> Told:
    """Everything that the events of a run say, however many there are. Reads the disk; never raises."""
    said = Told()
    reader = EventReader(run.events)
    while events := reader.poll():
        for event in events:
            said = said.after(event)
    return said


def derive(state: str, process: ProcessIdentity | None, last_sign: float | None, now: float) -> str:
    """The state a person should read: a run whose process is gone has died, whatever it wrote last."""
    if state in ENDED or process is None:
        return state
    alive = is_alive(process)
    if alive is None:
        alive = last_sign is not None and now - last_sign < SILENT_S
    return state if alive else "died"


def settled(state: str, launch: Launch | None, info: RunInfo | None) -> tuple[str, str]:
    """The state and the reason, where the starter of a script saw it end: what the run itself could not know or say."""
    if launch is None or launch.status is None:
        return state, ""  # nobody saw it
    if info is not None and (launch.process is None or info.process.pid != launch.process.pid):
        return state, ""  # it is another attempt that is told of
    code = launch.status
    if state in ("stopped", "crashed") or (state == "finished" and code == 0):
        return state, ""
    if code == 0:
        return "finished", ""
    if -code in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        return "stopped", f"told to go by {signal.Signals(-code).name}"
    if code < 0:
        return "died", f"killed by signal {-code}"
    return "crashed", f"the script ended with status {code}"


def is_held_up(run: RunDir, age: float) -> bool:
    """Whether a full disk may be why nothing of a run has come for `age` seconds."""
    return age > FULL_AFTER and is_full(run.metrics)


def status(run: RunDir, clock: Callable[[], float] = time.time) -> RunStatus:
    """A run's state, from the ends of its logs, however long they are. Never raises for a damaged run.

    An incident that is told only farther back than TAIL_BYTES of events is not seen; while a warning or worse is open
    no snapshots are taken, so that few events follow it.
    """
    try:
        info, launch = run.read_info(), run.read_launch()
    except LogError as error:
        return RunStatus("unreadable", why=clean(str(error)))
    return status_of(run, info, launch, clock())


def status_of(run: RunDir, info: RunInfo | None, launch: Launch | None, now: float) -> RunStatus:
    """`status` for whoever has read run.json and launch.json before; `now` in seconds since the epoch."""
    seen = _tail(run)
    events, are_all = last_events(run.events, TAIL_BYTES)
    said = Told() if are_all or info is None else Told(seen.state or "running", info.attempt)
    for event in events:
        said = said.after(event)
    world = info.world_size if info else 1
    if world > 1 and seen.step is not None:
        from tuimon.record.together import last_of

        step, seen.loss = last_of(run.metrics, world)
        seen.step = seen.step if step is None else step
    started = info.started if info else launch.started if launch else None
    total = info.total_steps if info else launch.total_steps if launch else None
    process = _process(said, info, launch)
    verdict, headline, since = said.worst() if seen.step or said.incidents else ("", "", None)
    state, why = settled(derive(said.state, process, seen.sign, now), launch, info)
    if state == "starting" and process is None and (started is None or now - started > SILENT_S):
        state = "died"
    full = state not in ENDED and seen.sign is not None and is_held_up(run, now - seen.sign)
    return RunStatus(
        state, said.attempt, max(seen.step or 0, said.step), total, seen.loss, seen.sign, started, verdict, headline,
        FULL if full else said.why or why, since, seen.lr, seen.step_time, full, world,
        _lost(run, world, said.attempt, now) if world > 1 else (),
    )


def _lost(run: RunDir, world: int, attempt: int, now: float) -> tuple[tuple[int, str], ...]:
    from tuimon.record.roster import lost, standings
    from tuimon.record.together import LOOKED_AT

    if world > LOOKED_AT:
        return ()   # a list does not look at so many; who opens the run does
    states = [one.state for one in standings(run, world, attempt, now)]
    return tuple((rank, states[rank]) for rank in lost(states))


def is_live(run: RunDir, clock: Callable[[], float] = time.time) -> bool:
    """`status(run).is_live`, which for a run of this machine is told without its metrics, so that it takes no time."""
    try:
        info, launch = run.read_info(), run.read_launch()
    except LogError:
        return False
    known = [told.process for told in (info, launch) if told is not None and told.process is not None]
    alive = {process: is_alive(process) for process in known}
    if known and not any(state is not False for state in alive.values()):
        return False
    events, are_all = last_events(run.events, TAIL_BYTES)
    if are_all:
        said = Told()
        for event in events:
            said = said.after(event)
        process = _process(said, info, launch)
        if process is not None and alive[process] is not None:
            state = said.state if said.state in ENDED or alive[process] else "died"
            return settled(state, launch, info)[0] not in ENDED
    return status_of(run, info, launch, clock()).is_live


def _process(said: Told, info: RunInfo | None, launch: Launch | None) -> ProcessIdentity | None:
    """Whose life is that of the run."""
    return launch.process if launch and said.attempt == 0 else info.process if info else None


@dataclass(slots=True)
class _Tail:
    """The end of a metrics log. `None`: not there."""

    step: int | None = None
    loss: float | None = None
    lr: float | None = None
    step_time: float | None = None
    sign: float | None = None
    state: str = ""
    """As of the last heartbeat; "" where there is none."""

    def take(self, frame: log.Frame) -> None:
        """One frame more, from the end backwards."""
        from tuimon.record import log

        if frame.kind == log.ROWS:
            block = log.decode_rows(frame.payload)
            if self.step is None:
                self.step = int(block.steps[-1])
            if self.sign is None:
                self.sign = float(block.times[-1])
            if self.loss is None:
                self.loss = _last(block, "loss")
            if self.lr is None:
                self.lr = _last(block, "lr")
            if self.step_time is None:
                self.step_time = _usual(block, "step_time")
        elif frame.kind == log.BEAT and not self.state:
            body = log.decode_json(frame.payload)
            self.state = str(body["state"])
            if self.sign is None:
                self.sign = float(body["wall"])

    @property
    def is_enough(self) -> bool:
        """Whether nothing older can add to it."""
        return self.loss is not None and bool(self.state)


def _last(block: log.RowBlock, name: str) -> float | None:
    if name not in block.columns or not block.present[name].any():
        return None
    return float(block.columns[name][block.present[name]][-1])


def _usual(block: log.RowBlock, name: str) -> float | None:
    """The median: one step that waited for a checkpoint is not how long steps take."""
    if name not in block.columns or not block.present[name].any():
        return None
    values = sorted(block.columns[name][block.present[name]].tolist())
    middle = float(values[len(values) // 2])
    return middle if math.isfinite(middle) else None


def _tail(run: RunDir) -> _Tail:
    """The end of the newest segment that has anything in it."""
    from tuimon.record.segments import segment_paths

    found, paths = _Tail(), segment_paths(run.metrics)
    for i, path in reversed(list(enumerate(paths, 1))):
        for size in (NEAR_BYTES, TAIL_BYTES):
            try:
                found, is_all = _tail_of(path, size)
            except OSError:
                break
            if is_all or found.is_enough:
                break
        if found.step is None and found.sign is not None:
            _look_back(paths[:i], found)
        if found.step is not None or found.sign is not None:
            break
    return found


def _look_back(paths: list[Path], found: _Tail) -> None:
    """The last rows of the attempt that the newest segment is of, or else the step from which it goes on."""
    from tuimon.record.sketch import beginning, last_rows

    attempt, start = None, None
    for path in reversed(paths):
        try:
            with os.fdopen(open_to_read(path), "rb") as file:
                begun, rows = beginning(file.fileno()), last_rows(file.fileno())
        except OSError:
            continue
        if begun is not None and attempt not in (None, begun[0]):
            break
        attempt, start = begun or (attempt, start)
        try:
            if rows is not None:
                found.take(rows)
                return
        except (ValueError, IndexError):
            continue
    found.step = start


def _tail_of(path: Path, size: int) -> tuple[_Tail, bool]:
    """What the last `size` bytes of a segment tell, and whether these are all. OSError where it cannot be read."""
    from tuimon.record import log

    with os.fdopen(open_to_read(path), "rb") as file:
        start = max(0, os.fstat(file.fileno()).st_size - size)
        file.seek(start)
        data = file.read(size)
    found = _Tail()
    for frame in reversed([f for f in log.frames(data) if not isinstance(f, int)]):
        try:
            found.take(frame)
        except (ValueError, KeyError, IndexError, TypeError):
            continue
        if found.is_enough:
            break
    return found, start == 0
