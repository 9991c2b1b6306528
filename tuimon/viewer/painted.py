"""Lines of words as rows of cells, without a canvas: what the first paint shows, and what changes least often. Pure.

The rows are those that a `Canvas` would give, so that words look the same wherever they stand; numpy is not needed.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import groupby
from typing import Final

from rich.cells import cell_len

from tuimon.viewer.charts.picture import Role, Row, Run, cells_of

_LETTER: Final = f"[!-{chr(0x24FF)}]"
_PARTS: Final = re.compile(f"[^ ]+(?:(?<={_LETTER}) (?={_LETTER})[^ ]+)*| +")
"""Words, with the single spaces between letters: a run of text. Or spaces, which are runs of their own."""


@lru_cache(maxsize=2048)
def word_row(words: tuple[tuple[str, Role], ...], width: int) -> Row:
    """The texts one after another, each in its role, then blanks up to `width` cells. They fit: nothing is cut."""
    runs: list[Run] = []
    gap = used = 0
    solid = [(text, role) for text, role in ((_solid(text), role) for text, role in words) if text]
    for role, texts in groupby(solid, lambda word: word[1]):
        for part in _PARTS.findall("".join(text for text, _ in texts)):
            cells = len(part) if part.isascii() else cell_len(part)   # nothing in it takes no cell
            used += cells
            if part[0] == " ":
                gap += cells
                continue
            if gap:
                runs.append(Run(" " * gap, "blank", "none"))
                gap = 0
            runs.append(Run(part, role, "none"))
    gap += max(0, width - used)
    return (*runs, Run(" " * gap, "blank", "none")) if gap else tuple(runs)


def _solid(text: str) -> str:
    """Without characters that take no cell, as on a canvas."""
    return text if text.isascii() and text.isprintable() else "".join(filter(cells_of, text))
