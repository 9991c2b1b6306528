"""The part of the app that wears a theme: what is chosen is worn at once, on every screen, and kept in the file."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Protocol

from textual.app import App
from textual.message import Message

from tuimon.config.file import Keeper
from tuimon.config.toml import Path as Key
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.looks import Around, glyphs_of, ink_of, textual_theme
from tuimon.viewer.messages import Prefers, Remembers
from tuimon.viewer.settings import Settled, find, layout_changes
from tuimon.viewer.theme import Ink
from tuimon.viewer.views import Frame

READ = 8.0
"""Seconds for which the footer says what is wrong with the preferences."""


class Wearer(Protocol):
    """A screen that has a look."""

    def suit(self, settled: Settled, around: Around) -> None:
        """What is preferred, and what the terminal is."""

    def wear(self, ink: Ink, glyphs: GlyphSet) -> None:
        """Draw anew."""

    def flash(self, text: str, seconds: float = 3.0) -> None:
        """Say something for a moment."""


def begins(before: Frame, after: Frame) -> bool:
    """Whether something critical has just begun: not what was there at the start, nor what is looked back at."""
    both_now = before.wanted.is_now and after.wanted.is_now
    return before.is_judged and both_now and after.tone == "critical" != before.tone


class Dressed(App[str]):
    """An app in a theme. A subclass says which screens there are, and takes the pace of frames."""

    settled: Settled
    around: Around
    _keeper: Keeper | None

    class BackgroundFound(Message):
        """What the terminal's background is."""

        def __init__(self, dark: bool) -> None:
            super().__init__()
            self.dark = dark

    def dress(self, settled: Settled, around: Around, keeper: Keeper | None) -> None:
        """Before the first screen is made. Without a keeper nothing is kept."""
        self.settled, self.around, self._keeper = settled, around, keeper
        self._put_on()

    def _put_on(self) -> None:
        settings = self.settled.settings
        self._ink, self._glyphs = ink_of(settings, self.around), glyphs_of(settings, self.around)
        theme = textual_theme(self._ink)
        if theme.name not in self.available_themes:
            self.register_theme(theme)
        self.theme = theme.name

    def wearers(self) -> Iterable[Wearer]:
        """Every screen that lives, in front or not."""
        raise NotImplementedError

    def redraw(self) -> None:
        """Show what is in front again."""
        raise NotImplementedError

    def in_front(self) -> Wearer:
        """The one that is looked at."""
        raise NotImplementedError

    def paced(self, period: float) -> None:
        """From now on at least so many seconds between frames."""
        raise NotImplementedError

    def _suit(self) -> None:
        for screen in self.wearers():
            screen.suit(self.settled, self.around)

    def _wear(self) -> None:
        self._put_on()
        self._suit()
        for screen in self.wearers():
            screen.wear(self._ink, self._glyphs)

    def tell_problems(self) -> None:
        """Say in the footer what was left out of flags, environment and file."""
        problems = self.settled.problems
        if problems:
            more = f" (and {len(problems) - 1} more: key ,)" if len(problems) > 1 else ""
            self._said(f"{problems[0]}{more}", READ)

    def tell_background(self, dark: bool) -> None:
        """The terminal has answered late. Called in the thread that reads it."""
        self.post_message(self.BackgroundFound(dark))

    def on_dressed_background_found(self, message: BackgroundFound) -> None:
        """Wear what suits it."""
        self.around = replace(self.around, dark=message.dark)
        self._wear()

    def on_prefers(self, message: Prefers) -> None:
        """Something was chosen, or is to be as it is by itself."""
        key, value = message.key, message.value
        self.settled = self.settled.without(key) if value is None else self.settled.preferring(key, value)
        if key in ("theme", "glyphs"):
            self._wear()
        else:
            self._suit()
            self.redraw()
        if key == "fps":
            self.paced(self.settled.settings.period(remote=self.around.remote))
        self._keep({find(key).path: value})

    def on_remembers(self, message: Remembers) -> None:
        """The panel was arranged anew."""
        changes = layout_changes(self.settled.settings.layout, message.layout)
        self.settled = self.settled.remembering(message.layout)
        self._suit()
        self._keep(changes, quietly=True)

    def _keep(self, changes: dict[Key, object], *, quietly: bool = False) -> None:
        keeper = self._keeper
        if keeper is None or not changes:
            return
        keeper.want(changes)
        # Apart: somebody's home may lie on a file system that hangs.
        self.run_worker(partial(self._write_down, keeper, quietly=quietly), thread=True, group="settings",
                        exit_on_error=False)

    def _write_down(self, keeper: Keeper, *, quietly: bool) -> None:
        said = keeper.flush()
        if said and not quietly:
            with contextlib.suppress(RuntimeError):   # the app has ended in between
                self.call_from_thread(self._said, said, READ)

    def _said(self, words: str, seconds: float) -> None:
        """In the footer of the screen in front."""
        self.in_front().flash(words, seconds)
