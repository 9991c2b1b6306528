"""A line over steps as SVG: what is below a hundredth of its width moves with the page, words and strokes do not. Pure.

Lines stand in a nested picture of 1000 x 1000 that is stretched to whatever room there is; words, marks and grids
stand in percent around it. No value is lost: a column spans its extremes, what is not finite has a mark of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from tuimon.diagnosis.axes import XAxis, YAxis, fit
from tuimon.diagnosis.wording import count, number
from tuimon.formats.report.html import Html, el, share
from tuimon.formats.report.model import Moment, Range
from tuimon.record.chunk import Bools, Floats
from tuimon.record.history import Thin

SIDE: Final = 1000
MIDDLE: Final = 5
"""Columns to either side that a moving median looks at."""
NEAR: Final = 0.05
"""Share of the width up to which two flags stand above each other rather than side by side."""
FEW: Final = 60
"""Points up to which each has a dot, so that evaluations are seen as such."""


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """A thinned line as the axes ask for it."""

    steps: Floats
    low: Floats
    high: Floats
    last: Floats
    bad: Bools

    @staticmethod
    def of(line: Thin) -> Columns:
        """The same columns."""
        return Columns(line.steps.astype(np.float64), line.low, line.high, line.last, line.bad)

    def between(self, first: float, last: float) -> Columns:
        """The columns with first <= step <= last."""
        keep = (self.steps >= first) & (self.steps <= last)
        return Columns(self.steps[keep], self.low[keep], self.high[keep], self.last[keep], self.bad[keep])


@dataclass(frozen=True, slots=True)
class Plot:
    """What one picture shows."""

    first: int
    last: int
    log: bool
    line: Thin
    other: Thin | None = None
    ranges: tuple[Range, ...] = ()
    moments: tuple[Moment, ...] = ()
    """Each with the number of its place as a flag."""
    limit: float | None = None
    """A value that counts: a dashed line across."""
    words: str = ""
    """What is seen, for those who do not see it."""
    ticks: int = 5


class _Place:
    """Where steps and values lie, as shares of the picture from its top left."""

    def __init__(self, plot: Plot, y: YAxis) -> None:
        self._first, self._span = plot.first, max(1, plot.last - plot.first)
        self.y = y

    def x(self, step: float) -> float:
        return (step - self._first) / self._span

    def unit(self, unit: float) -> float:
        """Of a value in axis units."""
        return (self.y.high - unit) / (self.y.high - self.y.low)

    def values(self, values: Floats) -> Floats:
        """(n,) of values; what lies outside is a little outside."""
        units = np.nan_to_num(self.y.units(values), nan=math.nan, neginf=-1e300, posinf=1e300)
        return np.clip((self.y.high - units) / (self.y.high - self.y.low), -0.2, 1.2)


def draw(plot: Plot) -> Html:
    """The picture as a figure's body."""
    lines = [Columns.of(one) for one in (plot.line, plot.other) if one is not None]
    x = XAxis(float(plot.first), float(plot.last))
    held = [*lines, *([_level(plot, plot.limit)] if plot.limit is not None else [])]
    y = fit(None, held, x, log=plot.log)
    place = _Place(plot, y)
    flags, levels = _flags(plot, place)
    inner = el(
        "svg", *_lines(lines, place, is_range=is_dense(plot.line)), class_="lines", viewBox=f"0 0 {SIDE} {SIDE}",
        preserveAspectRatio="none", width="100%", height="100%",
    )
    svg = el(
        "svg", el("title", plot.words), *_ranges(plot, place), *_grid(place, plot.ticks), *_steps(x, place),
        *_limit(plot, place), inner, *_dots(lines, place), *_bad(lines, place), *flags, role="img", class_="plot",
    )
    return el("div", svg, class_=f"frame flags-{levels}")


def _level(plot: Plot, at: float) -> Columns:
    one = np.array([at])
    return Columns(np.array([float(plot.first)]), one, one, one, np.zeros(1, np.bool_))


def _ranges(plot: Plot, place: _Place) -> Iterator[Html]:
    for one in plot.ranges:
        low, high = (min(1.0, max(0.0, place.unit(place.y.unit(v)))) for v in (one.low, one.high))
        if low > high:
            yield el("rect", class_="healthy" if one.is_healthy else "usual", x=0, y=share(high), width="100%",
                     height=share(low - high))


def _grid(place: _Place, most: int) -> Iterator[Html]:
    for tick in place.y.ticks(most):
        at = place.unit(tick.at)
        if -0.001 <= at <= 1.001:
            yield el("line", class_="grid", x1=0, x2="100%", y1=share(at), y2=share(at))
            yield el("text", tick.label, class_="y", x=0, dx=-8, dy=4, y=share(at))


def _steps(x: XAxis, place: _Place) -> Iterator[Html]:
    yield el("line", class_="floor", x1=0, x2="100%", y1="100%", y2="100%")
    for tick in x.ticks(50):
        at = place.x(tick.at)
        if 0 <= at <= 1:
            anchor = "from" if at < 0.04 else "to" if at > 0.96 else "mid"
            yield el("text", tick.label, class_=f"x {anchor}", x=share(at), y="100%", dy=17)


