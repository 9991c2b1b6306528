"""The app: takes frames from the feed, shows them, turns keys into orders and wishes. Decides nothing about a run."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message

from tuimon.config.file import Keeper
from tuimon.record.readonly import is_read_only
from tuimon.record.rundir import RunDir
from tuimon.viewer import terminal
from tuimon.viewer.alerts import Alerts, sequence, way_of
from tuimon.viewer.asking import Asking
from tuimon.viewer.first import OPENING, empty_frame
from tuimon.viewer.gate import Gate
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.in_turn import InTurn
from tuimon.viewer.logging_in import LoggingIn
from tuimon.viewer.login import Login
from tuimon.viewer.looking import Source
from tuimon.viewer.looks import Around
from tuimon.viewer.messages import END, LEAVE, OpenRun
from tuimon.viewer.pace import Pace
from tuimon.viewer.settings import Settled
from tuimon.viewer.theme import depth_of
from tuimon.viewer.views import Frame
from tuimon.viewer.wanted import Place, Wanted

if TYPE_CHECKING:
    from tuimon.viewer.background import Background

TTY_EVERY = 1.0
"""Seconds between two looks at the terminal: Textual reads one that is gone in a loop without end."""
HUNG_UP = 128 + 1
"""Exit status where the terminal is gone: as by SIGHUP."""

Feeding = Callable[[Callable[[], object]], "Source"]
"""Builds a source, given what to call when a frame is ready."""


class Tuimon(InTurn, LoggingIn, Asking):
    """The panel. Returns "end" where the run is to be ended, else "leave"."""

    ENABLE_COMMAND_PALETTE = False
    TITLE = "tuimon"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "leave", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", show=False, priority=True)]

    class FrameReady(Message):
        """The feed has a new frame; one is under way at most."""

    def __init__(self, name: str, feed: Feeding, *, glyphs: GlyphSet, owner: bool | Callable[[], bool] = False,
                 guards_terminal: bool = False, opener: Callable[[Path], tuple[str, Feeding]] | None = None,
                 place: Place = "overview", ask: object = None, settled: Settled | None = None,
                 keeper: Keeper | None = None, background: Background | None = None, pace: Pace | None = None,
                 settle: Callable[[], object] = lambda: None, login: Login | None = None) -> None:
        """`owner`: whether q asks before it leaves a live run. `opener`: name and feed of another run.

        `place`, `ask`: where to begin. `glyphs`: what the terminal can draw. `settled`, `keeper`: what is preferred,
        and where that is kept. `pace`: whether frames wait for the terminal's answers. `settle`: called when all that
        a place needs has been loaded. `login`: by which a person logs in at the run's machine again.
        """
        pace = pace or Pace(wanted=False)
        driver = terminal.terse_driver(os.environ, background, self.tell_background) if guards_terminal else None
        super().__init__(driver_class=terminal.steady_driver(driver, pace),
                         ansi_color=True if os.environ.get("NO_COLOR") else None)
        self._gate = Gate(self, pace, self.on_tuimon_frame_ready)
        self.dress(settled or Settled(), Around(
            depth_of(self.console.color_system, os.environ), glyphs, None if background is None else background.dark,
            bool(os.environ.get("SSH_CONNECTION")), way_of(os.environ)), keeper)
        self._alerts = Alerts()
        self._owner = owner if callable(owner) else lambda: owner and (self._own or self._frame).is_live
        self._name = name
        self._own: Frame | None = None
        """The run that the panel was opened on, as it was when another took its place."""
        self._guards_terminal, self._opener = guards_terminal, opener
        self.move_in(self._empty(name), place, ask)
        self._wanted = Wanted(units=self.settled.settings.units)
        self._settle, self._login = settle, login
        self._loaded: set[Place] = set()
        """Places that have been seen with all that they show."""
        self._source = self._fed(feed)

    def _fed(self, feed: Feeding) -> Source:
        source = feed(lambda: self.post_message(self.FrameReady()))
        source.want(self._wanted)
        return source

    @staticmethod
    def _empty(name: str) -> Frame:
        return empty_frame(name, OPENING, read_only=is_read_only())

    def redraw(self) -> None:
        """Show the moment again, as it is preferred."""
        self._want(replace(self._wanted, units=self.settled.settings.units))
        self._front.show_frame(self._frame)

    def paced(self, period: float) -> None:
        """The feed makes as many frames as are wanted."""
        self._source.pace(period)

    @property
    def current(self) -> Frame:
        """What is on the screen."""
        return self._frame

    @property
    def wanted(self) -> Wanted:
        """What is asked of the feed."""
        return self._wanted

    def on_mount(self) -> None:
        """Paint first, then read."""
        self.push_screen(self._overview)
        if self._guards_terminal:
            terminal.on_ending_signals(self._end_by)
            self.app_resume_signal.subscribe(self, lambda _: self.refresh(layout=True))
            self.set_interval(TTY_EVERY, self._check_terminal)

    def _end_by(self, number: int) -> None:
        if not self.takes_for_login(number):
            self.exit(LEAVE, return_code=128 + number)

    def on_ready(self) -> None:
        """Read once there is something on the screen; before this, what waits for a refresh does not wait for it."""
        self.call_after_refresh(self._begin)

    async def _begin(self) -> None:
        if self._home != "overview":
            await self._go(self._home)
        self._source.start()
        self.tell_problems()

    def on_unmount(self) -> None:
        """The feed ends with the screen."""
        self._source.close()

    def on_tuimon_frame_ready(self) -> None:
        """Show the newest frame, unless the terminal is still busy with the last ones."""
        if not self._gate.lets_pass():
            return
        frame = self._source.take()
        if frame is not None and self.is_running:
            before, self._frame = self._frame, frame
            self._stay_in_time()
            self._tell(before, frame)
            self._front.show_at_once(frame)
            if frame.wanted.place not in self._loaded:
                self._loaded.add(frame.wanted.place)
                self.call_after_refresh(self._settle)

    def _tell(self, before: Frame, frame: Frame) -> None:
        """Ring or notify, where something has begun and nobody looks."""
        words = self._alerts.news(before, frame)
        way = self._alerts.way(self.settled.settings.alerts, self.around.alert)
        if words is not None and way is not None:
            terminal.send(self, sequence(way, f"tuimon {self._name}", words, os.environ))

    def on_app_focus(self) -> None:
        """The terminal says that it is looked at."""
        self._alerts.is_looked_at = True

    def on_app_blur(self) -> None:
        """It says that it no longer is."""
        self._alerts.is_looked_at = False

    def _handle_exception(self, error: Exception) -> None:
        """Textual's own: a screen that was being built when the person left is no fault to print on the way out."""
        if not self._exit:
            super()._handle_exception(error)

    def post_display_hook(self) -> None:
        """Textual's: something was drawn."""
        self._gate.drawn()

    def on_cursor_position(self) -> None:
        """The terminal has answered."""
        self._gate.look()

    def on_open_run(self, message: OpenRun) -> None:
        """Another run, from its present on."""
        if self._opener is None:
            return
        name, feed = self._opener(message.path)
        self._own = None if name == self._name else self._own or self._frame
        self._source.close()
        self._forget()
        self._login = None if self._login is None else Login(RunDir(message.path))
        self._asks = {place: ask for place, ask in self._asks.items() if place == self._home}
        self._want(Wanted(place=message.place, ask=self._asks.get(message.place), units=self._wanted.units))
        self._frame = self._empty(name)
        self._source = self._fed(feed)
        self.paced(self.settled.settings.period(remote=self.around.remote))
        self._source.start()
        self.call_later(self._go, message.place)

    def action_leave(self) -> None:
        """Detach; the owner of a live run is asked first."""
        from tuimon.viewer.screens.confirm import Confirm
        from tuimon.viewer.screens.quit import ask_to_quit

        if not self._owner():
            self.exit(LEAVE)
        elif not isinstance(self.screen, Confirm):
            runs = len(getattr(self._asks.get("gallery"), "runs", ())) or 1
            self.push_screen(ask_to_quit(self._own or self._frame, self._ink, self._glyphs, runs,
                                         is_aside=self._own is not None), self._left)

    def _left(self, answer: str | None) -> None:
        if answer in (LEAVE, END):
            self.exit(answer)

    def _check_terminal(self) -> None:
        if terminal.is_lost():
            self.exit(LEAVE, return_code=HUNG_UP)
