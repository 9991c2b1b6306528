"""What prints pictures asks here: how wide, whether in colour, and whether only ASCII is to be had."""

from __future__ import annotations

import os
import shutil
import sys
from typing import NamedTuple


class Paper(NamedTuple):
    """What is printed on."""

    width: int
    height: int
    colour: bool
    ascii_only: bool


def paper() -> Paper:
    """As wide as the terminal, 80 columns in a pipe; colour on terminals that want it."""
    from tuimon.viewer.glyphs import choose

    size = shutil.get_terminal_size((80, 24))
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    ascii_only = choose(os.environ, sys.stdout.encoding).name == "ascii"
    return Paper(max(40, min(size.columns, 160)), size.lines, colour, ascii_only)
