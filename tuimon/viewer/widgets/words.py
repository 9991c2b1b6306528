"""A few lines of toned words in the panel: header, badges, verdict, events, footer are each one of these."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tuimon.viewer.arrange import paint
from tuimon.viewer.charts.picture import NOTHING, Picture
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.lines import Line
from tuimon.viewer.noted import Noted, noting
from tuimon.viewer.theme import Ink
from tuimon.viewer.views import Frame
from tuimon.viewer.widgets.picture import PictureView

Layout = Callable[[Frame, int, int], Sequence[Line]]


class Words(PictureView):
    """Lays out a frame's words at its own size; refreshes only rows that changed."""

    def __init__(self, layout: Layout, frame: Frame, ink: Ink, glyphs: GlyphSet, *, id: str) -> None:  # noqa: A002 - textual's own name
        super().__init__(ink, glyphs, id=id)
        self._arranged_by = layout
        self._shown = frame
        self._noted: Noted | None = None
        """What was read for what was painted last: most words outlive many frames."""
        self._arranged: tuple[object, ...] = ()
        """And what came of it."""
        self._laid = NOTHING
        self.tell(frame)

    def tell(self, frame: Frame) -> None:
        """Show the words of this frame."""
        self._shown = frame
        if self._noted is None or not self._noted.stays(frame):
            self.draw_with(self._lay_out)

    def _lay_out(self, width: int, height: int) -> Picture:
        frame, self._noted = noting(self._shown)
        said = (tuple(self._arranged_by(frame, width, height)), width, height, self.glyphs)
        if said != self._arranged:
            self._arranged, self._laid = said, paint(said[0], width, height, self.glyphs)
        return self._laid
