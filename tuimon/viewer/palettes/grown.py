"""A whole palette from the few colours that make its character. Pure.

What is told apart by meaning is taken from the seed, and made lighter or darker only where it could not be read; what
recedes (frames, axes, older data) is mixed from the background, so that it belongs to any character. With sixteen
colours a character cannot be kept: those are the ones of the palettes drawn by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tuimon.viewer.charts.picture import Ground, Role
from tuimon.viewer.palettes.colours import at_lightness, is_dark, mix, nearest_256, oklab, readable
from tuimon.viewer.palettes.drawn import DARK, LIGHT
from tuimon.viewer.palettes.paint import Paint, Palette

TEXT: Final = 4.5
"""Contrast of words that are read (WCAG 2.1, level AA)."""
DATA: Final = 4.0
"""Of lines and signs, on every ground: 3 is asked for graphics, and braille dots are thin."""
QUIET: Final = 3.0
"""Of what only marks a place."""
LINES: Final[tuple[Role, ...]] = ("data", "data-2", "data-3", "data-4", "data-5", "data-6", "data-7", "data-8")
SIGNS: Final[tuple[Role, ...]] = ("good", "info", "warning", "critical")


@dataclass(frozen=True, slots=True)
class Seed:
    """The colours that make a character, each "#rrggbb"."""

    background: str
    foreground: str
    good: str
    info: str
    warning: str
    critical: str
    data: tuple[str, str, str, str, str, str, str, str]
    """Of eight runs over each other; the first is the line of every chart, the second the validation loss."""
    cold: str
    hot: str
    """Ends of the heat strip: far below and far above the usual."""
    text: float = TEXT
    """Least contrast of words."""
    stated: Mapping[Role, str] = field(default_factory=dict)
    """Roles that are not mixed but said."""


def grow(name: str, seed: Seed) -> Palette:
    """The palette of a seed."""
    dark = is_dark(seed.background)
    model = DARK if dark else LIGHT
    here = (seed.background,)   # near black, a part of a colour is nothing: at least this much is seen
    grounds = {"none": seed.background, "usual": readable(mix(seed.background, seed.info, 0.14), here, 1.15),
               "healthy": readable(mix(seed.background, seed.good, 0.09), here, 1.1)}
    rgb = {**_quiet(seed, dark), **_loud(seed, tuple(grounds.values())), **_heat(seed), **seed.stated}
    inks: dict[Role, Paint] = {}
    for role, like in model.inks.items():
        c256 = None if like.c256 is None else nearest_256(rgb[role])
        inks[role] = Paint(rgb[role], c256, like.c16, like.bold, like.dim)
    return Palette(name, dark, seed.background, seed.foreground, inks, _grounds(grounds))


def _grounds(rgb: Mapping[str, str]) -> dict[Ground, Paint]:
    """With 256 colours the nearest of a dark tint is the background itself: the next nearest then."""
    taken = {nearest_256(rgb["none"])}
    usual = nearest_256(rgb["usual"], frozenset(taken))
    healthy = nearest_256(rgb["healthy"], frozenset({*taken, usual}))
    return {"none": Paint(rgb["none"], None, None), "usual": Paint(rgb["usual"], usual, None),
            "healthy": Paint(rgb["healthy"], healthy, None)}


def _quiet(seed: Seed, dark: bool) -> dict[Role, str]:
    """What recedes: between background and foreground."""
    def shade(part: float) -> str:
        return mix(seed.background, seed.foreground, part)

    def words(part: float) -> str:
        return readable(shade(part), (seed.background,), seed.text)

    def lines(part: float) -> str:
        return readable(shade(part), (seed.background,), QUIET if seed.text > TEXT else 1.4)

    strong = readable(mix(seed.foreground, "#ffffff" if dark else "#000000", 0.6), (seed.background,), 7.0)
    label = words(0.55)
    return {
        "blank": seed.foreground, "text": words(1.0), "value": strong, "cursor": strong, "title": words(0.8),
        "label": label, "note": words(0.6), "unknown": words(0.6), "frame": lines(0.22), "frame-focus": lines(0.6),
        "axis": lines(0.3), "mark": readable(shade(0.45), (seed.background,), QUIET),
    }


def _loud(seed: Seed, grounds: tuple[str, ...]) -> dict[Role, str]:
    """What is told apart by its hue."""
    loud: dict[Role, str] = dict(zip(LINES, (readable(rgb, grounds, DATA) for rgb in seed.data), strict=True))
    for role, rgb in zip(SIGNS, (seed.good, seed.info, seed.warning, seed.critical), strict=True):
        loud[role] = readable(rgb, grounds, DATA)
    background = seed.background
    loud["data-dim"] = mix(background, loud["data"], 0.45)
    loud["data-2-dim"] = mix(background, loud["data-2"], 0.45)
    loud["spark"] = mix(background, loud["data"], 0.75)
    loud["band-usual"] = mix(background, mix(loud["info"], seed.foreground, 0.4), 0.7)
    loud["band-healthy"] = mix(background, loud["good"], 0.75)
    return loud


def _heat(seed: Seed) -> dict[Role, str]:
    """Either way from the usual in even steps of lightness: towards cold, and by way of the warning towards hot."""
    usual = readable(mix(seed.background, seed.foreground, 0.24), (seed.background,), 1.5)
    cold, hot = (readable(end, (seed.background,), DATA) for end in (seed.cold, seed.hot))
    first = oklab(usual)[0]
    warm = mix(seed.warning, hot, 0.35)
    low: tuple[Role, ...] = ("heat-low-1", "heat-low-2", "heat-low-3", "heat-low-4")
    high: tuple[Role, ...] = ("heat-high-1", "heat-high-2", "heat-high-3", "heat-high-4")
    found: dict[Role, str] = {"heat-usual": usual, "heat-bad": hot}
    for i in range(4):
        part = (0.32, 0.56, 0.8, 1.0)[i]
        found[low[i]] = mix(usual, cold, part)
        hue = mix(usual, warm, part / 0.8) if part <= 0.8 else hot
        found[high[i]] = at_lightness(hue, first + part * (oklab(hot)[0] - first))
    return found
