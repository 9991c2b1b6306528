"""Text in cells: what was made safe (`clean`), cut and filled to a width. Pure."""

from __future__ import annotations

from typing import Final

from rich.cells import cell_len

from tuimon.record.text import clean

__all__ = ["clean", "fit", "pad", "squeeze"]


LONGEST: Final = 12
"""Cells of a word that is left out rather than cut; paths and long names are cut where they stand."""


def fit(text: str, width: int, ellipsis: str = "…") -> str:
    """At most `width` cells (wide characters count two), cut with an ellipsis: between words, where one is near.

    Half a number is another number.
    """
    if (len(text) if text.isascii() else cell_len(text)) <= width:
        return text
    return _whole_words(text, _head(text, width - 1)) + ellipsis if width > 0 else ""


def _head(text: str, width: int) -> str:
    """As much of the text as fits."""
    if text.isascii():
        return text[:width]
    used, kept = 0, 0
    for character in text:
        used += cell_len(character)
        if used > width:
            break
        kept += 1
    return text[:kept]


_OF_NUMBERS: Final = frozenset("0123456789.,:%eE()+-±~x×")
"""What a number, a time or a range is made of; a name that begins with a digit has more."""


def _whole_words(text: str, head: str) -> str:
    """The beginning of a text without the word that it ends amid, unless too much would go with it."""
    words = head.rstrip(" ")
    half = "" if text[len(words):len(words) + 1] == " " else words.rpartition(" ")[2]
    words = words.removesuffix(half).rstrip(" ·,;:(")
    is_number = half.lstrip("(+-±~")[:1].isdigit() and not set(half) - _OF_NUMBERS
    return words if words and (is_number or len(head) - len(words) <= min(LONGEST, len(head) // 3)) else head


def squeeze(text: str, width: int, ellipsis: str = "…") -> str:
    """At most `width` cells; what is too long loses its middle: names and paths are told apart by their ends."""
    if cell_len(text) <= width:
        return text
    head = (width - 1) * 2 // 5
    return _head(text, head) + ellipsis + _head(text[::-1], width - head - 1)[::-1] if width > 0 else ""


def pad(text: str, width: int, *, right: bool = False, ellipsis: str = "…") -> str:
    """Exactly `width` cells: cut or filled with spaces; `right` aligns to the right."""
    fitted = fit(text, width, ellipsis)
    gap = " " * max(0, width - cell_len(fitted))
    return gap + fitted if right else fitted + gap
