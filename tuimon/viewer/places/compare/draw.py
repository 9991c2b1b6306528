"""A comparison as pictures: the list of runs with what differs, and the charts that all of them share. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

import numpy as np
from rich.cells import cell_len

from tuimon.diagnosis.axes import is_wide
from tuimon.diagnosis.figures import number
from tuimon.diagnosis.figures import step as steps
from tuimon.diagnosis.tone import BADGES
from tuimon.record.metrics import METRICS as VOCABULARY
from tuimon.viewer.arrange import ROLES, put_lines
from tuimon.viewer.charts.chart import ChartSpec, Tag, draw_heading
from tuimon.viewer.charts.picture import Canvas, Picture, Role
from tuimon.viewer.charts.series import Series
from tuimon.viewer.charts.spec import VMark
from tuimon.viewer.glyphs import GlyphSet
from tuimon.viewer.lines import Line, Span, dim, rate
from tuimon.viewer.places.compare.axis import x_axis
from tuimon.viewer.places.compare.facts import Difference
from tuimon.viewer.places.compare.model import ACROSS, METRICS, SMOOTH, Across, CompareView, Side
from tuimon.viewer.text import fit, pad, squeeze
from tuimon.viewer.wanted import NOW, Wanted

_TITLES: Final = {"val_loss": "validation", "lr": "learning rate"}
_ALONG: Final[Mapping[Across, str]] = {"step": "by step", "time": "by time since the first step",
                                       "tokens": "by tokens"}


@dataclass(frozen=True, slots=True)
class Look:
    """How one person looks at the comparison."""

    focus: int | None = None
    """The run whose line stands in front; None: all alike."""
    chart: int = 0
    """Index into METRICS: the one that keys act on, and that is seen where there is room for one."""
    is_large: bool = False
    log: Mapping[str, bool] = field(default_factory=dict)
    """Axes that were chosen by hand."""
    across: Across = "step"
    smooth: int = 1
    facts: bool = False
    """Whether all differences are read, instead of the charts."""
    seen: Wanted = NOW
    """Which stretch of the x axis is seen, and where the crosshair stands on it."""

    def moved(self, by: int, count: int) -> Look:
        """Another run in front; above the first and below the last it is none."""
        if not count:
            return replace(self, focus=None)
        ring: list[int | None] = [None, *range(count)]
        at = ring.index(self.focus) if self.focus in ring else 0
        return replace(self, focus=ring[(at + by) % len(ring)])

    def picked(self, chart: int) -> Look:
        """Choose a chart; choosing it again shows it large, and back."""
        return replace(self, chart=chart, is_large=not self.is_large if chart == self.chart else self.is_large,
                       facts=False)

    def turned(self, view: CompareView) -> Look:
        """The next of what the x axis can count for all of these runs."""
        known = view.known or ACROSS[:1]
        at = known.index(view.across) if view.across in known else 0
        across = known[(at + 1) % len(known)]
        return replace(self, across=across, seen=self.seen if across == view.across else NOW)

    def smoother(self, by: int) -> Look:
        """Average more, or less."""
        return replace(self, smooth=min(len(SMOOTH) - 1, max(0, self.smooth + by)))


# ---------------------------------------------------------------------- how the screen is divided


@dataclass(frozen=True, slots=True)
class Division:
    """Rows of each part, by the size of the screen and the number of runs only."""

    kind: Literal["one", "all"]
    """"one": a single chart at a time."""
    listed: int = 0
    """Rows of the list, its box included."""
    framed: bool = False


def divide(width: int, height: int, count: int) -> Division:
    """The division of a screen of that size."""
    framed = width >= 100 and height >= 28
    rows = max(1, count) + (3 if framed else 2)
    inside = height - 2
    if framed and inside - rows >= 16:
        return Division("all", rows, framed=True)
    return Division("one", min(rows, max(3, inside // 2)), framed=framed)


def shown(view: CompareView, look: Look, division: Division) -> tuple[str, ...]:
    """The metrics whose charts have a place."""
    if division.kind == "one" or look.is_large:
        return (METRICS[look.chart],)
    without = {"val_loss"} if not any("val_loss" in side.columns for side in view.sides) else set()
    return tuple(name for name in METRICS if name not in without)


# ---------------------------------------------------------------------- the charts


def chart_spec(view: CompareView, look: Look, name: str, *, focused: bool) -> ChartSpec:
    """One metric of all runs."""
    there = [side for side in view.sides if name in side.columns]
    front = view.sides[look.focus] if look.focus is not None and look.focus < len(view.sides) else None
    log = is_log(view, look, name)
    # the one in front is painted last, over the others
    order = sorted(there, key=lambda side: side is front)
    series = tuple(Series.thin(side.columns[name], _role(side, front)) for side in order)
    tags = tuple(tag for side in reversed(order) if (tag := _tag(side, name, _role(side, front))) is not None)
    cursor = look.seen.cursor
    marks = () if cursor is None else (VMark(cursor, "cursor", "cursor"),)
    title = _title(name)
    title += (" · log" if log else "") + (" · avg" if view.smooth and name != "lr" else "")
    value = None if front is None else front.values.get(name) if cursor is None else value_at(front, name, cursor)
    words = "" if value is None or front is None else f"{front.letter} {_number(name, value)}"
    return ChartSpec(title, words, None, series, log, marks=marks, waiting=_waiting(view, name), focused=focused,
                     tags=tags, axis=f"{title} of {', '.join(side.name for side in view.sides)}")


def _title(name: str) -> str:
    return _TITLES.get(name, VOCABULARY[name].label)


def end_of(side: Side) -> float:
    """Where a run is on the x axis; 0 before anything was measured."""
    return max((float(one.steps[-1]) for one in side.columns.values() if len(one)), default=0.0)


def pointed_first(view: CompareView, look: Look) -> int:
    """Where the crosshair begins: the end of the run in front, else of the shortest, up to where all can be read."""
    sides = view.sides if look.focus is None or look.focus >= len(view.sides) else (view.sides[look.focus],)
    return max(1, int(min((end for side in sides if (end := end_of(side))), default=1.0)))


def value_at(side: Side, name: str, at: float) -> float | None:
    """What was last measured up to there; None before the first, and where that run has ended."""
    columns = side.columns.get(name)
    if columns is None or at > end_of(side):
        return None
    before = int(np.searchsorted(columns.steps, at, side="right")) - 1
    return None if before < 0 else float(columns.last[before])


def is_log(view: CompareView, look: Look, name: str) -> bool:
    """Which axis it has now."""
    if name in look.log:
        return look.log[name]
    columns = [side.columns[name] for side in view.sides if name in side.columns]
    if name == "lr" or not columns:
        return False
    if VOCABULARY[name].log_axis:
        return True
    return is_wide(np.concatenate([c.low for c in columns]), np.concatenate([c.high for c in columns]))


def _role(side: Side, front: Side | None) -> Role:
    return side.role if front is None or side is front else "mark"


def _tag(side: Side, name: str, role: Role) -> Tag | None:
    columns = side.columns[name]
    there = np.flatnonzero(np.isfinite(columns.last))
    if not len(there):
        return None
    return Tag(float(columns.steps[there[-1]]), float(columns.last[there[-1]]), side.letter, role)


def _number(name: str, value: float) -> str:
    return rate(value) if name == "lr" else number(value)


def _waiting(view: CompareView, name: str) -> str:
    if not view.sides:
        return "no runs are compared"
    if view.reading:
        return "reading the runs"
    return "none of them has logged it" if name != "val_loss" else "none has logged a validation loss"


# ---------------------------------------------------------------------- the list


def table(view: CompareView, glyphs: GlyphSet, room: int) -> tuple[list[tuple[str, ...]], int]:
    """Headings and rows of the list, as wide as `room` allows, and how many differences found no place."""
    head = [*_HEAD]
    columns: list[list[str]] = [
        _names(view),
        [steps(side.step) for side in view.sides],
        [_measured(side, "loss") for side in view.sides],
        ["–" if side.best_val is None else number(side.best_val) for side in view.sides],
        [f"{BADGES.get(side.tone, '◌')} {side.verdict}" for side in view.sides],
    ]
    if room < 76:
        columns[4] = [text.split(" since ")[0] for text in columns[4]]
    left = room - sum(max(cell_len(h), *map(cell_len, c)) + 2 for h, c in zip(head, columns, strict=True))
    placed = 0
    for difference in view.differences:
        name, *values = (squeeze(text, 20, glyphs.ellipsis) for text in (difference.name, *difference.values))
        cells = max(cell_len(name), *map(cell_len, values)) + 2
        if cells > left:
            break
        head.append(name)
        columns.append(values)
        left -= cells
        placed += 1
    return [tuple(head), *zip(*columns, strict=True)], len(view.differences) - placed


def table_at(view: CompareView, at: float, room: int) -> list[tuple[str, ...]]:
    """The same at the crosshair: what each run had measured there, as many metrics as there is room for."""
    head, columns, left = ["run"], [_names(view)], room - max(map(cell_len, _names(view))) - 2
    for name in METRICS:
        values = [value_at(side, name, at) for side in view.sides]
        words = ["–" if value is None else _number(name, value) for value in values]
        left -= max(cell_len(_title(name)), *map(cell_len, words)) + 2
        if left < -2:   # none follows the last one
            break
        head.append(_title(name))
        columns.append(words)
    return [tuple(head), *zip(*columns, strict=True)]


def _names(view: CompareView) -> list[str]:
    return [pad(side.name, min(28, max(cell_len(s.name) for s in view.sides))) for side in view.sides]


def _measured(side: Side, name: str) -> str:
    return "–" if name not in side.values else _number(name, side.values[name])


_HEAD: Final = ("run", "steps", "loss", "best val", "verdict")
"""What stands before the differences, which may be called the same."""
_RIGHT: Final = {"steps", "loss", "best val", *map(_title, METRICS)}
_NOT_FINITE: Final = {"NaN", "inf", "-inf"}


def draw_list(view: CompareView, look: Look, width: int, height: int, glyphs: GlyphSet, *, framed: bool) -> Picture:
    """The runs, each with the letter and the colour of its lines, what it has reached, and what it differs in."""
    canvas = Canvas(width, height)
    left, top, room = (2, 1, width - 4) if framed else (1, 1, width - 2)
    if not view.sides:
        draw_heading(canvas, "compare", "", None, glyphs, framed=framed, focused=False)
        put_lines(canvas, EMPTY, left, top, room, height - top, glyphs)
        return canvas.picture()
    cursor = look.seen.cursor
    rows, more = table(view, glyphs, room - 4) if cursor is None else (table_at(view, cursor, room - 4), 0)
    where = _ALONG[view.across] if cursor is None else f"at {_place(view, cursor)}"
    title = f"compare {len(view.sides)} runs · {where}" + (" · reading" if view.reading else "")
    said = f"{more} more differences: d" if more and width >= 70 else ""
    draw_heading(canvas, title, said, None, glyphs, framed=framed, focused=False)
    names = rows[0] if cursor is not None else (*_HEAD, *[""] * (len(rows[0]) - len(_HEAD)))
    widths = [max(cell_len(row[i]) for row in rows) for i in range(len(rows[0]))]
    first = max(0, (look.focus or 0) + 1 - max(1, height - framed - top - 1))   # the one in front is in sight
    for y, row in enumerate([rows[0], *rows[1 + first:]]):
        if top + y >= height - framed:
            break
        side = view.sides[first + y - 1] if y else None
        chosen = side is not None and look.focus == first + y - 1
        if side is not None:
            canvas.put(left, top + y, glyphs.say("▸") if chosen else " ", "value")
            canvas.put(left + 2, top + y, side.letter, side.role)
        x = left + 4
        for name, text, cells in zip(names, row, widths, strict=True):
            room_left = left + room - x
            if room_left <= 0 or (name in _RIGHT and cells > room_left):   # half a number is another one
                break
            words = fit(pad(text, cells, right=name in _RIGHT), room_left, glyphs.ellipsis)
            canvas.put(x, top + y, glyphs.say(words), _cell_role(name, text, side, chosen=chosen))
            if side is not None and name == "verdict":
                canvas.put(x, top + y, glyphs.say(words[:1]), ROLES[side.tone])
            x += cells + 2
        if chosen:
            canvas.ground(left, top + y, room, "usual")
    return canvas.picture()


def _place(view: CompareView, at: float) -> str:
    words = x_axis(view.across, view.end).label(at)
    return {"step": f"step {words}", "time": words, "tokens": f"{words} tokens"}[view.across]


def _cell_role(name: str, text: str, side: Side | None, *, chosen: bool) -> Role:
    if side is None:
        return "label"
    if name == "verdict":
        loud = side.tone in ("warning", "critical")
        return ROLES[side.tone] if loud else "value" if chosen else "text"
    if text in _NOT_FINITE:
        return "critical"
    return "value" if chosen or name == "run" else "note" if text == "–" else "text"


EMPTY: Final[list[Line]] = [
    (Span("Nothing is compared yet."),),
    (dim("In the list of runs (b), space marks runs, and d lays them over each other."),),
]


# ---------------------------------------------------------------------- all differences


def difference_lines(view: CompareView, width: int) -> list[Line]:
    """One line for each fact, one column for each run."""
    if not view.differences:
        words = "They have logged the same about themselves." if view.sides else ""
        return [(dim(words),)]
    count = max(1, len(view.sides))
    longest = max(cell_len(row.name) for row in view.differences)
    names = min(longest, max(12, min(width // 3, width - 8 * count)))   # every run has its column
    each = max(6, min(24, (width - names) // count - 2))
    head: Line = (Span(" " * names), *(Span("  " + pad(side.letter, each), "strong") for side in view.sides))
    return [head, *(_difference_line(row, names, each) for row in view.differences)]


def _difference_line(row: Difference, names: int, each: int) -> Line:
    values = (Span("  " + pad(squeeze(value, each), each)) for value in row.values)
    return (dim(pad(squeeze(row.name, names), names)), *values)


def draw_differences(view: CompareView, width: int, height: int, glyphs: GlyphSet) -> Picture:
    """What the runs say of themselves, where they differ."""
    canvas = Canvas(width, height)
    count, room = len(view.differences), height - 3
    told = f"{room} of {count}" if 0 < room < count else f"{count}"
    said = f"{told} fact{'s' * (count != 1)} · d back to the charts"
    draw_heading(canvas, "what differs", said, None, glyphs, framed=True, focused=False)
    put_lines(canvas, difference_lines(view, width - 4), 2, 1, width - 4, height - 2, glyphs)
    return canvas.picture()
