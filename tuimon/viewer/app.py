"""The app: takes frames from the feed, shows them, turns confirmed keys into orders. Decides nothing about a run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from textual.app import App
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.theme import Theme

from tuimon.control.states import Verb
from tuimon.viewer import terminal
from tuimon.viewer.actions import Order, find
from tuimon.viewer.frame import empty_frame
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.screens.confirm import Confirm
from tuimon.viewer.screens.help import help_screen
from tuimon.viewer.screens.overview import Overview
from tuimon.viewer.screens.quit import END, LEAVE, ask_to_quit
from tuimon.viewer.theme import PALETTES, Ink, depth_of
from tuimon.viewer.views import Frame

if TYPE_CHECKING:
    from tuimon.viewer.screens.incidents import Incidents

TTY_EVERY = 5.0
"""Seconds between two looks at the terminal."""
RETRY = 0.5
"""Seconds until a frame that a slow link could not take is tried again."""


class Source(Protocol):
    """What gives frames and takes orders: the feed."""

    def start(self) -> None:
        """Begin."""

    def close(self) -> None:
        """End, soon."""

    def take(self) -> Frame | None:
        """The newest frame, once."""

    def ask(self, verb: Verb, args: Any) -> None:
        """Submit a command."""


class Tuimon(App[str]):
    """The panel. Returns "end" where the run is to be ended, else "leave"."""

    ENABLE_COMMAND_PALETTE = False
    TITLE = "tuimon"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+q", "leave", show=False, priority=True)]

    class FrameReady(Message):
        """The feed has a new frame; one is under way at most."""

    def __init__(self, name: str, feed: Callable[[Callable[[], object]], Source], *, glyphs: GlyphSet,
                 owner: bool = False, guards_terminal: bool = False) -> None:
        """`feed` builds the source, given what to call when a frame is ready; `owner`: q asks before it leaves."""
        super().__init__(driver_class=terminal.terse_driver(os.environ) if guards_terminal else None)
        palette = PALETTES["dark"]
        self.register_theme(Theme(
            "tuimon", primary=palette.inks["info"].rgb, background=palette.background, surface=palette.background,
            foreground=palette.foreground, panel=palette.background, dark=palette.dark))
        self.theme = "tuimon"
        self._owner, self._guards_terminal, self._glyphs = owner, guards_terminal, glyphs
        self._ink = Ink(palette, depth_of(self.console.color_system, os.environ))
        self._frame = empty_frame(name, "waiting for the run to be read")
        self._overview = Overview(self._frame, self._ink, glyphs)
        self._front: Overview | Incidents = self._overview
        self._source = feed(lambda: self.post_message(self.FrameReady()))

    @property
    def current(self) -> Frame:
        """What is on the screen."""
        return self._frame

    def on_mount(self) -> None:
        """Paint first, then read."""
        self.push_screen(self._overview)
        if self._guards_terminal:
            terminal.on_ending_signals(lambda: self.exit(LEAVE))
            self.set_interval(TTY_EVERY, self._check_terminal)
        self.call_after_refresh(self._source.start)

    def on_unmount(self) -> None:
        """The feed ends with the screen."""
        self._source.close()

    def on_tuimon_frame_ready(self) -> None:
        """Show the newest frame, unless the terminal is still busy with the last ones."""
        if terminal.backlog(self) > terminal.BACKLOG:
            self.set_timer(RETRY, self.on_tuimon_frame_ready)
            return
        frame = self._source.take()
        if frame is not None and self.is_running:
            self._frame = frame
            self._front.show_frame(frame)

    def action_act(self, name: str) -> None:
        """Ask, and if the answer is yes, submit: the key path of every order in the table."""
        action, frame = find(name), self._frame
        refusal = action.refusal(frame)
        if refusal is not None:
            self._front.flash(f"{action.word(frame)}: {refusal}")
            return
        if action.order is None or action.question is None:
            return
        order = action.order(frame)   # what was confirmed is what is sent, whatever happens meanwhile
        self.push_screen(Confirm.of(action.question(frame), self._ink, self._glyphs),
                         lambda answer: self._submit(order) if answer == "yes" else None)

    def _submit(self, order: Order) -> None:
        self._source.ask(order.verb, order.args)

    def action_help(self) -> None:
        """Show the keys."""
        self.push_screen(help_screen(self._front.PLACE, self._ink, self._glyphs))

    async def action_incidents(self) -> None:
        """Show what was found, until the person goes back."""
        from tuimon.viewer.screens.incidents import Incidents

        screen = Incidents(self._frame, self._ink, self._glyphs)
        await self.push_screen(screen)   # a frame may come at once
        self._front = screen

    async def action_back(self) -> None:
        """Back to the charts."""
        self._front = self._overview
        await self.pop_screen()
        self._overview.show_frame(self._frame)

    def action_picture(self) -> None:
        """Save what is on the screen, and say where."""
        from tuimon.viewer.export import save

        facts = self._frame.facts
        try:
            path = save(self.export_screenshot(title="tuimon"), facts.name, facts.step, Path.cwd())
        except OSError as error:
            self._front.flash(f"picture: it could not be saved here: {error.strerror or error}")
        else:
            self._front.flash(f"picture: saved as {path.name} in {path.parent}", seconds=6.0)

    def action_leave(self) -> None:
        """Detach; the owner of a live run is asked first."""
        if not self._owner or not self._frame.is_live:
            self.exit(LEAVE)
        elif not isinstance(self.screen, Confirm):
            self.push_screen(ask_to_quit(self._frame, self._ink, self._glyphs), self._left)

    def _left(self, answer: str | None) -> None:
        if answer in (LEAVE, END):
            self.exit(answer)

    def _check_terminal(self) -> None:
        if terminal.is_lost():
            self.exit(LEAVE)
