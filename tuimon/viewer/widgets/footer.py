"""The keys at the bottom of a screen, and for a moment what there is to say instead."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from textual.timer import Timer

from tuimon.viewer.arrange import footer_keys
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.theme import Ink
from tuimon.viewer.views import Frame
from tuimon.viewer.wanted import Place
from tuimon.viewer.widgets.words import Words


class Footer(Words):
    """One row: where a toast would redraw a corner twice."""

    def __init__(self, place: Place, frame: Frame, ink: Ink, glyphs: GlyphSet) -> None:
        self._now, self._said = frame, ""
        self._timer: Timer | None = None
        super().__init__(partial(footer_keys, place=place), frame, ink, glyphs, id="footer")

    def tell(self, frame: Frame) -> None:
        """Show the keys as they are in this frame."""
        self._now = frame
        super().tell(replace(frame, flash=self._said) if self._said else frame)

    def flash(self, text: str, seconds: float) -> None:
        """Say `text` in the place of the keys."""
        self._said = text
        self.tell(self._now)
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(seconds, self._end)

    def _end(self) -> None:
        self._said, self._timer = "", None
        self.tell(self._now)
