"""Long reading shows how far it is: one line on a terminal's standard error, nothing anywhere else.

Whoever reads says `watch("reading", share)` now and then; a share that nobody can know is NaN. Touches the terminal.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Protocol, TextIO

PATIENCE: Final = 0.5
"""Seconds before anything is shown: what is quick is not announced."""
EVERY: Final = 0.1
"""Seconds between two pictures."""
WIDTH: Final = 24


class Watch(Protocol):
    """Is told how far a piece of work is."""

    def __call__(self, what: str, share: float, /) -> None:
        """`what` is being done, of which `share` (0 to 1, NaN where nobody knows) is."""


def unwatched(_what: str, _share: float, /) -> None:
    """Nobody looks."""


class Bar:
    """One line that is drawn over and over, and is gone at the end: `with Bar() as watch: ...`."""

    def __init__(
        self, stream: TextIO | None = None, env: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._shows = self._stream.isatty() and env.get("TERM") != "dumb"
        wide = "utf" in (getattr(self._stream, "encoding", None) or "").lower()
        self._full, self._empty = ("━", "─") if wide else ("=", "-")
        self._clock, self._begun = clock, clock()
        self._last = -math.inf
        self._drawn = 0

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._put("")

    def __call__(self, what: str, share: float, /) -> None:
        """Draw, where it is time to."""
        now = self._clock()
        if not self._shows or now - self._begun < PATIENCE or now - self._last < EVERY:
            return
        self._last = now
        self._put(line(what, share, self._full, self._empty))

    def _put(self, words: str) -> None:
        """Instead of what stands there."""
        if not self._shows or (not words and not self._drawn):
            return
        self._stream.write(f"\r{words}{' ' * (self._drawn - len(words))}" + ("" if words else "\r"))
        self._stream.flush()
        self._drawn = len(words)


def line(what: str, share: float, full: str = "=", empty: str = "-") -> str:
    """The words of one picture: "reading  ━━━━━────  43 %"."""
    if math.isnan(share):
        return f"{what} ..."
    share = max(0.0, min(1.0, share))
    done = int(WIDTH * share)
    return f"{what:<8} {full * done}{empty * (WIDTH - done)} {int(100 * share):3} %"
