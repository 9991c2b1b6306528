"""What ranks that resume agree on: from which checkpoint all go on, and that all can, before anything is touched.

By notes on the board. A rank that says nothing is waited for so long, and named. One rank: nobody is asked.
"""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Sequence
from typing import Any, Final

from tuimon.errors import CheckpointError
from tuimon.instrument.host import one_line
from tuimon.instrument.ranks.world import Board, World, own_world

ARRIVAL: Final = 120.0
"""Seconds within which every rank is to call `resume`."""
PATIENCE: Final = 600.0
"""Seconds for which one rank may read longer than another."""
_PAUSES: Final = (0.002, 0.1)
_COUNT: Final = itertools.count()


class Council:
    """Of one call of `resume`; every rank makes the same calls in turn."""

    def __init__(self, world: World, board: Board | None) -> None:
        self.world = world
        self._board = board if world.is_many else None
        self._turns = itertools.count()

    def choose(self, names: Sequence[str]) -> list[str]:
        """Which checkpoints are tried, in which order: what rank 0 sees."""
        turn = next(self._turns)
        if self._board is None:
            return list(names)
        if not self.world.rank:
            self._put(f"{turn}/names", list(names))
            return list(names)
        return [str(name) for name in self._hear(f"{turn}/names", 0, PATIENCE)]

    def agree(self, why: str, token: str = "", *, is_first: bool = False) -> str:
        """Why some rank cannot, the first of them; "" where all can.

        token: what must be the same on all. is_first: what comes first of a call.
        """
        turn, rank = next(self._turns), self.world.rank
        if self._board is None:
            return why
        self._put(f"{turn}/{rank}", {"why": why, "token": token})
        patience = ARRIVAL if is_first else PATIENCE
        said = [self._hear(f"{turn}/{k}", k, patience) for k in range(self.world.size)]
        reasons = [f"rank {k}: {one['why']}" for k, one in enumerate(said) if one["why"]]
        if len(reasons) == len(said) and len({one["why"] for one in said}) == 1:
            return why
        if not reasons and len({one["token"] for one in said}) > 1:
            return "the ranks see different checkpoints by that name"
        return reasons[0] if reasons else ""

    def _put(self, name: str, note: Any) -> None:
        assert self._board is not None
        try:
            self._board.put(name, json.dumps(note))
        except RuntimeError as error:
            raise CheckpointError(f"the ranks have lost each other: {one_line(error)}") from error

    def _hear(self, name: str, rank: int, patience: float) -> Any:
        assert self._board is not None
        until, (pause, longest) = time.monotonic() + patience, _PAUSES
        try:
            while (said := self._board.look(name)) is None:
                if time.monotonic() > until:
                    raise CheckpointError(f"rank {rank} has not said within {patience:.0f} s whether it can resume: "
                                          "every rank has to call it")
                time.sleep(pause)
                pause = min(2 * pause, longest)
        except RuntimeError as error:
            raise CheckpointError(f"the ranks have lost each other: {one_line(error)}") from error
        return json.loads(said)


def council_here() -> Council:
    """Of the ranks that there are now."""
    world = own_world(_COUNT)
    if not world.is_many:
        return Council(world, None)
    try:
        return Council(world, Board(world, about="resume"))
    except (RuntimeError, ValueError, ImportError):   # no store of the usual kind: each by itself
        return Council(world, None)
