"""How old is what is shown, and how long nobody has said anything. Pure.

Two clocks are arguments: the wall's, and the viewer's own, which never jumps. A wall clock that jumps must not make
data old: after a look at what nobody here saw coming, age counts from when it came.
"""

from __future__ import annotations

from tuimon.record.reader import Beat


class Ages:
    """Of one run."""

    def __init__(self) -> None:
        self._fresh: float | None = None
        self._sign: float | None = None
        self._beat, self._newest, self._is_again = -1.0, -1, False

    @property
    def is_new(self) -> bool:
        """Whether nothing was seen so far."""
        return self._sign is None

    def again(self) -> None:
        """The log is read anew: a finer picture of what was known is no news, and what is new in it may be old."""
        self._is_again = not self.is_new

    def beat(self, beat: Beat, now: float, mono: float, *, first: bool) -> None:
        """The last sign of life in the log; `first`: nothing had been seen before."""
        if beat.mono != self._beat:
            self._beat = beat.mono
            self._sign = mono - (max(0.0, now - beat.wall) if first else 0.0)

    def rows(self, step: int, written: float, now: float, mono: float, *, first: bool) -> None:
        """Rows came, of which the last one is of that step and was written then."""
        again, self._is_again = self._is_again, False
        if not again or step != self._newest:
            behind = max(0.0, now - written) if first or again or self._fresh is None else 0.0
            self._fresh = mono - behind
            self._sign = max(self._sign or self._fresh, self._fresh)
        self._newest = step

    def age(self, mono: float) -> float:
        """Seconds since the newest row."""
        return 0.0 if self._fresh is None else mono - self._fresh

    def silence(self, mono: float) -> float:
        """Seconds without any sign of life."""
        return 0.0 if self._sign is None else mono - self._sign
