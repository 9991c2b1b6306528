"""Text from outside (names, notes, console lines, remote data) is made safe here, once, at the boundary. Pure."""

from __future__ import annotations


def clean(text: str, limit: int = 400) -> str:
    """One printable line of at most `limit` characters.

    Escape sequences (CSI, OSC, DCS, ...) go with their contents, control characters become spaces or vanish, bidirectional
    and zero-width controls vanish, line breaks become spaces, a cut ends in "…".
    """
    raise NotImplementedError


def fit(text: str, width: int, ellipsis: str = "…") -> str:
    """At most `width` cells (wide characters count two), cut with an ellipsis."""
    raise NotImplementedError


def pad(text: str, width: int, *, right: bool = False, ellipsis: str = "…") -> str:
    """Exactly `width` cells: cut or filled with spaces; `right` aligns to the right."""
    raise NotImplementedError
