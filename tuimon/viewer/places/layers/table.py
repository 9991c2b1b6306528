"""The parameters as a table: of the whole model, or of one layer. Pure.

`Reading` is how far one person has read: a filter, an order, the first row.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain, islice, repeat
from typing import Final, NamedTuple

import numpy as np
from rich.cells import cell_len

from tuimon.diagnosis.figures import UNKNOWN, counted, many, number, short
from tuimon.diagnosis.figures import step as steps
from tuimon.record.chunk import Floats, Ints
from tuimon.viewer.arrange import boxed
from tuimon.viewer.charts.chart import draw_heading
from tuimon.viewer.charts.picture import Canvas, Picture, Row
from tuimon.viewer.glyphs import GLYPHS, GlyphName, GlyphSet
from tuimon.viewer.lines import Span, Tone
from tuimon.viewer.places.layers.model import Tensors
from tuimon.viewer.text import pad, squeeze

KEPT: Final = 1000
"""Rows that are kept as they were drawn, of one table."""
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
    _Column("usual", 9, 96), _Column("x usual", 8, 46), _Column("update", 9, 64), _Column("|weight|", 9, 116),
    _Column("", 7, 40),
)
_SHAPE, _TYPE, _ELEMENTS, _GRAD, _USUAL, _TIMES, _UPDATE, _WEIGHT, _STATE = range(9)


def ratios(tensors: Tensors) -> Floats:
    """(P,) gradient norm over its usual; NaN where either is unknown, inf where the gradient is not finite."""
    with np.errstate(all="ignore"):
        found = tensors.grad.astype(np.float64) / tensors.usual
    return np.asarray(np.where(tensors.seen & ~np.isfinite(tensors.grad), np.inf, found))


def ordered(tensors: Tensors, reading: Reading) -> Ints:
    """Indices of the tensors that the filter leaves, in the chosen order; not written to."""
    return _worst_first(tensors, reading.filter) if reading.worst else _called(tensors.names, reading.filter)


@lru_cache(1)
def _worst_first(tensors: Tensors, words: str) -> Ints:
    order = _called(tensors.names, words)
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
    return f"{ratio:,.0f}x" if ratio >= 9.5 else f"{ratio:.1f}x" if ratio >= 0.1 else f"1/{short(1 / ratio)}"


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
        (number(float(tensors.weight[i])) if tensors.weighed[i] else UNKNOWN, "plain"),
        ("" if trained else "frozen", "dim"),
    )


def _known(value: float) -> str:
    return UNKNOWN if math.isnan(value) else number(value)


class _Body:
    """The rows of one table at one width. Scrolling moves rows: each is drawn when it is first seen, and kept."""

    def __init__(self, tensors: Tensors, width: int, glyphs: GlyphSet, *, framed: bool) -> None:
        self._tensors, self._ratio, self._glyphs = tensors, ratios(tensors), glyphs
        self._width, self._side = width, glyphs.down if framed else ""
        inner = width - (4 if framed else 2)
        empty = {_STATE: bool(tensors.trained.all()), _WEIGHT: not bool(tensors.weighed.any())}
        self._shown = [k for k, column in enumerate(_COLUMNS) if inner >= column.from_width and not empty.get(k)]
        room = max(8, inner - sum(_COLUMNS[k].width + 1 for k in self._shown))
        self._name = min(room, max(12, _longest(tensors.names)))
        self._rows: dict[int, Row] = {}
        self._heading = self._row("parameter", [(column.title, "dim") for column in _COLUMNS], "dim")
        self._blank = boxed((), width, glyphs, self._side)

    def rows(self, which: Ints, count: int) -> Iterator[Row]:
        """`count` rows: the heading, those of these tensors, and blank ones."""
        if len(self._rows) > KEPT:
            self._rows.clear()
        tensors = self._tensors
        found = [self._rows.get(i) or self._rows.setdefault(i, self._row(
            squeeze(tensors.names[i], self._name), _cells(tensors, i, float(self._ratio[i])),
            "plain" if tensors.trained[i] else "dim")) for i in which.tolist()]
        return islice(chain((self._heading,), found, repeat(self._blank)), count)

    def _row(self, name: str, cells: Sequence[tuple[str, Tone]], tone: Tone) -> Row:
        line = (Span(pad(name, self._name), tone), *(
            Span(f" {pad(cells[k][0], _COLUMNS[k].width, right=True)}", cells[k][1]) for k in self._shown))
        return boxed(line, self._width, self._glyphs, self._side)


@lru_cache(1)
def _body(tensors: Tensors, width: int, glyphs: GlyphName, *, framed: bool) -> _Body:
    return _Body(tensors, width, GLYPHS[glyphs], framed=framed)


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
    edges = Canvas(width, 2)
    draw_heading(edges, " · ".join(parts), value, None, glyphs, framed=framed, focused=False)
    first, last = edges.picture().rows
    body = _body(tensors, width, glyphs.name, framed=framed)
    below = (last,) if framed else ()
    return Picture(width, (first, *body.rows(order[top:top + rows], height - 1 - len(below)), *below))