def _limit(plot: Plot, place: _Place) -> Iterator[Html]:
    if plot.limit is not None and math.isfinite(at := place.unit(place.y.unit(plot.limit))) and 0 <= at <= 1:
        yield el("line", class_="limit", x1=0, x2="100%", y1=share(at), y2=share(at))
        beside = -5 if at > 0.1 else 13
        yield el("text", f"limit {number(plot.limit)}", class_="limit", x=0, dx=6, y=share(at), dy=beside)


def is_dense(line: Thin) -> bool:
    """Whether columns stand for values so far apart that a line through all would be a block of colour."""
    fine = np.isfinite(line.low)
    if fine.sum() <= 4 * MIDDLE:
        return False
    low, high = line.low[fine], line.high[fine]
    with np.errstate(over="ignore"):
        return float(np.median(high - low)) > 0.02 * float(np.quantile(high, 0.98) - np.quantile(low, 0.02))


def _lines(lines: Sequence[Columns], place: _Place, *, is_range: bool) -> Iterator[Html]:
    """The second line under the first; of a dense first one its range, and over it how it goes on the whole."""
    for i, one in reversed(list(enumerate(lines))):
        dense = is_range and i == 0
        yield el("path", d=path(one, place), class_=f"line-{i + 1}{' range' if dense else ''}")
        if dense:
            middle = _middle(one.last)
            yield el("path", d=path(Columns(one.steps, middle, middle, middle, one.bad), place), class_="line-1 middle")


def _middle(values: Floats) -> Floats:
    """(n,) moving median; NaN where there is no value."""
    around = np.lib.stride_tricks.sliding_window_view(np.pad(values, MIDDLE, constant_values=np.nan), 2 * MIDDLE + 1)
    found = np.full(len(values), np.nan)
    known = np.isfinite(values)
    found[known] = np.nanmedian(around[known], 1)
    return found


def path(one: Columns, place: _Place) -> str:
    """A line's way: through the extremes of each column, the nearer one first; it breaks where nothing is finite."""
    across = [round(SIDE * place.x(step)) for step in one.steps]
    high, low, last = (np.rint(SIDE * np.nan_to_num(place.values(v), nan=-1)).astype(np.int64)
                       for v in (one.high, one.low, one.last))
    parts: list[str] = []
    pen, at = "M", 0
    for i in range(len(across)):
        if not math.isfinite(one.low[i]):
            pen = "M" if one.bad[i] else pen
            continue
        ends = [high[i]] if high[i] == low[i] else [high[i], low[i]]
        if len(ends) == 2 and pen == "L" and abs(at - low[i]) < abs(at - high[i]):
            ends.reverse()
        if ends[-1] != last[i]:
            ends.append(last[i])
        for end in ends:
            parts.append(f"{pen}{across[i]} {end}")
            pen = "L"
        at = ends[-1]
    return "".join(parts)


def _dots(lines: Sequence[Columns], place: _Place) -> Iterator[Html]:
    """Of the second line, or of a first one that is logged rarely."""
    for i, one in enumerate(lines):
        keep = np.isfinite(one.last)
        if keep.sum() <= FEW:
            for step, at in zip(one.steps[keep], place.values(one.last[keep]), strict=True):
                if 0 <= at <= 1:
                    yield el("circle", class_=f"dot-{i + 1}", cx=share(place.x(step)), cy=share(at), r=2.4)


def _bad(lines: Sequence[Columns], place: _Place) -> Iterator[Html]:
    """At the top, where values were not finite: one mark a stretch; and arrows where they left the picture."""
    for one in lines:
        for a, b in _stretches(one.bad):
            yield el("line", class_="bad", x1=share(place.x(one.steps[a])), x2=share(place.x(one.steps[b])), y1=3, y2=3)
            yield el("text", "×", el("title", "from here on values are not finite"), class_="bad",
                     x=share(place.x(one.steps[a])), y=18)
        for a, _ in _stretches(place.values(one.high) < 0):
            yield el("text", "▲", class_="over", x=share(place.x(one.steps[a])), y=10)
        for a, _ in _stretches(place.values(one.low) > 1):
            yield el("text", "▼", class_="over", x=share(place.x(one.steps[a])), y="100%", dy=-2)


def _stretches(flags: Bools) -> list[tuple[int, int]]:
    """First and last index of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _flags(plot: Plot, place: _Place) -> tuple[list[Html], int]:
    """Numbered lines, and on how many levels their numbers stand."""
    found: list[Html] = []
    ends = [-1.0, -1.0, -1.0]
    top = 0
    for i, moment in enumerate(plot.moments, 1):
        at = place.x(moment.step)
        if not -0.001 <= at <= 1.001:
            continue
        level = next((k for k, end in enumerate(ends) if at - end >= NEAR), 2)
        ends[level] = at
        top = max(top, level + 1)
        where = share(at)
        up = -11 - 17 * level
        found.append(el(
            "g", el("title", f"step {count(moment.step)}: {moment.words}"),
            el("line", x1=where, x2=where, y1=up + 8, y2="100%"), el("circle", cx=where, cy=up, r=7.5),
            el("text", str(i), x=where, y=up, dy=3.5), class_=f"flag {moment.tone} {moment.kind}",
        ))
    return found, top
