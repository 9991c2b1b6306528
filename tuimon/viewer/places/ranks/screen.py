"""The place Ranks on the screen. Shows frames; knows in which order one person looks at the ranks, and how far down."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType

from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.places.ranks.draw import draw, listed
from tuimon.viewer.places.ranks.model import Look, RanksView
from tuimon.viewer.screens.keys import bindings
from tuimon.viewer.screens.place import PlaceScreen
from tuimon.viewer.theme import Ink
from tuimon.viewer.views import Frame
from tuimon.viewer.wanted import Place
from tuimon.viewer.widgets.picture import PictureView

_PAGE = 1 << 20
MOVES = (-1, 1, -1, 1, -_PAGE, _PAGE, -(1 << 40), 1 << 40)
"""How far the keys take the rows; a screen where it is _PAGE."""


class RanksScreen(PlaceScreen):
    """Header, the ranks, keys."""

    PLACE: ClassVar[Place] = "ranks"
    BINDINGS: ClassVar[list[BindingType]] = bindings("ranks")
    CSS = "#ranks { width: 1fr; height: 1fr; }"

    def __init__(self, frame: Frame, ink: Ink, glyphs: GlyphSet) -> None:
        super().__init__(frame, ink, glyphs)
        self._look = Look()
        self._drawn: tuple[object, ...] = ()

    def compose_body(self) -> ComposeResult:
        """One picture."""
        yield PictureView(self.ink, self.glyphs, id="ranks")

    def show(self) -> None:
        """Draw what is known; nothing where only the step in the header is new."""
        view, look, glyphs, binary = self.view, self._look, self.glyphs, self.frame.wanted.units.binary
        if self._drawn == (view, look, glyphs, binary):
            return
        self._drawn = view, look, glyphs, binary
        self.query_one("#ranks", PictureView).draw_with(lambda w, h: draw(view, look, w, h, glyphs, binary=binary))

    @property
    def view(self) -> RanksView:
        """What the newest frame says of the ranks."""
        detail = self.frame.detail
        return detail if isinstance(detail, RanksView) else RanksView()

    def action_rank_rows(self, which: int) -> None:
        """Further down or up the ranks; never past the last."""
        size, view = self.query_one("#ranks").size, self.view
        room = listed(view, size.width, size.height)
        by = MOVES[which]
        by = (by // _PAGE) * room if abs(by) == _PAGE else by
        self._choose(Look(self._look.order, max(0, min(self._look.first + by, view.world - room))))

    def action_rank_order(self) -> None:
        """The worst first, or by number; from the top."""
        self._choose(Look("number" if self._look.order == "worst" else "worst"))

    def habits(self) -> object:
        """The order, whatever run is shown."""
        return self._look.order

    def resume(self, habits: object) -> None:
        """In the order of before."""
        if habits in ("number", "worst"):
            self._look = Look(habits)

    def _choose(self, look: Look) -> None:
        self._look = look
        self.show()
