"""What a person wants to see: which place, which moment, which stretch of steps. Pure; no numpy, for the first paint.

The screen tells the feed what is wanted; the feed answers with frames. What is looked at is kept nowhere else, so that
every chart of every place shows the same moment and the same steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, Literal

Place = Literal["overview", "layers", "loss", "incidents", "console", "system", "ranks", "runs", "guide", "settings",
                "compare", "gallery"]
"""Where a person can be."""

NARROWEST: Final = 10.0
"""Steps that a window spans at least."""
ZOOM: Final = 2.0
"""Factor of one key press."""
FOLLOWED: Final = 200
"""Newest steps that are followed, to begin with."""
MOVES: Final = 100
"""Key presses from one end of a window to the other."""
SPEEDS: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Of a replay, in times of the run's own pace."""
REPLAY: Final = 20.0
"""Seconds that a replay takes to begin with, where one of the speeds allows it."""


@dataclass(frozen=True, slots=True)
class Window:
    """The steps that charts span: all of them, a stretch, or the newest."""

    first: float | None = None
    last: float | None = None
    """Both None: all there are. Both ends included."""
    follow: int | None = None
    """So many newest steps instead; the window moves by eighths of itself, so that charts stand still in between."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out."""
        return self.first is None and self.follow is None

    def ends(self, whole_last: float, newest: int) -> tuple[float, float]:
        """First and last step of the axis, for a run whose whole axis ends at `whole_last` and which is at `newest`."""
        if self.follow is not None:
            eighth = max(1, self.follow // 8)
            last = max(float(self.follow), math.ceil(newest / eighth) * eighth)
            return max(0.0, last - self.follow), last
        if self.first is None or self.last is None:
            return 0.0, whole_last
        return self.first, self.last


@dataclass(frozen=True, slots=True)
class Units:
    """How quantities are written."""

    binary: bool = False
    """Sizes by powers of 1,024: GiB; else of 1,000: GB."""
    seconds: bool = False
    """Durations as seconds; else as h:mm:ss."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that the screen in front asks of the feed."""

    place: Place = "overview"
    at: int | None = None
    """The step to which the whole panel is scrubbed; None: now."""
    window: Window = Window()
    cursor: int | None = None
    """The step whose values are read out; None: no crosshair."""
    ask: object = None
    """What the place itself wants to know: its own frozen value."""
    speed: int | None = None
    """Times the run's own pace at which time is replayed; None: it stands."""
    units: Units = Units()

    @property
    def is_now(self) -> bool:
        """Whether the panel shows the present."""
        return self.at is None

    def visits(self, place: Place, ask: object) -> Wanted:
        """Another place, at the same moment."""
        return replace(self, place=place, ask=ask)

    # ------------------------------------------------------------------ charts; `span` is the axis shown now

    def pointed(self, by: float, span: tuple[float, float], newest: int) -> Wanted:
        """The crosshair so many hundredths of the window further, at most to the ends; the window goes with it.

        Where there is none yet it appears at the moment that is shown.
        """
        if newest < 1:
            return self   # nothing is read yet
        first, last = span
        here = self.cursor if self.cursor is not None else min(newest, int(last)) if self.at is None else self.at
        if self.cursor is None and math.isfinite(by):
            by = 0
        to = int(max(1, min(newest, here + by * max(1, round((last - first) / MOVES)))))
        moved = replace(self, cursor=to)
        if to < first:
            return moved.shifted(first - to, span, newest, -1)
        return moved.shifted(to - last, span, newest, 1) if to > last else moved

    def shifted(self, steps: float, span: tuple[float, float], newest: int, direction: int) -> Wanted:
        """The window so many steps to one side, as far as there are steps; where all are in sight it stays."""
        if self.window.is_whole:
            return self
        first, last = span
        length = last - first
        low = min(max(0.0, first + direction * steps), max(0.0, newest - length / 2))
        return replace(self, window=Window(low, low + length))

    def panned(self, direction: int, span: tuple[float, float], newest: int) -> Wanted:
        """Half a window to one side."""
        return self.shifted((span[1] - span[0]) / 2, span, newest, direction)

    def zoomed(self, closer: bool, span: tuple[float, float], whole_last: float, around: int | None = None) -> Wanted:
        """Twice or half as close, around a step, else the crosshair, else the moment, else the right end.

        What is followed without any of these is followed on.
        """
        first, last = span
        if around is None:
            around = self.cursor if self.cursor is not None else self.at
        length = max(NARROWEST, (last - first) / ZOOM if closer else (last - first) * ZOOM)
        if length >= whole_last:
            return replace(self, window=Window())
        if around is None and self.window.follow is not None:
            return replace(self, window=Window(follow=round(length)))
        if around is None or not first <= around <= last:
            low = last - length
        else:
            low = around - (around - first) / (last - first) * length
        low = max(0.0, min(low, whole_last - length))
        return replace(self, window=Window(low, low + length))

    def whole(self) -> Wanted:
        """Every step."""
        return replace(self, window=Window())

    def followed(self) -> Wanted:
        """The newest steps; again: every step."""
        return replace(self, window=Window() if self.window.follow else Window(follow=FOLLOWED), at=None, speed=None)

    # ------------------------------------------------------------------ time

    def scrubbed(self, by: int, span: tuple[float, float], newest: int) -> Wanted:
        """The panel as it was so many hundredths of the window earlier or later; past the newest step it is now."""
        here = newest if self.at is None else self.at
        return self.visited(here + by * max(1, round((span[1] - span[0]) / MOVES)), span, newest)

    def visited(self, step: int | None, span: tuple[float, float], newest: int) -> Wanted:
        """The panel as it was at a step: what every chart says is said of that step, not of a crosshair elsewhere."""
        return replace(self, cursor=None).moved_to(step, span, newest)

    def moved_to(self, step: int | None, span: tuple[float, float], newest: int) -> Wanted:
        """The panel as it was at a step, which is in sight; None, or one that has not been yet: as it is now."""
        if step is None or max(1, step) >= newest:   # also of a run that is not read yet
            return replace(self, at=None, speed=None)
        first, last = span
        moved = replace(self, at=max(1, step))
        if self.window.is_whole or first <= max(1, step) <= last:
            return moved
        return moved.shifted(step - (first + last) / 2, span, newest, 1)

    def jumped(self, by: int, moments: tuple[int, ...], span: tuple[float, float], newest: int) -> Wanted:
        """To the moment before or after this one, of those that matter."""
        here = newest if self.at is None else self.at
        if by < 0:
            return self.visited(max((m for m in moments if m < here), default=1), span, newest)
        return self.visited(min((m for m in moments if m > here), default=None), span, newest)

    def played(self, span: tuple[float, float], newest: int, pace: float | None) -> Wanted:
        """Let time run, or stand; from the present it begins at the first step. `pace`: seconds a step."""
        if self.speed is not None:
            return replace(self, speed=None)
        begun = self.visited(1 if self.at is None else self.at, span, newest)
        if begun.at is None:   # nothing to replay
            return begun
        wished = (newest - begun.at) * pace / REPLAY if pace else 10.0
        return replace(begun, speed=max((speed for speed in SPEEDS if speed <= wished), default=1))

    def faster(self, by: int) -> Wanted:
        """The next speed up or down."""
        if self.speed is None:
            return self
        at = SPEEDS.index(self.speed) + by
        return replace(self, speed=SPEEDS[max(0, min(len(SPEEDS) - 1, at))])

    def back(self) -> Wanted | None:
        """One layer out: no crosshair, then the present, then every step; None where nothing is left to leave."""
        if self.cursor is not None:
            return replace(self, cursor=None)
        if self.at is not None:
            return replace(self, at=None, speed=None)
        return None if self.window.is_whole else self.whole()


NOW: Final = Wanted()
"""The whole run as it is now, in the overview."""
