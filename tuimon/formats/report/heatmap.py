"""Depth x time as SVG: the shades of the panel's strip, one cell a stretch of steps, with a legend in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from tuimon.diagnosis.axes import XAxis
from tuimon.diagnosis.figures import short
from tuimon.diagnosis.heat import BAD, LEVELS, ORDER, Ranks, group_name, grouped, rank_cells
from tuimon.diagnosis.wording import number
from tuimon.formats.report.html import Html, el, share
from tuimon.formats.report.model import Depth, Moment

CELLS: Final = 240
"""Cells across."""
ROWS: Final = 48
"""Rows at most; of more layers neighbours share one, and the worst shows."""
LONGEST: Final = 20
"""Characters of a layer's name beside the map; the whole of it shows under a pointer."""
MIDDLING: Final = 14
"""Characters up to which names need but little room."""
_SHADES: Final = {level: i for i, level in enumerate(ORDER)}


def draw(depth: Depth, first: int, last: int, moments: tuple[Moment, ...]) -> Html:
    """The map with the names of its layers, what each measured last, and the legend."""
    groups = grouped(len(depth.names), ROWS)
    x = XAxis(float(first), float(last))
    ranks = rank_cells(depth, groups, x, CELLS)
    names = [group_name(depth.names[a:b], "–") for a, b in groups]
    cells = el("svg", *_cells(ranks), class_="cells", viewBox=f"0 0 {CELLS} {len(groups)}", preserveAspectRatio="none",
               width="100%", height="100%")
    middles = [share((i + 0.5) / len(groups)) for i in range(len(groups))]
    labels = [el("text", _end(name), el("title", name), class_="layer", x=0, dx=-8, y=at, dy=4)
              for name, at in zip(names, middles, strict=True)]
    values = [el("text", value, class_="now", x="100%", dx=8, y=at, dy=4)
              for value, at in zip(_last(depth, groups), middles, strict=True)]
    ticks = [el("text", tick.label, class_="x mid", x=share((tick.at - first) / max(1, last - first)), y="100%", dy=17)
             for tick in x.ticks(60) if first < tick.at < last - 0.03 * (last - first)]
    lines = [el("line", class_=f"moment {m.tone}", x1=share(at), x2=share(at), y1=0, y2="100%")
             for m in moments if m.kind == "onset" and 0 <= (at := (m.step - first) / max(1, last - first)) <= 1]
    svg = el("svg", el("title", "gradient RMS of each layer over the steps, against its own usual"), cells, *lines,
             *labels, *values, *ticks, role="img", class_="heat", height=max(64, 17 * len(groups)))
    room = "wide" if max(map(len, names)) > MIDDLING else "middling"
    return el("div", el("div", svg, class_="heat-frame"), legend(), class_=f"names-{room}")


def _end(name: str) -> str:
    """What tells a long name from its neighbours is its end."""
    return name if len(name) <= LONGEST else f"…{name[1 - LONGEST:]}"


def _last(depth: Depth, groups: list[tuple[int, int]]) -> Iterator[str]:
    """The newest value of each row; of several layers the greatest."""
    for a, b in groups:
        seen = depth.values[-1, a:b][depth.seen[-1, a:b]]
        yield number(float(seen.max())) if len(seen) else "–"


def _cells(ranks: Ranks) -> Iterator[Html]:
    """One path a shade; neighbours of one shade are one rectangle."""
    for rank in range(BAD + 1):
        parts = []
        for row, flags in enumerate(ranks == rank):
            edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
            parts += [f"M{a} {row}h{b - a}v1h{a - b}z" for a, b in zip(edges[::2], edges[1::2], strict=True)]
        if parts:
            yield el("path", d="".join(parts), class_=shade(rank))


def shade(rank: int) -> str:
    """The class of a rank: "low-4" to "low-1", "usual", "high-1" to "high-4", "bad"."""
    if rank == BAD:
        return "bad"
    level = ORDER[rank]
    middle = len(LEVELS)
    return "usual" if level == middle else f"low-{middle - level}" if level < middle else f"high-{level - middle}"


def legend() -> Html:
    """The shades from far below the usual to far above it."""
    times = [short(10 ** level) for level in LEVELS]
    middle = len(LEVELS)
    words = [*(f"÷{t}" for t in reversed(times)), "usual", *(f"×{t}" for t in times)]
    shades = [shade(_SHADES[level]) for level in range(2 * middle + 1)]
    items = [el("li", el("i", class_=f"swatch {name}"), word) for name, word in zip(shades, words, strict=True)]
    bad = el("li", el("i", class_="swatch bad"), "not finite")
    return el("ul", el("li", "against the layer's own usual:", class_="what"), *items, bad, class_="legend")
