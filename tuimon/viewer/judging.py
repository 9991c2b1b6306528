"""The judge of one run, who may lag behind what is drawn. Touches the disk where it does; knows no thread.

What comes in small portions is judged at once. Of a long run the charts come first: the judge reads the log once more,
in slices between the frames, and says how far it has come. What an earlier viewer judged of the same log stands
meanwhile, and for good where nothing was added since.

Three rows cost the judge about what nine do: while nothing is wrong they may wait for it a little.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from tuimon.diagnosis.model import Diagnosis
from tuimon.record.chunk import Chunk
from tuimon.record.ranks import RanksReader, reader_of
from tuimon.record.reader import LogReader, Place
from tuimon.record.rundir import RunInfo
from tuimon.viewer.text import clean
from tuimon.viewer.views import Rules

SLICE: Final = 0.05
"""Seconds that judging may take from one poll while it lags: a key that is pressed meanwhile waits no longer."""
PORTION: Final = 64 << 10
"""Bytes of log that are judged in one go while it lags: about 30 ms."""
PATIENCE: Final = 0.9
"""Seconds within which rows that look calm are judged: what goes wrong in them is on the screen within one."""
URGENT: Final = ("loss", "grad_norm")
"""Metrics that are judged at once where they are not finite."""
NEAR: Final = 0.9
"""Share of the steps from which on the judge speaks of the present."""


class Judge(Protocol):
    """What `diagnosis.engine.Engine` and `diagnosis.notebook.NotebookEngine` have."""

    def feed(self, chunk: Chunk) -> object:
        """Judge one more stretch."""

    @property
    def diagnosis(self) -> Diagnosis:
        """What has been judged so far."""


class Later:
    """A judge that is made when there is something to judge: the rules are loaded behind the first charts."""

    def __init__(self, make: Callable[[], Judge]) -> None:
        self._make = make
        self._judge: Judge | None = None

    def feed(self, chunk: Chunk) -> object:
        """Judge one more stretch."""
        if self._judge is None:
            self._judge = self._make()
        return self._judge.feed(chunk)

    @property
    def diagnosis(self) -> Diagnosis:
        """What has been judged so far."""
        return Diagnosis.nothing() if self._judge is None else self._judge.diagnosis


@dataclass(frozen=True, slots=True)
class Silent:
    """Takes the judge's place when it had to be switched off."""

    diagnosis: Diagnosis
    """What the judge had found by then."""

    def feed(self, chunk: Chunk) -> None:
        """Judge nothing."""


