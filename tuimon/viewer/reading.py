"""Follows one run directory and says what it holds now. Touches the disk and the process table; knows no thread.

`poll(now, mono, wanted)` reads what is new and returns a Frame when the screen would look different. Time is an
argument, and so is what is wanted: the place, the moment, the stretch of steps.
Damage, a run that has not begun and a directory that vanishes are things to show, not errors.
"""

from __future__ import annotations

import math
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from tuimon.control.commands import Command, Who
from tuimon.control.spool import submit
from tuimon.control.states import LIVE, Verb
from tuimon.diagnosis.axes import XAxis, is_wide
from tuimon.diagnosis.model import Category, Diagnosis
from tuimon.diagnosis.statistics import middle
from tuimon.diagnosis.story import Request, Story
from tuimon.diagnosis.told import Told, as_of
from tuimon.errors import CommandError, LogError
from tuimon.record.cache import Cache
from tuimon.record.events import EventReader
from tuimon.record.history import History, Thin
from tuimon.record.liveness import ProcessIdentity
from tuimon.record.reader import segment_paths
from tuimon.record.readonly import ONLY_LOOKS, is_read_only
from tuimon.record.rundir import Launch, RunDir, RunInfo, cache_root
from tuimon.record.status import FULL, is_held_up
from tuimon.viewer.afar import Afar
from tuimon.viewer.ages import Ages
from tuimon.viewer.crew import Crew
from tuimon.viewer.details import Details
from tuimon.viewer.diary import Diary
from tuimon.viewer.first import empty_frame
from tuimon.viewer.following import Followed
from tuimon.viewer.frame import build_frame
from tuimon.viewer.judging import Judge, Later, Silent, judge_for
from tuimon.viewer.layers import LayerStrip
from tuimon.viewer.places.incidents.proofs import Proofs
from tuimon.viewer.sources import Present, Sources
from tuimon.viewer.standing import Standing
from tuimon.viewer.text import clean
from tuimon.viewer.trend import trend_of
from tuimon.viewer.views import Frame, Rules
from tuimon.viewer.wanted import NOW, Wanted

COLUMNS: Final = 1024
"""Columns that metrics are thinned to: about four to a dot of the widest chart, few enough to draw 4 times a second."""
LEAD_STEPS: Final = 200
LEAD_SHARE: Final = 0.2
"""What is read before a window of steps, in steps at least and as a share of it: a smooth line does not begin there."""
FULL_AT_THE_END: Final = "the disk with this run is full: how it ended is not recorded"
RECENT: Final = 50
"""Steps whose median is the usual step time."""
SHOWN: Final = ("loss", "val_loss", "grad_norm", "update_ratio", "grad_param_ratio", "lr", "throughput", "step_time",
                "memory")
"""Metrics that the common charts draw."""
TOLD: Final = ("overhead", "lr_scheduled", "rank0_loss")
"""Metrics whose last value is told."""


