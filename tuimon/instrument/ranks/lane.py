"""The lane: by which ranks agree, apart from all that training sends. One small sum per boundary, read two later.

Its gloo group is built on a thread of its own, and only where every rank said that it is attached: nothing here waits
for a rank that may never come. A lane that breaks is down for good and says why; training is left alone. A rank that
leaves says so in the words that the others still wait for.
"""

from __future__ import annotations

import atexit
import ctypes
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

import torch

from tuimon.instrument.ranks.world import Board, World

LAG: Final = 2
"""Boundaries between a word and its being heard by all: ranks may run ahead of each other by so much."""
DECIDES: Final = 3
"""Boundary of rank 0 from which it decides, once every rank has said that it is attached."""
LATEST: Final = 32
"""Boundary of rank 0 at which it decides without those that have said nothing."""
LOOKS: Final = 64
"""Boundaries for which the others look for what rank 0 decided."""
MARGIN: Final = 8
"""Boundaries from the newest one at which the group was built to the first on which it is used, by all alike."""
TIMEOUT: Final = 600.0
"""Seconds for which a rank may be late, as one that evaluates or saves alone is: NCCL's watchdog waits as long."""
STANDING: Final = 60.0
"""The same while all stand still, where nobody has anything else to do."""
FORMING: Final = 600.0
"""The same before the group is built, which nobody waits for."""
FORMED: Final = 60.0
"""The same once all are at it."""
ENDING: Final = 2.0
"""Seconds for which the end of the process waits for that."""
ENDED: Final = "the run has ended"
_OTHERWISE: Final = float(1 << 20)
"""What a rank says that leaves for another reason: more than there are ranks that could have ended."""
ABSENT: Final = "tuimon is not attached on rank"
_LEFT: Final[list[tuple[Any, list[Any]]]] = []
_AT_WORK: Final[set[threading.Thread]] = set()
_QUICK: Final = 0.0002
"""Seconds between two looks for a word that is late, at first: Ctrl+C ends every wait."""
_SLOW: Final = 0.005
"""The same in the end."""
_SLOWEST: Final = 0.2
"""The same on a thread of its own."""


