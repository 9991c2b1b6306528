"""A line to type in. What is pasted comes from anywhere: only what can be seen gets in."""

from __future__ import annotations

from typing import Final

from textual.widgets import Input

from tuimon.viewer.text import clean

LONGEST: Final = 500
"""Characters that are taken at once."""


class Typed(Input):
    """Textual's own draws whatever it is given, escape sequences of a clipboard included."""

    def replace(self, text: str, start: int, end: int) -> None:
        """Put a text, clean, in the place of another: every way in comes through here."""
        super().replace(clean(text[:LONGEST], LONGEST), start, end)
