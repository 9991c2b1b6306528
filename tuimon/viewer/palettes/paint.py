"""How a role looks at each depth of colour, and a complete set of that. Pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rich.color import Color

from tuimon.viewer.charts.picture import Ground, Role

Depth = Literal["truecolor", "256", "16", "none"]


@dataclass(frozen=True, slots=True)
class Paint:
    """How one role looks."""

    rgb: str
    """"#rrggbb" for true colour."""
    c256: int | None
    """Index for 256 colours; None for nothing (as a ground) or the terminal's own (as a foreground)."""
    c16: int | None
    """ANSI colour 0-15, or None likewise."""
    bold: bool = False
    dim: bool = False
    """Attributes; `dim` only where there is no colour to say it."""

    def colour(self, depth: Depth) -> Color | None:
        """The colour at a depth, if it has one there."""
        if depth == "truecolor":
            return Color.parse(self.rgb)
        index = self.c256 if depth == "256" else self.c16 if depth == "16" else None
        return None if index is None else Color.from_ansi(index)


@dataclass(frozen=True, slots=True)
class Palette:
    """A complete set of paints."""

    name: str
    dark: bool
    background: str
    foreground: str
    inks: Mapping[Role, Paint]
    grounds: Mapping[Ground, Paint]
    is_own: bool = False
    """Whether the terminal's own sixteen colours and background are used, at every depth; `rgb` is what a picture of
    the screen shows then."""
