"""The same screen in fewer bytes: colours are said when they change, not with every run of cells. Pure.

Textual opens each segment with its whole style and closes it with a reset: 70 % of what a frame of charts weighs. Here
the terminal is told only what differs from what it wears already; what is shown stays the same, cell by cell.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

_SGR: Final = re.compile(r"\x1b\[([0-9;]*)m")
_MOVES: Final = re.compile(r"(?:\r\n|\x1b\[\d*(?:;\d*)?H)+")
_LOOKS_LIKE_A_BLANK: Final = frozenset({"1", "2", "3"})
"""Attributes that a space does not show: bold, dim, italic."""


class Worn(NamedTuple):
    """What the terminal draws with."""

    ink: str = ""
    """SGR parameters of the foreground; "" is the terminal's own."""
    ground: str = ""
    """Of the background."""
    attributes: tuple[str, ...] = ()


_PLAIN: Final = Worn()


def terse(data: str) -> str:
    """`data` with the fewest style sequences; begins and ends as `data` does, each write stands for itself."""
    out: list[str] = []
    worn = wanted = _PLAIN
    parts = _SGR.split(data)
    if len(parts) == 1:
        return data
    for i, part in enumerate(parts):
        if i % 2:
            wanted = _dress(wanted, part)
            continue
        if not part:
            continue
        if wanted != worn and not _MOVES.fullmatch(part) and not (part.isspace() and _blank_alike(worn, wanted, part)):
            out.append(_change(worn, wanted))
            worn = wanted
        out.append(part)
    if wanted != worn:
        out.append(_change(worn, wanted))
    return "".join(out)


def _blank_alike(worn: Worn, wanted: Worn, text: str) -> bool:
    return (text.count(" ") == len(text) and worn.ground == wanted.ground
            and _LOOKS_LIKE_A_BLANK.issuperset(worn.attributes + wanted.attributes))


@lru_cache(4096)
def _dress(worn: Worn, codes: str) -> Worn:
    """What is worn after one SGR sequence."""
    ink, ground, attributes = worn
    parts = codes.split(";")
    i = 0
    while i < len(parts):
        code = parts[i] or "0"
        taken = 1
        if code in ("38", "48"):
            taken = 5 if parts[i + 1:i + 2] == ["2"] else 3
            colour = ";".join(parts[i:i + taken])
            ink, ground = (colour, ground) if code == "38" else (ink, colour)
        elif code == "0":
            ink, ground, attributes = _PLAIN
        elif code == "39" or _is_basic(code, 30, 90):
            ink = "" if code == "39" else code
        elif code == "49" or _is_basic(code, 40, 100):
            ground = "" if code == "49" else code
        elif code not in attributes:
            attributes = (*attributes, code)
        i += taken
    return Worn(ink, ground, attributes)


def _is_basic(code: str, normal: int, bright: int) -> bool:
    return code.isdigit() and (normal <= int(code) < normal + 8 or bright <= int(code) < bright + 8)


@lru_cache(4096)
def _change(worn: Worn, wanted: Worn) -> str:
    """The shortest sequence from one to the other."""
    if wanted == _PLAIN:
        return "\x1b[0m"
    anew = wanted.attributes[:len(worn.attributes)] != worn.attributes or any(
        was and not now for was, now in zip(worn[:2], wanted[:2], strict=True))
    if anew:
        worn = _PLAIN
    parts = ["0"] if anew else []
    parts += wanted.attributes[len(worn.attributes):]
    parts += [now for was, now in zip(worn[:2], wanted[:2], strict=True) if now != was]
    return f"\x1b[{';'.join(parts)}m"
