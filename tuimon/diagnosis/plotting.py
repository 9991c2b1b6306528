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

APART: Final = 3
"""Columns from one character to the next of a line that is drawn with characters."""
_BAD: Final = (213, 94, 0)
_ASCII: Final = str.maketrans("─│┌┐└┘├┤┬┴┼", "-|+++++++++")

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Zone:
    """A named range of values, drawn as its two edges."""

    name: str
    low: float
    high: float
    colour: Colour


@dataclass(frozen=True, slots=True)
class Layer:
    """A further line over a chart."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    colour: Colour
    mark: str
    """One ASCII character: what draws it where there is no colour to tell it from the others."""


@dataclass(frozen=True, slots=True)
class Upright:
    """A moment: a line from the bottom to the top."""

    at: float
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
    layers: tuple[Layer, ...] = ()
    """Drawn over the first line, in this order."""
    label: str = ""
    """The first line's name in the legend, which is printed where there are layers."""
    mark: str = "."
    """The first line's character where braille is not to be had."""
    top: float = math.inf
    """Values above it are drawn at it."""
    uprights: tuple[Upright, ...] = ()
    """Under the lines."""
    bad: Sequence[float] = ()
    """Where a value was not finite: an x at the top."""
    across: tuple[float, float] | None = None
    """What the x axis spans; None: what the lines do."""


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


def sparse(x: list[float], y: list[float], across: tuple[float, float], places: int) -> tuple[list[float], list[float]]:
    """The first point in each of so many equal parts of the axis."""
    first, last = across
    kept: dict[int, int] = {}
    for i, value in enumerate(x):
        kept.setdefault(int((value - first) / (last - first) * places), i)
    return [x[i] for i in kept.values()], [y[i] for i in kept.values()]


def spread(values: list[float]) -> tuple[float, float]:
    """Lowest and highest, pushed apart where they are equal."""
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(1.0, abs(low), abs(high)):
        pad = 0.5 * max(1.0, abs(low) * 1e-3)
        return low - pad, high + pad
    return low, high


def draw(chart: Chart, *, width: int, height: int, colour: bool = True, ascii_only: bool = False) -> str:
    """The chart as lines of text, ANSI-coloured if asked; a sentence where there is nothing to draw."""
    width, height = max(20, width), max(6, height)
    own = Layer(chart.label, chart.x, [min(v, chart.top) for v in chart.y], chart.colour, chart.mark)
    lines, lost = [], 0
    for layer in (own, *chart.layers):
        x, y, missing = cleaned(layer.x, [min(v, chart.top) for v in layer.y], log=chart.log)
        lost += missing if layer is own else 0
        lines.append((layer, *thinned(x, y, width)))
    title = f"{chart.title} ({lost} not drawable)" if lost else chart.title
    if not any(x for _, x, _ in lines):
        return f"{title}: nothing to draw"[:width]
    edges = [
        (math.log10(v) if chart.log else v, zone.colour)
        for zone in chart.zones
        for v in (zone.low, zone.high)
        if math.isfinite(v) and (v > 0 or not chart.log)
    ]
    heading = [f"{title[:width]:^{width}}"]
    if chart.layers:
        heading.append(legend([layer for layer, _, _ in lines], width, colour=colour, ascii_only=ascii_only))
    steps = [float(v) for points in (*(layer.x for layer in (own, *chart.layers)), chart.bad) for v in points
             if math.isfinite(v)]
    across = spread([min(steps), max(steps)] if chart.across is None else list(chart.across))
    picture = _build(lines, edges, chart, across, (width, height - len(heading)), colour, ascii_only)
    return "\n".join((*heading, picture.translate(_ASCII) if ascii_only else picture))


def _build(
    lines: Sequence[tuple[Layer, list[float], list[float]]], edges: Sequence[tuple[float, Colour]],
    chart: Chart, across: tuple[float, float], size: tuple[int, int], colour: bool, ascii_only: bool,
) -> str:
    import plotext

    with _LOCK:
        plotext.clear_figure()
        try:
            plotext.limit_size(False, False)
            plotext.plot_size(*size)
            plotext.theme("clear")
            first, last = across
            plotext.xlim(first, last)
            plotext.xticks([first, (first + last) / 2, last], [f"{v:,.0f}" for v in (first, (first + last) / 2, last)])
            low, high = spread([v for _, _, y in lines for v in y])
            plotext.ylim(low, high)
            plotext.yticks(*(decades(low, high) if chart.log else quarters(low, high)))
            for upright in chart.uprights:
                if first <= upright.at <= last:
                    plotext.vline(upright.at, upright.colour)
            for value, tint in edges:
                if low < value < high:
                    plotext.hline(value, tint)
            for k, (layer, x, y) in enumerate(lines):
                if k and x and (ascii_only or not colour):  # single characters, with room to see the first line between
                    plotext.scatter(*sparse(x, y, across, size[0] // APART), marker=layer.mark, color=layer.colour)
                elif x:
                    plotext.plot(x, y, marker=layer.mark if ascii_only else "braille", color=layer.colour)
            if chart.bad:
                x, _ = sparse([float(v) for v in chart.bad], [0.0] * len(chart.bad), across, 3 * size[0])
                plotext.scatter(x, [high] * len(x), marker="x", color=_BAD)
            picture: str = plotext.build()
            return picture if colour else str(plotext.uncolorize(picture))
        finally:
            plotext.clear_figure()


def legend(layers: Sequence[Layer], width: int, *, colour: bool, ascii_only: bool) -> str:
    """Which line is which, on one line; where there is no colour, by their characters."""
    parts: dict[str, str] = {}
    room = width + 2
    for k, layer in enumerate(layers):
        sign = layer.mark * 2 if ascii_only or (k and not colour) else "⠤⠤"
        if not len(layer.x) or layer.label in parts:
            continue
        room -= len(layer.label) + 5
        if room < 0:
            break
        red, green, blue = layer.colour
        tinted = f"\x1b[38;2;{red};{green};{blue}m{sign}\x1b[0m" if colour else sign
        parts[layer.label] = f"{tinted} {layer.label}"
    return "  ".join(parts.values())


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
