"""One side of a comparison, read as it grows: curves in bounded memory, a clock, facts, verdict. Touches the disk."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from tuimon.errors import LogError
from tuimon.record.chunk import Chunk, Floats
from tuimon.record.history import Thin
from tuimon.record.hosts import host_of, look_at
from tuimon.record.label import read_label
from tuimon.record.ranks import reader_of
from tuimon.record.rundir import RunDir
from tuimon.record.status import status_of
from tuimon.viewer.lines import Tone, judged
from tuimon.viewer.places.compare.facts import Facts, facts_of_log, facts_of_run
from tuimon.viewer.places.compare.model import METRICS, SMOOTH, Across, Source
from tuimon.viewer.places.compare.rolled import Rolled
from tuimon.viewer.text import clean

STATUS_EVERY: Final = 2.0
"""Seconds between two looks at a run's state."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is said of a side besides its curves."""

    name: str
    facts: Facts
    state: str = ""
    verdict: str = "reading"
    tone: Tone = "dim"


class Follower:
    """Reads one side. Never raises for what is in the log."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.curves = {name: Rolled() for name in METRICS}
        self.values: dict[str, float] = {}
        self.step = 0
        self.revision = 0
        self.is_read = False
        self.standing = Standing(clean(source.name, 60), {})
        self._clock, self._tokens = Rolled(), Rolled()
        self._began = math.nan
        self._counted = 0.0
        self._per_step: int | None = None
        self._reader = reader_of(source.run / "metrics") if source.run is not None else None
        self._looked = -math.inf

    def poll(self, now: float, mono: float) -> bool:
        """Read what is new, at most one stretch of it; whether there may be more at once."""
        if self.source.log is not None:
            if not self.is_read:
                self._take_log()
            return False
        if self._reader is None or self.source.run is None:
            return False
        if mono - self._looked >= STATUS_EVERY:
            self._looked = mono
            look_at(RunDir(self.source.run))
            self.standing = self._stand(RunDir(self.source.run), now)
        chunks = self._reader.poll()
        for chunk in chunks:
            self._take(chunk)
        self.is_read = self.is_read or not chunks
        return bool(chunks) and not self.is_read

    @property
    def is_outdated(self) -> bool:
        """Whether what it has read was replaced: by a finer picture of a run of another machine."""
        run = self.source.run
        return run is not None and self._reader is not None and self._reader.is_replaced and \
            host_of(RunDir(run)) is not None

    def _stand(self, run: RunDir, now: float) -> Standing:
        try:
            info, launch = run.read_info(), run.read_launch()
        except LogError as error:
            words = f"cannot be read: {clean(str(error), 80)}"
            return Standing(clean(self.source.name, 60), {}, "unreadable", words, "warning")
        found = status_of(run, info, launch, now)
        self._per_step = info.tokens_per_step if info else None
        name = self.source.name or read_label(run).name or (info.name if info else launch.name if launch else run.name)
        words, tone = judged(found.verdict, clean(found.headline, 80), found.since)
        if not found.step:
            words, tone = ("no steps yet" if found.is_live else "no steps"), "dim"
        return Standing(clean(name, 60), facts_of_run(info, launch), found.state, words, tone)

    def _take_log(self) -> None:
        log = self.source.log
        assert log is not None
        for chunk in log.chunks:
            self._take(chunk)
        self.is_read = True
        words, tone = judged(log.verdict, clean(log.headline, 80), log.since)
        self.standing = Standing(clean(self.source.name, 60), facts_of_log(log.context, log.kind), "", words, tone)

    def _take(self, chunk: Chunk) -> None:
        for mark in chunk.marks:
            if mark.kind == "attempt" and mark.step < self.step:
                for curve in (*self.curves.values(), self._clock, self._tokens):
                    curve.cut(mark.step)
                self.step, self._counted = mark.step, self._tokens.most or 0.0
        if not len(chunk):
            return
        self.revision += 1
        self.step = int(chunk.steps[-1])
        for name, curve in self.curves.items():
            steps, values = chunk.measured(name)
            if len(steps):
                curve.extend(steps, values)
                self.values[name] = float(values[-1])
        if chunk.times[0] > 0:
            if math.isnan(self._began):
                self._began = float(chunk.times[0])
            self._clock.extend(chunk.steps, chunk.times - self._began)
        steps, tokens = chunk.measured("tokens")
        if len(steps):
            with np.errstate(over="ignore"):
                sums = self._counted + np.cumsum(np.where(np.isfinite(tokens), tokens, 0.0))
            self._counted = float(sums[-1])
            self._tokens.extend(steps, sums)

    @property
    def counts(self) -> tuple[Across, ...]:
        """What its x axis can count."""
        time: tuple[Across, ...] = () if self._clock.is_empty else ("time",)
        tokens: tuple[Across, ...] = () if self._tokens.is_empty and not self._per_step else ("tokens",)
        return ("step", *time, *tokens)

    def columns(self, across: Across, smooth: int) -> dict[str, Thin]:
        """What is drawn of each metric that was measured, along that axis."""
        found = {}
        for name, curve in self.curves.items():
            if not curve.is_empty:
                share = 0.0 if name == "lr" else SMOOTH[smooth]   # a schedule has corners, and no noise
                thin = curve.smooth(share) if share else curve.thin()
                thin.table[:, 0] = self._along(thin.steps, across)
                found[name] = thin
        return found

    def end(self, across: Across) -> float:
        """Where it ends along that axis."""
        return float(self._along(np.array([float(self.step)]), across)[0])

    def _along(self, steps: Floats, across: Across) -> Floats:
        if across == "step":
            return steps
        if across == "tokens" and self._tokens.is_empty:
            return steps * (self._per_step or 0)
        clock = (self._clock if across == "time" else self._tokens).thin()
        known = np.isfinite(clock.last)
        if not known.any():
            return np.zeros(len(steps))
        return np.maximum.accumulate(np.interp(steps, clock.steps[known], clock.last[known]))

    @property
    def best_val(self) -> float | None:
        """The least validation loss."""
        return self.curves["val_loss"].least

    @property
    def peak_lr(self) -> float | None:
        """The highest learning rate so far."""
        return self.curves["lr"].most
