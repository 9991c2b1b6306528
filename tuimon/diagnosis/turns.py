"""Turns of a run that are meant: the batch or the sequences get another size, the learning rate jumps. Pure.

What is usual before such a turn says little of what comes after it. A learning rate that leaps above all it has been
is none: that is a fault until shown otherwise, and must not hide what it does.
"""

from __future__ import annotations

from typing import Final

FIFTH: Final = 1.2
"""By this factor, up or down, within one row."""
SETTLED: Final = 64
"""Rows that a level must have lasted for its end to be a turn."""
KNOWN: Final = 1.5
"""Times the highest learning rate so far up to which a jump is a turn; above it begins lr-schedule-fault."""


def near(a: float, b: float) -> bool:
    """Whether two positive numbers are within a fifth of each other."""
    return a <= FIFTH * b and b <= FIFTH * a


class Turns:
    """Asked at rows at which the learning rate has moved by more than a fifth, or the tokens at all, and the row after.

    To be asked at others too changes nothing.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Know nothing."""
        self._moved = 0
        """Row of the last move of the learning rate."""
        self._size: float | None = None
        """Tokens per step as they have settled."""
        self._since = 0
        self._next: float | None = None
        """Tokens of the row before, if those were others: one odd batch at the end of an epoch is no turn."""
        self._odd = 0
        """Row of the last batch of another size: where sizes vary all the time, none of them is a turn."""

    def overridden(self, row: int) -> None:
        """Somebody has changed the learning rate by hand: what is usual of the loss is still to be held against it."""
        self._moved = row

    def of_rate(self, row: int, last: float, lr: float, peak: float) -> bool:
        """Whether the schedule turns: from `last` to `lr`, `peak` the highest so far."""
        if not (last > 0 and lr > 0) or near(last, lr):
            return False
        settled, self._moved = row - self._moved >= SETTLED, row
        return settled and lr <= KNOWN * peak

    def of_size(self, row: int, tokens: float) -> bool:
        """Whether steps have another size from the row before on."""
        before, self._next = self._next, None
        if not tokens > 0:
            return False
        if before is not None and near(before, tokens):
            settled, self._size, self._since = self._odd - self._since >= SETTLED, tokens, row
            return settled
        if before is not None:
            self._since = row
        if self._size is None:
            self._size, self._since = tokens, row
        elif not near(self._size, tokens):
            self._next, self._odd = tokens, row
        return False
