"""The place System on the screen. Shows frames; knows which panels one person has put away, and their scrolling."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.places.system.draw import draw
from tuimon.viewer.places.system.layout import listed
from tuimon.viewer.places.system.model import Choice, SystemView
from tuimon.viewer.places.system.panels import Style
from tuimon.viewer.screens.keys import bindings
from tuimon.viewer.screens.place import PlaceScreen
from tuimon.viewer.theme import Ink
from tuimon.viewer.views import Frame
from tuimon.viewer.wanted import Place
from tuimon.viewer.widgets.picture import PictureView

MOVES = (-1, 1, -1, 1, -10, 10)
"""How far the keys of the table take its rows."""


class SystemScreen(PlaceScreen):
    """Header, the machine, keys."""

    PLACE: ClassVar[Place] = "system"
    BINDINGS: ClassVar[list[BindingType]] = bindings("system")
    CSS = "#machine { width: 1fr; height: 1fr; }"

    def __init__(self, frame: Frame, ink: Ink, glyphs: GlyphSet) -> None:
        super().__init__(frame, ink, glyphs)
        self.choice = Choice()
        self._drawn: tuple[object, ...] = ()

    def compose_body(self) -> ComposeResult:
        """One picture."""
        yield PictureView(self.ink, self.glyphs, id="machine")

    def show(self) -> None:
        """Draw what is known, and until then what is awaited; nothing where only the step in the header is new."""
        view, choice, style = self.view, self.choice, Style(self.glyphs, self.frame.wanted.units.binary)
        if self._drawn == (view, choice, style):
            return
        self._drawn = view, choice, style
        self.query_one("#machine", PictureView).draw_with(lambda w, h: draw(view, choice, w, h, style))

    @property
    def view(self) -> SystemView:
        """What the newest frame says of the machine."""
        detail = self.frame.detail
        return detail if isinstance(detail, SystemView) else SystemView()

    def action_panel(self, index: int) -> None:
        """Put a panel away, or back."""
        self._choose(self.choice.turned(index))

    def action_machine_order(self) -> None:
        """Order the processes otherwise."""
        self._choose(self.choice.sorted_next())

    def action_machine_rows(self, which: int) -> None:
        """Further down or up the processes."""
        view, size = self.view, self.query_one("#machine").size
        count = len(view.sample.tree.processes) if view.sample.tree is not None else 0
        room = listed(view, self.choice, size.width, size.height)
        self._choose(self.choice.moved(MOVES[which], count, room))

    def _choose(self, choice: Choice) -> None:
        self.choice = choice
        self.show()
