"""Text from outside (names, notes, console lines, remote data) is made safe here, once, at the boundary. Pure."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

# ECMA-48: a control sequence (8-bit or ESC form), a control string up to its terminator (BEL for OSC, as in xterm), any
# other escape. An unterminated string swallows what follows, up to the length that is looked at: it never was text.
_ESCAPES: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|(?=\x1b)|$)"
    r"|\x1b[ -/]*[0-~]?",
)
_BREAKS: Final = frozenset("\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f\x85\u2028\u2029")
_GONE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Categories that are no visible character: control, format (bidi, zero width), surrogate, private, unassigned."""
_HIDDEN: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u3164\uffa0") | {
    chr(point) for point in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))}
"""Letters and marks that show nothing (fillers, joiners, variation selectors, what asks for an emoji's two cells)."""
_OURS: Final = re.compile(r"(\x1b\[[0-9;]*m|\n)")
"""What pages of ours are made of beside words: colours and lines."""
_JOINED: Final = 4
"""Combining marks kept on one base: enough for every script, too few to climb over other lines."""


def is_seen(character: str) -> bool:
    """Whether a person sees it, or what it does to the letter before it."""
    return unicodedata.category(character) not in _GONE and character not in _HIDDEN


def clean(text: str, limit: int = 400) -> str:
    """One printable line of at most `limit` characters.

    Escape sequences (CSI, OSC, DCS, ...) go with their contents, control characters become spaces or vanish,
    bidirectional and zero-width controls vanish, as do marks without a letter before them; line breaks become spaces,
    a cut ends in "…".
    """
    if len(text) <= limit and text.isascii() and text.isprintable():
        return text
    looked_at = text[: 4 * limit + 256]  # a megabyte on one line costs no more than this
    cut = len(text) > len(looked_at)
    kept: list[str] = []
    marks = _JOINED
    for character in _ESCAPES.sub("", looked_at):
        if character in _BREAKS:
            kept.append(" ")
            marks = 0
            continue
        if not is_seen(character):
            continue
        category = unicodedata.category(character)
        if category == "Zs":
            character = " "  # noqa: PLW2901 - any space is a space
        marks = marks + 1 if category in {"Mn", "Me"} else 0
        if marks <= _JOINED:
            kept.append(character)
    if len(kept) > limit or (cut and kept):
        return "".join(kept[: max(0, limit - 1)]) + "…"[: max(0, limit)]
    return "".join(kept)


def printable(text: str) -> str:
    """A page about to be printed: its lines and colours stay, all else is as `clean` has it, however long.

    The last gate: text from outside was cleaned before it came into a page, and could at worst bring its own colours.
    """
    if text.isascii() and text.isprintable():
        return text
    parts = _OURS.split(text)
    parts[::2] = [clean(words, len(words)) for words in parts[::2]]
    return "".join(parts)
