"""What a chart is asked to say: series, bands, marks, limits. Frozen values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from tuimon.viewer.charts.picture import Ground, Role
from tuimon.viewer.charts.series import Floats, Series
from tuimon.viewer.glyphs import GlyphSet, State


@dataclass(frozen=True, slots=True)
class Band:
    """A range of values drawn behind the data, named at the right end of the x axis."""

    low: float
    """Data units; -inf and inf are open ends."""
    high: float
    ground: Ground
    word: str
    """"usual 0.9–1.4"; "" for none."""


@dataclass(frozen=True, slots=True, eq=False)
class Fan:
    """A range of values that moves with the step, shaded behind the data: a forecast. Two series draw its edges."""

    steps: Floats
    """(c,) increasing; nothing is shaded outside."""
    low: Floats
    """(c,) data units, finite."""
    high: Floats
    ground: Ground = "usual"


@dataclass(frozen=True, slots=True)
class VMark:
    """A moment."""

    step: float
    kind: Literal["onset", "event", "rollback", "cursor", "rise", "fall", "snapshot", "best"]
    """Lines, of which each has a pattern of its own, where a curve turns with an arrow below; diamonds on the axis."""
    role: Role = "mark"
    word: str = ""
    """Stands beside the top of its line where there is room; a cursor's step stands under it in any case."""
    heavy: bool = False
    """A cursor at the moment that the whole panel shows."""

    def line(self, glyphs: GlyphSet) -> str | None:
        """What its upright line is made of; None where it has none."""
        return {
            "onset": glyphs.onset, "event": glyphs.event, "rollback": glyphs.rollback, "rise": glyphs.turn,
            "fall": glyphs.turn, "cursor": glyphs.moment if self.heavy else glyphs.cursor}.get(self.kind)

    def foot(self, glyphs: GlyphSet) -> str | None:
        """What it has on the axis: of an onset how bad it is."""
        if self.kind == "onset":
            return next((badge for state, badge in glyphs.badges.items() if state == self.role), None)
        return {
            "snapshot": glyphs.snapshot, "best": glyphs.best, "rise": glyphs.over, "fall": glyphs.under}.get(self.kind)


@dataclass(frozen=True, slots=True)
class Level:
    """A value with a meaning: a dashed line under the data, its word at the left end."""

    at: float
    """Data units, finite."""
    word: str
    role: Role = "mark"


@dataclass(frozen=True, slots=True)
class Tag:
    """A letter beside a point: which line is which, also where there is no colour."""

    step: float
    at: float
    """Data units."""
    word: str
    role: Role
    aside: bool = False
    """Rather where nothing is drawn: beside other lines than its own."""


VALIDATION: Final = "v"
"""The letter at the end of its line, beside that of training."""


def tagged(series: Series, word: str, last: float) -> tuple[Tag, ...]:
    """A letter at the last value of a line up to a step; nothing where it has none there."""
    there = np.flatnonzero((series.steps <= last) & np.isfinite(series.last))
    return tuple(Tag(float(series.steps[i]), float(series.last[i]), word, series.role, aside=True) for i in there[-1:])


@dataclass(frozen=True, slots=True)
class ChartSpec:
    """All that a chart says, apart from its axes."""

    title: str
    value: str = ""
    """Current value as `format.number` writes it, at the right end of the title."""
    state: State | None = None
    """Its badge glyph, after the value."""
    series: tuple[Series, ...] = ()
    """In painter's order: the later one covers the earlier."""
    log: bool = False
    bands: tuple[Band, ...] = ()
    """The later one covers the earlier."""
    marks: tuple[VMark, ...] = ()
    waiting: str = "nothing measured yet"
    """Stands in the middle while no series has a sample: what is awaited."""
    robust: bool = True
    """Whether isolated wild values are cut off (and marked) rather than flatten the rest."""
    focused: bool = False
    """Whether the frame is drawn as the selected one."""
    levels: tuple[Level, ...] = ()
    """Their values have a place on the y axis."""
    tags: tuple[Tag, ...] = ()
    """Over the data; the earlier one has the first choice of place."""
    fans: tuple[Fan, ...] = ()
    since: float = -math.inf
    """The y axis is fitted to what comes from this step on; what is beyond it before is marked at its edge."""
    axis: str = ""
    """Whose y axis it is: while that stays the same the axis stays put, whatever the title says. "": the title's."""
    in_bytes: bool = False
    """Whether the labels of the y axis are amounts of memory."""
    binary: bool = False
    """By powers of 1,024."""

    @property
    def extent(self) -> tuple[Series, ...]:
        """What the y axis has to hold: the series, and each level as one more where they begin."""
        series = self.series if self.since == -math.inf else tuple(
            one.between(self.since, math.inf) for one in self.series)
        starts = [one.steps[0] for one in series if len(one)]
        return (*series, *(Series.of((min(starts),), (level.at,)) for level in self.levels if starts))
