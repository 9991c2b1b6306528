"""From roles to styles, per colour depth: what a terminal can show of a palette. Pure values and one cache."""

from __future__ import annotations

from collections.abc import Mapping

from rich.style import Style

from tuimon.viewer.charts.picture import Ground, Role
from tuimon.viewer.palettes import PALETTES
from tuimon.viewer.palettes.drawn import DARK, LIGHT
from tuimon.viewer.palettes.paint import Depth, Paint, Palette

__all__ = ["DARK", "LIGHT", "PALETTES", "Depth", "Ink", "Paint", "Palette", "depth_of"]


class Ink:
    """A palette at a depth: role and ground to a cached rich Style (no background where the ground is "none")."""

    def __init__(self, palette: Palette, depth: Depth) -> None:
        self.palette = palette
        self.depth: Depth = "16" if palette.is_own and depth != "none" else depth
        self._styles: dict[tuple[Role, Ground], Style] = {}

    def style(self, role: Role, ground: Ground = "none") -> Style:
        """The style of a run."""
        found = self._styles.get((role, ground))
        if found is None:
            paint = self.palette.inks[role]
            behind = None if ground == "none" else self.palette.grounds[ground].colour(self.depth)
            found = self._styles[role, ground] = Style.from_color(paint.colour(self.depth), behind) + Style(
                bold=paint.bold or None, dim=(paint.dim and self.depth == "none") or None,
            )
        return found


def depth_of(color_system: str | None, environ: Mapping[str, str]) -> Depth:
    """Depth for what `rich.console.Console.color_system` says; NO_COLOR (non-empty) means none."""
    if environ.get("NO_COLOR"):
        return "none"
    known: Mapping[str, Depth] = {"truecolor": "truecolor", "256": "256", "standard": "16", "windows": "16"}
    return known.get(color_system or "", "none")
