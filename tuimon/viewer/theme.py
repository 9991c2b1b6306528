"""From roles to styles, per colour depth. The only place that names a colour. Pure values and one cache."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rich.style import Style

from tuimon.viewer.charts.picture import Ground, Role

Depth = Literal["truecolor", "256", "16", "none"]
PaletteName = Literal["dark", "light"]


@dataclass(frozen=True, slots=True)
class Paint:
    """How one role looks."""

    rgb: str
    """"#rrggbb" for true colour."""
    c256: int
    """Index for 256 colours."""
    c16: int | None
    """ANSI colour 0-15, or None for the terminal's own foreground."""
    bold: bool = False
    dim: bool = False
    """Attributes that also hold without colour."""


@dataclass(frozen=True, slots=True)
class Palette:
    """A complete set of paints."""

    name: PaletteName
    dark: bool
    background: str
    foreground: str
    inks: Mapping[Role, Paint]
    grounds: Mapping[Ground, Paint]


class Ink:
    """A palette at a depth: role and ground to a cached rich Style (no background where the ground is "none")."""

    def __init__(self, palette: Palette, depth: Depth) -> None:
        self.palette = palette
        self.depth: Depth = depth

    def style(self, role: Role, ground: Ground = "none") -> Style:
        """The style of a run."""
        raise NotImplementedError


def depth_of(color_system: str | None, environ: Mapping[str, str]) -> Depth:
    """Depth for what `rich.console.Console.color_system` says; NO_COLOR (non-empty) means none."""
    raise NotImplementedError
