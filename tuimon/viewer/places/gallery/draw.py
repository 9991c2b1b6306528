"""One run of the gallery: name and state, verdict, loss, and a row for each number that tells on it. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from rich.cells import cell_len

from tuimon.diagnosis.axes import XAxis, YAxis, fit
from tuimon.diagnosis.figures import step as steps
from tuimon.viewer.arrange import put_lines, wrap
from tuimon.viewer.bygone import without_keys
from tuimon.viewer.charts.chart import draw
from tuimon.viewer.charts.picture import Canvas, Picture
from tuimon.viewer.charts.spark import draw as draw_sparks
from tuimon.viewer.choice import Choice
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.lines import Line, Span, dim, joined, say, strong
from tuimon.viewer.plots import chart_spec, spark_specs, x_axis
from tuimon.viewer.text import fit as cut
from tuimon.viewer.views import Frame

SPARKS: Final = 3
"""Rows below the chart: gradient norm, update ratio, learning rate."""
WORDS: Final = 3
"""Rows of the verdict."""


def heading(frame: Frame, *, chosen: bool, width: int) -> Line:
    """Name, step, state."""
    head = frame.header
    count = steps(head.step) + (f"/{steps(head.total)}" if head.total else "")
    right = Span(f"{head.status} ", head.tone)
    room = width - 3 - cell_len(right.text)
    told = f"  step {count}" if head.step or head.total else ""
    if cell_len(head.name) + cell_len(told) > room:
        told = f"  {count}" if told and min(cell_len(head.name), 12) + cell_len(count) + 2 <= room else ""
    name = cut(head.name, max(1, room - cell_len(told)))
    gap = " " * max(1, room + 1 - cell_len(name) - cell_len(told))
    return (Span("▸ " if chosen else "  ", "strong"), strong(name), dim(told), Span(gap), right)


def _words(frame: Frame, width: int, rows: int) -> list[Line]:
    """What keeps it from being read on; the verdict without its keys, which do nothing here, its rows shared."""
    problem = [say(f"▲ {frame.problem}", "warning")] if frame.problem else []
    first, *rest = (*problem, *without_keys(frame.narrow)) or ((),)
    told = [first, *(row for line in rest for row in wrap((*line, Span(" ")), width))]
    return [*told[:rows - 1], joined(told[rows - 1:])]   # the last cut by the painter where it is too long


def draw_run(frame: Frame, y: YAxis | None, width: int, height: int, glyphs: GlyphSet, *,
             chosen: bool) -> tuple[Picture, YAxis]:
    """One run in exactly `width` x `height` cells, and the y axis of its loss to begin with next time."""
    canvas = Canvas(width, height)
    inner = width - 2
    put_lines(canvas, [heading(frame, chosen=chosen, width=inner)], 0, 0, inner, 1, glyphs)
    words = WORDS if height >= 16 else 2 if height >= 9 else 1
    bar = Span("┃ ", frame.tone)
    put_lines(canvas, [(bar, *line) for line in _words(frame, inner - 4, words)], 2, 1, inner - 2, words, glyphs)
    sparks = SPARKS if height - 1 - words >= 8 + SPARKS else 0
    rows = height - 1 - words - sparks
    x = x_axis(frame)
    spec = chart_spec(frame, 0, Choice(), focused=chosen)
    spec = replace(spec, title="loss · log" if spec.log else "loss")
    y = fit(y, spec.extent, x, log=spec.log, robust=spec.robust)
    if rows >= 3:
        _paste(canvas, draw(spec, inner, rows, x, y, glyphs), 1, 1 + words)
    if sparks:
        _paste(canvas, _sparks(frame, inner, sparks, x, glyphs), 1, height - sparks)
    return canvas.picture(), y


def _sparks(frame: Frame, width: int, rows: int, x: XAxis, glyphs: GlyphSet) -> Picture:
    return draw_sparks(spark_specs(frame)[1:1 + rows], width, rows, x, glyphs)


def _paste(canvas: Canvas, picture: Picture, at_x: int, at_y: int) -> None:
    for y, row in enumerate(picture.rows, at_y):
        x = at_x
        for run in row:
            after = canvas.put(x, y, run.text, run.role)
            if run.ground != "none":
                canvas.ground(x, y, after - x, run.ground)
            x = after


def waiting(width: int, height: int, glyphs: GlyphSet) -> Picture:
    """Before the runs have been read."""
    canvas = Canvas(width, height)
    put_lines(canvas, [(dim("  waiting for the runs to be read"),)], 0, height // 2, width, 1, glyphs)
    return canvas.picture()

