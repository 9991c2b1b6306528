"""The keys of a place, from the table of actions, and how to read the screen: in columns, then in pages."""

from __future__ import annotations

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from tuimon.viewer.actions import Action, actions_at
from tuimon.viewer.arrange import put_lines
from tuimon.viewer.charts.chart import draw_heading
from tuimon.viewer.charts.picture import Canvas, Picture
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.lines import Line, Span, dim, say, strong
from tuimon.viewer.screens.over import Over
from tuimon.viewer.theme import Ink
from tuimon.viewer.wanted import Place
from tuimon.viewer.widgets.picture import PictureView

READING: Final[tuple[Line, ...]] = (
    (Span("● ", "ok"), Span("healthy   "), Span("▲ ", "warning"), Span("warning   "), Span("✖ ", "critical"),
     Span("critical   "), Span("◌ ", "dim"), Span("waiting")),
    say("┊ onset of an incident   ◆ healthy snapshot   ✗ not a finite number", "dim"),
    say("A request is shown as requested until the run's log answers it.", "dim"),
)
GROUPS: Final = (("run", "The run"), ("look", "Looking"), ("place", "Places"))
COLUMN: Final = 76
"""Cells of one column: the longest row of the table fits."""


def _row(action: Action) -> Line:
    return (Span(f"{action.shown:>6}  ", "key"), Span(action.help))


def help_lines(place: Place) -> tuple[Line, ...]:
    """The keys of a place in groups, and how to read the screen."""
    lines: list[Line] = []
    for group, title in GROUPS:
        rows = [_row(action) for action in actions_at(place) if action.group == group]
        if rows:
            lines += [*((say(""),) if lines else ()), (strong(title),), *rows]
    return (*lines, say(""), *READING)


def pages(lines: tuple[Line, ...], rows: int, columns: int) -> list[tuple[tuple[Line, ...], ...]]:
    """The lines dealt to columns of `rows` lines, `columns` of them to a page."""
    parts = [lines[i:i + rows] for i in range(0, len(lines), rows)] or [()]
    return [tuple(parts[i:i + columns]) for i in range(0, len(parts), columns)]


def draw_help(place: Place, page: int, width: int, height: int, glyphs: GlyphSet) -> Picture:
    """One page in exactly `width` x `height` cells."""
    canvas = Canvas(width, height)
    found = pages(help_lines(place), max(1, height - 3), max(1, (width - 2) // COLUMN))
    at = page % len(found)
    draw_heading(canvas, "keys", f"{at + 1} of {len(found)}" if len(found) > 1 else "", None, glyphs, framed=True,
                 focused=True)
    each = (width - 4) // len(found[0])
    for i, column in enumerate(found[at]):
        put_lines(canvas, column, 2 + i * each, 1, each - 1, height - 3, glyphs)
    on = (dim("   "), Span("pgdn", "key"), dim(" more")) if len(found) > 1 else ()
    put_lines(canvas, [(Span("q", "key"), dim(" back"), *on)], 2, height - 2, width - 4, 1, glyphs)
    return canvas.picture()


class Help(Over[None]):
    """Any key that is not a page leaves it."""

    CSS = """
    Help { align: center middle; }
    Help > PictureView { width: 100%; max-width: 158; height: 100%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,h,enter,ctrl+c", "dismiss", show=False),
        Binding("pagedown,down,space,right,j", "turn(1)", show=False),
        Binding("pageup,up,left,k", "turn(-1)", show=False),
    ]

    def __init__(self, place: Place, ink: Ink, glyphs: GlyphSet) -> None:
        super().__init__()
        self._place: Place = place
        self._ink, self._glyphs, self._page = ink, glyphs, 0

    def compose(self) -> ComposeResult:
        """One picture."""
        yield PictureView(self._ink, self._glyphs)

    def on_mount(self) -> None:
        """Draw."""
        view = self.query_one(PictureView)
        view.styles.max_height = len(help_lines(self._place)) + 3
        self._draw()

    def _draw(self) -> None:
        self.query_one(PictureView).draw_with(
            lambda width, height: draw_help(self._place, self._page, width, height, self._glyphs))

    def action_turn(self, by: int) -> None:
        """Another page."""
        self._page += by
        self._draw()
