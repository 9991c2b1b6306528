"""Sparklines: one row per metric with its number, its badge and its range. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuimon.viewer.charts.axes import XAxis
from tuimon.viewer.charts.picture import Picture
from tuimon.viewer.charts.series import Series
from tuimon.viewer.glyphs import BRAILLE, GlyphSet, State


@dataclass(frozen=True, slots=True)
class SparkSpec:
    """One strip."""

    label: str
    value: str
    state: State | None
    series: Series
    note: str = ""
    """Range or band in words, at the right."""
    log: bool = False


def draw(specs: Sequence[SparkSpec], width: int, height: int, x: XAxis, glyphs: GlyphSet = BRAILLE) -> Picture:
    """One row per spec, columns aligned; exactly `width` x `height` cells, blank rows below."""
    raise NotImplementedError
