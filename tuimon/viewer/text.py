"""Text in cells: what was made safe (`clean`), cut and filled to a width. Pure."""

from __future__ import annotations

from rich.cells import cell_len

from tuimon.record.text import clean

__all__ = ["clean", "fit", "pad", "squeeze"]


def fit(text: str, width: int, ellipsis: str = "…") -> str:
    """At most `width` cells (wide characters count two), cut with an ellipsis."""
    if text.isascii():
        if len(text) <= width:
            return text
        return text[: width - 1] + ellipsis if width > 0 else ""
    if cell_len(text) <= width:
        return text
    if width <= 0:
        return ""
    used, kept = 0, []
    for character in text:
        used += cell_len(character)
        if used > width - 1:
            break
        kept.append(character)
    return "".join(kept) + ellipsis


def squeeze(text: str, width: int, ellipsis: str = "…") -> str:
    """At most `width` cells; what is too long loses its middle: names and paths are told apart by their ends."""
    if cell_len(text) <= width:
        return text
    head = (width - 1) * 2 // 5
    return fit(text, head + 1, ellipsis) + fit(text[::-1], width - head, "")[::-1] if width > 0 else ""


def pad(text: str, width: int, *, right: bool = False, ellipsis: str = "…") -> str:
    """Exactly `width` cells: cut or filled with spaces; `right` aligns to the right."""
    fitted = fit(text, width, ellipsis)
    gap = " " * max(0, width - cell_len(fitted))
    return gap + fitted if right else fitted + gap
