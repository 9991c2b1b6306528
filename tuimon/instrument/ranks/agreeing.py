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

WIDTH: Final = 4
"""Of a word: number of the order announced, votes, votes for it, and whether rank 0 trusts the weights."""
Can = Callable[[str], str]
"""Why this rank cannot follow an order; "" where it can."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of an order, the same on every rank."""

    text: str
    why: str
    """Which rank refused and its reason; "" where all follow, now."""


class Agreeing:
    """One rank's part; for the training thread. An order that is under way when the lane goes down is never settled."""

    def __init__(self, lane: Lane, board: Board, rank: int, size: int) -> None:
        self.lane, self._board, self._rank, self._size = lane, board, rank, size
        self._waiting: deque[str] = deque()
        self._count, self._is_open, self._checks = 0, False, 0
        self._order, self._vote = "", (0.0, 0.0)
        self.is_calm = True
        """What rank 0 said two boundaries ago, or while all stand still just now."""

    @property
    def is_busy(self) -> bool:
        """Whether an order is under way, or waits."""
        return self._is_open or bool(self._waiting)

    def propose(self, text: str) -> None:
        """On rank 0: to be announced once those before it are settled."""
        self._waiting.append(text)

    def unsettled(self) -> list[str]:
        """On rank 0, where the lane is down: the orders that nobody will follow any more."""
        found = [self._order] * self._is_open + list(self._waiting)
        self._waiting.clear()
        self._is_open = False
        return found

    def meet(self, can: Can, *, calm: bool = True) -> Settled | None:
        """At each boundary; calm: whether rank 0 trusts the weights."""
        return self._consider(self.lane.meet(self._word(calm)), can)

    def tick(self, can: Can, *, calm: bool = True) -> Settled | None:
        """While all stand still at the same boundary."""
        return self._consider(self.lane.tick(self._word(calm)), can)

    def check(self, why: str, number: float) -> str:
        """Within an order that all follow: why one of them cannot after all, or has another number; "" where none."""
        self._checks += 1
        if why:
            self._board.put(f"failed/{self._checks}/{self._rank}", why)
        heard = self.lane.tick([number, 1.0, 0.0 if why else 1.0, 0.0])
        if heard is None:
            return self.lane.why
        if heard[2] < self._size:
            return self._reason(f"failed/{self._checks}")
        return "" if heard[0] == number * self._size else "the ranks hold different snapshots"

    def _word(self, calm: bool) -> list[float]:
        announced = self._announce()
        vote, self._vote = self._vote, (0.0, 0.0)
        return [announced, *vote, float(calm and self._rank == 0)]

    def _announce(self) -> float:
        if self._is_open or not self._waiting or self.lane.why:
            return 0.0
        self._count, self._is_open = self._count + 1, True
        self._order = self._waiting.popleft()
        self._board.put(f"order/{self._count}", self._order)
        return float(self._count)

    def _consider(self, heard: list[float] | None, can: Can) -> Settled | None:
        if heard is None:
            return None
        number, votes, agreed, calm = (int(x) for x in heard)
        self.is_calm = bool(calm)
        if number:
            self._count = number
            self._order = self._board.look(f"order/{number}") or ""
            why = can(self._order)
            if why:
                self._board.put(f"refused/{number}/{self._rank}", why)
            self._vote = (1.0, 0.0 if why else 1.0)
        return self._settle(agreed) if votes == self._size else None

    def _settle(self, agreed: int) -> Settled:
        self._is_open = False
        return Settled(self._order, "" if agreed == self._size else self._reason(f"refused/{self._count}"))

    def _reason(self, name: str) -> str:
        """Whose, where they are not all of one mind."""
        reasons = [self._board.look(f"{name}/{k}") for k in range(self._size)]
        if len(set(reasons)) == 1 and reasons[0]:
            return reasons[0]
        return next((f"rank {k}: {why}" for k, why in enumerate(reasons) if why), "a rank cannot")
