"""The guide: shows a chapter and its curves; knows which one a person reads, how far, and since when it is drawn."""

from __future__ import annotations

import time
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container
from textual.timer import Timer

from tuimon.viewer.charts.picture import plain
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.places.guide.draw import Look, clicked, draw_list, draw_text, inside, shape, text_lines
from tuimon.viewer.places.guide.miniatures import MINIATURES, Curve, draw_curve, share
from tuimon.viewer.screens.keys import bindings
from tuimon.viewer.screens.place import PlaceScreen
from tuimon.viewer.theme import Ink
from tuimon.viewer.views import Frame
from tuimon.viewer.wanted import Place
from tuimon.viewer.widgets.picture import PictureView

TICK = 0.25
"""Seconds between two looks at the curves while they are drawn."""
TALLEST = 14
"""Rows of a curve beside the text, at most."""


class GuideScreen(PlaceScreen):
    """Chapters, curves, text."""

    PLACE: ClassVar[Place] = "guide"
    clock = staticmethod(time.monotonic)
    BINDINGS: ClassVar[list[BindingType]] = bindings("guide")
    CSS = """
    #guide { layout: horizontal; width: 1fr; height: 1fr; }
    #lesson { width: 1fr; height: 1fr; }
    #curves { dock: top; layout: horizontal; width: 1fr; }
    GuideScreen.-above #guide { layout: vertical; }
    GuideScreen.-wide #curves { dock: right; layout: vertical; height: 1fr; }
    """

    def __init__(self, frame: Frame, ink: Ink, glyphs: GlyphSet) -> None:
        super().__init__(frame, ink, glyphs)
        self._look = Look()
        self._began = self.clock()
        self._ticking: Timer | None = None

    def compose_body(self) -> ComposeResult:
        """The list; beside or below it a lesson."""
        ink, glyphs = self.ink, self.glyphs
        with Container(id="guide"):
            yield PictureView(ink, glyphs, id="chapters")
            with Container(id="lesson"):
                with Container(id="curves"):
                    yield PictureView(ink, glyphs, id="curve-0")
                    yield PictureView(ink, glyphs, id="curve-1")
                yield PictureView(ink, glyphs, id="lesson-text")

    def on_mount(self) -> None:
        """Curves are drawn with time."""
        self._ticking = self.set_interval(TICK, self._tick)

    def on_screen_suspend(self) -> None:
        """Nothing moves that is not seen."""
        if self._ticking is not None:
            self._ticking.pause()

    def on_screen_resume(self) -> None:
        """Go on."""
        if self._ticking is not None and share(self.clock() - self._began) < 1:
            self._ticking.resume()

    @property
    def look(self) -> Look:
        """What is read."""
        return self._look

    def divide(self, width: int, height: int) -> None:
        """List, curves and text."""
        found = shape(width, height - 2, self._look.charts)
        self.set_class(found.kind == "above", "-above")
        self.set_class(found.kind == "wide", "-wide")
        listed, curves = self.query_one("#chapters"), self.query_one("#curves")
        listed.styles.width = "1fr" if found.kind == "above" else found.listed
        listed.styles.height = found.listed if found.kind == "above" else "1fr"
        curves.display = found.curves > 0
        curves.styles.width = found.curves if found.kind == "wide" else "1fr"
        curves.styles.height = "1fr" if found.kind == "wide" else found.curves
        for i in range(2):
            one = self.query_one(f"#curve-{i}")
            one.display = i < self._look.charts
            one.styles.height = min(TALLEST, (height - 2) // 2) if found.kind == "wide" else "1fr"

    def show(self) -> None:
        """Draw list, text and curves."""
        look, glyphs = self._look, self.glyphs
        self.query_one("#chapters", PictureView).draw_with(lambda w, h: draw_list(look, w, h, glyphs))
        self.query_one("#lesson-text", PictureView).draw_with(lambda w, h: draw_text(look, w, h, glyphs))
        self._draw_curves()

    def _draw_curves(self) -> None:
        curves = MINIATURES.get(self._look.chapter.shows, ())
        for i in range(2):
            view = self.query_one(f"#curve-{i}", PictureView)
            if i < len(curves):
                self._draw_one(view, curves[i])
            else:
                view.draw_with(plain)

    def _draw_one(self, view: PictureView, curve: Curve) -> None:
        glyphs = self.glyphs
        view.draw_with(lambda w, h: draw_curve(curve, share(self.clock() - self._began), w, h, glyphs))

    def _tick(self) -> None:
        self._draw_curves()
        if self._ticking is not None and share(self.clock() - self._began) >= 1:
            self._ticking.pause()

    def action_chapter(self, which: int) -> None:
        """The chapter above or below, from its beginning."""
        self._open(self._look.moved(-1 if which % 2 == 0 else 1))

    def on_click(self, event: events.Click) -> None:
        """A click opens a chapter."""
        listed = self.query_one("#chapters")
        if event.widget is listed:
            self._open(clicked(self._look, event.y, listed.size.height))

    def _open(self, look: Look) -> None:
        if look.at != self._look.at:
            self._look = look
            self.divide(*self.app.size)
            self.action_again()

    def action_turn(self, which: int) -> None:
        """Turn the text by a page, less one line."""
        _, rows = inside(*self.query_one("#lesson-text").size)
        self._read(max(1, rows - 1) * (-1 if which == 0 else 1))

    async def _turn_wheel(self, key: str) -> None:
        self._read(3 if key == "down" else -3)

    def _read(self, by: int) -> None:
        size = self.query_one("#lesson-text").size
        count, (_, rows) = len(text_lines(self._look.chapter, size.width, self.glyphs)), inside(*size)
        self._look = self._look.read(by, count, rows)
        self.show()

    def action_again(self) -> None:
        """Draw the curves from their beginning."""
        self._began = self.clock()
        if self._ticking is not None:
            self._ticking.resume()
        self.show()

    def action_try_it(self) -> None:
        """Say what to type."""
        tries = self._look.chapter.tries
        words = f"try it in another terminal: {tries[0]}" if tries else "there is nothing to try in this chapter"
        self.flash(words + (f", or {tries[1]}" if len(tries) > 1 else ""), 8.0)
