"""Follows one run directory and says what it holds now. Touches the disk and the process table; knows no thread.

`poll(now, mono)` reads what is new and returns a Frame when the screen would look different. Time is an argument.
Damage, a run that has not begun and a directory that vanishes are things to show, not errors.
"""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, cast

import numpy as np

from tuimon.control.commands import Command, Who
from tuimon.control.spool import submit
from tuimon.control.states import LIVE, State, Verb
from tuimon.diagnosis.model import Diagnosis
from tuimon.errors import CommandError, LogError
from tuimon.record.cache import Cache, cache_root
from tuimon.record.events import EventReader
from tuimon.record.history import History, Thin
from tuimon.record.liveness import ProcessIdentity, is_alive
from tuimon.record.reader import segment_paths
from tuimon.record.rundir import Launch, RunDir, RunInfo
from tuimon.record.status import settled
from tuimon.viewer.charts.axes import XAxis, is_wide
from tuimon.viewer.following import Followed
from tuimon.viewer.frame import build_frame, effective_state
from tuimon.viewer.incidents import Proofs
from tuimon.viewer.judging import Judge
from tuimon.viewer.layers import LayerStrip
from tuimon.viewer.lines import lapse
from tuimon.viewer.story import Request, Story, tell
from tuimon.viewer.text import clean
from tuimon.viewer.views import Frame, Rules, Sources

COLUMNS: Final = 1024
"""Columns that metrics are thinned to: about four to a dot of the widest chart, few enough to draw 4 times a second."""
RECENT: Final = 50
"""Steps whose median is the usual step time."""
ALIVE_EVERY: Final = 1.0
"""Seconds between two looks at the process table."""


def judge_for(rules: Rules, info: RunInfo | None) -> Judge:
    """The engine that a run is judged by."""
    from tuimon.diagnosis.context import context_of
    from tuimon.diagnosis.model import RunContext

    context = context_of(info) if info is not None else RunContext()
    if rules == "notebook":
        from tuimon.diagnosis.notebook import NotebookEngine

        return NotebookEngine(context)
    from tuimon.diagnosis.engine import Engine

    return Engine(context)


