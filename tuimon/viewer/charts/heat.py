"""The heat strip: depth x time, how far each layer's gradient RMS is from the usual. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from rich.cells import cell_len

from tuimon.diagnosis.axes import XAxis, column_of
from tuimon.diagnosis.calm import Calm
from tuimon.diagnosis.heat import ORDER, Ranks, group_name, grouped, rank_cells
from tuimon.viewer.charts.chart import VMark, draw_heading, draw_waiting
from tuimon.viewer.charts.picture import ROLES, Canvas, Picture, Role
from tuimon.viewer.charts.series import Bools, Floats
from tuimon.viewer.glyphs import BRAILLE, GlyphSet, State
from tuimon.viewer.text import pad, squeeze

_ROLES: Final[tuple[Role, ...]] = (
    "heat-low-4", "heat-low-3", "heat-low-2", "heat-low-1", "heat-usual",
    "heat-high-1", "heat-high-2", "heat-high-3", "heat-high-4",
)
@dataclass(frozen=True, slots=True, eq=False)
class HeatSpec:
    """Layers over time, as `LayerGroups.grad_rms` gives them."""

    title: str
    layers: tuple[str, ...]
    """(L) in model order."""
    steps: Floats
    """(m,)"""
    values: Floats
    """(m, L) gradient RMS."""
    seen: Bools | None = None
    """(m, L) whether it was measured. None: NaN counts as not measured until the layer's first finite value."""
    before: float | None = None
    """The usual is learned from steps before this one (an onset); None: from all."""
    again: tuple[Calm, ...] = ()
    """The calm stretches since, from which it is learned anew."""
    value: str = ""
    state: State | None = None
    marks: tuple[VMark, ...] = ()
    waiting: str = "no layers measured yet"
    framed: bool = True
    columns: int = 1
    """Blocks side by side (2 on a narrow screen)."""
    focused: bool = False
    indent: int = 0
    """Cells left free on the left where there is no frame."""


def is_framed(spec: HeatSpec, width: int, height: int) -> bool:
    """Whether there is room for a frame, and with it for a heading."""
    return spec.framed and height >= 3 and width >= 12


@dataclass(frozen=True, slots=True)
class Plan:
    """How a strip is divided."""

    edge: int
    """Cells that its frame takes on each side."""
    left: int
    """First cell of the first block."""
    groups: list[tuple[int, int]]
    """First layer of each row, and the one after the last."""
    blocks: int
    """Side by side."""
    each: int
    """Cells of a block."""
    gutter: int
    """Cells of its names."""

    @property
    def cells(self) -> int:
        """Cells that the steps span."""
        return max(1, self.each - self.gutter - 2)


@lru_cache(maxsize=4)   # asked at every frame of the strip that is drawn
def plan(spec: HeatSpec, width: int, height: int, glyphs: GlyphSet) -> Plan:
    """How the strip is divided in so many cells; it has a layer at least."""
    edge = 1 if is_framed(spec, width, height) else 0
    indent = 0 if edge else min(spec.indent, width - 1)
    rows, room = height - 2 * edge, width - 3 * edge - indent
    blocks = max(1, min(spec.columns, len(spec.layers), room // 12))
    groups = grouped(len(spec.layers), rows * blocks)
    each = (room + 1) // blocks - (1 if blocks > 1 else 0)
    longest = max(cell_len(glyphs.say(group_name(spec.layers[a:b], glyphs.dash))) for a, b in groups)
    return Plan(edge, 2 * edge + indent, groups, blocks, each, min(longest, max(4, each // 3), 16))


def draw(spec: HeatSpec, width: int, height: int, x: XAxis, glyphs: GlyphSet = BRAILLE) -> Picture:
    """The strip in exactly `width` x `height` cells; where rows are short, neighbours share one: the worst shows."""
    canvas = Canvas(width, height)
    if is_framed(spec, canvas.width, canvas.height):
        draw_heading(canvas, spec.title, spec.value, spec.state, glyphs, framed=True, focused=spec.focused)
    if not spec.layers or not len(spec.steps):
        draw_waiting(canvas, spec.waiting, glyphs)
        return canvas.picture()
    found = plan(spec, canvas.width, canvas.height, glyphs)
    per_block, edge, gutter = -(-len(found.groups) // found.blocks), found.edge, found.gutter
    ranks = rank_cells(spec, found.groups, x, found.cells)
    for block in range(found.blocks):
        here = slice(block * per_block, (block + 1) * per_block)
        left = found.left + block * (found.each + 1)
        for row, (a, b) in enumerate(found.groups[here]):
            name = glyphs.say(group_name(spec.layers[a:b], glyphs.dash))
            words = pad(squeeze(name, gutter, glyphs.ellipsis), gutter, right=found.blocks == 1)
            canvas.put(left, edge + row, words, "label")
        _paint(canvas, left + gutter + 1, edge, ranks[here], glyphs)
        _paint_marks(canvas, left + gutter + 1, edge, ranks[here], spec, x, glyphs)
    return canvas.picture()


def _paint(canvas: Canvas, left: int, top: int, ranks: Ranks, glyphs: GlyphSet) -> None:
    points = np.array([ord(c) for c in (*(glyphs.heat[level] for level in ORDER), glyphs.bad, " ")], np.uint32)
    names: tuple[Role, ...] = (*(_ROLES[level] for level in ORDER), "heat-bad", "blank")
    roles = np.array([ROLES.index(role) for role in names], np.uint8)
    canvas.block(left, top, points[ranks], roles[ranks])


def _paint_marks(
    canvas: Canvas, left: int, top: int, ranks: Ranks, spec: HeatSpec, x: XAxis, glyphs: GlyphSet,
) -> None:
    """Vertical lines through what is usual; the unusual stays visible."""
    width = ranks.shape[1]
    for mark in spec.marks:
        cell = column_of(mark.step, x.first, x.last, width)
        line = mark.line(glyphs)
        if line is not None and 0 <= cell < width:
            for row in np.flatnonzero(ranks[:, cell] <= 0).tolist():
                canvas.put(left + cell, top + row, line, mark.role)
