"""One chart: frame, title with the current value, axes, bands, marks, lines. Pure: spec and axes in, picture out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tuimon.viewer.charts.axes import XAxis, YAxis
from tuimon.viewer.charts.picture import Ground, Picture, Role
from tuimon.viewer.charts.series import Series
from tuimon.viewer.glyphs import BRAILLE, GlyphSet, State


@dataclass(frozen=True, slots=True)
class Band:
    """A range of values drawn behind the data, named at the right end of the x axis."""

    low: float
    """Data units; -inf and inf are open ends."""
    high: float
    ground: Ground
    word: str
    """"usual 0.9–1.4"; "" for none."""


@dataclass(frozen=True, slots=True)
class VMark:
    """A moment. Its label stands in the footer, not in the chart."""

    step: float
    kind: Literal["onset", "event", "rollback", "cursor", "snapshot"]
    """Dotted line; dotted line; dashed line; solid line; a diamond on the axis only."""
    role: Role = "mark"


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


def draw(spec: ChartSpec, width: int, height: int, x: XAxis, y: YAxis, glyphs: GlyphSet = BRAILLE) -> Picture:
    """The chart in exactly `width` x `height` cells (at least 1 x 1); parts that do not fit are left out, the data last.

    `y` comes from `axes.fit(previous, spec.series, x, log=spec.log, robust=spec.robust)`.
    """
    raise NotImplementedError
