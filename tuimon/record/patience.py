"""How long one rank may be quiet before the others are told without it. Pure.

A rank gives a sign once a second. On the disk of its own machine that is seen at once; of another machine's it comes
through a shared disk, some of which tell of what was written in spurts of many seconds, and by a clock of their own. So
what has been usual of a rank counts; until that is known, a rank on another machine is measured by the others there.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable
from typing import Final

SILENT: Final = 4.0
"""Seconds without a sign of life: what looks at it once a second shows it within five."""
AFAR: Final = 15.0
"""The same of all ranks of another machine, as long as it is not known how soon their signs are seen here."""
MOST: Final = 60.0
TIMES: Final = 2.0
"""What is longer than so many times the usual is no usual pause."""
FEWEST, KEPT = 3, 7
STEADY: Final = 2.0
"""Seconds between two looks at most, for the pause in between to be known."""


class Patience:
    """With one rank."""

    def __init__(self) -> None:
        self._sign = self._looked = 0.0
        self._pauses: deque[float] = deque(maxlen=KEPT)
        """How old the sign before was when the next one was seen, lately."""

    def saw(self, sign: float, now: float) -> None:
        """A look: when it gave its last sign, and what time it is here."""
        if sign > self._sign:
            if self._sign and now - self._looked <= STEADY:
                self._pauses.append(now - self._sign)
            self._sign = sign
        self._looked = now

    def is_over(self, age: float, freshest: Callable[[], float]) -> bool:
        """Whether a last sign of that age is too old; freshest: the age of the newest of the ranks on its machine."""
        if age <= SILENT:
            return False
        if len(self._pauses) >= FEWEST:
            return age > min(MOST, max(SILENT, TIMES * statistics.median(self._pauses)))
        return age > AFAR or age - freshest() > SILENT
