"""Orders: rank 0 announces one, each rank says whether it can, all follow at the same boundary or nobody does.

The text lies on the board before its number is said, a reason before the vote: who hears of them can read them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tuimon.instrument.ranks.lane import Lane
from tuimon.instrument.ranks.world import Board

WIDTH: Final = 3
"""Of a word: number of the order announced, votes, votes for it."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of an order, the same on every rank."""

    text: str
    why: str
    """Which rank refused and its reason; "" where all follow, now."""


class Agreeing:
    """One rank's part; for the training thread. An order that is under way when the lane goes down is never settled."""

    def __init__(self, lane: Lane, board: Board, rank: int, size: int) -> None:
        self._lane, self._board, self._rank, self._size = lane, board, rank, size
        self._waiting: deque[str] = deque()
        self._count, self._is_open = 0, False
        self._order, self._vote = "", (0.0, 0.0)

    def propose(self, text: str) -> None:
        """On rank 0: to be announced once those before it are settled."""
        self._waiting.append(text)

    def meet(self, can: Callable[[str], str]) -> Settled | None:
        """At each boundary. can: why this rank cannot follow an order; "" where it can."""
        announced = self._announce()
        heard = self._lane.meet([announced, *self._vote])
        if not self._lane.is_down:
            self._vote = (0.0, 0.0)
        if heard is None:
            return None
        number, votes, agreed = (int(x) for x in heard)
        if number:
            self._consider(number, can)
        return self._settle(agreed) if votes == self._size else None

    def _announce(self) -> float:
        if self._is_open or not self._waiting or self._lane.why:
            return 0.0
        self._count, self._is_open = self._count + 1, True
        self._board.put(f"order/{self._count}", self._waiting.popleft())
        return float(self._count)

    def _consider(self, number: int, can: Callable[[str], str]) -> None:
        self._count = number
        self._order = self._board.look(f"order/{number}") or ""
        why = can(self._order)
        if why:
            self._board.put(f"refused/{number}/{self._rank}", why)
        self._vote = (1.0, 0.0 if why else 1.0)

    def _settle(self, agreed: int) -> Settled:
        self._is_open = False
        if agreed == self._size:
            return Settled(self._order, "")
        reasons = ((k, self._board.look(f"refused/{self._count}/{k}")) for k in range(self._size))
        return Settled(self._order, next((f"rank {k}: {why}" for k, why in reasons if why), "a rank cannot"))
