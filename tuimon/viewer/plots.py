"""From a frame's views to the specs that charts are drawn from, as the person has chosen to see them. Pure."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from tuimon.diagnosis.axes import XAxis
from tuimon.diagnosis.figures import short
from tuimon.diagnosis.figures import step as steps
from tuimon.record.thinning import tabled
from tuimon.viewer.arrange import ROLES
from tuimon.viewer.charts.chart import Band, ChartSpec, Tag, VMark
from tuimon.viewer.charts.heat import HeatSpec
from tuimon.viewer.charts.picture import Role
from tuimon.viewer.charts.series import Series
from tuimon.viewer.charts.spark import SparkSpec
from tuimon.viewer.charts.spec import VALIDATION, tagged
from tuimon.viewer.choice import Choice
from tuimon.viewer.views import ChartView, Frame

if TYPE_CHECKING:
    from tuimon.viewer.charts.series import Floats

def x_axis(frame: Frame) -> XAxis:
    """The steps that every chart of the frame spans."""
    first, last = frame.span
    return XAxis(first, max(first + 1, last))


def marks(frame: Frame) -> tuple[VMark, ...]:
    """The moments of the run that every chart marks, and the step that is looked at."""
    found = [VMark(m.step, m.kind, ROLES[m.tone] if m.kind in ("onset", "snapshot") else "mark", m.word)
             for m in frame.marks]
    wanted = frame.wanted
    if wanted.at is not None:
        found.append(VMark(wanted.at, "cursor", "info", heavy=True))
    if wanted.cursor is not None:
        found.append(VMark(wanted.cursor, "cursor", "cursor"))
    return tuple(found)


def _average(values: Floats, past: float) -> Floats:
    """Exponential moving average over finite values; a gap keeps its place and starts nothing anew."""
    out = np.full(len(values), np.nan)
    mean, weight = 0.0, 0.0
    for i, value in enumerate(values.tolist()):   # Python's floats: they do not warn where the greatest ones overflow
        if math.isfinite(value):
            mean, weight = past * mean + (1 - past) * value, past * weight + (1 - past)
            out[i] = max(-sys.float_info.max, min(sys.float_info.max, mean / weight))
    return out


def _series(view: ChartView, past: float, at: int | None) -> tuple[Series, ...]:
    """The lines: what came after the moment that is shown is dim."""
    found: list[Series] = []
    if view.overlay is not None and len(view.overlay):
        found += _parted(Series.thin(view.overlay, "data-2"), at, "data-2-dim")
    if view.columns is not None and len(view.columns):
        raw = Series.thin(view.columns, "data")
        if past > 0:
            smooth = _average(view.columns.last, past)
            found.append(replace(raw, role="data-dim"))
            raw = Series(tabled(raw.steps, smooth, smooth, smooth, np.zeros(len(raw), np.bool_)))
        found += _parted(raw, at, "data-dim")
    return tuple(found)


def _parted(series: Series, at: int | None, later: Role) -> list[Series]:
    if at is None:
        return [series]
    return [replace(series.since(at), role=later), series.between(-math.inf, at)]


def chart_spec(frame: Frame, index: int, choice: Choice, *, focused: bool) -> ChartSpec:
    """One of the frame's charts."""
    view = frame.charts[index]
    past, log = choice.past(view), choice.is_log(view)
    chosen = {"usual": view.bands, "notebook": view.zones or view.bands, "none": ()}[choice.zones]
    title = view.title + (f" · {view.label}" if view.label else "")
    title += (" · log" if log else "") + (f" · smooth {short(past)}" if past else "")
    if view.note and not view.bands and frame.wanted.cursor is None:
        title += f" · {view.note}" if view.overlay is None else f" · {VALIDATION} = {view.note}"
    title += "".join(f" · {band.beyond}" for band in chosen if band.beyond)
    bands = tuple(Band(b.low, b.high, "healthy" if b.healthy else "usual", b.word) for b in chosen)
    at = frame.wanted.cursor
    value, state = (view.current, view.severity) if at is None else (_pointed(view, at), None)
    return ChartSpec(title, value, state, _series(view, past, frame.wanted.at), log, bands, marks(frame),
                     view.waiting, focused=focused, axis=f"{view.name} {log}", in_bytes=view.name == "memory",
                     tags=_tags(view, x_axis(frame).last), binary=frame.wanted.units.binary)


def _tags(view: ChartView, last: float) -> tuple[Tag, ...]:
    """Which of two lines is validation."""
    return () if view.overlay is None else tagged(Series.thin(view.overlay, "data-2"), VALIDATION, last)


def _pointed(view: ChartView, step: int) -> str:
    """The value at the crosshair."""
    return f"{view.pointed} at {steps(step)}" + (f", validation {view.pointed_beside}" if view.pointed_beside else "")


def heat_spec(frame: Frame, *, framed: bool, columns: int) -> HeatSpec:
    """The heat strip."""
    heat = frame.heat
    steps = np.zeros(0) if heat.steps is None else heat.steps
    values = np.zeros((0, len(heat.layers))) if heat.rms is None else heat.rms
    return HeatSpec(
        "layers · gradient RMS", heat.layers, steps, values, heat.seen, before=heat.before, again=heat.again,
        value=heat.worst, state=heat.severity, marks=marks(frame), framed=framed, columns=columns, indent=1)


def spark_specs(frame: Frame) -> tuple[SparkSpec, ...]:
    """One sparkline per chart."""
    specs = []
    pointed = tuple(mark for mark in marks(frame) if mark.kind == "cursor")
    for view in frame.charts[:4]:
        series = Series.of((), ()) if view.columns is None else Series.thin(view.columns)
        if frame.wanted.at is not None:
            series = series.between(-math.inf, frame.wanted.at)
        value, state = (view.current, view.severity) if frame.wanted.cursor is None else (view.pointed, None)
        specs.append(SparkSpec("lr" if view.name == "lr" else view.title, value, state, series,
                               view.note or _range(series.between(*frame.span)), view.log, marks=pointed))
    return tuple(specs)


def _range(series: Series) -> str:
    if not np.isfinite(series.low).any():
        return ""
    low, high = short(float(np.nanmin(series.low))), short(float(np.nanmax(series.high)))
    return low if low == high else f"{low} – {high}"
