"""The list of runs and the chosen one as pictures. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

from tuimon.diagnosis.axes import XAxis
from tuimon.diagnosis.figures import counted, many, narrow, number, size
from tuimon.diagnosis.figures import step as steps
from tuimon.diagnosis.tone import BADGES
from tuimon.viewer.arrange import ROLES, put_lines
from tuimon.viewer.charts.chart import ChartSpec, draw_heading
from tuimon.viewer.charts.picture import ROLES as ROLES_OF_CELLS
from tuimon.viewer.charts.picture import Canvas, Picture, Role
from tuimon.viewer.charts.series import Series
from tuimon.viewer.charts.spark import BAD, NONE, SparkSpec, levels
from tuimon.viewer.glyphs import GlyphSet, ascii_of
from tuimon.viewer.lines import Line, Span, Tone, dim, lapse, rate, strong
from tuimon.viewer.places.runs.columns import LEAD, divide
from tuimon.viewer.places.runs.model import Look, Row, RunsView, marked
from tuimon.viewer.places.runs.words import on
from tuimon.viewer.text import clean, fit, pad

STATES: Final[dict[str, tuple[str, Tone]]] = {
    "running": ("●", "ok"), "starting": ("◌", "dim"), "paused": ("‖", "info"), "held": ("◼", "warning"),
    "stopping": ("◼", "warning"), "finished": ("✓", "dim"), "stopped": ("◼", "dim"), "crashed": ("✖", "critical"),
    "died": ("✝", "critical"), "unreadable": ("▲", "warning"), "": ("◌", "dim"),
}
KEYS: Final = 9
"""Cells of the words at the left of what is said of the chosen run."""


def inside(width: int, height: int, *, framed: bool, hosts: bool = False) -> tuple[int, int]:
    """Columns for the list, and rows for runs: below the heading, the hosts and the names of the columns."""
    height -= hosts
    return (max(1, width - 4), max(0, height - 3)) if framed else (max(1, width - 2), max(0, height - 2))


def draw_table(view: RunsView, rows: Sequence[Row], look: Look, width: int, height: int, glyphs: GlyphSet, *,
               framed: bool) -> Picture:
    """The list; `rows` is what the filter lets through, in order."""
    canvas = Canvas(width, height)
    draw_heading(canvas, _title(view, rows, look), _counts(view), None, glyphs, framed=framed, focused=False)
    several = bool(view.hosts)
    columns, count = inside(canvas.width, canvas.height, framed=framed, hosts=several)
    left, top = (2, 1 + several) if framed else (1, 1 + several)
    if several:
        put_lines(canvas, [host_line(view, columns - LEAD)], left + LEAD, 1, columns - LEAD, 1, glyphs)
    x = left + LEAD
    for column, cells in divide(columns, hosts=several):
        canvas.put(x, top, pad(column.head, cells, right=column.right), "label")
        x += cells + 1
    if not rows:
        put_lines(canvas, _empty(view, look), left + LEAD, top + 2, columns - LEAD, max(0, count - 1), glyphs)
        return canvas.picture()
    for i, row in enumerate(rows[look.top:look.top + count]):
        _put_row(canvas, view, look, row, left, top + 1 + i, columns, glyphs)
    _put_position(canvas, len(rows), look, count, glyphs, framed=framed)
    return canvas.picture()


def _title(view: RunsView, rows: Sequence[Row], look: Look) -> str:
    words = "runs" if look.sort == "age" else f"runs by {look.sort}"
    if look.filter:
        words += f" · {len(rows)} of {len(view.rows)} match"
    count = len(marked(view, look))
    return words + (f" · {count} marked" if count else "")


def _counts(view: RunsView) -> str:
    if not view.root:
        return ""
    parts = [f"{view.live} live", f"{len(view.rows)} in all", size(view.size, binary=view.binary)]
    if view.unread:
        parts = [f"reading {view.unread} more", *parts[1:]]
    return " · ".join(parts)


HOSTS: Final[dict[str, tuple[str, Tone, str]]] = {
    "live": ("●", "ok", ""), "reaching": ("◌", "dim", "reaching"), "reconnecting": ("◌", "warning", "reconnecting"),
    "refused": ("✖", "critical", "asks for a login (R)"), "unreached": ("✖", "critical", "not reachable")}
"""Of each state of a host: glyph, tone, words."""
SOME: Final = 12
"""Cells of a reason that say something."""


def host_line(view: RunsView, width: int) -> Line:
    """The other machines, those first of which something is to be said; why so, as far as there is room."""
    hosts = sorted(view.hosts, key=lambda host: host.state == "live" and not host.why)
    found = [(host, *HOSTS[host.state]) for host in hosts]
    said = [words or lapse(max(0.0, view.now - host.since)) + (f", reading {host.unread} more" if host.unread else "")
            for host, _, _, words in found]
    reasons = [host.why.rstrip(".") if host.state not in ("refused", "reaching") else "" for host in hosts]
    count = sum(map(bool, reasons))
    taken = sum(cell_len(host.name) + len(words) + 6 for host, words in zip(hosts, said, strict=True)) - 3 + 2 * count
    room = (width - taken) // max(1, count)
    line: list[Span] = []
    for (host, glyph, tone, _), words, why in zip(found, said, reasons, strict=True):
        short = why if cell_len(why) <= room else fit(why.rpartition(": ")[2], room)   # what is last says most
        told = f"{words}: {short}" if why and room >= SOME else words
        line += [Span("   " if line else ""), Span(f"{glyph} ", tone), Span(host.name), dim(f" {told}")]
    return tuple(line)


def _empty(view: RunsView, look: Look) -> list[Line]:
    if view.rows:
        return [(Span(f"None of {len(view.rows)} runs match."),),
                (dim("For example: lr>1e-3 state:died -seed age<2d; esc shows them all again."),)]
    if not view.root:
        return [(dim("reading the runs"),)]
    return [(Span("No runs yet."),), (dim(f"They are looked for in {view.root}"),),
            (dim("A first one: tuimon demo exploding"),)] if not look.filter else []


def _put_position(canvas: Canvas, count: int, look: Look, shown: int, glyphs: GlyphSet, *, framed: bool) -> None:
    """Which rows are in sight, in the frame's lower edge."""
    if not framed or count <= shown:
        return
    words = f" {look.top + 1}{glyphs.dash}{min(count, look.top + shown)} of {count} "
    canvas.put(canvas.width - 2 - len(words), canvas.height - 1, words, "note")


