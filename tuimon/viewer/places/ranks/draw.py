"""The place as a picture: the verdict, a row for each rank, and where they do not fit, all of them over time. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from tuimon.diagnosis.figures import UNKNOWN as NO_NUMBER
from tuimon.diagnosis.figures import counted, number, size
from tuimon.diagnosis.figures import step as steps
from tuimon.diagnosis.heat import group_name, grouped
from tuimon.diagnosis.tone import BADGES
from tuimon.record.paces import SIZE
from tuimon.record.roster import GONE
from tuimon.viewer.arrange import put_lines, wrap
from tuimon.viewer.charts.chart import draw_heading
from tuimon.viewer.charts.picture import ROLES, Canvas, Picture, Role
from tuimon.viewer.glyphs import GlyphSet, State
from tuimon.viewer.lines import Line, Span, dim, lapse, measured
from tuimon.viewer.places.ranks.model import (
    BOUNDS,
    FIGURES,
    LEVELS,
    STATES,
    UNKNOWN,
    USUAL,
    Bytes,
    Look,
    RanksView,
    worst,
)
from tuimon.viewer.text import fit, pad

ALONE: Final = (
    "This run trains on one rank.",
    "Of several (DDP, FSDP2, HSDP; started by torchrun or SLURM) every one that calls tuimon.attach has a row here.",
)
WAITING: Final = "waiting for the first rows of the ranks"
_MARKS: Final[dict[str, tuple[str, Role]]] = {
    "live": ("●", "good"), "silent": ("◌", "warning"), "missing": ("◌", "warning"), "ended": ("✓", "note"),
    "died": ("✝", "critical"), "crashed": ("✖", "critical")}
_HEAT: Final[tuple[Role, ...]] = (
    "heat-low-4", "heat-low-3", "heat-low-2", "heat-low-1", "heat-usual", "heat-high-1", "heat-high-2", "heat-high-3",
    "heat-high-4", "blank")
_GROUPS: Final = 8
"""Rows of all ranks over time, where they have no room for one each."""
_LEAST: Final = 8
"""Rows of single ranks that are left beside them."""
_NARROWEST: Final = 10
"""Cells of the strip over time, below which it is left out."""


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    head: str
    cells: int
    least: int
    """Width of the place from which on it is there."""


_COLUMNS: Final = (
    _Column("rank", "rank", 5, 0), _Column("host", "host", 12, 100), _Column("device", "device", 7, 110),
    _Column("state", "state", 14, 0), _Column("step", "step", 9, 40), _Column("own_time", "own time", 8, 0),
    _Column("spark", "recent", 8, 70), _Column("step_time", "step time", 9, 100), _Column("data_time", "data", 8, 76),
    _Column("memory", "memory", 8, 110))


def draw(view: RanksView, look: Look, width: int, height: int, glyphs: GlyphSet, *, binary: bool = True) -> Picture:
    """The whole place in exactly that size."""
    canvas = Canvas(width, height)
    framed = height >= 10
    state: State = "good" if not view.verdict else "critical" if view.verdict[0][1] == "critical" else "warning"
    draw_heading(canvas, "ranks" + (" · worst first" if look.order == "worst" else ""), _counts(view),
                 state if view.world > 1 else None, glyphs, framed=framed, focused=False)
    left, inside = (2, width - 4) if framed else (1, width - 2)
    if view.world < 2:
        words = [(Span(ALONE[0]),), *wrap((dim(ALONE[1]),), inside)] if view.world else [(dim(WAITING),)]
        put_lines(canvas, words, left, 2, inside, max(0, height - 3), glyphs)
        return canvas.picture()
    said = _verdict(view, inside)[:max(1, height // 4)]
    put_lines(canvas, said, left, 1, inside, len(said), glyphs)
    plan = divide(view, height, len(said))
    _table(canvas, view, look, (left, 1 + len(said), inside, plan.rows), glyphs, binary=binary)
    if plan.rows > view.world + 1 and len(view.stretches):
        _legend(canvas, left, height - 2, inside, glyphs)
    if plan.groups:
        _grouped(canvas, view, (left, height - 1 - plan.groups, inside, plan.groups), glyphs)
    if framed and view.world > plan.rows:
        shown = f" {look.first + 1:,}{glyphs.dash}{min(view.world, look.first + plan.rows):,} of {view.world:,} "
        canvas.put(width - 2 - len(shown), height - 1, shown, "note")
    return canvas.picture()


@dataclass(frozen=True, slots=True)
class Plan:
    """How the rows are divided."""

    rows: int
    """Of single ranks."""
    groups: int
    """Of all of them over time; 0 where each has a row of its own, or there is no room."""


def divide(view: RanksView, height: int, said: int) -> Plan:
    """Of the height what stands between the verdict, the names of the columns and the lower edge."""
    edge = 1 if height >= 10 else 0
    room = max(1, height - 2 - said - edge)
    groups = min(_GROUPS, room - _LEAST - 1) if view.world > room else 0
    return Plan(room - (groups + 1 if groups >= 2 else 0), groups if groups >= 2 else 0)


def listed(view: RanksView, width: int, height: int) -> int:
    """Rows of single ranks in a place of that size."""
    inside = width - 4 if height >= 10 else width - 2
    return divide(view, height, len(_verdict(view, inside)[:max(1, height // 4)])).rows


def _counts(view: RanksView) -> str:
    if view.world < 2:
        return ""
    live = int((view.states == STATES.index("live")).sum())
    hosts = len(set(view.hosts) - {""})
    on = f" on {counted(hosts, 'host')}" if hosts else ""
    return f"{view.world:,}{on} · {live:,} live" + (f" · {len(view.slow):,} slow" if view.slow else "")


def _verdict(view: RanksView, width: int) -> list[Line]:
    if view.verdict:
        return [line for sentence, tone in view.verdict
                for line in wrap((Span(f"{BADGES.get(tone, '')} {_sentence(sentence)}".lstrip(), tone),), width)]
    if not len(view.stretches):
        return [(dim("who holds the others up cannot be told yet: own times of a few dozen steps are needed"),)]
    return [(Span("● No rank holds the others up.", "ok"),)]


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}".rstrip(".") + ("" if words.endswith("…") else ".")


def _table(canvas: Canvas, view: RanksView, look: Look, place: tuple[int, int, int, int], glyphs: GlyphSet, *,
           binary: bool) -> None:
    left, top, width, rows = place
    columns = [column for column in _COLUMNS if width >= column.least]
    heat = width - sum(column.cells + 1 for column in columns)
    x = left
    for column in columns:
        canvas.put(x, top, pad(column.head, column.cells, right=column.name in _RIGHT), "label")
        x += column.cells + 1
    if heat >= _NARROWEST:
        canvas.put(x, top, fit(_axis(view, heat), heat, glyphs.ellipsis), "label")
    shown = view.rows(look.order)[look.first:look.first + rows]
    for y, rank in enumerate(shown.tolist(), top + 1):
        at = left
        for column in columns:
            if column.name == "spark":
                _spark(canvas, at, y, view.sparks[rank, -column.cells:], glyphs)
            else:
                text, role = _cell(view, rank, column.name, binary=binary)
                words = pad(glyphs.say(text), column.cells, right=column.name in _RIGHT, ellipsis=glyphs.ellipsis)
                canvas.put(at, y, words, role)
            at += column.cells + 1
    if heat >= _NARROWEST and len(shown) and len(view.stretches):
        _heat(canvas, x, top + 1, _over_time(view.strip[:, shown], heat), glyphs)


_RIGHT: Final = frozenset({"rank", "step", *FIGURES})


def _axis(view: RanksView, cells: int) -> str:
    """What the strip over time is, in as many words as there is room for."""
    if not len(view.stretches):
        return "over time"
    first, last = steps(int(view.stretches[0])), steps(int(view.steps.max()))
    long = f"own time over the median, step {first} to {last}"
    return long if len(long) <= cells else f"step {first} to {last}"


def _cell(view: RanksView, rank: int, name: str, *, binary: bool) -> tuple[str, Role]:
    state = STATES[view.states[rank]]
    plain: Role = "text" if state == "live" else "note"
    if name == "rank":
        return str(rank), "value" if rank in view.slow else plain
    if name == "host":
        return view.hosts[rank] or NO_NUMBER, plain
    if name == "device":
        return view.devices[rank] or NO_NUMBER, plain
    if name == "state":
        mark, role = _MARKS[state]
        if state == "live" and rank in view.slow:
            return "▲ slow", "warning"
        waits = f" {lapse(view.now - view.since[rank])}" if state in ("silent", *GONE) and view.since[rank] else ""
        return f"{mark} {state}{waits}", role
    if name == "step":
        return (steps(int(view.steps[rank])) if view.steps[rank] >= 0 else NO_NUMBER), plain
    value = float(view.figures[rank, FIGURES.index(name)])
    if np.isnan(value):
        return NO_NUMBER, plain
    if name == "memory":
        return size(value, binary=binary), plain
    return _seconds(value), "warning" if name == "own_time" and rank in view.slow else plain


def _seconds(value: float) -> str:
    """3.40 ms, 212 ms, 1.31 s."""
    if not np.isfinite(value) or value < 0:
        return measured(value)
    return f"{number(value)} s" if value >= 1 else f"{number(1000 * value)} ms"


def _spark(canvas: Canvas, x: int, y: int, heights: Bytes, glyphs: GlyphSet) -> None:
    points = np.array([ord(c) for c in (*glyphs.bars, " ")], np.uint32)
    roles = np.full(len(heights), ROLES.index("spark"), np.uint8)
    width = min(len(heights), canvas.width - x)
    if width > 0 and 0 <= y < canvas.height:
        canvas.block(x, y, points[np.minimum(heights, LEVELS)][None, :width], roles[None, :width])


def _over_time(strip: Bytes, cells: int) -> Bytes:
    """Shades (m, R) as (R, cells): what is longer is drawn out, of what is shorter the worst shows."""
    m = len(strip)
    edges = np.linspace(0, m, cells + 1)
    if m <= cells:
        return np.asarray(strip[np.minimum((edges[:-1] + 1e-9).astype(int), m - 1)].T, np.uint8)
    begins = edges.astype(int)
    return np.stack([worst(strip[a:max(a + 1, b)]) for a, b in pairwise(begins.tolist())], axis=1)


def _heat(canvas: Canvas, x: int, y: int, shaded: Bytes, glyphs: GlyphSet) -> None:
    points = np.array([ord(c) for c in (*glyphs.heat, " ")], np.uint32)
    roles = np.array([ROLES.index(role) for role in _HEAT], np.uint8)
    known = np.minimum(shaded, UNKNOWN)
    rows, cells = min(len(known), canvas.height - y), min(known.shape[1], canvas.width - x)
    if rows > 0 and cells > 0:
        canvas.block(x, y, points[known[:rows, :cells]], roles[known[:rows, :cells]])


def _legend(canvas: Canvas, x: int, y: int, width: int, glyphs: GlyphSet) -> None:
    """What the shades say."""
    shown = [(USUAL, "usual"), *((level, f"{BOUNDS[level - 1]:g}x") for level in range(USUAL + 1, len(BOUNDS) + 1))]
    words = f"own time of {SIZE} steps beside the median of all:"
    if len(words) + sum(len(text) + 4 for _, text in shown) > width:
        return
    x = canvas.put(x, y, words, "note")
    for level, text in shown:
        x = canvas.put(x + 2, y, glyphs.heat[level], _HEAT[level])
        x = canvas.put(x + 1, y, text, "note")


def _grouped(canvas: Canvas, view: RanksView, place: tuple[int, int, int, int], glyphs: GlyphSet) -> None:
    """All ranks over time, neighbours in one row: the worst of them shows."""
    left, top, width, rows = place
    groups = grouped(view.world, rows)
    names = [group_name([str(a), str(b - 1)], glyphs.dash) if b - a > 1 else str(a) for a, b in groups]
    gutter = max(map(len, names))
    cells = width - gutter - 1
    canvas.put(left, top - 1, fit(f"all ranks: {_axis(view, width)}", width, glyphs.ellipsis), "label")
    for y, name in enumerate(names, top):
        canvas.put(left, y, pad(name, gutter, right=True), "note")
    if len(view.stretches):
        joined = np.stack([worst(view.strip[:, a:b].T) for a, b in groups], axis=1)
        _heat(canvas, left + gutter + 1, top, _over_time(joined, cells), glyphs)
