"""The palette: type a few letters of what you want, press enter. Everything in it comes from the table of actions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.fuzzy import Matcher
from textual.widgets import Input

from tuimon.viewer.actions import actions_at
from tuimon.viewer.arrange import put_lines
from tuimon.viewer.charts.picture import Canvas, Picture
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.lines import Line, Span, dim
from tuimon.viewer.screens.keys import called
from tuimon.viewer.screens.over import Over
from tuimon.viewer.text import clean, pad
from tuimon.viewer.theme import Ink
from tuimon.viewer.views import Frame
from tuimon.viewer.wanted import Place
from tuimon.viewer.widgets.picture import PictureView
from tuimon.viewer.widgets.typed import Typed


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that can be done here."""

    shown: str
    """Its key."""
    words: str
    call: str
    """As a binding says it."""
    is_possible: bool


def entries(place: Place, frame: Frame) -> tuple[Entry, ...]:
    """All that can be done in a place, in the order of the table; what cannot be done now comes last."""
    found = (Entry(a.shown, a.help, called(a, 0, place), a.refusal(frame) is None) for a in actions_at(place))
    return tuple(sorted(found, key=lambda entry: not entry.is_possible))


def matching(known: Sequence[Entry], text: str) -> tuple[Entry, ...]:
    """Those that hold the letters in their order, the best first, before them the one of that key; all for no text."""
    if not text:
        return tuple(known)
    matcher = Matcher(text)
    scores = [(math.inf if text in entry.shown.split() else matcher.match(entry.words), entry) for entry in known]
    return tuple(entry for score, entry in sorted(scores, key=lambda pair: -pair[0]) if score > 0)


def draw_entries(found: Sequence[Entry], chosen: int, width: int, height: int, glyphs: GlyphSet) -> Picture:
    """The list in exactly `width` x `height` cells, the chosen one in sight."""
    canvas = Canvas(width, height)
    first = max(0, min(chosen - height // 2, len(found) - height))
    lines: list[Line] = []
    for i, entry in enumerate(found[first:first + height], first):
        mark = Span("▸ " if i == chosen else "  ", "strong")
        words = Span(entry.words, "dim" if not entry.is_possible else "strong" if i == chosen else "plain")
        lines.append((mark, Span(pad(entry.shown, 7), "key" if entry.is_possible else "dim"), words))
    put_lines(canvas, lines or [(dim("nothing of that name"),)], 0, 0, width, height, glyphs)
    return canvas.picture()


class Palette(Over["str | None"]):
    """Returns what is to be called; None where it was left."""

    CSS = """
    Palette { align: center top; background: $background 60%; }
    Palette > Vertical { width: 84; max-width: 100%; height: auto; margin-top: 2; border: round $primary;
        background: $surface; padding: 0 1; }
    Palette.-ascii > Vertical { border: ascii $primary; }
    Palette Input { height: 1; border: none; padding: 0; background: $surface; margin-bottom: 1; }
    Palette PictureView { height: 14; max-height: 70vh; }
    Palette.-low > Vertical { height: 100%; margin-top: 0; }
    Palette.-low Input { margin-bottom: 0; }
    Palette.-low PictureView { height: 1fr; max-height: 100%; }
    """
    VERTICAL_BREAKPOINTS = [(0, "-low"), (21, "-tall")]  # noqa: RUF012  # textual declares it in a way mypy rejects
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+p,ctrl+c", "leave", show=False, priority=True),
        Binding("down,ctrl+n", "move(1)", show=False, priority=True),
        Binding("up", "move(-1)", show=False, priority=True),
    ]

    def __init__(self, place: Place, frame: Frame, ink: Ink, glyphs: GlyphSet) -> None:
        super().__init__(glyphs)
        self._ink, self._glyphs = ink, glyphs
        self._known = entries(place, frame)
        self._found, self._chosen = self._known, 0

    def compose(self) -> ComposeResult:
        """A line to type in, and what it finds."""
        with Vertical():
            line = Typed(placeholder="what do you want to do?", compact=True)
            line.cursor_blink = False
            yield line
            yield PictureView(self._ink, self._glyphs)

    def on_mount(self) -> None:
        """Show all."""
        self.query_one(Input).focus()
        self._draw()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Find."""
        self._found, self._chosen = matching(self._known, clean(event.value, 80)), 0
        self._draw()

    def on_input_submitted(self) -> None:
        """Do it."""
        self.dismiss(self._found[self._chosen].call if self._found else None)

    def on_resize(self, event: events.Resize) -> None:
        """Draw at the new size."""
        del event
        self._draw()

    def action_move(self, by: int) -> None:
        """Choose another."""
        self._chosen = max(0, min(len(self._found) - 1, self._chosen + by))
        self._draw()

    def action_leave(self) -> None:
        """Do nothing."""
        self.dismiss(None)

    def _draw(self) -> None:
        found, chosen = self._found, self._chosen
        self.query_one(PictureView).draw_with(lambda w, h: draw_entries(found, chosen, w, h, self._glyphs))
