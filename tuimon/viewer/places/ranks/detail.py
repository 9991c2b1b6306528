"""Produces what the place shows. Lives in the feed's thread; touches nothing that the feed has not read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tuimon.diagnosis.ranked import apart
from tuimon.viewer.lines import Tone
from tuimon.viewer.places.ranks.model import RanksView, view_of
from tuimon.viewer.wanted import Wanted

if TYPE_CHECKING:
    from tuimon.viewer.reading import Reading


_TOLD: Final = 1024
"""Ranks of which it is said why they ended: as they all fall over one, the first ones will do."""


class RanksDetail:
    """The ranks of one run, as they were looked at last."""

    def __init__(self) -> None:
        self._view = RanksView()

    def update(self, reading: Reading, wanted: Wanted, now: float, mono: float) -> RanksView:
        """The newest look, whatever moment the panel shows: who is gone now is gone."""
        del wanted, now, mono
        crew = reading.crew
        if crew.ranks is None or crew.strip is None:
            is_one = reading.info is not None and reading.info.world_size == 1
            return RanksView(world=1 if is_one and reading.history.rows else 0)
        if crew.number != self._view.number:
            words = crew.view
            told: tuple[tuple[str, Tone], ...] = (
                (words.lost, words.tone), (apart(reading.diagnosis, crew.ranks), "critical"), (words.slow, "warning"),
                *((f"rank {rank.rank}: {rank.why}", "dim") for rank in crew.ranks.ranks[:_TOLD] if rank.why))
            verdict = tuple((sentence, tone) for sentence, tone in told if sentence)
            self._view = view_of(crew.number, crew.ranks, crew.strip, crew.now, verdict)
        return self._view

    def close(self) -> None:
        """Nothing is held."""
