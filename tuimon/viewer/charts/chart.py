"""One chart: frame, title with the current value, axes, bands, marks, lines. Pure: spec and axes in, picture out."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
from rich.cells import cell_len

from tuimon.diagnosis.axes import LABEL, XAxis, YAxis, column_of
from tuimon.diagnosis.figures import size
from tuimon.viewer.charts.picture import Canvas, Ground, Picture, Role
from tuimon.viewer.charts.raster import TALL, WIDE, Raster, rasterise
from tuimon.viewer.charts.raster import glyphs as glyph_cells
from tuimon.viewer.charts.series import Series
from tuimon.viewer.charts.spec import Band, ChartSpec, Fan, Level, Tag, VMark
from tuimon.viewer.glyphs import BRAILLE, GlyphSet, State
from tuimon.viewer.text import fit

__all__ = ["Area", "Band", "ChartSpec", "Fan", "Level", "Tag", "VMark", "area", "draw", "draw_heading", "draw_marks",
           "draw_waiting", "draw_words", "draw_x_axis", "heading_words", "pointed_labels", "state_role"]


ELSEWHERE: Final = "nothing measured in these steps"


@dataclass(frozen=True, slots=True)
class Area:
    """Where the data go inside a picture, and what else has room."""

    left: int
    """First cell column of the data; the axis stands one before it where `gutter` is not 0."""
    top: int
    width: int
    height: int
    gutter: int
    """Cells for labels and axis on the left; 0 where there is no room."""
    framed: bool
    axis_row: bool
    label_row: bool


@lru_cache(maxsize=64)
def area(width: int, height: int, gutter: int = LABEL + 2) -> Area:
    """Frame, labels, axis line and gutter go, in this order, as room grows; the data always keep at least one cell."""
    framed = height >= 4 and width >= 12
    edge = 1 if framed else 0
    rows, columns = height - 2 * edge, width - 2 * edge
    title_row = 0 if framed or height < 2 else 1
    rows -= title_row
    label_row = rows >= 4
    axis_row = rows >= 5
    gutter = gutter if columns >= 2 * gutter + 4 else 0
    return Area(
        edge + gutter, edge + title_row, max(1, columns - gutter), max(1, rows - label_row - axis_row),
        gutter, framed, axis_row, label_row,
    )


def draw(spec: ChartSpec, width: int, height: int, x: XAxis, y: YAxis, glyphs: GlyphSet = BRAILLE) -> Picture:
    """The chart in exactly `width` x `height` cells (at least 1 x 1); what does not fit is left out, the data last.

    `y` comes from `axes.fit(previous, spec.extent, x, log=spec.log, robust=spec.robust)`.
    """
    width, height = max(1, width), max(1, height)
    place = area(width, height)
    visible = [s for s in (whole.between(x.first, x.last) for whole in spec.series) if not s.is_empty]
    if not visible and not any(s.spans(x.first, x.last) for s in spec.series):
        canvas = Canvas(width, height)
        draw_heading(canvas, spec.title, spec.value, spec.state, glyphs, framed=place.framed, focused=spec.focused)
        draw_waiting(canvas, spec.waiting if all(s.is_empty for s in spec.series) else ELSEWHERE, glyphs)
        return canvas.picture()
    bare = replace(spec, title="", value="", state=None, series=(), levels=(), tags=(), bands=())
    bands = band_rows(spec.bands, y, place.height), band_words(spec.bands)
    is_valued = not visible or any(np.isfinite(s.low).any() for s in visible)
    canvas = _backdrop(bare, bands, width, height, x, y, glyphs, labelled=is_valued).copy()
    put_heading(canvas, spec.title, spec.value, spec.state, glyphs, framed=place.framed, focused=spec.focused)
    _draw_levels(canvas, place, spec.levels, visible, spec.marks, x, y, glyphs)
    _draw_lines(canvas, place, spec.series, x, y, glyphs)
    _draw_tags(canvas, place, [tag for tag in spec.tags if not tag.aside], x, y)
    draw_words(canvas, place, spec.marks, x)
    _draw_tags(canvas, place, [tag for tag in spec.tags if tag.aside], x, y)   # beside words as well
    return canvas.picture()


@lru_cache(maxsize=16)   # a live chart is drawn on the same one until an axis moves
def _backdrop(bare: ChartSpec, bands: tuple[tuple[Ground, ...], str], width: int, height: int, x: XAxis, y: YAxis,
              glyphs: GlyphSet, *, labelled: bool) -> Canvas:
    """All that stands under the data, without what the heading says; `bare` has no data and nothing that needs them.

    `bands`: what they come to, as edges that are learned move by less than a row all the time.
    """
    canvas, place = Canvas(width, height), area(width, height)
    draw_heading(canvas, "", "", None, glyphs, framed=place.framed, focused=bare.focused)
    for row, ground in enumerate(bands[0]):
        canvas.ground(place.left, place.top + row, place.width, ground)
    _draw_fans(canvas, place, bare.fans, x, y)
    _draw_y_axis(canvas, place, bands[0], _labels(place, y, bare) if labelled else {}, glyphs)
    draw_labels(canvas, place, bare.marks, bands[1], x, glyphs)
    draw_marks(canvas, place, bare.marks, x, glyphs)
    return canvas


def draw_labels(canvas: Canvas, place: Area, marks: tuple[VMark, ...], word: str, x: XAxis, glyphs: GlyphSet) -> None:
    """The axis line and what stands under it."""
    pointed = pointed_labels(place, marks, x)   # the steps need the room of the words
    draw_x_axis(canvas, place, x, glyphs, "" if pointed else word, pointed)


NAMED: Final = 6
"""Cells of a title that say what it is about."""


def draw_heading(
    canvas: Canvas, title: str, value: str, state: State | None, glyphs: GlyphSet, *, framed: bool, focused: bool,
) -> None:
    """The frame, and in its top line the heading. Unframed: a line of text."""
    width, height = canvas.width, canvas.height
    edge = _edge(focused=focused)
    if framed:
        corners = glyphs.corners
        canvas.line(0, height - 1, width, glyphs.across, edge)
        canvas.put(0, height - 1, corners[2], edge)
        canvas.put(width - 1, height - 1, corners[3], edge)
        canvas.column(0, 1, height - 2, glyphs.down, edge)
        canvas.column(width - 1, 1, height - 2, glyphs.down, edge)
    put_heading(canvas, title, value, state, glyphs, framed=framed, focused=focused)


def put_heading(
    canvas: Canvas, title: str, value: str, state: State | None, glyphs: GlyphSet, *, framed: bool, focused: bool,
) -> None:
    """What stands in the top line, from end to end."""
    if canvas.height < 2:
        return
    x = 0
    for words, role in heading_words(canvas.width, title, value, state, glyphs, framed=framed, focused=focused):
        x = canvas.put(x, 0, words, role)


def heading_words(
    width: int, title: str, value: str, state: State | None, glyphs: GlyphSet, *, framed: bool, focused: bool,
) -> tuple[tuple[str, Role], ...]:
    """The first row: title at the left, value and badge at the right, between them the line of the frame."""
    badge = glyphs.badges[state] if state else ""
    parts: list[tuple[str, Role]] = [(glyphs.say(value), _value_role(state)), (badge, state_role(state))]
    parts = [(words, role) for words, role in parts if words]
    margin = 2 if framed else 0
    room = width - 2 * margin
    length = sum(cell_len(words) + 1 for words, _ in parts) + 1 if parts else 0
    if length > room or room - length - 3 < min(cell_len(title), NAMED):   # a number means nothing without its name
        parts, length = [], 0
    words = fit(glyphs.say(title), room - length - 3, glyphs.ellipsis)
    named: list[tuple[str, Role]] = [(" ", "blank"), (f"{words} ", "title")] if words else []
    line = (glyphs.across if framed else " ") * (room - length - (cell_len(words) + 2 if words else 0))
    said: list[tuple[str, Role]] = []
    for part in parts:
        said += [(" ", "blank"), part]
    edge, ends = _edge(focused=focused), glyphs.corners[:2] if framed else ("", "")
    across = glyphs.across if framed else ""
    return ((f"{ends[0]}{across}", edge), *named, (line, edge), *said, (" " if parts else "", "blank"),
            (f"{across}{ends[1]}", edge))


def _edge(*, focused: bool) -> Role:
    return "frame-focus" if focused else "frame"


def draw_waiting(canvas: Canvas, message: str, glyphs: GlyphSet) -> None:
    """What is awaited, in the middle; on several lines where it is long."""
    room = canvas.width - 4
    lines = textwrap.wrap(glyphs.say(message), max(1, room))[:max(1, canvas.height - 2)]
    top = (canvas.height - len(lines) + 1) // 2
    for y, line in enumerate(lines, top):
        words = fit(line, room, glyphs.ellipsis)
        canvas.put((canvas.width - cell_len(words)) // 2, y, words, "note")


Label = tuple[int, str, Role]
"""First cell, words and role of what stands under the axis."""


def pointed_labels(place: Area, marks: tuple[VMark, ...], x: XAxis) -> tuple[Label, ...]:
    """The steps of the cursors; of two that would touch, the later one's."""
    found: list[Label] = []
    for mark in reversed(marks):
        cell = _cell_of(mark.step, x, place)
        if mark.kind != "cursor" or not 0 <= cell < place.width:
            continue
        words = x.label(mark.step)
        left = place.left + max(0, min(cell - len(words) // 2, place.width - len(words)))
        if all(left + len(words) < at or at + len(other) < left for at, other, _ in found):
            found.append((left, words, mark.role))
    return tuple(found)


def draw_x_axis(canvas: Canvas, place: Area, x: XAxis, glyphs: GlyphSet, word: str = "",
                pointed: tuple[Label, ...] = ()) -> None:
    """The axis line, step labels under it, and at their right end the word of the band; `pointed` comes first."""
    row = place.top + place.height
    if place.axis_row:
        canvas.line(place.left, row, place.width, glyphs.across, "axis")
        if place.gutter:
            canvas.put(place.left - 1, row, glyphs.axis_corner, "axis")
        row += 1
    if not place.label_row:
        return
    end, word = place.left + place.width - 1, glyphs.say(word)
    if word and cell_len(word) <= place.width // 2:
        end -= cell_len(word)
        canvas.put(end, row, word, "note")
        end -= 2
    free = place.left
    for tick in x.ticks(place.width):
        column = place.left + _cell_of(tick.at, x, place)
        start = max(place.left, column - (len(tick.label) - 1) // 2)
        after = start + len(tick.label)
        clear = all(after < at or at + len(words) < start for at, words, _ in pointed)
        if clear and start >= free and after <= end + 1:
            free = canvas.put(start, row, tick.label, "label") + 1
    for at, words, role in pointed:
        canvas.put(at, row, words, role)


def draw_marks(canvas: Canvas, place: Area, marks: tuple[VMark, ...], x: XAxis, glyphs: GlyphSet) -> None:
    """Vertical lines and diamonds, under the data; the later one covers the earlier."""
    for mark in marks:
        cell = _cell_of(mark.step, x, place)
        if not 0 <= cell < place.width:
            continue
        if line := mark.line(glyphs):
            canvas.column(place.left + cell, place.top, place.height, line, mark.role)
        if place.axis_row and (foot := mark.foot(glyphs)):
            canvas.put(place.left + cell, place.top + place.height, foot, mark.role)


def draw_words(canvas: Canvas, place: Area, marks: tuple[VMark, ...], x: XAxis) -> None:
    """Beside each line what it means, and why if there is room, in the first of its upper rows that is free there."""
    lines = [(_cell_of(mark.step, x, place), mark) for mark in marks if mark.kind not in ("snapshot", "best")]
    found = sorted(lines, key=lambda pair: pair[0])
    for i, (cell, mark) in enumerate(found):
        if not 0 <= cell < place.width:
            continue
        free = (found[i + 1][0] if i + 1 < len(found) else place.width) - cell - 1
        word = next((w for w in (mark.word, mark.word.split(":", 1)[0]) if cell_len(w) < free), "")
        if not word or place.height < 5:
            continue
        length = cell_len(word) + 2
        rows = range(place.top, place.top + max(1, place.height // 3))
        row = next((y for y in rows if canvas.is_blank(place.left + cell + 1, y, min(free, length))), None)
        if row is not None:
            canvas.put(place.left + cell + 1, row, f" {word}", mark.role)


def state_role(state: State | None) -> Role:
    """The role in which a badge is drawn."""
    return "text" if state is None else "info" if state == "busy" else state


def _value_role(state: State | None) -> Role:
    return state_role(state) if state in {"warning", "critical"} else "value"


def _cell_of(step: float, x: XAxis, place: Area) -> int:
    """Cell column of a step: the one its dots are in. Outside the axis: outside 0 .. width - 1."""
    return column_of(step, x.first, x.last, WIDE * place.width) // WIDE


def band_rows(bands: tuple[Band, ...], y: YAxis, height: int) -> tuple[Ground, ...]:
    """The ground of each of so many rows: of the band in which its middle lies, or that it holds where that is thin."""
    rows: list[Ground] = ["none"] * height
    each = (y.high - y.low) / height
    for band in bands:
        low, high = y.unit(band.low), y.unit(band.high)
        if not high > low or high < y.low or low > y.high:
            continue
        first = math.floor((y.high - min(high, y.high)) / each + 0.5)
        last = math.ceil((y.high - max(low, y.low)) / each - 0.5) - 1
        if last < first:
            first = last = math.floor((y.high - (max(low, y.low) + min(high, y.high)) / 2) / each)
        for row in range(max(0, first), min(height - 1, last) + 1):
            rows[row] = band.ground
    return tuple(rows)


def band_words(bands: tuple[Band, ...]) -> str:
    """What stands at the right end of the x axis."""
    return " · ".join(band.word for band in bands if band.word)


def _draw_fans(canvas: Canvas, place: Area, fans: tuple[Fan, ...], x: XAxis, y: YAxis) -> None:
    """Grounds behind the cells that lie inside, column by column."""
    each = (y.high - y.low) / place.height
    centres = x.first + (np.arange(place.width) + 0.5) * (x.last - x.first + 1) / place.width
    for fan in fans:
        if len(fan.steps):
            low, high = (np.interp(centres, fan.steps, y.units(edge)) for edge in (fan.low, fan.high))
            inside = (centres >= fan.steps[0]) & (centres <= fan.steps[-1]) & (high >= y.low) & (low <= y.high)
            for column in np.flatnonzero(inside).tolist():
                top = max(0, math.floor((y.high - high[column]) / each))
                bottom = min(place.height - 1, math.floor((y.high - max(low[column], y.low)) / each))
                for row in range(top, bottom + 1):
                    canvas.ground(place.left + column, place.top + row, 1, fan.ground)


def _draw_levels(
    canvas: Canvas, place: Area, levels: tuple[Level, ...], series: list[Series], marks: tuple[VMark, ...], x: XAxis,
    y: YAxis, glyphs: GlyphSet,
) -> None:
    """Dashed lines across the rows of their values; a level that the axis does not hold is left out.

    The word stands at the first place from the left that is free of data, or nowhere.
    """
    a_cell, a_row = (x.last - x.first + 1) / place.width, (y.high - y.low) / place.height
    for level in levels:
        at = y.unit(level.at)
        if not y.low <= at <= y.high:
            continue
        row = place.top + min(place.height - 1, int((y.high - at) / (y.high - y.low) * place.height))
        canvas.line(place.left, row, place.width, glyphs.level, level.role)
        words = f" {glyphs.say(level.word)} "
        cells = cell_len(words) + 2
        near = [one.steps[(y.units(one.low) < at + a_row) & (y.units(one.high) > at - a_row)] for one in series]
        taken = np.floor((np.concatenate([*near, [m.step for m in marks]]) - x.first) / a_cell)
        starts = range(0, place.width - cells + 1, 2)
        free = next((at for at in starts if not ((taken >= at) & (taken < at + cells)).any()), None)
        if level.word and free is not None:
            canvas.put(place.left + free + 1, row, words, level.role)


_BAND_ROLE: Final[Mapping[Ground, Role]] = {"none": "axis", "usual": "band-usual", "healthy": "band-healthy"}


def _labels(place: Area, y: YAxis, spec: ChartSpec) -> dict[int, str]:
    """Row -> label of the y axis."""
    labels: dict[int, str] = {}
    for tick in y.ticks(max(2, min(place.height * 2 // 3, 4 + place.height // 8))):
        row = round((y.high - tick.at) / (y.high - y.low) * (TALL * place.height - 1)) // TALL
        words = tick.label
        if spec.in_bytes:
            words = size(10.0 ** tick.at if y.log else tick.at, binary=spec.binary)
            words = words.replace(" ", "") if spec.binary else words   # "GiB" has a letter more
        labels.setdefault(min(place.height - 1, max(0, row)), words)
    return labels


def _draw_y_axis(canvas: Canvas, place: Area, in_band: tuple[Ground, ...], labels: dict[int, str],
                 glyphs: GlyphSet) -> None:
    """The line with its labels; heavier and coloured beside a band."""
    if not place.gutter:
        return
    column = place.left - 1
    for row, ground in enumerate(in_band):
        at = place.top + row
        label = labels.get(row)
        lined, ticked = (glyphs.down, glyphs.tick) if ground == "none" else (glyphs.band_down, glyphs.band_tick)
        canvas.put(column, at, lined if label is None else ticked, _BAND_ROLE[ground])
        if label is not None:
            canvas.put(column - 1 - len(label), at, label, "label")


def _draw_lines(canvas: Canvas, place: Area, series: tuple[Series, ...], x: XAxis, y: YAxis, glyphs: GlyphSet) -> None:
    flags: list[Raster] = []
    for one in series:
        low, high, last = y.units(one.table[:, 1:4]).T
        raster = rasterise(
            one.steps, low, high, last, one.bad,
            x=(x.first, x.last), y=(y.low, y.high), width=place.width, height=place.height,
        )
        canvas.cells(place.left, place.top, glyph_cells(raster.dots, glyphs.name), one.role)
        flags.append(raster)
    bottom = place.top + place.height - 1
    for one, raster in zip(series, flags, strict=True):
        for row, at, glyph, role in (
            (bottom, raster.under, glyphs.under, one.role), (place.top, raster.over, glyphs.over, one.role),
            (place.top, raster.bad, glyphs.bad, "critical"),
        ):
            for column in np.flatnonzero(at).tolist():
                canvas.put(place.left + column, row, glyph, role)


def _draw_tags(canvas: Canvas, place: Area, tags: Sequence[Tag], x: XAxis, y: YAxis) -> None:
    """Each at the right of its point, or as near above or below as is free; where nothing is near, left out."""
    taken: set[tuple[int, int]] = set()
    for tag in tags:
        column, at = _cell_of(tag.step, x, place) + 1, y.unit(tag.at)
        if not 0 < column <= place.width or not math.isfinite(at):
            continue
        column = min(place.width - 1, column)
        row = min(place.height - 1, max(0, int((y.high - at) / (y.high - y.low) * place.height)))
        able = [row + r for r in (0, -1, 1, -2, 2) if 0 <= row + r < place.height and (column, row + r) not in taken]
        blank = (r for r in able if tag.aside and canvas.is_blank(place.left + column, place.top + r, 1))
        if (free := next(blank, able[0] if able else None)) is not None:
            taken.add((column, free))
            canvas.put(place.left + column, place.top + free, tag.word, tag.role)