class Reading:
    """One run, as far as it has been read."""

    def __init__(self, run: RunDir, *, rules: Rules = "tuimon",
                 judge: Callable[[Rules, RunInfo | None], Judge] = judge_for, cache: Cache | None = None) -> None:
        self.run, self.rules = run, rules
        self._cache = Cache(cache_root()) if cache is None else cache
        self._judge_for = judge
        self._info: RunInfo | None = None
        self._launch: Launch | None = None
        self._events = EventReader(run.events)
        self._story = Story()
        self._log: Followed | None = None
        self._history = History()
        self._layers = LayerStrip(None)
        self._proofs = Proofs()
        self._diagnosis = Diagnosis.nothing()
        self._asked: dict[str, Request] = {}
        self._x = XAxis(0, 1)
        self._columns: dict[str, Thin] = {}
        self._wide: frozenset[str] = frozenset()
        self._trend: float | None = None
        self._step_time: float | None = None
        self._revision = 0
        self._fresh: float | None = None
        self._sign: float | None = None
        self._beat: float = -1.0
        self._opened: float | None = None
        self._alive: bool | None = None
        self._looked = -math.inf
        self._fault = ""
        self._last: Frame | None = None
        self.is_behind = False
        """Whether there is more to read at once."""

    def poll(self, now: float, mono: float) -> Frame | None:
        """Read what is new; a Frame if the screen would look different from the last one."""
        if self._opened is None:
            self._opened = mono
        self._read_who()
        changed = self._read_log(now, mono)
        for event in self._events.poll():
            self._story = tell(self._story, event)
            changed = True
        if changed:
            self._revision += 1
        self._look(mono)
        frame = build_frame(self._sources(now, mono))
        if frame == self._last:
            return None
        self._last = frame
        return frame

    def broken(self, error: str) -> Frame | None:
        """The last picture, saying that reading failed; None where there is none or it says so already."""
        problem = f"this viewer cannot read on: {clean(error, 160)}"
        if self._last is None or self._last.problem == problem:
            return None
        self._last = replace(self._last, problem=problem)
        return self._last

    def ask(self, verb: Verb, args: Mapping[str, Any], now: float, who: Who) -> None:
        """Put a command in the spool; until the run answers it is shown as requested (law 8)."""
        attempt = self._story.attempt or None
        command = Command(secrets.token_hex(8), verb, args, attempt, now, who=who)
        outcome, why = "requested", ""
        try:
            submit(self.run.commands, command)
        except (OSError, CommandError) as error:
            outcome, why = "refused", f"it could not be handed over: {getattr(error, 'strerror', None) or error}"
        self._asked[command.id] = Request(
            command.id, verb, outcome, why, self._history.last_step, now, who.origin)  # type: ignore[arg-type]  # two literals

    def _read_who(self) -> None:
        """run.json is replaced whole at each attempt; launch.json is written once."""
        try:
            if self._launch is None or (self._alive is False and self._launch.status is None):
                self._launch = self.run.read_launch()
            if self._info is None or self._info.attempt < self._story.attempt:
                info = self.run.read_info()
                if info is not None and info != self._info:
                    others = self._info is None or self._info.probes != info.probes
                    self._info = info
                    if others and self._log is not None:
                        self._log = None   # rows were read before their tables were known: read them again
        except LogError as error:
            self._fault = str(error)

    def _read_log(self, now: float, mono: float) -> bool:
        first, rows = self._sign is None, 0
        if self._log is None:
            if self._info is None and not segment_paths(self.run.metrics):
                return False
            self._log = self._open()
            rows = self._history.rows   # what an earlier viewer read
        log = self._log
        more, is_wiser = log.poll(mono)
        rows += more
        self.is_behind, self._diagnosis = log.is_behind, log.diagnosis
        if log.beat is not None and log.beat.mono != self._beat:
            self._beat = log.beat.mono
            self._sign = mono - (max(0.0, now - log.beat.wall) if first else 0.0)
        if not rows:
            if is_wiser:
                self._proofs.update(self._diagnosis, self._history, self._layers)
            return is_wiser
        # A clock that jumps must not make data old: after the first look, age counts from when rows arrived.
        behind = max(0.0, now - self._history.last_time) if first or self._fresh is None else 0.0
        self._fresh = mono - behind
        self._sign = max(self._sign or self._fresh, self._fresh)
        self._summarise()
        return True

    def _open(self) -> Followed:
        table, probes = (None, ()) if self._info is None else (self._info.table, self._info.probes)
        self._layers, self._proofs = LayerStrip(table), Proofs()
        log = Followed(self.run.metrics, table, probes, self._judge_for(self.rules, self._info), rules=self.rules,
                       cache=self._cache)
        self._history = log.history
        return log

    def _summarise(self) -> None:
        history = self._history
        self._x = self._x.grown(max(1, history.last_step))
        last = int(self._x.last)
        self._columns = {name: history.thin(name, 0, last, COLUMNS)
                         for name in ("loss", "val_loss", "grad_norm", "update_ratio", "grad_param_ratio", "lr")
                         if name in history.names}
        self._wide = frozenset(name for name, thin in self._columns.items() if is_wide(thin.low, thin.high))
        self._layers.update(history)
        self._proofs.update(self._diagnosis, history, self._layers)
        times = history.tail("step_time", RECENT).values
        times = times[np.isfinite(times)]
        self._step_time = float(np.median(times)) if len(times) else None
        self._trend = _trend(history)

    def _look(self, mono: float) -> None:
        """Ask the process table, now and then."""
        if mono - self._looked < ALIVE_EVERY or self._story.ended:
            return
        self._looked = mono
        process = self._process()
        self._alive = None if process is None else is_alive(process)

    def _process(self) -> ProcessIdentity | None:
        info, launch = self._info, self._launch
        if launch is not None and (info is None or launch.started > info.started):
            return launch.process   # started, and not yet attached
        return info.process if info is not None else None

    def _awaited(self, mono: float) -> str:
        waited = lapse(max(0.0, mono - (self._opened or mono)))
        launch = self._launch
        if self._alive is False:
            words = self.run.last_words()
            said = "Its last words: " + (
                "none: there is no console.log" if words is None else clean(words or "none", 200))
            if launch is None or not launch.script or launch.status is None:
                return said
            return f"The script ended with status {launch.status}. {said}"
        if self._info is not None:
            return f"waiting for the first step: the training process has attached, {waited}"
        if launch is not None and launch.script:
            return f"the script is running, {waited}; it has not trained yet"
        if launch is not None:
            return f"waiting for the first step: torch is loading, {waited}"
        return f"waiting for a training process, {waited}"

    def _statement(self) -> str:
        """What a demo says it is going to do; of a script what it last said before it trains, then its command."""
        launch = self._launch
        if launch is None:
            return ""
        if launch.script and not self._history.last_step and (words := self.run.last_words()):
            return f"It says: {clean(words, 180)}"
        return clean(launch.statement, 200)

    def _settled(self) -> Story:
        """The story, with the end that only whoever started the process has seen."""
        story = self._story
        now = effective_state(story, self._alive)
        state, why = settled(now, self._launch, self._info)
        if self._alive is not False or state == now:
            return story
        return replace(story, state=cast("State", state), ended=True, error=story.error or why)

    def _sources(self, now: float, mono: float) -> Sources:
        info, launch, history = self._info, self._launch, self._history
        problem = self._fault or (self._log.fault if self._log is not None else "")
        if not os.path.isdir(self.run.path):
            problem = "the run directory is gone; what was read stays on the screen"
        elif self._log is not None and self._log.damaged:
            problem = problem or f"the log is damaged in {self._log.damaged} places; the rest was read"
        name = info.name if info else launch.name if launch else self.run.name
        total = info.total_steps if info else launch.total_steps if launch else None
        in_log = {request.id for request in self._story.requests}
        asked = tuple(request for key, request in self._asked.items() if key not in in_log)
        diagnosis = self._diagnosis
        names = ("loss", "val_loss", "grad_norm", "update_ratio", "grad_param_ratio", "lr", "overhead")
        values = {n: value for n in names if (value := history.value(n)) is not None}
        return Sources(
            name=clean(name, 60), story=self._settled(), diagnosis=diagnosis, requests=(*self._story.requests, *asked),
            model=clean(info.model, 60) if info else "", device=clean(info.device, 30) if info else "", total=total,
            clips=info.clips if info else None, statement=self._statement(),
            awaited=self._awaited(mono) if not history.last_step else "", alive=self._alive, step=history.last_step,
            age=mono - self._fresh if self._fresh is not None else 0.0,
            silence=mono - self._sign if self._sign is not None else 0.0, step_time=self._step_time, values=values,
            trend=self._trend, columns=self._columns, wide=self._wide, last=int(self._x.last),
            heat=self._layers.view(diagnosis), judging=self._log.judging if self._log is not None else "",
            incidents=self._proofs.views, rules=self.rules,
            revision=self._revision, problem=problem, now=now, console=clean(str(self.run.console), 200))

    @property
    def is_live(self) -> bool:
        """Whether the run may still move."""
        return self._story.state in LIVE and self._alive is not False


def _trend(history: History) -> float | None:
    """Relative change of the loss over 100 steps: medians of the latest tenth and of the tenth before the window."""
    series = history.tail("loss", 110)
    steps, values = series.steps, series.values
    broken = max((m.step for m in history.marks if m.kind in ("rollback", "attempt")), default=0)
    fine = np.isfinite(values) & (steps > broken)   # what was before a rollback says nothing about now
    steps, values = steps[fine], values[fine]
    if len(values) < 30:
        return None
    tenth = max(3, len(values) // 10)
    then, now = float(np.median(values[:tenth])), float(np.median(values[-tenth:]))
    apart = float(np.median(steps[-tenth:]) - np.median(steps[:tenth]))
    if then == 0 or apart <= 0:
        return None
    return (now - then) / abs(then) * 100.0 / apart
