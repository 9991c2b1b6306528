"""The parameters as a table: of the whole model, or of one layer. Pure.

`Reading` is how far one person has read: a filter, an order, the first row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, NamedTuple

import numpy as np
from rich.cells import cell_len

from tuimon.diagnosis.figures import UNKNOWN, counted, many, number, short
from tuimon.diagnosis.figures import step as steps
from tuimon.record.chunk import Floats, Ints
from tuimon.viewer.arrange import put_lines
from tuimon.viewer.charts.chart import draw_heading
from tuimon.viewer.charts.picture import Canvas, Picture
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.lines import Line, Span, Tone, dim
from tuimon.viewer.places.layers.model import Tensors
from tuimon.viewer.text import pad, squeeze

STRANGE: Final = 10.0
WILD: Final = 30.0
"""Times the usual from which a gradient is told in the tone of a warning, and of something critical."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What of a table one person looks at."""

    filter: str = ""
    worst: bool = False
    """Furthest from the usual first; else the order of the model."""
    top: int = 0

    def read(self, by: int, count: int, rows: int) -> Reading:
        """So many rows further down, or up, in a table of `count` of which `rows` are shown."""
        return replace(self, top=max(0, min(self.top + by, count - rows)))


class _Column(NamedTuple):
    title: str
    width: int
    from_width: int
    """Cells that the table must have for this column to be in it."""


_COLUMNS: Final = (
    _Column("shape", 14, 88), _Column("type", 9, 104), _Column("elements", 10, 56), _Column("|grad|", 9, 0),
    _Column("usual", 9, 96), _Column("x usual", 8, 46), _Column("update", 9, 64), _Column("", 7, 40),
)
_SHAPE, _TYPE, _ELEMENTS, _GRAD, _USUAL, _TIMES, _UPDATE, _STATE = range(8)


def ratios(tensors: Tensors) -> Floats:
    """(P,) gradient norm over its usual; NaN where either is unknown, inf where the gradient is not finite."""
    with np.errstate(all="ignore"):
        found = tensors.grad.astype(np.float64) / tensors.usual
    return np.asarray(np.where(tensors.seen & ~np.isfinite(tensors.grad), np.inf, found))


def ordered(tensors: Tensors, reading: Reading) -> Ints:
    """Indices of the tensors that the filter leaves, in the chosen order."""
    order = _called(tensors.names, reading.filter)
    if not reading.worst:
        return order
    with np.errstate(all="ignore"):
        apart = np.abs(np.log10(ratios(tensors)[order]))
    return order[np.argsort(-np.where(np.isnan(apart), -1.0, apart), kind="stable")]


@lru_cache(4)
def _called(names: tuple[str, ...], words: str) -> Ints:
    """Indices of the names that contain all words; not written to."""
    wanted = words.lower().split()
    return np.array([i for i, name in enumerate(names) if all(word in name.lower() for word in wanted)], np.int64)


@lru_cache(4)
def _longest(names: tuple[str, ...]) -> int:
    """Cells of the longest name."""
    return max((cell_len(name) for name in names), default=4)


def amount(count: int) -> str:
    """Elements: 812, 4,096, 38.6M, 1.2B."""
    return f"{count:,}" if count < 100_000 else many(count)


def totals(tensors: Tensors, order: Ints, *, wide: bool) -> str:
    """What is shown, in numbers."""
    elements, trained = tensors.elements[order], tensors.trained[order]
    whole, moving = int(elements.sum()), int(elements[trained].sum())
    said = f"{counted(len(order), 'tensor')}, {amount(whole)} elements"
    return said if moving == whole or not wide else f"{said}, {amount(moving)} of them trained"


def _times(ratio: float) -> str:
    """How many times the usual: 17x, 1.4x, 0.3x, 1/59."""
    if not 0 < ratio < math.inf:
        return "0x" if ratio == 0 else ""
    return f"{ratio:,.0f}x" if ratio >= 9.5 else f"{ratio:.1f}x" if ratio >= 0.095 else f"1/{short(1 / ratio)}"


def _tone(ratio: float) -> Tone:
    apart = abs(math.log10(ratio)) if 0 < ratio < math.inf else math.nan if math.isnan(ratio) else math.inf
    return "critical" if apart >= math.log10(WILD) else "warning" if apart >= math.log10(STRANGE) else "plain"


def _cells(tensors: Tensors, i: int, ratio: float) -> tuple[tuple[str, Tone], ...]:
    seen, grad = bool(tensors.seen[i]), float(tensors.grad[i])
    trained = bool(tensors.trained[i])
    update = float(tensors.update[i])
    tone = _tone(ratio)
    return (
        (tensors.shapes[i], "dim"), (tensors.dtypes[i], "dim"), (amount(int(tensors.elements[i])), "dim"),
        (number(grad) if seen else UNKNOWN, tone), (_known(float(tensors.usual[i])), "dim"),
        (_times(ratio), tone), (_known(update), "plain"),
        ("" if trained else "frozen", "dim"),
    )


def _known(value: float) -> str:
    return UNKNOWN if math.isnan(value) else number(value)


def lines(tensors: Tensors, order: Ints, first: int, width: int, rows: int) -> list[Line]:
    """The heading and as many rows as there is room for, from the `first` of `order` on."""
    shown = [k for k, column in enumerate(_COLUMNS) if width >= column.from_width]
    if bool(tensors.trained.all()):
        shown.remove(_STATE) if _STATE in shown else None
    room = max(8, width - sum(_COLUMNS[k].width + 1 for k in shown))
    name = min(room, max(12, _longest(tensors.names)))
    found: list[Line] = [(dim(pad("parameter", name)),
                          *(dim(f" {pad(_COLUMNS[k].title, _COLUMNS[k].width, right=True)}") for k in shown))]
    ratio = ratios(tensors)
    for i in order[first:first + rows].tolist():
        cells = _cells(tensors, i, float(ratio[i]))
        trained = bool(tensors.trained[i])
        found.append((Span(pad(squeeze(tensors.names[i], name), name), "plain" if trained else "dim"), *(
            Span(f" {pad(cells[k][0], _COLUMNS[k].width, right=True)}", cells[k][1]) for k in shown)))
    return found


def rows_for(width: int, height: int) -> int:
    """Rows of a table in a picture of that size."""
    return max(1, height - (3 if is_framed(width, height) else 2))


def is_framed(width: int, height: int) -> bool:
    """Whether there is room for a box."""
    return height >= 8 and width >= 60


def draw_table(
    tensors: Tensors, reading: Reading, title: str, width: int, height: int, glyphs: GlyphSet,
) -> Picture:
    """The table in exactly `width` x `height` cells."""
    canvas = Canvas(width, height)
    framed = is_framed(width, height)
    rows = rows_for(width, height)
    order = ordered(tensors, reading)
    top = max(0, min(reading.top, len(order) - rows))
    parts = [title]
    if len(order) > rows:
        parts.append(f"{top + 1:,}–{min(len(order), top + rows):,} of {len(order):,}")
    if reading.worst:
        parts.append("worst first")
    if reading.filter:
        parts.append(f"/{reading.filter}")
    wide = width >= 90
    value = totals(tensors, order, wide=wide)
    if tensors.step and wide:
        value += f" · at step {steps(tensors.step)}"
    draw_heading(canvas, " · ".join(parts), value, None, glyphs, framed=framed, focused=False)
    inner = width - 4 if framed else width - 2
    put_lines(canvas, lines(tensors, order, top, inner, rows), 2 if framed else 1, 1, inner,
              height - (2 if framed else 1), glyphs)
    return canvas.picture()
