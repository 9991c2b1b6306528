"""The incidents: the list, and of the chosen one its words, its curve, its numbers and its manual page.

Shows frames; knows which incident one person looks at, and how far they have read.
"""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Vertical
from textual.screen import Screen

from tuimon.viewer import arrange, dossier
from tuimon.viewer.actions import Place
from tuimon.viewer.dossier import Look
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.screens.keys import bindings
from tuimon.viewer.screens.layout import Shelves, shelve
from tuimon.viewer.theme import Ink
from tuimon.viewer.views import Frame
from tuimon.viewer.widgets.chart import ChartPanel
from tuimon.viewer.widgets.footer import Footer
from tuimon.viewer.widgets.picture import PictureView
from tuimon.viewer.widgets.words import Words


class Incidents(Screen[None]):
    """Header, list, the chosen incident, keys."""

    PLACE: ClassVar[Place] = "incidents"
    BINDINGS: ClassVar[list[BindingType]] = bindings("incidents")
    CSS = """
    Incidents { overflow: hidden; }
    Incidents > Words { height: 1; width: 1fr; }
    Incidents > #small { display: none; height: 1fr; }
    #case { layout: vertical; width: 1fr; height: 1fr; }
    #text, #proof { width: 1fr; height: 1fr; }
    Incidents.-beside #case { layout: horizontal; }
    Incidents.-tiny > * { display: none; }
    Incidents.-tiny > #small { display: block; }
    """
    AUTO_FOCUS = None

    def __init__(self, frame: Frame, ink: Ink, glyphs: GlyphSet) -> None:
        super().__init__()
        self._frame, self._ink, self._glyphs = frame, ink, glyphs
        self._look = Look().at(frame)
        self._shelves = Shelves("tiny")

    def compose(self) -> ComposeResult:
        """The list above; below it words, and beside or below them the proof."""
        ink, glyphs = self._ink, self._glyphs
        yield Words(arrange.header, self._frame, ink, glyphs, id="header")
        yield PictureView(ink, glyphs, id="list")
        with Container(id="case"):
            yield PictureView(ink, glyphs, id="text")
            with Vertical(id="proof"):
                yield ChartPanel(ink, glyphs, id="curve")
                yield PictureView(ink, glyphs, id="numbers")
        yield Footer(self.PLACE, self._frame, ink, glyphs)
        yield Words(arrange.too_small, self._frame, ink, glyphs, id="small")

    def on_resize(self, event: events.Resize) -> None:
        """Divide the new size."""
        self._shelves = shelves = shelve(event.size.width, event.size.height)
        self.set_class(shelves.kind == "beside", "-beside")
        self.set_class(shelves.kind == "tiny", "-tiny")
        self.query_one("#list").styles.height = shelves.listed
        proof, curve, numbers = self.query_one("#proof"), self.query_one("#curve"), self.query_one("#numbers")
        proof.display = shelves.curve > 0
        proof.styles.height = "1fr" if shelves.kind == "beside" else shelves.curve
        curve.styles.height = shelves.curve
        numbers.styles.height = shelves.numbers
        numbers.display = shelves.numbers > 0
        self._show()

    def show_frame(self, frame: Frame) -> None:
        """Show this moment; the choice stays on its incident."""
        self._frame, self._look = frame, self._look.at(frame)
        for words in self.query(Words):
            words.tell(frame)
        self._show()

    def flash(self, text: str, seconds: float = 3.0) -> None:
        """Say something in the footer's place for a moment."""
        self.query_one(Footer).flash(text, seconds)

    def _show(self) -> None:
        frame, look, glyphs, framed = self._frame, self._look, self._glyphs, self._shelves.kind == "beside"
        self.query_one("#list", PictureView).draw_with(
            lambda w, h: dossier.draw_list(frame, look, w, h, glyphs, framed=framed))
        self.query_one("#text", PictureView).draw_with(
            lambda w, h: dossier.draw_text(frame, look, w, h, glyphs, framed=framed))
        self.query_one("#numbers", PictureView).draw_with(lambda w, h: dossier.draw_numbers(frame, look, w, h, glyphs))
        self.query_one("#curve", ChartPanel).plot(*dossier.curve_spec(frame, look, glyphs))

    def action_choose(self, which: int) -> None:
        """Choose the entry above or below."""
        self._look = self._look.moved(self._frame, -1 if which % 2 == 0 else 1)
        self._show()

    def action_read(self, which: int) -> None:
        """Turn the text by a page, less one line."""
        framed = self._shelves.kind == "beside"
        size = self.query_one("#text").size
        columns, rows = dossier.inside(size.width, size.height, framed=framed)
        count = len(dossier.text_lines(self._frame, self._look.chosen(self._frame), columns, numbers=not framed))
        page = max(1, rows - 1)
        self._look = self._look.read(-page if which == 0 else page, count, rows)
        self._show()