class Reading:
    """One run, as far as it has been read."""

    def __init__(self, run: RunDir, *, rules: Rules = "tuimon",
                 judge: Callable[[Rules, RunInfo | None], Judge] = judge_for, cache: Cache | None = None,
                 patience: float = 0.0, hosts: Path | None = None) -> None:
        """`cache`: where what was read of long runs is remembered; None: this user's. `patience`: see `judging`.

        `hosts`: where other machines tell of their runs, see `record.hosts`.
        """
        self.run, self.rules, self.hosts = run, rules, hosts
        self._cache = Cache(cache_root()) if cache is None else cache
        self._judge_for, self._patience = judge, patience
        self._standing, self._afar, self._told = Standing(run), Afar(run), Told()
        self._events = EventReader(run.events)
        self._story = Story()
        self._diary = Diary()
        self._log: Followed | None = None
        self._history = History()
        self._layers = LayerStrip(None)
        self._proofs = Proofs()
        self._diagnosis = self._judged = Diagnosis.nothing()
        """What is said of the present, and what is known as of the step where the judge stands."""
        self._asked: dict[str, Request] = {}
        """What was asked from here and the run has not yet heard of."""
        self._x = XAxis(0, 1)
        self._columns: dict[str, Thin] = {}
        self._shown: tuple[object, ...] = ()
        """What the columns were thinned for."""
        self._grid: tuple[object, ...] = ()
        """And over which steps: they grow on while that stays."""
        self._is_wide = False
        self._trend: float | None = None
        self._step_time: float | None = None
        self._revision = 0
        self._ages = Ages()
        self.crew = Crew(run)
        self._is_outline = False
        """Whether the log from afar was opened as one."""
        self._fault = ""
        self._last: Frame | None = None
        self._details = Details()
        self.is_behind = False
        """Whether there is more to read at once."""

    def poll(self, now: float, mono: float, wanted: Wanted = NOW) -> Frame | None:
        """Read what is new; a Frame if the screen would look different from the last one."""
        with np.errstate(over="ignore", invalid="ignore"):   # near the greatest numbers sums overflow: not for people
            return self._poll(now, mono, wanted)

    def _poll(self, now: float, mono: float, wanted: Wanted) -> Frame | None:
        if self._standing.opened is None:
            self._standing.opened = mono
        self._afar.look(mono)
        self._hear_refusal(now)
        self._read_who()
        changed = self._read_log(now, mono)
        self.crew.look(self._log, self._afar.far, now, mono)
        for event in self._events.poll():
            if event.kind == "command":
                self._asked.pop(event.text("id"), None)   # the run tells it from here on
            self._diary.take(self._afar.here(event))
            self._told.take(event)
            self._story = self._diary.now
            changed = True
        if changed:
            self._revision += 1
        if self._afar.far is not None:
            self._standing.alive = self._afar.far.alive
        elif self._standing.look(mono, ended=self._story.ended):
            self._read_who()   # its starter may have said how it ended
        detail = self._details.of(self, wanted, now, mono)
        self.is_behind = self.is_behind or self._details.is_behind
        frame = replace(build_frame(self._sources(now, mono, wanted)), detail=detail)
        if frame == self._last:
            return None
        self._last = frame
        return frame

    def broken(self, error: str) -> Frame | None:
        """The last picture, or an empty one, saying that reading failed; None where it says so already."""
        problem = f"this viewer cannot read on: {clean(error, 160)}"
        last = self._last or empty_frame(clean(self.run.name, 60), problem, read_only=self._read_only)
        if last.problem == problem:
            return None
        self._last = replace(last, problem=problem)
        return self._last

    def close(self) -> None:
        """Give back what the places hold."""
        self._details.close()

    @property
    def history(self) -> History:
        """What has been measured."""
        return self._history

    @property
    def info(self) -> RunInfo | None:
        """Who runs what; None before the training process has attached."""
        return self._standing.info

    @property
    def launch(self) -> Launch | None:
        """Who started it; None where nobody of ours did."""
        return self._standing.launch

    @property
    def diagnosis(self) -> Diagnosis:
        """What is judged by now."""
        return self._diagnosis

    @property
    def process(self) -> ProcessIdentity | None:
        """Who trains, or is about to; None where nobody is known yet."""
        return self._standing.process

    @property
    def story(self) -> Story:
        """What the events tell."""
        return self._story

    @property
    def revision(self) -> int:
        """Grows with everything that was read."""
        return self._revision

    @property
    def layers(self) -> LayerStrip:
        """Gradient RMS per layer."""
        return self._layers

    @property
    def whole_last(self) -> float:
        """Right end of the x axis of the whole run."""
        return self._x.last

    def ask(self, verb: Verb, args: Mapping[str, Any], now: float, who: Who, base: str) -> None:
        """Put a command, confirmed on `base`, in the spool; until the run answers it is shown as requested (law 8)."""
        attempt = self._story.attempt or None
        command = Command(secrets.token_hex(8), verb, args, attempt, now, who=who, base_rev=base)
        outcome, why = "requested", ""
        try:
            if self._read_only:
                raise CommandError(ONLY_LOOKS)
            submit(self.run.commands, command)
        except (OSError, CommandError) as error:
            outcome, why = "refused", f"it could not be handed over: {getattr(error, 'strerror', None) or error}"
        self._asked[command.id] = Request(
            command.id, verb, outcome, why, self._history.last_step, now, who.origin)  # type: ignore[arg-type]  # two literals

    def _hear_refusal(self, now: float) -> None:
        """A command that could not even be handed over is none that the run will answer."""
        far = self._afar.far
        if far is not None and (asked := self._asked.get(far.refused)) and asked.outcome == "requested":
            self._asked[far.refused] = replace(asked, outcome="refused", why=clean(far.refusal, 160), time=now)

    def _read_who(self) -> None:
        try:
            if self._standing.read(self._story.attempt):
                self._log = None   # rows were read before their tables were known: read them again
            self._fault = ""
        except LogError as error:
            self._fault = str(error)

    def _read_log(self, now: float, mono: float) -> bool:
        first, rows = self._ages.is_new, 0
        if self._log is None:
            if self._standing.info is None and not segment_paths(self.run.metrics):
                return False
            self._log = self._open()
            rows = self._history.rows   # what an earlier viewer read
            self._ages.again()
        log = self._log
        if self._afar.far is not None and (log.is_replaced or (self._is_outline and not self._afar.is_thin)):
            log = self._log = self._open()   # a finer picture of the same, or all of it
            self._ages.again()
        more, is_wiser = log.poll(mono)
        rows += more
        if log.is_outgrown:
            self._log = None   # several ranks go on with it: from the beginning, as one run
        self.is_behind, self._diagnosis, self._judged = log.is_behind, log.diagnosis, log.judged
        if self._afar.is_thin:   # the run's own guard has seen every row
            self._diagnosis = self._judged = self._told.diagnosis(self._history.last_step)
        if log.beat is not None:
            self._ages.beat(log.beat, now, mono, first=first)
        is_new = bool(rows) or is_wiser or self._proofs.is_behind
        if rows:
            self._ages.rows(self._history.last_step, self._history.last_time, now, mono, first=first)
            self._summarise()
        elif is_new:
            self._proofs.update(self._diagnosis, self._history, self._layers)
        self.is_behind = self.is_behind or self._proofs.is_behind
        return is_new

    def _open(self) -> Followed:
        info = self._standing.info
        table, probes = (None, ()) if info is None else (info.table, info.probes)
        self._layers, self._proofs = LayerStrip(table), Proofs()
        self._is_outline = self._afar.is_thin
        judge = Silent(Diagnosis.nothing()) if self._is_outline else Later(lambda: self._judge_for(self.rules, info))
        log = Followed(
            self.run.metrics, table, probes, judge, rules=self.rules, cache=self._cache, patience=self._patience)
        self._history = log.history
        return log

    def _summarise(self) -> None:
        history = self._history
        self._x = self._x.grown(max(1, history.last_step))
        self._layers.update(history)
        self._proofs.update(self._diagnosis, history, self._layers)
        times = history.tail("step_time", RECENT).values
        times = times[np.isfinite(times)]
        self._step_time = middle(times.tolist()) if len(times) else None
        self._trend = trend_of(history)

    def _drawn(self, at: int | None) -> tuple[str, ...]:
        """The metrics that the charts draw, now or as of a step, where they may be others."""
        known = self._history.names
        unseen = {"update_ratio" if self.rules == "notebook" else "grad_param_ratio"}
        if at is None and "throughput" in known:
            unseen.add("step_time")
        return tuple(name for name in SHOWN if name in known and name not in unseen)

    def _thin(self, first: float, last: float, at: int | None) -> None:
        """The metrics over the steps that are shown; anew only where these or the data have changed."""
        names = self._drawn(at)
        shown = (self._revision, first, last, names)
        if shown == self._shown:
            return
        self._shown = shown
        history, low, high = self._history, math.floor(first), math.ceil(last)
        grid = (history, history.cuts, low, high) if low <= 0 and high >= history.last_step else ()
        before, self._grid = self._columns if grid and grid == self._grid else {}, grid
        lead = math.ceil(max(LEAD_STEPS, LEAD_SHARE * (last - first)))
        self._columns = {
            name: history.around(name, low, high, COLUMNS, lead) if name not in before else
            history.thin_on(before[name], name, low, high, COLUMNS)   # nothing lies outside
            for name in names}
        loss = self._columns["loss"].between(first, last) if "loss" in names else None
        self._is_wide = loss is not None and is_wide(loss.low, loss.high)

    def _is_full(self, age: float) -> bool:
        """Whether a full disk is why nothing follows: of a run that goes on, or whose end nobody recorded."""
        is_here = self._afar.far is None   # that disk is another machine's
        return is_here and not self._story.ended and is_held_up(self.run, age)

    def _problem(self, *, is_full: bool) -> str:
        if not os.path.isdir(self.run.path):
            return "the run directory is gone; what was read stays on the screen"
        if self._log is not None and self._log.is_replaced and self._afar.far is None:
            return "another run took this directory: open it again to see that one"
        if is_full:
            return FULL if self.is_live else FULL_AT_THE_END
        damaged, fault = (0, "") if self._log is None else (self._log.damaged, self._log.fault)
        return clean(self._fault or fault or self._afar.problem or self._details.problem or (
            f"the log is damaged in {damaged} places; the rest was read" if damaged else ""), 200)

    def _sources(self, now: float, mono: float, wanted: Wanted) -> Sources:
        standing, history = self._standing, self._history
        info, launch = standing.info, standing.launch
        name = info.name if info else launch.name if launch else self.run.name
        total = info.total_steps if info else launch.total_steps if launch else None
        diagnosis = self._diagnosis
        span = wanted.window.ends(self._x.last, history.last_step)
        self._thin(*span, wanted.at)
        self._afar.wish(None if wanted.window.first is None else (math.floor(span[0]), math.ceil(span[1])), mono)
        name = " on ".join(part for part in (clean(name, 60), self._afar.host) if part)
        age = self._ages.age(mono)
        is_full = self._is_full(age)
        values = {n: value for n in (*SHOWN, *TOLD) if (value := history.value(n)) is not None}
        found = Sources(
            name=clean(name, 100), story=standing.settled(self._story), diagnosis=diagnosis,
            requests=(*self._story.requests, *self._asked.values()),
            model=clean(info.model, 60) if info else "", device=clean(info.device, 30) if info else "", total=total,
            clips=info.clips if info else None, statement=standing.statement(begun=history.last_step > 0),
            awaited="" if history.last_step else standing.awaited(mono, ended=self._story.ended), alive=standing.alive,
            step=history.last_step, age=age, is_full=is_full, silence=self._ages.silence(mono), values=values,
            step_time=self._step_time, trend=self._trend, columns=self._columns, is_wide=self._is_wide,
            last=int(self._x.last), span=span, link=self._afar.status(now), way=self._afar.way,
            crew=self.crew.view, heat=self._layers.view(diagnosis), incidents=self._proofs.views, rules=self.rules,
            revision=self._revision, problem=self._problem(is_full=is_full), now=now, console=self._console(),
            judging=self._afar.reading or self._lag, gave_up=bool(self._log and self._log.fault),
            newest=history.last_step, wanted=wanted, readout=self._readout(wanted), read_only=self._read_only,
            barred=self._afar.only_looks if self._read_only else standing.bar(mono))
        return found if wanted.at is None or wanted.at > history.last_step else self._past(found, wanted.at)

    @property
    def _read_only(self) -> bool:
        """Whether nothing may be asked of the run from here."""
        return is_read_only() or (self._afar.far is not None and not self._afar.far.control)

    @property
    def _lag(self) -> str:
        """How far the judge has come, while it lags."""
        return "" if self._log is None or self._afar.is_thin else self._log.judging

    def _console(self) -> str:
        """Where all is that an untrained run printed; "" where it was not kept."""
        if self._history.last_step:
            return ""
        path = str(self.run.console)   # not its own `exists`, which raises where this user may not look
        return clean(path, 200) if os.path.exists(path) else ""

    def _readout(self, wanted: Wanted) -> dict[str, float | None]:
        """What every chart says at the crosshair."""
        at = wanted.cursor
        return {} if at is None else {name: self._history.value_at(name, at) for name in self._columns}

    def _past(self, present: Sources, at: int) -> Sources:
        """The same run as it was at a step: what was not yet measured, found or done by then is left out."""
        values = {n: value for n in present.values if (value := self._history.value_at(n, at)) is not None}
        unmeasured: tuple[Category, ...] = () if "val_loss" in values else ("generalisation",)
        diagnosis = as_of(self._judged, at, unmeasured)
        return replace(
            present, story=self._diary.as_of(at), diagnosis=diagnosis, requests=(), step=at, age=0.0, silence=0.0,
            values=values, trend=trend_of(self._history, at), heat=self._layers.view(diagnosis, at), awaited="",
            alive=True, judging=present.judging if at > self._judged.steps else "",
            present=Present(present.story, present.values, present.alive))

    @property
    def has_ended(self) -> bool:
        """Whether the run told that it came to an end, and was not cut off."""
        return self._story.state in ("finished", "stopped")

    @property
    def is_live(self) -> bool:
        """Whether the run may still move."""
        return self._story.state in LIVE and self._standing.alive is not False
