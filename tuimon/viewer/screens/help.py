"""The keys, from the table of actions, and how to read the screen."""

from __future__ import annotations

from typing import Final

from tuimon.viewer.actions import Place, actions_at
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.lines import Line, Span, say
from tuimon.viewer.screens.confirm import Answer, Confirm
from tuimon.viewer.theme import Ink

READING: Final[tuple[Line, ...]] = (
    (Span("● ", "ok"), Span("healthy   "), Span("▲ ", "warning"), Span("warning   "), Span("✖ ", "critical"),
     Span("critical   "), Span("◌ ", "dim"), Span("waiting")),
    say("┊ onset of an incident   ◆ healthy snapshot   ✗ not a finite number", "dim"),
    say("A request is shown as requested until the run's log answers it.", "dim"),
)


def help_screen(place: Place, ink: Ink, glyphs: GlyphSet) -> Confirm:
    """A dialog with one answer: the keys of that screen."""
    rows = tuple((Span(f"{action.shown:>6}  ", "key"), Span(action.help)) for action in actions_at(place))
    return Confirm("Keys", (*rows, *READING), (Answer("q", "back", None),), ink, glyphs)