def _put_row(canvas: Canvas, view: RunsView, look: Look, row: Row, left: int, y: int, width: int,
             glyphs: GlyphSet) -> None:
    chosen = row.key == look.key
    canvas.put(left, y, glyphs.say("▸") if chosen else " ", "value")
    canvas.put(left + 1, y, glyphs.say("✓") if row.key in look.marked else " ", "info")
    several = bool(view.hosts)
    for x, words, role in _words(
            row, view.now, view.binary, width, several, chosen, glyphs.ellipsis, glyphs.name == "ascii"):
        canvas.put(left + x, y, words, role)
    x = left + LEAD
    for column, cells in divide(width, hosts=several):
        if column.name == "spark":
            put_spark(canvas, x, y, cells, row.entry.losses, glyphs)
        x += cells + 1
    if chosen:
        canvas.ground(left, y, width, "usual")


@lru_cache(2048)
def _words(
    row: Row, now: float, binary: bool, width: int, several: bool, chosen: bool, ellipsis: str, ascii_only: bool,
) -> tuple[tuple[int, str, Role], ...]:
    """What a row says in a list that is so wide: where each text begins, the text, its role. The same at each key."""
    say = ascii_of if ascii_only else str
    found: list[tuple[int, str, Role]] = []
    x = LEAD
    for column, cells in divide(width, hosts=several):
        at = x
        said = () if column.name == "spark" else _cell(column.name, row, now, binary=binary, chosen=chosen, cells=cells)
        for text, role in said:
            words = say(fit(text, x + cells - at, ellipsis))
            begin = x + cells - len(words) if column.right else at
            found.append((begin, words, role))
            at = begin + cell_len(words)
        x += cells + 1
    return tuple(found)


