"""What state a run is in, for lists and headers: derived from what it wrote and whether it lives. Touches the disk."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final

from tuimon.errors import LogError
from tuimon.record import log
from tuimon.record.events import Event, EventReader
from tuimon.record.liveness import ProcessIdentity, is_alive
from tuimon.record.rundir import RunDir
from tuimon.record.segments import segment_paths

SILENT_S: Final = 60.0
"""A run on another machine that has not written for this long is presumed dead: it beats every second."""
TAIL_BYTES: Final = 1 << 18

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
    verdict: str = "healthy"
    """Worst open incident's severity, or "healthy"."""
    headline: str = ""
    """Of that incident."""
    why: str = ""
    """What ended it, or why it cannot be read."""

    @property
    def is_live(self) -> bool:
        """Whether a training process stands behind it."""
        return self.state not in ENDED and self.state != "unreadable"


@dataclass(frozen=True, slots=True)
class Told:
    """What the events of a run say about its state: a pure fold."""

    state: str = "starting"
    attempt: int = 0
    why: str = ""
    incidents: tuple[tuple[str, str, str], ...] = ()
    """Open ones: rule, severity, headline."""

    def after(self, event: Event) -> Told:
        """With one more event."""
        if event.kind == "attempt":
            return Told(attempt=event.attempt)
        if event.kind in ("state", "end"):
            return replace(self, state=event.text("state") or self.state, why=event.text("error") or event.text("why"))
        if event.kind == "incident":
            others = tuple(i for i in self.incidents if i[0] != event.text("rule"))
            if event.text("change") == "resolved":
                return replace(self, incidents=others)
            return replace(
                self, incidents=(*others, (event.text("rule"), event.text("severity"), event.text("headline")))
            )
        return self

    @staticmethod
    def by(events: Iterable[Event]) -> Told:
        """All events of a run, in order."""
        told = Told()
        for event in events:
            told = told.after(event)
        return told

    def worst(self) -> tuple[str, str]:
        """Severity and headline of the worst open incident."""
        order = {"critical": 2, "warning": 1, "info": 0}
        worst = max(self.incidents, key=lambda i: order.get(i[1], -1), default=None)
        return (worst[1], worst[2]) if worst else ("healthy", "")


def derive(state: str, process: ProcessIdentity | None, last_sign: float | None, now: float) -> str:
    """The state a person should read: a run whose process is gone has died, whatever it wrote last."""
    if state in ENDED or process is None:
        return state
    alive = is_alive(process)
    if alive is None:
        alive = last_sign is not None and now - last_sign < SILENT_S
    return state if alive else "died"


def status(run: RunDir, clock: Callable[[], float] = time.time) -> RunStatus:
    """Read a run's state without reading its whole metrics log. Never raises for a damaged run."""
    try:
        info, launch = run.read_info(), run.read_launch()
    except LogError as error:
        return RunStatus("unreadable", why=str(error))
    reader = EventReader(run.events)
    events: list[Event] = []
    while more := reader.poll():
        events += more
    told = Told.by(events)
    step, loss, last_sign = _tail(run)
    started = info.started if info else launch.started if launch else None
    total = info.total_steps if info else launch.total_steps if launch else None
    process = launch.process if launch and told.attempt == 0 else info.process if info else None
    verdict, headline = told.worst()
    now = clock()
    state = derive(told.state, process, last_sign, now)
    if state == "starting" and process is None and (started is None or now - started > SILENT_S):
        state = "died"
    return RunStatus(state, told.attempt, step, total, loss, last_sign, started, verdict, headline, told.why)


def _tail(run: RunDir) -> tuple[int, float | None, float | None]:
    """Last step, last loss and last sign of life, from the end of the newest segment."""
    step, loss, sign = 0, None, None
    for path in reversed(segment_paths(run.metrics)):
        try:
            with open(path, "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES))
                data = file.read()
        except OSError:
            continue
        for frame in log.frames(data):
            if isinstance(frame, int):
                continue
            try:
                if frame.kind == log.ROWS:
                    block = log.decode_rows(frame.payload)
                    step, sign = int(block.steps[-1]), float(block.times[-1])
                    if "loss" in block.columns and block.present["loss"].any():
                        loss = float(block.columns["loss"][block.present["loss"]][-1])
                elif frame.kind == log.BEAT:
                    sign = float(log.decode_json(frame.payload)["wall"])
            except (ValueError, KeyError, IndexError, TypeError):
                continue
        if step or sign is not None:
            break
    return step, loss, sign