class Lane:
    """One rank's end. `meet` and `tick` are for the training thread and never raise (Ctrl+C passes)."""

    def __init__(
        self, world: World, board: Board, width: int, timeout: float = TIMEOUT, standing: float = STANDING, *,
        apart: Callable[[], str] = str, began: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        """width: numbers in a word. What follows is called at the first boundary.

        apart: why this rank is not to be waited for. began: by name of a group of ranks that train together (as 0-1-2,
        or of any other kind), a number that is the same on those that are at the same step.
        """
        _sweep()
        self._world, self._board, self._width = world, board, width
        self._apart, self._began = apart, began
        self._timeout, self._standing, self._waits = timeout, standing, timeout
        self._group: Any = None
        self._asked: tuple[torch.Tensor, Any] | None = None
        self._sent: deque[tuple[torch.Tensor, Any]] = deque()
        self._since: int | None = None  # the boundary at which the group was built here
        self._begin: int | None = None  # the boundary for which the next word is due
        self._boundary, self._is_forming = 0, False
        self._here: list[tuple[str, Mapping[str, int]]] = []
        """On rank 0: what the first ranks have said of themselves."""
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
            if self._begin is None or self._begin > self._boundary:
                return None
            while self._begin < self._boundary:  # learnt late: the others count on a word for each boundary
                self._say([0.0] * self._width)
            self.why = ""
            self._wait_at_most(self._timeout)
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
            said = _word(word)
            heard = self._heard(said, self._group.allreduce([said]))
            if heard is not None:   # the last one has come: from here on all are there
                self._wait_at_most(self._standing)
        except Exception as error:
            self._break(error)
            return None
        return heard

    def leave(self, why: str = ENDED) -> None:
        """Say and hear nothing any more. Waits for nobody and takes no lock: a garbage collection may call it."""
        if not self.is_down:
            self.is_down, self.why = True, why
            self._let_go(farewells=LAG + 1, last=1.0 if why == ENDED else _OTHERWISE)

    def _let_go(self, farewells: int, last: float = 1.0) -> None:
        """The group is kept until all that is under way has come to its end: its destructor would wait for that."""
        group, self._group = self._group, None
        works, self._sent = [work for _, work in self._sent], deque()
        if group is None:
            return
        with suppress(Exception):   # the others are gone, too
            works += [group.allreduce([torch.tensor([*[0.0] * self._width, last], dtype=torch.float64)])
                      for _ in range(farewells)]
        _keep(group, works)

    def _wait_at_most(self, seconds: float) -> None:
        if seconds != self._waits:
            _wait_at_most(self._group, seconds)
            self._waits = seconds

    def _say(self, word: Sequence[float]) -> None:
        assert self._begin is not None
        said = _word(word)
        self._sent.append((said, self._group.allreduce([said])))
        self._begin += 1

    def _hear(self) -> list[float] | None:
        heard = self._heard(*self._sent.popleft())
        while heard is not None and len(self._sent) > LAG:  # words for boundaries that were over before the lane began
            heard = self._heard(*self._sent.popleft())
        return heard

    def _heard(self, said: torch.Tensor, work: Any) -> list[float] | None:
        pause = _QUICK
        while not work.is_completed():
            if self.is_down:  # left from another thread
                return None
            time.sleep(pause)
            pause = min(2 * pause, _SLOW)
        work.wait()
        *told, left = said.tolist()
        if left:
            self.leave(f"{ENDED} on another rank" if left < _OTHERWISE else "another rank meets the others no more")
            return None
        return told

    def _gather(self) -> None:
        """Decide by looks, one a boundary; no look once it is decided."""
        if self._boundary == 1:
            self._board.put(f"here/{self._world.rank}", json.dumps([self._apart(), dict(self._began())]))
        if self._is_forming:
            self._learn()
            return
        if self._boundary < DECIDES:
            return
        if self._world.rank == 0:
            self._decide()
        decided = self._board.look("lane")
        if decided is None and self._boundary > LOOKS:
            decided = f"{ABSENT} 0"
        if decided:
            self.leave(decided)
        elif decided is not None:
            self._is_forming = True
            thread = threading.Thread(target=self._form, name="tuimon-lane", daemon=True)
            _AT_WORK.add(thread)
            thread.start()

    def _decide(self) -> None:
        missing = len(self._here)   # who has said so is not asked again: a look is a way to the store and back
        while missing < self._world.size and (said := self._board.look(f"here/{missing}")) is not None:
            self._here.append(json.loads(said))
            missing = len(self._here)
        if missing == self._world.size:
            self._board.put("lane", _obstacle(self._here))
        elif self._boundary >= LATEST:
            self._board.put("lane", f"{ABSENT} {missing}")

    def _form(self) -> None:
        try:
            if not self._all_form():
                return
            group: Any = torch.distributed.ProcessGroupGloo(
                self._board.under("lane"), self._world.rank, self._world.size, timedelta(seconds=FORMED))
            _wait_at_most(group, self._timeout)
            # first: training comes to a stop behind it, and never at a later boundary than it could learn of
            self._since = self._boundary
            newest = torch.tensor([self._since], dtype=torch.int64)
            options: Any = torch.distributed.AllreduceOptions()
            options.reduceOp = torch.distributed.ReduceOp.MAX
            asked = newest, group.allreduce([newest], options)
            self._group, self._asked = group, asked
            if self.is_down:
                self._let_go(farewells=LAG + 1)
        except Exception as error:
            self._break(error)
        finally:
            _AT_WORK.discard(threading.current_thread())

    def _all_form(self) -> bool:
        """Wait until all ranks are about to build the group: one of them may have ended instead.

        Who has said so goes on for a moment when its run has ended: rank 0 may have counted on it already.
        """
        rank, until = self._world.rank, time.monotonic() + FORMING
        self._board.put(f"forms/{rank}", "")
        for name in [f"forms/{k}" for k in range(1, self._world.size)] if rank == 0 else ["form"]:
            pause = _SLOW
            while self._board.look(name) is None:
                if self.is_down:
                    until = min(until, time.monotonic() + ENDING / 2) if rank else 0.0
                if time.monotonic() > until:
                    return self._give_up()
                time.sleep(pause)
                pause = min(2 * pause, _SLOWEST)
        if rank == 0 and not self.is_down:
            self._board.put("form", "")
        return bool(rank) or not self.is_down

    def _give_up(self) -> bool:
        if not self.is_down:
            self.leave("the ranks have not found each other")
        return False

    def _learn(self) -> None:
        """When the lane begins. What is waited for here, the others' threads do whatever their training waits for."""
        if self._since is None or self._boundary < self._since + MARGIN:
            return
        while self._asked is None or not self._asked[1].is_completed():
            if self.is_down:
                return
            time.sleep(_QUICK)
        newest, work = self._asked
        work.wait()
        self._begin = int(newest[0]) + MARGIN

    def _break(self, error: Exception) -> None:
        if not self.is_down:
            self.is_down, self.why = True, f"the ranks have lost each other: {_told(error)}"
            self._let_go(farewells=0)


def _wait_at_most(group: Any, seconds: float) -> None:
    group._set_default_timeout(timedelta(seconds=seconds))  # noqa: SLF001  # set_timeout is another backend's


def _word(numbers: Sequence[float]) -> torch.Tensor:
    """Behind them, how many have left, and why."""
    return torch.tensor([*numbers, 0.0], dtype=torch.float64)


def _obstacle(here: Sequence[tuple[str, Mapping[str, int]]]) -> str:
    """Why ranks that said this cannot meet; "" where they can."""
    known: dict[str, int] = {}
    for k, (apart, began) in enumerate(here):
        if apart:
            return apart
        if any(known.setdefault(group, at) != at for group, at in began.items()):
            return f"tuimon was attached at another step on rank {k}"
    return "" if _is_one(known, len(here)) else "its ranks train in groups that nothing holds together"


def _is_one(names: Iterable[str], size: int) -> bool:
    """Whether all ranks train with rank 0, or with one that does, and so on; as far as groups are told."""
    groups = [set(map(int, name.split("-"))) for name in names if name[:1].isdigit()]
    found, left = {0}, groups
    while near := [group for group in left if group & found]:
        left = [group for group in left if not group & found]
        found.update(*near)
    return not groups or len(found) == size


def _told(error: Exception) -> str:
    """In one line, without where in its source gloo raised it."""
    text = " ".join(str(error).split())
    return (text.partition("] ")[2] if text.startswith("[/") else text)[:200]


def _keep(group: Any, works: list[Any]) -> None:
    """Also beyond the end of the interpreter, which would otherwise wait for a rank that hangs."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(group))
    _LEFT.append((group, works))


def _sweep() -> None:
    """Give back the groups that nobody says anything on any more."""
    for held in list(_LEFT):
        if all(work.is_completed() for work in held[1]):
            _LEFT.remove(held)
            ctypes.pythonapi.Py_DecRef(ctypes.py_object(held[0]))


@atexit.register
def _let_form() -> None:
    """A thread that comes back from torch while the interpreter is taken down ends the process by SIGABRT."""
    for thread in list(_AT_WORK):
        thread.join(ENDING)