def _cell(name: str, row: Row, now: float, *, binary: bool, chosen: bool, cells: int) -> list[tuple[str, Role]]:
    """The texts of one cell with their roles."""
    found = row.entry.status
    plain: Role = "value" if chosen else "text"
    quiet: Role = "text" if row.is_live or chosen else "note"
    if name == "name":
        return [(row.name, plain if row.is_live or chosen else "text")]
    if name == "state":
        glyph, tone = STATES.get(found.state, ("◌", "dim"))
        return [(f"{glyph} ", ROLES[tone]), (found.state or "reading", quiet)]
    if name == "verdict":
        glyph = BADGES.get(row.tone, "")
        loud = row.tone in ("warning", "critical")
        text = row.verdict if len(row.verdict) + 2 <= cells else row.verdict.split(" since ")[0]
        colour = quiet if row.tone == "ok" and not row.is_live else ROLES[row.tone]
        return [(f"{glyph} " if glyph else "", colour), (text, colour if loud else quiet)]
    if name == "loss" and found.loss is not None:
        return [(narrow(found.loss, cells), plain if np.isfinite(found.loss) else "critical")]
    return [(_text(name, row, now, cells, binary=binary), quiet)]


def _text(name: str, row: Row, now: float, cells: int, *, binary: bool) -> str:
    entry, found = row.entry, row.entry.status
    if name == "age":
        return lapse(now - entry.started) if entry.started else ""
    if name == "steps":
        return _steps(found.step, found.total_steps, cells)
    if name == "val":
        return "" if entry.best_val is None else number(entry.best_val)
    if name == "lr":
        return "" if found.lr is None else rate(found.lr)
    if name == "size":
        return size(entry.size, binary=binary) if entry.is_read else ""
    return {"model": row.model, "note": row.note, "machine": entry.machine or "here"}.get(name, "")


def _steps(step: int, total: int | None, cells: int) -> str:
    if not step:
        return ""
    both = f"{steps(step)}/{steps(total)}" if total else ""
    return both if both and len(both) <= cells else steps(step)


