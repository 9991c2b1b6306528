"""Charts that are printed once, through plotext, made safe. The only place that knows plotext; loaded on first use.

plotext 5 keeps one figure per process, scales logarithms in place and raises on what a failing run is made of (NaN,
inf, zero on a log axis, constants). So everything is cleaned first: non-finite values are left out and counted in
the title, logarithms are taken here, limits are never equal, long series are thinned to their lowest and highest
per column, and one lock guards the figure, which is cleared before and after.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tuimon.diagnosis.wording import number

_LOCK: Final = threading.RLock()
_HUGE: Final = 1e150
"""Beyond this plotext's own arithmetic overflows; drawn at this height."""

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Zone:
    """A named range of values, drawn as its two edges."""

    name: str
    low: float
    high: float
    colour: Colour


@dataclass(frozen=True, slots=True)
class Chart:
    """One printed chart."""

    title: str
    x: Sequence[float]
    y: Sequence[float]
    colour: Colour = (95, 175, 255)
    log: bool = False
    zones: tuple[Zone, ...] = ()


def cleaned(x: Sequence[float], y: Sequence[float], *, log: bool) -> tuple[list[float], list[float], int]:
    """Points that can be drawn (log10 already taken), and how many could not."""
    xs: list[float] = []
    ys: list[float] = []
    for a, b in zip(x, y, strict=False):
        if not (math.isfinite(a) and math.isfinite(b)) or (log and b <= 0):
            continue
        xs.append(float(a))
        ys.append(math.log10(b) if log else max(-_HUGE, min(float(b), _HUGE)))
    return xs, ys, min(len(x), len(y)) - len(xs)


def thinned(x: list[float], y: list[float], columns: int) -> tuple[list[float], list[float]]:
    """At most two points per column, its lowest and its highest, in their order: no spike is lost."""
    n = len(x)
    if n <= 2 * columns:
        return x, y
    keep: list[int] = []
    for column in range(columns):
        part = range(column * n // columns, (column + 1) * n // columns)
        keep.extend(sorted({min(part, key=y.__getitem__), max(part, key=y.__getitem__)}))
    return [x[i] for i in keep], [y[i] for i in keep]


def spread(values: list[float]) -> tuple[float, float]:
    """Lowest and highest, pushed apart where they are equal."""
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(1.0, abs(low), abs(high)):
        pad = 0.5 * max(1.0, abs(low) * 1e-3)
        return low - pad, high + pad
    return low, high


def draw(chart: Chart, *, width: int, height: int, colour: bool = True) -> str:
    """The chart as lines of text, ANSI-coloured if asked; a sentence where there is nothing to draw."""
    width, height = max(20, width), max(6, height)
    x, y, lost = cleaned(chart.x, chart.y, log=chart.log)
    title = f"{chart.title} ({lost} not drawable)" if lost else chart.title
    if not x:
        return f"{title}: nothing to draw"[:width]
    x, y = thinned(x, y, width)
    edges = [
        (math.log10(v) if chart.log else v, zone.colour)
        for zone in chart.zones
        for v in (zone.low, zone.high)
        if math.isfinite(v) and (v > 0 or not chart.log)
    ]
    import plotext

    with _LOCK:
        plotext.clear_figure()
        try:
            plotext.limit_size(False, False)
            plotext.plot_size(width, height - 1)
            plotext.theme("clear")
            first, last = spread([float(v) for v in chart.x if math.isfinite(v)])
            plotext.xlim(first, last)
            plotext.xticks([first, (first + last) / 2, last], [f"{v:,.0f}" for v in (first, (first + last) / 2, last)])
            low, high = spread(y)
            plotext.ylim(low, high)
            plotext.yticks(*(decades(low, high) if chart.log else quarters(low, high)))
            for value, tint in edges:
                if low < value < high:
                    plotext.hline(value, tint)
            plotext.plot(x, y, marker="braille", color=chart.colour)
            picture: str = plotext.build()
            return f"{title[:width]:^{width}}\n{picture if colour else plotext.uncolorize(picture)}"
        finally:
            plotext.clear_figure()


def quarters(low: float, high: float) -> tuple[list[float], list[str]]:
    """Five ticks of a linear axis."""
    ticks = [low + (high - low) * k / 4 for k in range(5)]
    return ticks, [number(v) for v in ticks]


def decades(low: float, high: float) -> tuple[list[float], list[str]]:
    """Ticks of a log10 axis: whole decades, or the ends where there are fewer than two."""
    whole = range(math.ceil(low), math.floor(high) + 1)
    step = max(1, len(whole) // 6)
    ticks = [float(v) for v in whole[::step]] if len(whole) >= 2 else [low, (low + high) / 2, high]
    return ticks, [f"{10.0**v:.3g}" if abs(v) < 300 else f"1e{v:.0f}" for v in ticks]


def beside(left: str, right: str, *, width: int) -> str:
    """Two plain pictures next to each other; the left one padded to `width` columns."""
    a, b = left.splitlines(), right.splitlines()
    rows = max(len(a), len(b))
    a += [""] * (rows - len(a))
    b += [""] * (rows - len(b))
    return "\n".join(f"{one.ljust(width)}  {two}".rstrip() for one, two in zip(a, b, strict=True))
