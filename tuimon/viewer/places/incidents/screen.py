"""The incidents: the list, and of the chosen one its words, its curve, its numbers and its manual page.

Shows frames; knows which incident one person looks at, and how far they have read.
"""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Vertical

from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.messages import GoTo, ScrubTo
from tuimon.viewer.places.incidents import draw
from tuimon.viewer.places.incidents.draw import Look
from tuimon.viewer.screens.keys import bindings
from tuimon.viewer.screens.layout import Shelves, shelve
from tuimon.viewer.screens.place import PlaceScreen
from tuimon.viewer.theme import Ink
from tuimon.viewer.views import Frame, IncidentView
from tuimon.viewer.wanted import Place
from tuimon.viewer.widgets.chart import ChartPanel
from tuimon.viewer.widgets.picture import PictureView


class Incidents(PlaceScreen):
    """Header, list, the chosen incident, keys."""

    PLACE: ClassVar[Place] = "incidents"
    BINDINGS: ClassVar[list[BindingType]] = bindings("incidents")
    CSS = """
    #case { layout: vertical; width: 1fr; height: 1fr; }
    #text, #proof { width: 1fr; height: 1fr; }
    Incidents.-beside #case { layout: horizontal; }
    """

    def __init__(self, frame: Frame, ink: Ink, glyphs: GlyphSet) -> None:
        super().__init__(frame, ink, glyphs)
        self._look = Look().at(frame)
        self._shelves = Shelves("tiny")

    def compose_body(self) -> ComposeResult:
        """The list above; below it words, and beside or below them the proof."""
        ink, glyphs = self.ink, self.glyphs
        yield PictureView(ink, glyphs, id="list")
        with Container(id="case"):
            yield PictureView(ink, glyphs, id="text")
            with Vertical(id="proof"):
                yield ChartPanel(ink, glyphs, id="curve")
                yield PictureView(ink, glyphs, id="numbers")

    def divide(self, width: int, height: int) -> None:
        """List, words, curve and numbers."""
        self._shelves = shelves = shelve(width, height)
        self.set_class(shelves.kind == "beside", "-beside")
        self.query_one("#list").styles.height = shelves.listed
        proof, curve, numbers = self.query_one("#proof"), self.query_one("#curve"), self.query_one("#numbers")
        proof.display = shelves.curve > 0
        proof.styles.height = "1fr" if shelves.kind == "beside" else shelves.curve
        curve.styles.height = shelves.curve
        numbers.styles.height = shelves.numbers
        numbers.display = shelves.numbers > 0

    def show(self) -> None:
        """Draw; the choice stays on its incident."""
        self._look = self._look.at(self.frame)
        frame, look, glyphs, framed = self.frame, self._look, self.glyphs, self._shelves.kind == "beside"
        self.query_one("#list", PictureView).draw_with(
            lambda w, h: draw.draw_list(frame, look, w, h, glyphs, framed=framed))
        self.query_one("#text", PictureView).draw_with(
            lambda w, h: draw.draw_text(frame, look, w, h, glyphs, framed=framed))
        self.query_one("#numbers", PictureView).draw_with(lambda w, h: draw.draw_numbers(frame, look, w, h, glyphs))
        self.query_one("#curve", ChartPanel).plot(*draw.curve_spec(frame, look))

    def begin_with(self, ask: object, frame: Frame) -> None:
        """With one of the incidents, by its key."""
        self.frame = frame
        self._look = next((Look(view.key) for view in frame.incidents if view.key == ask), self._look)

    def action_choose(self, which: int) -> None:
        """Choose the entry above or below."""
        self._look = self._look.moved(self.frame, -1 if which % 2 == 0 else 1)
        self.show()

    def on_click(self, event: events.Click) -> None:
        """A click chooses."""
        listed = self.query_one("#list")
        if event.widget is listed:
            self._look = draw.clicked(
                self.frame, self._look, event.y, listed.size, framed=self._shelves.kind == "beside")
            self.show()

    def action_read(self, which: int) -> None:
        """Turn the text by a page, less one line."""
        framed = self._shelves.kind == "beside"
        size = self.query_one("#text").size
        columns, rows = draw.inside(size.width, size.height, framed=framed)
        count = len(draw.text_lines(self.frame, self._look.chosen(self.frame), columns, numbers=not framed))
        page = max(1, rows - 1)
        self._look = self._look.read(-page if which == 0 else page, count, rows)
        self.show()

    def action_visit(self) -> None:
        """The whole panel as it was when the chosen incident was found."""
        chosen = self._look.chosen(self.frame)
        if isinstance(chosen, IncidentView):
            self.post_message(ScrubTo(chosen.incident.detected_step))
            self.post_message(GoTo("overview"))