@lru_cache(4096)
def _bars(losses: tuple[float, ...], cells: int, glyphs: str) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """The little curve, (1, cells) of code points and roles; `glyphs`: eight bars, what is not finite, nothing."""
    points = np.array([ord(glyph) for glyph in glyphs], np.uint32)
    if not losses:
        return np.full((1, cells), points[NONE]), np.zeros((1, cells), np.uint8)
    count = max(cells, len(losses))
    shown = [losses[i * len(losses) // count] for i in range(count)]
    spec = SparkSpec("", "", None, Series.of(np.arange(count), shown))
    found = levels(spec, XAxis(0, count - 1), cells)
    roles = np.where(found == BAD, ROLES_OF_CELLS.index("critical"), ROLES_OF_CELLS.index("spark"))
    return points[found][None, :], roles.astype(np.uint8)[None, :]


def put_spark(canvas: Canvas, x: int, y: int, cells: int, losses: tuple[float, ...], glyphs: GlyphSet) -> None:
    """A curve of one row: `losses` evenly over the steps."""
    canvas.block(x, y, *_bars(losses, cells, f"{glyphs.bars}{glyphs.bad} "))


# ---------------------------------------------------------------------- the chosen one


def detail_lines(row: Row | None, view: RunsView) -> list[Line]:
    """What is known of a run, each fact on its line."""
    if row is None:
        return []
    entry, found = row.entry, row.entry.status
    if not entry.is_read:
        return [(dim("◌ reading"),), (dim(clean(entry.key, 60)),)]
    glyph, tone = STATES.get(found.state, ("◌", "dim"))
    when = f", began {lapse(view.now - entry.started)} ago" if entry.started else ""
    count = f", step {steps(found.step)}" + (f" of {steps(found.total_steps)}" if found.total_steps else "")
    state = (Span(f"{glyph} {found.state}", tone if tone != "dim" else "plain"), Span(when), Span(count))
    losses = [] if found.loss is None else [f"last {number(found.loss)}"]
    if entry.best_val is not None:
        losses.append(f"best validation {number(entry.best_val)} at step {steps(entry.best_val_step or 0)}")
    lr = "" if found.lr is None else f"lr {rate(found.lr)}"
    model = ", ".join(part for part in (row.model, f"{many(entry.parameters)} trained" if entry.parameters else "")
                      if part)
    kept = f", {counted(entry.checkpoints, 'checkpoint')}" if entry.checkpoints else ""
    process = f"process {entry.pid}" if entry.pid else ""
    facts: list[tuple[str, Line]] = [
        ("state", state), ("verdict", (Span(f"{BADGES.get(row.tone, '')} {row.verdict}".strip(), row.tone),)),
        ("why", (Span(row.why),)), ("loss", (Span(", ".join(losses)),)), ("note", (Span(row.note),)),
        ("model", (Span(model),)), ("optimizer", (Span(", ".join(p for p in (row.optimizer, lr) if p)),)),
        ("command", (Span(row.command),)),
        ("where", (Span(", ".join(p for p in (on(row).strip(), row.device, row.host, process) if p)),)),
        ("disk", (Span(f"{size(entry.size, binary=view.binary)}{kept}"), dim(f"  {clean(entry.key, 60)}"))),
    ]
    return [(dim(f"{name:<{KEYS}} "), *line) for name, line in facts if any(span.text.strip() for span in line)]


def _problem(look: Look) -> list[Line]:
    return [(Span(f"▲ {look.problem}", "warning"),), (dim(f"in force is: {_in_force(look)}"),)] if look.problem else []


def _in_force(look: Look) -> str:
    return "the last filter that could be understood" if look.query.terms else "no filter"


def draw_details(row: Row | None, view: RunsView, look: Look, width: int, height: int, glyphs: GlyphSet) -> Picture:
    """The chosen run in its box; in its place what is wrong with the filter, while it is typed."""
    canvas = Canvas(width, height)
    title = "filter" if look.problem else row.name if row is not None else "no run is chosen"
    draw_heading(canvas, title, "", None, glyphs, framed=True, focused=False)
    lines = _problem(look) or detail_lines(row, view)
    put_lines(canvas, lines, 2, 1, width - 4, height - 2, glyphs)
    return canvas.picture()


def curve_spec(row: Row | None) -> tuple[ChartSpec, XAxis]:
    """The chosen run's loss, from the few values that the list has of it."""
    losses = row.entry.losses if row is not None else ()
    step = max(1, row.entry.status.step) if row is not None else 1
    at = np.linspace(0, step, len(losses)) if len(losses) > 1 else np.full(len(losses), step)
    last = "" if row is None or row.entry.status.loss is None else number(row.entry.status.loss)
    spec = ChartSpec(f"loss of {row.name}" if row is not None else "loss", last, None, (Series.of(at, losses),))
    if row is not None and not row.entry.is_read:
        spec = replace(spec, waiting="reading")
    return spec, XAxis(0, 1).grown(step)


def brief_lines(row: Row | None, view: RunsView, look: Look, width: int) -> list[Line]:
    """The chosen run in two lines, where there is room for no more."""
    if look.problem:
        return [(Span(" "), *line) for line in _problem(look)]
    if row is None:
        return []
    entry = row.entry
    found = entry.status
    parts = [on(row).strip(), row.model, row.optimizer, "" if found.lr is None else f"lr {rate(found.lr)}", row.device,
             size(entry.size, binary=view.binary) if entry.is_read else "reading"]
    verdict = row.verdict if row.tone in ("warning", "critical") else ""
    words = " · ".join(part for part in (row.note, verdict, row.why) if part) or row.command
    return [(strong(f" {fit(row.name, width // 2)}  "), dim(" · ".join(part for part in parts if part))),
            (Span(f" {words}", "plain" if row.note else "dim"),)]


def draw_brief(row: Row | None, view: RunsView, look: Look, width: int, height: int, glyphs: GlyphSet) -> Picture:
    """The same as a picture."""
    canvas = Canvas(width, height)
    put_lines(canvas, brief_lines(row, view, look, width), 0, 0, width, height, glyphs)
    return canvas.picture()
