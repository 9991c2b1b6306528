"""Axes: ranges that stay put, ticks that read well, limits that one wild value cannot spoil. Pure folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tuimon.viewer.charts.series import Floats, Series


@dataclass(frozen=True, slots=True)
class XAxis:
    """The steps that a chart spans, both ends included; the same for every chart on a screen."""

    first: float
    last: float

    def grown(self, last_step: float) -> XAxis:
        """The axis that also holds `last_step`: itself while that fits, else a fifth or so longer.

        Lengths are 1, 1.25, 1.6, 2, 2.5, 3.2, 4, 5, 6.4, 8 times a power of ten: old columns stay where they are in between.
        """
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class YAxis:
    """The values that a chart spans, in axis units: log10 of the value where `log`."""

    low: float
    high: float
    log: bool

    def units(self, values: Floats) -> Floats:
        """Values in axis units; on a log axis what is not positive becomes -inf."""
        raise NotImplementedError


def fit(previous: YAxis | None, series: Sequence[Series], x: XAxis, *, log: bool, robust: bool = True) -> YAxis:
    """The y axis for what is visible: `previous` unless data overflow it or fill less than 40 % of it."""
    raise NotImplementedError
