"""The console: shows what is printed; knows where one person looks, and what they search."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.places.console import layout
from tuimon.viewer.places.console.draw import draw, inside
from tuimon.viewer.places.console.model import Ask, ConsoleView, Direction, Jump, Look, wish
from tuimon.viewer.screens.keys import bindings
from tuimon.viewer.screens.place import PlaceScreen
from tuimon.viewer.theme import Ink
from tuimon.viewer.views import Frame
from tuimon.viewer.wanted import Place
from tuimon.viewer.widgets.picture import PictureView
from tuimon.viewer.widgets.prompt import Prompt

SIDEWAYS = 20
"""Cells of one step to the side."""


class ConsoleScreen(PlaceScreen):
    """Header, what was printed, keys; a line for a search."""

    PLACE: ClassVar[Place] = "console"
    WHEEL: ClassVar[int] = 3
    BINDINGS: ClassVar[list[BindingType]] = bindings("console")

    def __init__(self, frame: Frame, ink: Ink, glyphs: GlyphSet) -> None:
        super().__init__(frame, ink, glyphs)
        self._view = ConsoleView("reading")
        self._look = self._before = Look()
        self._asked: Ask | None = None
        self._jump: Jump | None = None
        self._serial = 0

    def compose_body(self) -> ComposeResult:
        """The lines, and where a search is typed."""
        yield PictureView(self.ink, self.glyphs, id="printed")
        yield Prompt()

    @property
    def look(self) -> Look:
        """How it is looked at."""
        return self._look

    def show(self) -> None:
        """Draw what is there. Lines that were not read yet come with the next frame; until then nothing moves."""
        detail = self.frame.detail
        if isinstance(detail, ConsoleView):
            self._take(detail)
        self._draw()

    def _draw(self) -> None:
        view, look, glyphs, live = self._view, self._look, self.glyphs, self.frame.is_live
        columns, rows = self._room()
        self._asked = wish(look, rows, self._jump, self._asked)
        if self._asked != self.frame.wanted.ask or self.frame.wanted.place != self.PLACE:
            self.ask(self._asked)   # the same again costs nothing
        if not view.lines or layout.covers(view, look, columns, rows):
            self.query_one("#printed", PictureView).draw_with(
                lambda w, h: draw(view, look, w, h, glyphs, live=live), view, look, live)

    def _room(self) -> tuple[int, int]:
        size = self.query_one("#printed").size
        return inside(size.width, size.height, self._look, self._view.total)

    def _take(self, view: ConsoleView) -> None:
        """Adopt what the feed has answered."""
        if view.generation != self._view.generation:
            self._look = replace(self._look, top=None, row=0, mark=None)
        self._view = view
        found, jump = view.found, self._jump
        if jump is None or found is None or (found.pattern, found.serial) != (self._look.pattern, jump.serial):
            return
        self._jump = None
        if found.line is None:
            self.flash(f"not found: {found.pattern}")
            return
        self._look = self._look.at(found.line, self._room()[1] // 3, mark=True)
        if found.wrapped:
            self.flash("from the other end" if found.lines > 1 else "there is no other line with it")

    def _look_at(self, look: Look) -> None:
        self._look = look
        self._draw()

    def _leap(self, way: Direction, after: int) -> None:
        self._serial += 1
        self._jump = Jump(self._serial, way, after)
        self._draw()

    # ------------------------------------------------------------------ keys

    def action_roll(self, which: int) -> None:
        """A row up or down."""
        self._look_at(layout.scrolled(self._view, self._look, -1 if which % 2 == 0 else 1, *self._room()))

    def action_page(self, which: int) -> None:
        """A screen up or down, less one row."""
        columns, rows = self._room()
        by = max(1, rows - 1) * (-1 if which == 0 else 1)
        self._look_at(layout.scrolled(self._view, self._look, by, columns, rows))

    def action_edge(self, which: int) -> None:
        """To the first line; to the newest, and follow."""
        self._look_at(replace(self._look, top=0 if which == 0 else None, row=0))

    def action_tail(self) -> None:
        """Follow the newest line, or stand where one is."""
        line, row = layout.top_of(self._view, self._look, *self._room())
        self._look_at(replace(self._look, top=line if self._look.follows else None, row=row))

    def action_wrap(self) -> None:
        """Wrap long lines, or cut them."""
        self._look_at(self._look.turned())

    def action_sideways(self, which: int) -> None:
        """Along lines that are cut."""
        if self._look.wrap:
            self.flash("lines are wrapped: w cuts them")
        self._look_at(self._look.shifted(-SIDEWAYS if which == 0 else SIDEWAYS))

    def action_numbers(self) -> None:
        """Number the lines, or not."""
        self._look_at(replace(self._look, numbers=not self._look.numbers))

    # ------------------------------------------------------------------ search

    def action_search(self) -> None:
        """Ask what to search."""
        self._before = self._look
        self.query_one(Prompt).open("search", "/", self._look.pattern)

    def on_prompt_changed(self, event: Prompt.Changed) -> None:
        """Count while it is typed."""
        self._jump = None
        self._look_at(self._look.searching(event.text))

    def on_prompt_submitted(self, event: Prompt.Submitted) -> None:
        """Go to the nearest: upwards from the newest, else down from the top of the screen."""
        self._look = self._look.searching(event.text)
        if not event.text:
            self._draw()
        elif self._look.top is None:
            self._leap(-1, self._view.total)
        else:
            self._leap(1, self._look.top - 1)

    def on_prompt_closed(self, event: Prompt.Closed) -> None:
        """As it was before."""
        del event
        self._jump = None
        self._look_at(replace(self._look, pattern=self._before.pattern, mark=self._before.mark))

    def action_match(self, which: int) -> None:
        """To the next line with it, or the one before."""
        if not self._look.pattern:
            self.flash("nothing is searched: / asks what")
            return
        line, _ = layout.top_of(self._view, self._look, *self._room())
        here = self._look.mark if self._look.mark is not None else line - 1 if which == 0 else line
        self._leap(1 if which == 0 else -1, here)

    def habits(self) -> object:
        """Whether lines wrap, and are numbered."""
        return self._look.wrap, self._look.numbers

    def resume(self, habits: object) -> None:
        """The same in the next run."""
        if isinstance(habits, tuple):
            wrap, numbers = habits
            self._look = replace(self._look, wrap=wrap, numbers=numbers)

    def back(self) -> bool:
        """End the search."""
        if not self._look.pattern:
            return False
        self._jump = None
        self._look_at(self._look.searching(""))
        return True
