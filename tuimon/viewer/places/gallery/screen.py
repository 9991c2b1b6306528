"""The gallery on the screen: a grid of runs, one of them chosen. Shows frames; knows which one a person looks at."""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Final

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Grid

from tuimon.diagnosis.axes import YAxis
from tuimon.viewer.charts.picture import Picture
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.messages import OpenRun
from tuimon.viewer.places.gallery.draw import draw_run, waiting
from tuimon.viewer.places.gallery.model import GalleryView
from tuimon.viewer.screens.keys import bindings
from tuimon.viewer.screens.place import PlaceScreen
from tuimon.viewer.theme import Ink
from tuimon.viewer.views import Frame
from tuimon.viewer.wanted import Place
from tuimon.viewer.widgets.picture import PictureView

MOST: Final = 9
"""Cells that can be told apart."""


class GalleryScreen(PlaceScreen):
    """Cells of equal size; as many columns as have room."""

    PLACE: ClassVar[Place] = "gallery"
    BINDINGS: ClassVar[list[BindingType]] = bindings("gallery")
    CSS = """
    GalleryScreen #cells { grid-gutter: 0; width: 1fr; height: 1fr; }
    GalleryScreen #cells > PictureView { width: 1fr; height: 1fr; }
    GalleryScreen #header { display: none; }
    """

    def __init__(self, frame: Frame, ink: Ink, glyphs: GlyphSet) -> None:
        super().__init__(frame, ink, glyphs)
        self._chosen = 0
        self._axes: dict[int, YAxis] = {}
        self._view: GalleryView | None = None
        """What hangs here: also while one of the runs fills the panel, and until all are read again."""

    def compose_body(self) -> ComposeResult:
        """The cells."""
        with Grid(id="cells"):
            for i in range(MOST):
                yield PictureView(self.ink, self.glyphs, id=f"cell-{i}")

    def show(self) -> None:
        """Draw every run."""
        if isinstance(self.frame.detail, GalleryView):
            self._view = self.frame.detail.after(self._view)
        view = self._view
        count = 1 if view is None else min(MOST, len(view.frames))
        columns = 1 if count == 1 or self.size.width < 70 else 2 if count <= 4 or self.size.width < 150 else 3
        grid = self.query_one("#cells", Grid)
        grid.styles.grid_size_columns = columns
        grid.styles.grid_size_rows = -(-count // columns)
        for i in range(MOST):
            cell = self.query_one(f"#cell-{i}", PictureView)
            cell.display = i < count
            if i < count:
                cell.draw_with(partial(self._paint, i))

    def _paint(self, i: int, width: int, height: int) -> Picture:
        view = self._view
        if view is None or i >= len(view.frames):
            return waiting(width, height, self.glyphs)
        picture, self._axes[i] = draw_run(
            view.frames[i], self._axes.get(i), width, height, self.glyphs, chosen=i == self._chosen)
        return picture

    def action_pick(self, which: int) -> None:
        """Choose another run: left, right, up, down, next."""
        view = self._view
        if view is None:
            return
        count = min(MOST, len(view.frames))
        columns = self.query_one("#cells", Grid).styles.grid_size_columns
        by = (-1, 1, -columns, columns, 1)[which]
        to = self._chosen + by
        self._chosen = to % count if which == 4 else self._chosen if not 0 <= to < count else to
        self.show()

    def action_open(self) -> None:
        """The chosen run alone."""
        view = self._view
        if view is not None and self._chosen < len(view.runs):
            self.post_message(OpenRun(view.runs[self._chosen]))
