"""Where a series usually was, all along a run, within a bounded memory. A pure fold, owned by its caller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tuimon.diagnosis.model import Course, Usual

MOST: Final = 256
"""Ranges that are kept: of 1,700 values every one that was learned, of more an even choice."""


class Ranges:
    """What was usual from which step on. A step that comes again, after a resume, replaces what was told of it."""

    __slots__ = ("_every", "_passed", "_told")

    def __init__(self) -> None:
        self._told: list[tuple[int, Usual | None]] = []
        self._every, self._passed = 1, 0

    def offer(self, step: int, usual: Callable[[], Usual | None]) -> None:
        """The next range that was learned; once there are many, one in several is kept."""
        self._passed = (self._passed + 1) % self._every
        if self._passed == 0:
            self.add(step, usual())

    def add(self, step: int, usual: Usual | None) -> None:
        """From this step on that is usual; None: nobody knows."""
        told = self._told
        while told and told[-1][0] >= step:
            told.pop()
        told.append((step, usual))
        if len(told) > MOST:
            self._told, self._every = told[::2], 2 * self._every

    @property
    def told(self) -> Course:
        """All of it, oldest first."""
        return tuple(self._told)
