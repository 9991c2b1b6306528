"""The events of a run, and the story that they tell: now, and as it was at any step. No I/O."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from tuimon.diagnosis.story import Story, tell
from tuimon.record.events import Event

MILE: Final = 256
"""Events after which the story so far is kept: no moment is further from one, however long the run."""


class Diary:
    """Grows as events are read."""

    def __init__(self) -> None:
        self.now = Story()
        self._events: list[Event] = []
        self._reached: list[int] = []
        """Per event: the greatest step up to it. A resumed run may begin again before that."""
        self._miles: list[Story] = [self.now]
        self._last: tuple[int, int, Story] = (-1, 0, self.now)

    def take(self, event: Event) -> None:
        """One more event."""
        self.now = tell(self.now, event)
        self._events.append(event)
        self._reached.append(max(event.step, self._reached[-1] if self._reached else 0))
        if len(self._events) % MILE == 0:
            self._miles.append(self.now)

    def as_of(self, step: int) -> Story:
        """What all events up to a step tell."""
        if self._last[:2] != (step, len(self._events)):
            mile = bisect_right(self._reached, step) // MILE
            story = self._miles[mile]
            for event in self._events[mile * MILE:]:
                if event.step <= step:
                    story = tell(story, event)
            self._last = step, len(self._events), story
        return self._last[2]