class Judging:
    """A judge and how far it has come in the log."""

    def __init__(self, metrics: Path, judge: Judge, *, known: tuple[Place, Diagnosis] | None = None,
                 patience: float = 0.0, clock: Callable[[], float] = time.perf_counter) -> None:
        """`known`: what was judged of the log as far as a place, by an earlier viewer.

        `patience`: seconds that may pass between two looks of the judge at rows in which nothing is wrong.
        """
        self._metrics, self._judge, self._known, self._clock = metrics, judge, known, clock
        self._patience = patience
        self._place = Place()
        """How far the judge has come, or will have with what waits."""
        self._waiting: list[Chunk] = []
        """What was read and is calm, and not yet judged."""
        self._looked = self._taken = -math.inf
        """When the judge last looked, and when the rows before these were taken."""
        self._reader: LogReader | RanksReader | None = None
        """Follows the log for the judge while it lags."""
        self._last_step = 0
        self._found = known[1] if known is not None else Diagnosis.nothing()
        self.fault = ""

    @property
    def diagnosis(self) -> Diagnosis:
        """What is known of the run; far behind, what was open where the judge stands is not said of the present."""
        found = self._found
        if self._reader is None or self._known is not None or found.steps >= NEAR * self._last_step:
            return found
        past = tuple(incident for incident in found.incidents if incident.state == "resolved")
        return replace(found, incidents=past, badges=Diagnosis.nothing().badges)

    @property
    def judged(self) -> Diagnosis:
        """What is known as of the step where the judge stands: of what was before that, it may be told."""
        return self._found

    @property
    def is_behind(self) -> bool:
        """Whether there is more to judge at once."""
        return self._reader is not None

    @property
    def is_waiting(self) -> bool:
        """Whether it has rows that it has not looked at."""
        return bool(self._waiting)

    @property
    def words(self) -> str:
        """How far it has come, while it lags or where it has failed; else ""."""
        if self._reader is None:
            return f"judged up to step {self._found.steps:,} only" if self.fault else ""
        at = max(0, self._reader.place.last_step)
        far = f"judged {_about(at)} of {_about(self._last_step)} steps"
        return f"as of step {self._found.steps:,}, {far} again" if self._known is not None else far

    def take(self, start: Place, upto: Place, last_step: int, chunks: Sequence[Chunk] | None,
             mono: float = 0.0) -> bool:
        """Judge what was read from `start` up to `upto`; whether something else is known now.

        `chunks` is what was read, or None where that was too much to be kept. `mono`: when, in seconds.
        """
        self._last_step = last_step
        if self._reader is None and _same(self._place, start) and chunks is not None:
            self._place = upto
            self._waiting += chunks
            next_one, self._taken = mono + mono - self._taken, mono
            may_wait = next_one - self._looked < self._patience and not self._found.open_incidents
            if not self._waiting or (may_wait and all(map(_is_calm, chunks))):
                return False
            self._looked = mono
            self._judge_waiting()
            return True
        self.wait(upto, last_step)
        return self._reader is not None and self._go_on(self._reader, upto)

    def wait(self, upto: Place, last_step: int) -> None:
        """There is more up to `upto` than is judged before anything is shown: `take` begins with it the next time."""
        self._last_step = last_step
        self._judge_waiting()
        is_known = _same(self._place, upto) or (self._known is not None and _same(self._known[0], upto))
        if self._reader is None and not is_known:
            self._reader = reader_of(self._metrics, start=self._place)

    def _go_on(self, reader: LogReader | RanksReader, upto: Place) -> bool:
        until = self._clock() + SLICE
        while True:
            before = reader.place
            for chunk in reader.poll(PORTION, upto):
                self._feed(chunk)
            if _same(reader.place, upto) or reader.place == before:
                self._place, self._reader, self._known = upto, None, None
                break
            if self._clock() >= until:
                break
        if self._known is not None:
            return False
        self._look()
        return True

    def _judge_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        for _, alike in groupby(waiting, key=attrgetter("marks")):   # other tables come with the mark of an attempt
            self._feed(Chunk.join(list(alike)))
        if waiting:
            self._look()

    def _feed(self, chunk: Chunk) -> None:
        try:
            self._judge.feed(chunk)
        except Exception as error:
            self._switch_off(error)

    def _look(self) -> None:
        try:
            self._found = self._judge.diagnosis
        except Exception as error:
            self._switch_off(error)

    def _switch_off(self, error: Exception) -> None:
        # A faulty rule must not take the charts away.
        self._judge, self.fault = Silent(self._found), f"diagnosis switched itself off: {clean(repr(error), 120)}"


def _is_calm(chunk: Chunk) -> bool:
    """Whether it can wait: no break, and no loss or gradient that is not finite."""
    return not chunk.marks and all(
        np.isfinite(chunk.columns[name][chunk.present[name]]).all() for name in URGENT if name in chunk.columns)


def _same(one: Place, other: Place) -> bool:
    return (one.segment, one.offset) == (other.segment, other.offset)


def _about(count: int) -> str:
    """So coarse that the screen stands still between two of them: 900, 120k, 1.2M."""
    if count < 1_000_000:
        return f"{count:,}" if count < 10_000 else f"{count // 10_000 * 10}k"
    return f"{count / 1e6:.1f}M"


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
