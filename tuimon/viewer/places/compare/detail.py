"""Reads the runs of a comparison for the screen, in the feed's thread: as much as fits into a part of a frame."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tuimon.viewer.lines import rate
from tuimon.viewer.places.compare.facts import differences
from tuimon.viewer.places.compare.follow import Follower
from tuimon.viewer.places.compare.model import LETTERS, LINES, MOST, NOTHING, Ask, CompareView, Side

if TYPE_CHECKING:
    from tuimon.record.history import Thin
    from tuimon.viewer.places.compare.model import Across, Source
    from tuimon.viewer.reading import Reading
    from tuimon.viewer.wanted import Wanted

BUDGET: Final = 0.1
"""Seconds of reading in one look."""


class Comparison:
    """The followers of what is compared, and the view of them. Knows no screen: `tuimon compare` prints from it too."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._followers: list[Follower] = []
        self._drawn: dict[tuple[Source, int, Across, int], dict[str, Thin]] = {}
        self._next = 0

    @property
    def followers(self) -> list[Follower]:
        """In the order of the comparison."""
        return self._followers

    def view(self, ask: Ask, now: float, mono: float, budget: float = BUDGET) -> CompareView:
        """Read on for at most about `budget` seconds, and say what there is."""
        known = {follower.source: follower for follower in self._followers if not follower.is_outdated}
        self._followers = [known.get(source) or Follower(source) for source in ask.sources[:MOST]]
        if not self._followers:
            return NOTHING
        self._read(now, mono, budget)
        counted = set.intersection(*(set(follower.counts) for follower in self._followers))
        order: tuple[Across, ...] = ("step", "time", "tokens")
        possible = tuple(one for one in order if one in counted)
        across = ask.across if ask.across in possible else "step"
        facts = [{**one.standing.facts, **({} if one.peak_lr is None else {"peak lr": rate(one.peak_lr)})}
                 for one in self._followers]
        keys = [(one.source, one.revision, across, ask.smooth) for one in self._followers]
        self._drawn = {key: self._drawn.get(key) or one.columns(across, ask.smooth)
                       for key, one in zip(keys, self._followers, strict=True)}
        sides = tuple(_side(i, one, self._drawn[key])
                      for i, (key, one) in enumerate(zip(keys, self._followers, strict=True)))
        return CompareView(
            sides, differences(facts) if len(facts) > 1 else (), across, possible,
            max(one.end(across) for one in self._followers), ask.smooth,
            not all(one.is_read for one in self._followers))

    def _read(self, now: float, mono: float, budget: float) -> None:
        """A stretch of each in turn, until the time is up: then the next look begins where this one ended."""
        end = self._clock() + budget
        waiting = list(range(len(self._followers)))
        waiting = waiting[self._next:] + waiting[:self._next]
        while waiting:
            i = waiting.pop(0)
            if self._followers[i].poll(now, mono):
                waiting.append(i)
            if self._clock() >= end:
                self._next = waiting[0] if waiting else 0
                return
        self._next = 0


def _side(i: int, follower: Follower, columns: dict[str, Thin]) -> Side:
    standing = follower.standing
    return Side(LETTERS[i], LINES[i], standing.name, standing.state, standing.verdict, standing.tone, follower.step,
                dict(follower.values), follower.best_val, columns, follower.revision)


class CompareDetail:
    """One for the life of the viewer."""

    def __init__(self) -> None:
        self._comparison = Comparison()

    def update(self, reading: Reading, wanted: Wanted, now: float, mono: float) -> CompareView:
        """The comparison as it is now."""
        del reading
        ask = wanted.ask
        return self._comparison.view(ask, now, mono) if isinstance(ask, Ask) else NOTHING

    def close(self) -> None:
        """Nothing is held open."""
