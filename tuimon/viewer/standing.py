"""What stands behind a run: who started it, whether it lives, what it waits for. Touches the disk and processes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, cast

from tuimon.control.spool import barred
from tuimon.control.states import State
from tuimon.diagnosis.story import Story
from tuimon.record.hosts import is_nowhere
from tuimon.record.liveness import ProcessIdentity, is_alive
from tuimon.record.rundir import Launch, RunDir, RunInfo
from tuimon.record.status import settled
from tuimon.viewer.frame import effective_state
from tuimon.viewer.lines import lapse
from tuimon.viewer.text import clean

ALIVE_EVERY: Final = 1.0
"""Seconds between two looks at the process table."""
BARRED_EVERY: Final = 1.0
"""Seconds between two looks at who may write into the run."""


@dataclass(slots=True)
class Standing:
    """One run's process, as far as can be told from here."""

    run: RunDir
    info: RunInfo | None = None
    """None before the training process has attached."""
    launch: Launch | None = None
    """None where nobody of ours started it."""
    alive: bool | None = None
    """None where that cannot be told."""
    opened: float | None = None
    """When the viewer began to look, in its own seconds."""
    _looked: float = -math.inf
    _barred: tuple[float, str] = (-math.inf, "")
    """When the spool was last looked at, and what was found."""

    def read(self, attempt: int) -> bool:
        """Read what may be new: run.json is replaced whole at each attempt, launch.json is written once.

        Whether rows are to be read anew, by other tables. LogError where one of them is not ours.
        """
        if self.launch is None or (self.alive is False and self.launch.status is None):
            self.launch = self.run.read_launch()
        if self.info is not None and self.info.attempt >= attempt:
            return False
        info = self.run.read_info()
        if info is None or info == self.info:
            return False
        others = self.info is None or self.info.probes != info.probes
        self.info = info
        return others

    def look(self, mono: float, *, ended: bool) -> bool:
        """Ask the process table, now and then; whether the process has ended since the look before."""
        if mono - self._looked < ALIVE_EVERY or ended:
            return False
        self._looked = mono
        process, before = self.process, self.alive
        self.alive = None if process is None else is_alive(process)
        return self.alive is False and before is not False

    def bar(self, mono: float) -> str:
        """Why nothing can be asked of this run from here, looked at now and then: asking looks by itself."""
        if mono - self._barred[0] >= BARRED_EVERY:
            self._barred = mono, barred(self.run.commands)
        return self._barred[1]

    @property
    def optimizer(self) -> str | None:
        """Class name; None where it is not known."""
        return self.info.optimizer or None if self.info is not None else None

    @property
    def process(self) -> ProcessIdentity | None:
        """Who trains, or is about to; None where nobody is known yet."""
        info, launch = self.info, self.launch
        if launch is not None and (info is None or launch.started > info.started):
            return launch.process   # started, and not yet attached
        return info.process if info is not None else None

    def awaited(self, mono: float, *, ended: bool) -> str:
        """What an empty screen waits for; of a run that is over, what it said last."""
        waited = lapse(max(0.0, mono - (self.opened or mono)))
        launch = self.launch
        if self.alive is False or ended:
            words = self.run.last_words()
            said = "What it printed was not kept: tuimon run keeps it." if words is None else (
                f"Its last words: {clean(words or 'none', 200)}")
            if launch is None or not launch.script or launch.status is None:
                return said
            return f"The script ended with status {launch.status}. {said}"
        if self.info is not None:
            return f"the training process has attached, {waited}"
        if launch is not None and launch.script:
            return f"the script is running, {waited}; it has not trained yet"
        if launch is not None:
            return f"torch is loading, {waited}"
        if is_nowhere(self.run):
            return "no run is open; b lists those there are"
        return f"waiting for a training process, {waited}"

    def statement(self, *, begun: bool) -> str:
        """What a demo says it is going to do; of a script what it last said before it trains, then its command."""
        launch = self.launch
        if launch is None:
            return ""
        if launch.script and not begun and (words := self.run.last_words()):
            return f"It says: {clean(words, 180)}"
        return clean(launch.statement, 200)

    def settled(self, story: Story) -> Story:
        """The story, with the end that only whoever started the process has seen."""
        now = effective_state(story, self.alive)
        state, why = settled(now, self.launch, self.info)
        if self.alive is not False or state == now:
            return story
        return replace(story, state=cast("State", state), ended=True, error=story.error or why)
