"""The half of the app that a person looks around with: crosshair, window, moment. Each key is a wish to the feed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from textual.app import App
from textual.timer import Timer

from tuimon.control.states import Verb
from tuimon.viewer.actions import CHARTED
from tuimon.viewer.messages import ScrubTo
from tuimon.viewer.views import Frame
from tuimon.viewer.wanted import NOW, Wanted

if TYPE_CHECKING:
    from tuimon.viewer.widgets.chart import ChartPanel

TICK: Final = 0.25
"""Seconds between two steps of a replay."""
POINTS: Final = (-1.0, 1.0, -10.0, 10.0, -math.inf, math.inf)
"""How far the keys of the crosshair take it: hundredths of a window; the last two to the first step and the newest."""


class Source(Protocol):
    """What gives frames and takes orders: the feed."""

    def start(self) -> None:
        """Begin."""

    def close(self) -> None:
        """End, soon."""

    def take(self) -> Frame | None:
        """The newest frame, once."""

    def want(self, wanted: Wanted) -> None:
        """What frames are to show."""

    def pace(self, period: float) -> None:
        """From now on at least so many seconds between two frames."""

    def ask(self, verb: Verb, args: Any, base: str) -> None:
        """Submit a command; `base`: the revision of the picture on which it was confirmed."""


class Looking(App[str]):
    """Holds what is wanted, and hands it to the source."""

    _source: Source
    _frame: Frame
    """What is on the screen."""
    _wanted: Wanted = NOW
    _replay: Timer | None = None
    _due = 0.0
    """Steps that a replay has earned and not yet gone."""

    @property
    def _span(self) -> tuple[float, float]:
        """First and last step of what is wanted: keys may come faster than frames."""
        return self._wanted.window.ends(float(self._frame.last), self._frame.newest)

    def _want(self, wanted: Wanted) -> None:
        """Look at something else: the feed answers with a frame."""
        if wanted == self._wanted:
            return
        self._wanted = wanted
        self._source.want(wanted)
        if wanted.speed is not None and self._replay is None:
            self._replay = self.set_interval(TICK, self._play_on)
        elif wanted.speed is None and self._replay is not None:
            self._replay.stop()
            self._replay = None

    def _stay_in_time(self) -> None:
        """Back to now from a step that is no longer there: the run was resumed from before it."""
        at = self._wanted.at
        if at is not None and at > self._frame.newest:
            self._want(replace(self._wanted, at=None, speed=None))

    def _play_on(self) -> None:
        wanted, pace = self._wanted, self._frame.facts.step_time
        if wanted.speed is not None and wanted.at is not None:
            self._due += wanted.speed * TICK / pace if pace else wanted.speed
            steps, self._due = int(self._due), self._due % 1
            self._want(wanted.moved_to(wanted.at + steps, self._span, self._frame.newest))

    def action_point(self, which: int) -> None:
        """Move the crosshair."""
        self._want(self._wanted.pointed(POINTS[which], self._span, self._frame.newest))

    def pointed(self) -> int | None:
        """The step that the screen in front points at by itself; None: the crosshair is all there is."""
        return None

    def action_zoom(self, which: int) -> None:
        """Closer, or further away."""
        self._want(self._wanted.zoomed(which == 0, self._span, float(self._frame.last), self.pointed()))

    def on_chart_panel_pointed(self, message: ChartPanel.Pointed) -> None:
        """The crosshair where the mouse points."""
        if self._wanted.place in CHARTED:
            self._want(replace(self._wanted, cursor=max(1, min(self._frame.newest, message.step))))

    def on_chart_panel_zoomed(self, message: ChartPanel.Zoomed) -> None:
        """Closer, or further away, around the step under the mouse."""
        if self._wanted.place in CHARTED:
            last = float(self._frame.last)
            self._want(self._wanted.zoomed(message.closer, self._span, last, message.step))

    def on_chart_panel_dragged(self, message: ChartPanel.Dragged) -> None:
        """Along the steps with the mouse."""
        if self._wanted.place in CHARTED:
            direction = 1 if message.steps > 0 else -1
            self._want(self._wanted.shifted(abs(message.steps), self._span, self._frame.newest, direction))

    def action_pan(self, which: int) -> None:
        """Along the steps."""
        self._want(self._wanted.panned(-1 if which == 0 else 1, self._span, self._frame.newest))

    def action_whole(self) -> None:
        """Every step."""
        self._want(self._wanted.whole())

    def action_follow(self) -> None:
        """Only the newest steps, or every one."""
        self._want(self._wanted.followed())

    def action_scrub(self, which: int) -> None:
        """A little earlier or later."""
        self._want(self._wanted.scrubbed(-1 if which == 0 else 1, self._span, self._frame.newest))

    def action_jump(self, which: int) -> None:
        """To what happened before or after."""
        self._want(self._wanted.jumped(-1 if which == 0 else 1, self._frame.moments, self._span,
                                       self._frame.newest))

    def action_play(self) -> None:
        """Let time run, or stand."""
        self._want(self._wanted.played(self._span, self._frame.newest, self._frame.facts.step_time))

    def action_speed(self, which: int) -> None:
        """Slower or faster."""
        self._want(self._wanted.faster(-1 if which == 0 else 1))

    def on_scrub_to(self, message: ScrubTo) -> None:
        """The whole panel as it was then."""
        self._want(self._wanted.visited(message.step, self._span, self._frame.newest))
