"""The ranks of the run that is followed, looked at once a second. Touches what their roster does; knows no thread."""

from __future__ import annotations

import math
from collections import Counter
from typing import Final

from tuimon.diagnosis.ranked import headline, straggling
from tuimon.record.chunk import Floats, Ints
from tuimon.record.far import Far
from tuimon.record.lost import lost_words
from tuimon.record.roster import GONE, Ranks
from tuimon.record.rundir import RunDir
from tuimon.record.seen import SeenReader
from tuimon.viewer.following import Followed
from tuimon.viewer.lines import Tone
from tuimon.viewer.views import CrewView

EVERY: Final = 1.0
"""Seconds between two looks."""


class Crew:
    """Of one run."""

    def __init__(self, run: RunDir) -> None:
        self._seen, self._looked = SeenReader(run), -math.inf
        self.now = 0.0
        """By the clock of where they are."""
        self.ranks: Ranks | None = None
        """None where there is but one, or nothing is known yet."""
        self.strip: tuple[Ints, Floats] | None = None
        """See `Paces.strip`."""
        self.number = 0
        """Counts the looks."""

    def look(self, log: Followed | None, far: Far | None, now: float, mono: float) -> None:
        """See how it stands with them, now and then; `far`: the link to the machine that they are on."""
        self.now = now if far is None else now - far.skew
        several = None if log is None else log.several
        if several is None and far is None:
            self.ranks = self.strip = None
        elif mono - self._looked >= EVERY:
            self._looked, self.number = mono, self.number + 1
            if several is not None:
                self.ranks, self.strip = several.ranks_at(now), several.paces.strip
            else:
                seen = self._seen.look()
                self.ranks, self.strip = (None, None) if seen is None else (seen.ranks, seen.strip)

    @property
    def view(self) -> CrewView:
        """In words."""
        ranks, now = self.ranks, self.now
        if ranks is None:
            return CrewView()
        lost, slow = ranks.lost, ranks.slowest
        tone: Tone = "critical" if any(rank.state in GONE for rank in lost) else "warning" if lost or slow else "ok"
        state, count = Counter(rank.state for rank in lost).most_common(1)[0] if lost else ("", 0)
        badge = (f"{count} {state}" if count == len(lost) else f"{len(lost)} lost") if lost else \
            f"{len(ranks.slow)} slow" if slow else str(ranks.world)
        return CrewView(
            ranks.world, headline(ranks, now), badge, lost_words([(rank.rank, rank.state) for rank in lost]),
            straggling(slow, ranks.ranks[slow.rank].host) if slow else "", slow.rank if slow else None, tone)
