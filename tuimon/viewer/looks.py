"""From preferences, and what the terminal is, to palette, glyphs and Textual's own theme. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tuimon.viewer.glyphs import GLYPHS, GlyphSet
from tuimon.viewer.palettes import LIGHT_ONES, PALETTES
from tuimon.viewer.settings import LOCAL_FPS, REMOTE_FPS, Settings
from tuimon.viewer.theme import Depth, Ink

if TYPE_CHECKING:
    from textual.theme import Theme


@dataclass(frozen=True, slots=True)
class Around:
    """What the terminal is like."""

    depth: Depth
    glyphs: GlyphSet
    """What it can draw."""
    dark: bool | None = None
    """Its background; None: not known."""
    remote: bool = False
    """Whether it is at the other end of an SSH connection."""
    alert: str = "bell"
    """How it tells somebody who is not looking."""


def palette_name(settings: Settings, around: Around) -> str:
    """The theme that is worn: sixteen colours can only be the terminal's own, on its own background."""
    name = settings.palette_name(dark=around.dark)
    if around.depth != "16":
        return name
    light = name in LIGHT_ONES if around.dark is None else not around.dark
    return "ansi-light" if light else "ansi"


def ink_of(settings: Settings, around: Around) -> Ink:
    """The styles in force."""
    return Ink(PALETTES[palette_name(settings, around)], around.depth)


def glyphs_of(settings: Settings, around: Around) -> GlyphSet:
    """The characters in force."""
    return around.glyphs if settings.glyphs == "auto" else GLYPHS[settings.glyphs]


def meaning(key: str, settings: Settings, around: Around) -> str:
    """What "auto" comes to on this terminal; "" where a value speaks for itself."""
    if getattr(settings, key, None) != "auto":
        return ""
    return {
        "theme": palette_name(settings, around), "glyphs": around.glyphs.name,
        "fps": f"{REMOTE_FPS if around.remote else LOCAL_FPS:g}", "mouse": "off" if around.remote else "on",
        "alerts": around.alert,
    }.get(key, "")


def limits(around: Around) -> str:
    """Why a theme may not look as it should, or ""."""
    return {"16": "this terminal has 16 colours: every theme is made of its own",
            "256": "this terminal has 256 colours: the nearest are used",
            "none": "NO_COLOR, or a terminal without: no colours are used"}.get(around.depth, "")


def textual_theme(ink: Ink) -> Theme:
    """What Textual's own parts wear: backgrounds, dialogs, prompts."""
    from textual.theme import BUILTIN_THEMES, Theme

    palette = ink.palette
    name = f"tuimon-{palette.name}-{ink.depth}"
    if palette.is_own or ink.depth == "none":
        return replace(BUILTIN_THEMES["ansi-dark" if palette.dark else "ansi-light"], name=name)
    return Theme(name, primary=palette.inks["info"].rgb, foreground=palette.foreground, background=palette.background,
                 surface=palette.background, panel=palette.background, dark=palette.dark)
