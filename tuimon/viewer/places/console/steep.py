"""How long a regular expression may search: by what it repeats. Pure.

The search of `re` goes back and tries again, without end where repeats stand inside each other, and nothing can
interrupt it: not even the key that quits. So what it might cost is looked at before.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_PARTS: Final = re.compile(r"""
    \\(?P<back>[1-9]) | \\(?P<digit>d) | \\(?P<across>[sDW]) | \\.
    | (?P<but>\[\^)\]?(?:\\.|[^]\\])*\] | \[\]?(?:\\.|[^]\\])*\]
    | (?P<open>\(\??) | (?P<close>\)) | (?P<or>\|)
    | (?P<times>\{\d+\}) | (?P<many>[*+]|\{\d*,\d*\})[?+]? | (?P<maybe>\?)[?+]?
    | (?P<other>.)
""", re.VERBOSE | re.DOTALL)
MOST: Final = 3
"""Repeats, one after the other, that are searched for."""
CHOICES: Final = 12
"""Likewise of what may be left out."""
REACH: Final = (1 << 20, 2_000, 300, 100)
"""Characters of a line that are searched, by the number of repeats: each multiplies the time by the length."""


@dataclass(frozen=True, slots=True)
class Steep:
    """What is repeated in a regular expression."""

    repeats: int
    """Those of digits left out, where something stands between them: 12:30:59 is found at once or not at all."""
    endless: bool
    """Whether it might search for ever."""
    across: bool
    """Whether a repeat may go on over the end of a line."""

    @property
    def reach(self) -> int:
        """Characters of a line that are searched."""
        return REACH[min(self.repeats, MOST)]


def steepness(pattern: str) -> Steep:
    """Of a pattern that compiles; of another one it says something as well."""
    repeats = choices = 0
    endless = across = False
    branching = [False]   # of the groups that are open: whether there is more than one way through
    closed = False        # the same of the group that has just ended
    last = before = ""    # what stands at the left
    for part in _PARTS.finditer(pattern):
        kind = part.lastgroup or ""
        if kind == "close":
            closed = len(branching) > 1 and branching.pop()
            branching[-1] = branching[-1] or closed
        else:
            if kind == "open":
                branching.append(False)
            elif kind in ("many", "times"):
                endless = endless or closed
            if kind in ("many", "maybe", "or"):
                branching[-1] = True
            repeats += kind == "back" or (kind == "many" and (last != "digit" or before in ("many", "maybe")))
            choices += kind in ("many", "maybe")
            across = across or kind in ("across", "but")
            closed = False
        last, before = kind, last
    return Steep(repeats, endless or repeats > MOST or choices > CHOICES, across and choices > 0)
