"""The lane: by which ranks agree, apart from all that training sends. One small sum per boundary, read two later.

Its gloo group is built on a thread of its own, and only where every rank said that it is attached: nothing here waits
for a rank that may never come. A lane that breaks is down for good and says why; training is left alone.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

import torch

from tuimon.instrument.ranks.world import Board, World

LAG: Final = 2
"""Boundaries between a word and its being heard by all: ranks may run ahead of each other by so much."""
DECIDES: Final = 3
"""Boundary of rank 0 by which every rank must have said that it is attached."""
LOOKS: Final = 64
"""Boundaries for which the others look for what rank 0 decided."""
MARGIN: Final = 20
"""Boundaries from the newest one at which the group was built to the first on which it is used, by all alike."""
TIMEOUT: Final = 60.0
"""Seconds for which a rank may be late."""


class Lane:
    """One rank's end. `meet` and `tick` are for the training thread and never raise (Ctrl+C passes)."""

    def __init__(self, world: World, board: Board, width: int, timeout: float = TIMEOUT) -> None:
        """width: numbers in a word."""
        self._world, self._board, self._width = world, board, width
        self._timeout = timedelta(seconds=timeout)
        self._group: Any = None
        self._sent: deque[tuple[torch.Tensor, Any]] = deque()
        self._begin: int | None = None  # the boundary for which the next word is due
        self._boundary, self._is_forming = 0, False
        self.why = "the ranks have not met yet"
        """Why there is no lane; "" while there is one."""
        self.is_down = False
        """For good."""

    def meet(self, word: Sequence[float]) -> list[float] | None:
        """At each boundary: say a word, hear the sum of what all said two boundaries ago; None where there is none."""
        if self.is_down:
            return None
        self._boundary += 1
        try:
            if self._begin is None:
                self._gather()
                return None
            if self._begin > self._boundary:
                return None
            while self._begin < self._boundary:  # learnt late: the others count on a word for each boundary
                self._say([0.0] * self._width)
            self.why = ""
            self._say(word)
            return self._hear() if len(self._sent) > LAG else None
        except Exception as error:  # a rank died, hangs or has left: its own errors are for training to meet
            self._break(error)
            return None

    def tick(self, word: Sequence[float]) -> list[float] | None:
        """While all stand still at the same boundary: the sum of what all say now. None once the lane is down."""
        if self.is_down or self._group is None:
            return None
        try:
            said = torch.tensor(word, dtype=torch.float64)
            self._group.allreduce([said]).wait()
            return said.tolist()
        except Exception as error:
            self._break(error)
            return None

    def leave(self, why: str = "the run has ended") -> None:
        """Say and hear nothing any more."""
        self.is_down, self.why = True, why
        self._sent.clear()
        self._group = None

    def _say(self, word: Sequence[float]) -> None:
        assert self._begin is not None
        said = torch.tensor(word, dtype=torch.float64)
        self._sent.append((said, self._group.allreduce([said])))
        self._begin += 1

    def _hear(self) -> list[float]:
        said, work = self._sent.popleft()
        work.wait()
        while len(self._sent) > LAG:  # words for boundaries that were over before the lane began
            said, work = self._sent.popleft()
            work.wait()
        return said.tolist()

    def _gather(self) -> None:
        """Decide by looks, one a boundary; no look once it is decided."""
        if self._boundary == 1:
            self._board.put(f"here/{self._world.rank}", "attached")
        if self._is_forming or self._boundary < DECIDES:
            return
        if self._world.rank == 0:
            missing = [k for k in range(self._world.size) if self._board.look(f"here/{k}") is None]
            self._board.put("lane", f"tuimon is not attached on rank {missing[0]}" if missing else "")
        decided = self._board.look("lane")
        if decided is None and self._boundary > LOOKS:
            decided = "tuimon is not attached on rank 0"
        if decided:
            self.leave(decided)
        elif decided is not None:
            self._is_forming = True
            threading.Thread(target=self._form, name="tuimon-lane", daemon=True).start()

    def _form(self) -> None:
        try:
            group: Any = torch.distributed.ProcessGroupGloo(
                self._board.under("lane"), self._world.rank, self._world.size, self._timeout)
            newest = torch.tensor([self._boundary], dtype=torch.int64)
            options: Any = torch.distributed.AllreduceOptions()
            options.reduceOp = torch.distributed.ReduceOp.MAX
            group.allreduce([newest], options).wait()
            self._group = group
            self._begin = int(newest[0]) + MARGIN  # last: with it the training thread begins
        except Exception as error:
            self._break(error)

    def _break(self, error: Exception) -> None:
        self.leave(f"the ranks have lost each other: {' '.join(str(error).split()):.200}")
