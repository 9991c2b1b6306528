"""The place of the settings: a list, the themes, and a sample that wears what is chosen. Says what is preferred."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Vertical

from tuimon.viewer.looks import Around
from tuimon.viewer.messages import Prefers
from tuimon.viewer.places.settings import draw
from tuimon.viewer.places.settings.model import Look, view
from tuimon.viewer.screens.keys import bindings
from tuimon.viewer.screens.place import PlaceScreen
from tuimon.viewer.settings import SETTINGS, Settled, Value
from tuimon.viewer.wanted import Place
from tuimon.viewer.widgets.chart import ChartPanel
from tuimon.viewer.widgets.heat import HeatPanel
from tuimon.viewer.widgets.picture import PictureView

BESIDE = 100
"""Columns from which the sample stands beside the list."""
LISTED = len(SETTINGS) + 6
"""Rows of the list with its frame and three lines about the chosen one."""
THEMES_FROM = 6
"""Least rows for the box of themes."""


class SettingsScreen(PlaceScreen):
    """List and themes at the left, or the list above; the sample beside or below."""

    PLACE: ClassVar[Place] = "settings"
    BINDINGS: ClassVar[list[BindingType]] = bindings("settings")
    CSS = """
    #body { width: 1fr; height: 1fr; layout: vertical; }
    #choices, #sample { width: 1fr; height: 1fr; }
    #choices > PictureView, #sample > PictureView { width: 1fr; }
    SettingsScreen.-beside #body { layout: horizontal; }
    SettingsScreen.-beside #choices { width: 64; }
    """

    _look = Look()
    _awaited: tuple[str, Value] | None = None
    """What the app has not yet taken note of: keys may come faster than it answers."""

    def compose_body(self) -> ComposeResult:
        """Both halves."""
        ink, glyphs = self.ink, self.glyphs
        with Container(id="body"):
            with Vertical(id="choices"):
                yield PictureView(ink, glyphs, id="list")
                yield PictureView(ink, glyphs, id="themes")
            with Vertical(id="sample"):
                yield PictureView(ink, glyphs, id="signs")
                yield ChartPanel(ink, glyphs, id="chart")
                yield HeatPanel(ink, glyphs, id="heat")

    def divide(self, width: int, height: int) -> None:
        """The list whole before anything else."""
        rows, beside = height - 2, width >= BESIDE
        self.set_class(beside, "-beside")
        short = LISTED - (1 if self._look.settled.problems else 2)
        listed = min(rows, LISTED if beside or rows >= LISTED + 8 else short)
        themes = rows - listed if beside and rows - listed >= THEMES_FROM else 0
        sample = rows if beside else rows - listed
        signs = 3 if sample >= 8 else 0
        heat = 8 if sample >= 24 else 0
        self.query_one("#list").styles.height = listed if themes or not beside else rows
        self.query_one("#choices").styles.height = rows if beside else listed
        for name, shown, amount in (("themes", themes > 0, themes), ("sample", sample >= 5, sample),
                                    ("signs", signs > 0, signs), ("heat", heat > 0, heat)):
            part = self.query_one(f"#{name}")
            part.display = shown
            part.styles.height = amount

    def suit(self, settled: Settled, around: Around) -> None:
        """What is preferred now."""
        super().suit(settled, around)
        if self._awaited is None or getattr(settled.settings, self._awaited[0]) == self._awaited[1]:
            self._awaited = None
            self._look = replace(self._look, settled=settled)

    def show(self) -> None:
        """Draw what is chosen."""
        shown, glyphs = view(self._look, self.around), self.glyphs
        self.query_one("#list", PictureView).draw_with(lambda w, h: draw.draw_list(shown, w, h, glyphs))
        self.query_one("#themes", PictureView).draw_with(lambda w, h: draw.draw_themes(shown, w, h, glyphs))
        self.query_one("#signs", PictureView).draw_with(lambda w, h: draw.draw_signs(w, h, glyphs))
        self.query_one("#chart", ChartPanel).plot(draw.sample_chart(), draw.sample_axis())
        self.query_one("#heat", HeatPanel).plot(draw.sample_heat(), draw.sample_axis())

    def action_choose(self, which: int) -> None:
        """Choose the one above or below."""
        self._look = self._look.moved(-1 if which % 2 == 0 else 1)
        self.show()

    def action_prefer(self, which: int) -> None:
        """The value before or after; enter goes round."""
        look = self._look
        value = look.turned(-1 if which == 0 else 1, around=which == 2)
        if value is not None:
            self._awaited = look.setting.key, value
            self._look = replace(look, settled=look.settled.preferring(look.setting.key, value))
            self.show()
            self.post_message(Prefers(look.setting.key, value))

    def action_forget(self, _which: int = 0) -> None:
        """As it is by itself."""
        look = self._look
        self._awaited = look.setting.key, look.setting.default
        self._look = replace(look, settled=look.settled.without(look.setting.key))
        self.show()
        self.post_message(Prefers(look.setting.key, None))
