"""From a frame's views to the specs that charts are drawn from, as the person has chosen to see them. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from tuimon.viewer.arrange import ROLES, ascii_of
from tuimon.viewer.charts.axes import XAxis
from tuimon.viewer.charts.chart import Band, ChartSpec, VMark
from tuimon.viewer.charts.format import short
from tuimon.viewer.charts.heat import HeatSpec
from tuimon.viewer.charts.series import Series
from tuimon.viewer.charts.spark import SparkSpec
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.views import ChartView, Frame

if TYPE_CHECKING:
    from tuimon.viewer.charts.series import Floats

SMOOTHING: Final = (0.0, 0.6, 0.8, 0.9, 0.95, 0.98)
"""Weights of the past in the moving average; the first is none."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How one person looks at the charts."""

    chart: int | None = None
    """The chosen one; None follows the verdict."""
    is_large: bool = False
    log: Mapping[str, bool] = field(default_factory=dict)
    """Charts whose axis was chosen by hand: it stays, whatever the data do."""
    smooth: tuple[int, ...] = (0, 0, 0, 0)
    """Index into SMOOTHING per chart."""

    def at(self, frame: Frame) -> int:
        """The chart that keys act on."""
        return frame.about if self.chart is None else self.chart

    def picked(self, index: int) -> Choice:
        """Choose a chart; choosing it again shows it large, and back."""
        return replace(self, chart=index, is_large=self.chart == index and not self.is_large)

    def turned(self, view: ChartView) -> Choice:
        """The other axis for that chart."""
        return replace(self, log={**self.log, view.name: not is_log(view, self)})

    def smoothed(self, index: int, by: int) -> Choice:
        """Smoother or rougher."""
        levels = list(self.smooth)
        levels[index] = min(len(SMOOTHING) - 1, max(0, levels[index] + by))
        return replace(self, smooth=tuple(levels))


def x_axis(frame: Frame) -> XAxis:
    """The steps that every chart of the frame spans."""
    first, last = frame.span
    return XAxis(first, max(first + 1, last))


def marks(frame: Frame) -> tuple[VMark, ...]:
    """The moments of the run that every chart marks, and the step that is looked at."""
    found = [VMark(m.step, m.kind, ROLES[m.tone] if m.kind in ("onset", "snapshot") else "mark") for m in frame.marks]
    wanted = frame.wanted
    if wanted.at is not None:
        found.append(VMark(wanted.at, "cursor", "info"))
    if wanted.cursor is not None:
        found.append(VMark(wanted.cursor, "cursor", "cursor"))
    return tuple(found)


def _average(values: Floats, past: float) -> Floats:
    """Exponential moving average over finite values; a gap keeps its place and starts nothing anew."""
    out = np.full(len(values), np.nan)
    mean, weight = 0.0, 0.0
    for i, value in enumerate(values):
        if math.isfinite(value):
            mean, weight = past * mean + (1 - past) * value, past * weight + (1 - past)
            out[i] = mean / weight
    return out


def _series(view: ChartView, past: float) -> tuple[Series, ...]:
    found: list[Series] = []
    if view.overlay is not None and len(view.overlay):
        found = [Series.thin(view.overlay, "data-2")]
    if view.columns is not None and len(view.columns):
        if past > 0:
            smooth = _average(view.columns.last, past)
            raw = Series.thin(view.columns, "data-dim")
            found += [raw, replace(raw, low=smooth, high=smooth, last=smooth, bad=np.zeros(len(raw), np.bool_),
                                   role="data")]
        else:
            found.append(Series.thin(view.columns, "data"))
    return tuple(found)


def is_log(view: ChartView, choice: Choice) -> bool:
    """Which axis the chart has now."""
    return choice.log.get(view.name, view.log)


def chart_spec(frame: Frame, index: int, choice: Choice, glyphs: GlyphSet, *, focused: bool) -> ChartSpec:
    """One of the frame's charts."""
    view = frame.charts[index]
    past = SMOOTHING[choice.smooth[index]]
    log = is_log(view, choice)
    title = view.title + (f" · {view.label}" if view.label else "")
    title += (" · log" if log else "") + (f" · smooth {short(past)}" if past else "")
    if view.note and not view.bands:
        title += f" · {view.note}"
    title += "".join(f" · {band.beyond}" for band in view.bands if band.beyond)
    say = _words(glyphs)
    bands = tuple(Band(b.low, b.high, "healthy" if b.healthy else "usual", say(b.word)) for b in view.bands)
    return ChartSpec(say(title), say(view.current), view.severity, _series(view, past), log, bands, marks(frame),
                     view.waiting, focused=focused)


def _words(glyphs: GlyphSet) -> Callable[[str], str]:
    return ascii_of if glyphs.name == "ascii" else str


def heat_spec(frame: Frame, glyphs: GlyphSet, *, framed: bool, columns: int) -> HeatSpec:
    """The heat strip."""
    heat = frame.heat
    steps = np.zeros(0) if heat.steps is None else heat.steps.astype(np.float64)
    values = np.zeros((0, len(heat.layers))) if heat.rms is None else heat.rms.astype(np.float64)
    title = _words(glyphs)("layers · gradient RMS")
    return HeatSpec(
        title, heat.layers, steps, values, before=heat.before, value=heat.worst, state=heat.severity,
        marks=marks(frame), framed=framed, columns=columns)


def spark_specs(frame: Frame, glyphs: GlyphSet) -> tuple[SparkSpec, ...]:
    """One sparkline per chart."""
    specs = []
    say = _words(glyphs)
    for view in frame.charts:
        series = Series.of((), ()) if view.columns is None else Series.thin(view.columns)
        specs.append(SparkSpec("lr" if view.name == "lr" else view.title, say(view.current), view.severity,
                               series, say(view.note or _range(view)), view.log))
    return tuple(specs)


def _range(view: ChartView) -> str:
    columns = view.columns
    if columns is None or not np.isfinite(columns.low).any():
        return ""
    low, high = float(np.nanmin(columns.low)), float(np.nanmax(columns.high))
    return f"{short(low)} – {short(high)}"
