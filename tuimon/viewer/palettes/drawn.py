"""Palettes drawn by hand: the two that are there from the start, and the one of the terminal's own colours.

Hues are those of Okabe and Ito (2008, "Color universal design"), lightened or darkened for the background: blue and
orange carry below and above, bluish green and vermillion good and critical, which colour-blind eyes tell apart.
Nothing rests on colour alone: badges have glyphs and words, bands a heavier axis and a word, heat has shades. Tints of
a dark background vanish below true colour (all become black), so 256 colours use greys there and 16 colours use none.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tuimon.viewer.palettes.paint import Paint, Palette

DARK: Final = Palette(
    name="dark", dark=True, background="#0f1317", foreground="#c3cad1",
    inks={
        "blank": Paint("#c3cad1", None, None),
        "frame": Paint("#343b43", 238, 8, dim=True),
        "frame-focus": Paint("#77838f", 245, 7),
        "axis": Paint("#444c55", 239, 8, dim=True),
        "label": Paint("#7b8590", 244, 7, dim=True),
        "title": Paint("#aab3bc", 249, 7),
        "text": Paint("#c3cad1", 251, None),
        "value": Paint("#eef2f5", 255, 15, bold=True),
        "note": Paint("#858f9a", 245, 7, dim=True),
        "data": Paint("#93cdf3", 117, 14),
        "data-dim": Paint("#3d617d", 24, 8, dim=True),
        "data-2": Paint("#dd9fc4", 175, 12),
        "data-2-dim": Paint("#76536a", 96, 5, dim=True),
        "data-3": Paint("#dccb6f", 185, 11),
        "data-4": Paint("#7fd0b0", 79, 10),
        "data-5": Paint("#e9a06b", 179, 3),
        "data-6": Paint("#a9a5f2", 147, 13),
        "data-7": Paint("#d3d8de", 253, 15),
        "data-8": Paint("#5aa0a8", 73, 6),
        "spark": Paint("#5f90b3", 67, 6, dim=True),
        "good": Paint("#2fbf91", 36, 2),
        "info": Paint("#56b4e9", 74, 6),
        "warning": Paint("#eba71a", 214, 3, bold=True),
        "critical": Paint("#ff6d48", 203, 9, bold=True),
        "unknown": Paint("#858f9a", 245, 7, dim=True),
        "mark": Paint("#66717c", 242, 8, dim=True),
        "cursor": Paint("#eef2f5", 255, 15),
        "band-usual": Paint("#7a91ab", 103, 12),
        "band-healthy": Paint("#2c8f6f", 29, 2),
        "heat-low-4": Paint("#5cb8ff", 75, 12, bold=True),
        "heat-low-3": Paint("#4a9fe0", 74, 12),
        "heat-low-2": Paint("#4382b2", 68, 4),
        "heat-low-1": Paint("#466984", 66, 4, dim=True),
        "heat-usual": Paint("#3a424b", 238, 8, dim=True),
        "heat-high-1": Paint("#83713f", 94, 3, dim=True),
        "heat-high-2": Paint("#b98a2d", 136, 3),
        "heat-high-3": Paint("#d98a26", 172, 11),
        "heat-high-4": Paint("#ff7350", 203, 9, bold=True),
        "heat-bad": Paint("#ff6d48", 203, 9, bold=True),
    },
    grounds={
        "none": Paint("#0f1317", None, None),
        "usual": Paint("#1c2631", 236, None),
        "healthy": Paint("#13211d", 234, None),
    },
)
LIGHT: Final = Palette(
    name="light", dark=False, background="#fbfaf7", foreground="#2c333a",
    inks={
        "blank": Paint("#2c333a", None, None),
        "frame": Paint("#cdd1d4", 252, 7, dim=True),
        "frame-focus": Paint("#7c868f", 244, 8),
        "axis": Paint("#b4babf", 249, 7, dim=True),
        "label": Paint("#67717a", 243, 8, dim=True),
        "title": Paint("#48525b", 239, 8),
        "text": Paint("#2c333a", 236, None),
        "value": Paint("#0b0f13", 233, 0, bold=True),
        "note": Paint("#68727b", 242, 8, dim=True),
        "data": Paint("#005f99", 25, 4),
        "data-dim": Paint("#9cc3dd", 110, 6, dim=True),
        "data-2": Paint("#a8437f", 132, 5),
        "data-2-dim": Paint("#d9b3ca", 181, 5, dim=True),
        "data-3": Paint("#83700a", 94, 3),
        "data-4": Paint("#007d5c", 29, 2),
        "data-5": Paint("#b3541e", 130, 1),
        "data-6": Paint("#5f58b8", 61, 12),
        "data-7": Paint("#4a5560", 240, 8),
        "data-8": Paint("#2a7f8c", 30, 6),
        "spark": Paint("#5b95bd", 67, 6, dim=True),
        "good": Paint("#007d5c", 29, 2),
        "info": Paint("#0072b2", 25, 4),
        "warning": Paint("#9c5c00", 130, 3, bold=True),
        "critical": Paint("#c23f00", 166, 1, bold=True),
        "unknown": Paint("#68727b", 242, 8, dim=True),
        "mark": Paint("#949ca3", 247, 8, dim=True),
        "cursor": Paint("#0b0f13", 233, 0),
        "band-usual": Paint("#5f7d9c", 67, 4),
        "band-healthy": Paint("#007d5c", 29, 2),
        "heat-low-4": Paint("#00548a", 24, 4, bold=True),
        "heat-low-3": Paint("#2b7db5", 31, 4),
        "heat-low-2": Paint("#6aa5cd", 74, 6),
        "heat-low-1": Paint("#a3c4da", 110, 6, dim=True),
        "heat-usual": Paint("#c9cdd0", 251, 7, dim=True),
        "heat-high-1": Paint("#dcc48c", 180, 3, dim=True),
        "heat-high-2": Paint("#cf9a35", 172, 3),
        "heat-high-3": Paint("#b06a00", 130, 3),
        "heat-high-4": Paint("#c23f00", 166, 1, bold=True),
        "heat-bad": Paint("#c23f00", 166, 1, bold=True),
    },
    grounds={
        "none": Paint("#fbfaf7", None, None),
        "usual": Paint("#e3eaf1", 254, None),
        "healthy": Paint("#eaf3ee", 255, None),
    },
)


def _own(name: str, drawn: Palette) -> Palette:
    """The sixteen colours of `drawn`; what is plain or strong is the terminal's own foreground."""
    inks = {role: replace(paint, c16=None) if role in ("value", "cursor") else paint
            for role, paint in drawn.inks.items()}
    return replace(drawn, name=name, inks=inks, is_own=True)


ANSI: Final = _own("ansi", DARK)
ANSI_LIGHT: Final = _own("ansi-light", LIGHT)
