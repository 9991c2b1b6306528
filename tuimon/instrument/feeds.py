"""Where training reads its data: the loaders' iterators, as the patched __next__ sees them. Training thread.

They say where the data stand (StatefulDataLoader), and they are the second rung of a stop: those that fed the run, and
new ones made by the same `for`, yield nothing more. Every other loader of the process goes on working.
"""

from __future__ import annotations

import sys
import weakref
from collections import deque
from types import CodeType, FrameType
from typing import Any, Final

MOST_EMPTY: Final = 64
"""New iterators that are empty: enough to run out of epochs. A loop that goes on for ever gets data again, and then
TrainingStopped at a step boundary: it would spin otherwise."""
Site = tuple[tuple[CodeType, int], ...]


class Feeds:
    """The iterators of one run."""

    def __init__(self) -> None:
        self._seen: deque[weakref.ref[Any]] = deque(maxlen=4)
        self._sites: set[Site] = set()
        self._empty = 0
        self.is_released = False
        """Whether its loops are over, so that loaders are nobody's again."""

    def gave(self, iterator: Any) -> None:
        """It has given a batch to training."""
        seen = self._seen
        if not seen or seen[-1]() is not iterator:
            seen.append(weakref.ref(iterator))

    def ends(self, iterator: Any) -> bool:
        """After a stop: whether this one is to yield nothing."""
        site = _site()
        if any(seen() is iterator for seen in self._seen):
            self._sites.add(site)
            return True
        if site not in self._sites or self._empty >= MOST_EMPTY:
            return False
        self._empty += 1
        return True

    def release(self) -> None:
        """The loop was left, or another run has begun: whoever reads now reads for something else."""
        self.is_released = True

    def newest(self) -> Any:
        """The iterator that gave the last batch, if it can tell its position; else None."""
        found = self._seen[-1]() if self._seen else None
        return found if hasattr(found, "state_dict") else None


def _site() -> Site:
    """From where __next__ was called: the same for every epoch of a loop, another for every other loop."""
    frame: FrameType | None = sys._getframe(3)  # noqa: SLF001  # past `ends` and the patch
    found = []
    while frame is not None:
        found.append((frame.f_code, frame.f_lasti))
        frame = frame.f_back
    return tuple(found)
