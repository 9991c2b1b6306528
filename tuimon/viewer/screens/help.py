"""The keys of a place, from the table of actions, and how to read the screen: in columns, then in pages."""

from __future__ import annotations

from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from tuimon.viewer.actions import Action, actions_at
from tuimon.viewer.arrange import put_lines, wrap
from tuimon.viewer.charts.chart import draw_heading
from tuimon.viewer.charts.picture import Canvas, Picture
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.lines import Line, Span, dim, say, strong
from tuimon.viewer.screens.over import Over
from tuimon.viewer.theme import Ink
from tuimon.viewer.views import Frame
from tuimon.viewer.wanted import Place
from tuimon.viewer.widgets.picture import PictureView

READING: Final[tuple[Line, ...]] = (
    (Span("● ", "ok"), Span("healthy   "), Span("▲ ", "warning"), Span("warning   "), Span("✖ ", "critical"),
     Span("critical   "), Span("◌ ", "dim"), Span("waiting")),
    say("┊ onset   ╷ event   ╎ rolled back   ┃ the moment shown   ◆ healthy snapshot   ✗ not a finite number", "dim"),
    say("Mouse: a click points or chooses, on a badge it opens; the wheel zooms or scrolls, pulling pans.", "dim"),
    say("A request is shown as requested until the run's log answers it.", "dim"),
)
GROUPS: Final = (("run", "The run"), ("look", "Looking"), ("place", "Places"))
COLUMN: Final = 54
"""Cells that a column has at least, where several stand side by side."""
WIDEST: Final = 78
"""Cells that a column has at most: the longest row of the table fits."""
KEYS: Final = 8
"""Cells of the keys before their words."""


def _rows(action: Action, frame: Frame, width: int) -> list[Line]:
    """One action: its key, and its words in as many lines as they need; dim where it may not be done from here."""
    bar = action.bar(frame)
    words = wrap((Span(action.help, "dim" if bar else "plain"),), max(20, width - KEYS))
    heads = [Span(f"{action.shown:>{KEYS - 2}}  ", "dim" if bar else "key"), *[Span(" " * KEYS)] * (len(words) - 1)]
    return [(head, *line) for head, line in zip(heads, words, strict=True)]


def help_lines(place: Place, frame: Frame, width: int = WIDEST) -> tuple[tuple[Line, ...], ...]:
    """The keys of a place in groups, and how to read the screen: blocks of lines for a column of that width.

    Where no key of a group may be used from here, the reason stands above them.
    """
    blocks: list[tuple[Line, ...]] = []
    for group, title in GROUPS:
        actions = [action for action in actions_at(place) if action.group == group]
        bars = {action.bar(frame) for action in actions}
        why = [(dim(bar),) for bar in bars if len(bars) == 1 and bar]
        if actions:
            rows = [row for action in actions for row in _rows(action, frame, width)]
            blocks.append(((strong(title),), *(row for line in why for row in wrap(line, width)), *rows))
    return (*blocks, tuple(row for line in READING for row in wrap(line, width)))


def columns_of(blocks: tuple[tuple[Line, ...], ...], rows: int) -> list[list[Line]]:
    """The blocks dealt to columns of `rows` lines, an empty line between them; a title never stands last."""
    columns: list[list[Line]] = [[]]
    for block in blocks:
        if columns[-1] and len(columns[-1]) + 1 + min(len(block), 3) > rows:
            columns.append([])
        elif columns[-1]:
            columns[-1].append(say(""))
        for line in block:
            if len(columns[-1]) >= rows:
                columns.append([])
            columns[-1].append(line)
    return columns


def pages(place: Place, frame: Frame, width: int, rows: int) -> list[list[list[Line]]]:
    """As few columns side by side as make one page, else as many as fit; pages of columns of at most `rows` lines."""
    most = max(1, width // COLUMN)
    for side in range(1, most + 1):
        columns = columns_of(help_lines(place, frame, min(WIDEST, width // side - 2)), max(1, rows))
        if len(columns) <= side:
            return [columns]
    return [columns[i:i + most] for i in range(0, len(columns), most)]


def draw_help(place: Place, frame: Frame, page: int, width: int, height: int, glyphs: GlyphSet) -> Picture:
    """One page in exactly `width` x `height` cells."""
    canvas = Canvas(width, height)
    found = pages(place, frame, width - 4, height - 3)
    at = page % len(found)
    draw_heading(canvas, "keys", f"{at + 1} of {len(found)}" if len(found) > 1 else "", None, glyphs, framed=True,
                 focused=True)
    each = min(WIDEST + 2, (width - 4) // len(found[0]))
    for i, column in enumerate(found[at]):
        put_lines(canvas, column, 2 + i * each, 1, each - 1, height - 3, glyphs)
    on = (dim("   "), Span("pgdn", "key"), dim(" more")) if len(found) > 1 else ()
    put_lines(canvas, [(Span("q", "key"), dim(" back"), *on)], 2, height - 2, width - 4, 1, glyphs)
    return canvas.picture()


class Help(Over[None]):
    """Turned by pages; left with the key that asked for it, or any that leaves a place."""

    CSS = """
    Help { align: center middle; }
    Help > PictureView { width: 100%; height: 100%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,h,enter,ctrl+c", "dismiss", show=False),
        Binding("pagedown,down,space,right,j", "turn(1)", show=False),
        Binding("pageup,up,left,k", "turn(-1)", show=False),
    ]

    def __init__(self, place: Place, frame: Frame, ink: Ink, glyphs: GlyphSet) -> None:
        super().__init__(glyphs)
        self._place: Place = place
        self._frame = frame
        self._ink, self._glyphs, self._page = ink, glyphs, 0

    def compose(self) -> ComposeResult:
        """One picture."""
        yield PictureView(self._ink, self._glyphs)

    def on_mount(self) -> None:
        """Draw."""
        self._fit()
        self._draw()

    def on_resize(self) -> None:
        """As large as what it says."""
        self._fit()

    def _fit(self) -> None:
        width, height = self.app.size
        found = pages(self._place, self._frame, width - 4, height - 3)
        styles = self.query_one(PictureView).styles
        styles.max_width = len(found[0]) * (WIDEST + 2) + 4
        styles.max_height = max(len(column) for page in found for column in page) + 3

    def _draw(self) -> None:
        self.query_one(PictureView).draw_with(
            lambda width, height: draw_help(self._place, self._frame, self._page, width, height, self._glyphs))

    def action_turn(self, by: int) -> None:
        """Another page."""
        self._page += by
        self._draw()
