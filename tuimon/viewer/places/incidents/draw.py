"""What the incidents screen says: the list, the chosen incident in words, its numbers, its curve, its page. Pure.

`Look` is how one person looks at it. It holds on to an incident, not to a row: what else is found or resolved in the
meantime moves rows, never the choice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import takewhile
from typing import Final

from rich.cells import cell_len

from tuimon.diagnosis.axes import XAxis
from tuimon.diagnosis.figures import counted, number
from tuimon.diagnosis.figures import size as amount
from tuimon.diagnosis.figures import step as steps
from tuimon.diagnosis.manual import PARTS, Page, page
from tuimon.diagnosis.model import Evidence, NotEvaluated
from tuimon.diagnosis.tone import BADGES
from tuimon.errors import UsageError
from tuimon.record.metrics import METRICS
from tuimon.viewer.arrange import ROLES, put_lines, wrap
from tuimon.viewer.charts.chart import ChartSpec, Level, VMark, draw_heading
from tuimon.viewer.charts.picture import Canvas, Picture
from tuimon.viewer.charts.series import Series
from tuimon.viewer.glyphs import GlyphSet, State
from tuimon.viewer.lines import Line, Span, Tone, dim, key, rate, say, strong, tone_of
from tuimon.viewer.text import pad, squeeze
from tuimon.viewer.views import Frame, IncidentView

Entry = IncidentView | NotEvaluated
Key = tuple[str, int, int]

PROSE: Final = 88
"""Longest line of prose in cells, however wide the screen."""
ROW: Final = 120
"""Longest line of the list: further apart, its ends are not seen as one."""


def entries(frame: Frame) -> tuple[Entry, ...]:
    """All that can be chosen: incidents, then the rules that could not look."""
    return (*frame.incidents, *frame.unlooked)


def key_of(entry: Entry) -> Key:
    """What stays the same while the entry is listed."""
    return entry.key if isinstance(entry, IncidentView) else (entry.rule, -1, 0)


@dataclass(frozen=True, slots=True)
class Look:
    """Which entry is chosen and how far its text has been read."""

    key: Key | None = None
    """None while there is no incident to choose."""
    row: int = 0
    """Where it stood when last seen."""
    line: int = 0
    """First line of the text that is shown."""

    def at(self, frame: Frame) -> Look:
        """The same choice among what is listed now; its neighbour where it has gone, the first incident to begin."""
        listed = entries(frame)
        if self.key is None:
            return Look(key_of(listed[0])) if frame.incidents else self
        row = next((i for i, entry in enumerate(listed) if key_of(entry) == self.key), None)
        if row is not None:
            return replace(self, row=row)
        if not listed:
            return Look()
        row = min(self.row, len(listed) - 1)
        return Look(key_of(listed[row]), row)

    def moved(self, frame: Frame, by: int) -> Look:
        """Choose another entry."""
        listed = entries(frame)
        if not listed:
            return self
        row = 0 if self.key is None else min(len(listed) - 1, max(0, self.row + by))
        return self if self.key == key_of(listed[row]) else Look(key_of(listed[row]), row)

    def read(self, by: int, count: int, height: int) -> Look:
        """Read on (or back, `by` negative) in a text of `count` lines of which `height` are shown."""
        return replace(self, line=max(0, min(self.line + by, count - height)))

    def chosen(self, frame: Frame) -> Entry | None:
        """What the rest of the screen is about."""
        return None if self.key is None else next((e for e in entries(frame) if key_of(e) == self.key), None)


@lru_cache(128)
def manual(slug: str) -> Page | None:
    """The page of a rule; None for what has none (the notebook's own verdicts)."""
    try:
        return page(slug)
    except UsageError:
        return None


# ---------------------------------------------------------------------- the list


def was_open(view: IncidentView, at: int) -> bool:
    """Whether it had been found by then, and was not over."""
    incident = view.incident
    return incident.detected_step <= at and (incident.resolved_step is None or incident.resolved_step > at)


def _when(view: IncidentView, at: int | None) -> str:
    incident = view.incident
    if at is not None:
        return f"found at {steps(incident.detected_step)}" if incident.detected_step > at else (
            f"since {steps(incident.onset_step)}" if was_open(view, at) else
            f"{steps(incident.onset_step)}–{steps(incident.resolved_step or 0)} over")
    if incident.resolved_step is None:
        return f"since {steps(incident.onset_step)}"
    return f"{steps(incident.onset_step)}–{steps(incident.resolved_step)} over"


def branches(depths: Sequence[int]) -> list[str]:
    """Before each entry of a tree the lines that lead to it, in the order of the list."""
    found = []
    for i, depth in enumerate(depths):
        later = depths[i + 1:]
        goes_on = [next((other == level for other in later if other <= level), False) for level in range(1, depth + 1)]
        found.append("".join("│ " if more else "  " for more in goes_on[:-1])
                     + (("├ " if goes_on[-1] else "└ ") if depth else ""))
    return found


def _incident_row(view: IncidentView, at: int | None, branch: str, *, chosen: bool, width: int, when: int,
                  layer: int) -> Line:
    """In the past, what had not been found by then, and what was over, is dim; the glyph says which."""
    incident = view.incident
    over = incident.state == "resolved" if at is None else not was_open(view, at)
    tone: Tone = "dim" if over else tone_of(incident.severity)
    words: Tone = "strong" if chosen else "dim" if over else "plain"
    lead = f"{BADGES[incident.severity]} {incident.severity:<8} "
    sure = 7 if width >= 60 else 0
    room = width - 2 - len(branch) - len(lead) - (1 + when) - (1 + layer if layer else 0) - sure
    where = f" {pad(squeeze(incident.layer or '', layer), layer)}" if layer else ""
    return (Span("▸ " if chosen else "  ", "strong"), dim(branch), Span(lead, tone),
            Span(pad(incident.headline, room), words),
            dim(f" {pad(_when(view, at), when)}"), Span(where, "dim" if over else "plain"),
            dim(f" {incident.confidence:<6}" if sure else ""))


def _waiting_row(rule: NotEvaluated, *, chosen: bool) -> Line:
    return (Span("▸ " if chosen else "  ", "strong"), dim("◌ could not look: "),
            Span(rule.rule, "strong" if chosen else "dim"), dim(f", needs {', '.join(rule.needs)}"))


def _page(frame: Frame, rows: int) -> int:
    """Entries that are shown at a time."""
    return max(1, rows if frame.incidents else rows - 1)


def list_lines(frame: Frame, look: Look, width: int, height: int) -> list[Line]:
    """The page of the list that holds the choice, one line an entry."""
    listed = entries(frame)
    head: list[Line] = []
    if not frame.incidents:
        step = frame.facts.step
        head = [(Span("  ● ", "ok"), Span(f"Nothing found in {counted(step, 'step')}.")) if step else
                (Span("  ◌ ", "dim"), Span("Nothing judged yet."))]
    size = _page(frame, height)
    first = look.row // size * size
    at = frame.wanted.at
    when = max([13, *(len(_when(view, at)) for view in frame.incidents)])
    longest = max((cell_len(view.incident.layer or "") for view in frame.incidents), default=0)
    layer = min(width // 5, longest) if width >= 60 else 0
    tree = branches([view.depth for view in frame.incidents])
    return head + [
        _incident_row(entry, at, tree[i], chosen=look.key == entry.key, width=width, when=when, layer=layer)
        if isinstance(entry, IncidentView) else _waiting_row(entry, chosen=look.key == key_of(entry))
        for i, entry in enumerate(listed[first:first + size], first)
    ]


def clicked(frame: Frame, look: Look, y: int, size: tuple[int, int], *, framed: bool) -> Look:
    """The entry that stands in that row of a list of that size; the same where none does."""
    _, rows = inside(*size, framed=framed)
    page = _page(frame, rows)
    row, at = y - 1 - (0 if frame.incidents else 1), look.row // page * page
    on_it = 0 <= row < page and at + row < len(entries(frame))
    return look.moved(frame, at + row - look.row) if on_it else look


def _counts(frame: Frame, look: Look, rows: int) -> str:
    at = frame.wanted.at
    if at is None:
        standing = sum(view.incident.state == "open" for view in frame.incidents)
        parts = [f"{standing} open", f"{len(frame.incidents) - standing} over"]
    else:
        standing = sum(was_open(view, at) for view in frame.incidents)
        later = sum(view.incident.detected_step > at for view in frame.incidents)
        parts = [f"at step {steps(at)}: {standing} open", f"{len(frame.incidents) - standing - later} over",
                 f"{later} to come"]
    if frame.unlooked:
        parts.append(f"{len(frame.unlooked)} rules could not look")
    listed, size = len(entries(frame)), _page(frame, rows)
    first = look.row // size * size
    if listed > size:
        parts.insert(0, f"{first + 1}–{min(listed, first + size)} of {listed}")
    return " · ".join(parts)


# ---------------------------------------------------------------------- the chosen one


def _titled(title: str, *lines: Line) -> list[Line]:
    return [(), (Span(title, "strong"),), *lines]


def _course(view: IncidentView, at: int | None) -> str:
    incident = view.incident
    over = "still open" if incident.resolved_step is None else f"over at step {steps(incident.resolved_step)}"
    if at is not None and incident.resolved_step is None:
        over = f"open at step {steps(at)}" if incident.detected_step <= at else f"so not yet known at step {steps(at)}"
    where = f" in {incident.layer}" if incident.layer else ""
    found = f"found at {steps(incident.detected_step)} with {incident.confidence} confidence"
    return f"Began at step {steps(incident.onset_step)}{where}, {found}, {over}."


def _event(frame: Frame, view: IncidentView) -> list[Line]:
    """What brought it about, or what else it shows itself by: they stand above and below it in the list."""
    listed = frame.incidents
    at = next((i for i, other in enumerate(listed) if other.key == view.key), len(listed))
    if view.depth:
        above = (one for one in reversed(listed[:at]) if one.depth < view.depth)
        cause = next(above, None)
        return [] if cause is None else [(Span("A sign of: "), Span(cause.incident.headline, "strong"), Span("."))]
    below = takewhile(lambda one: one.depth > view.depth, listed[at + 1:])
    signs = "; ".join(one.incident.headline for one in below)
    return [(Span("Also shows as: "), Span(signs), Span("."))] if signs else []


def evidence_words(evidence: Evidence) -> tuple[str, str, str, str]:
    """Metric, value, limit and usual as a person reads them; "" for what there is not."""
    known = METRICS.get(evidence.metric)
    say_it = rate if evidence.metric == "lr" else amount if known is not None and known.unit == "B" else number
    name = evidence.metric.replace("_", " ") if known is None else known.label
    limit = "" if math.isnan(evidence.limit) else say_it(evidence.limit)
    return name, say_it(evidence.value), limit, "" if math.isnan(evidence.usual) else say_it(evidence.usual)


def number_lines(view: IncidentView) -> list[Line]:
    """The evidence as a table: metric, value, limit, usual."""
    rows = [evidence_words(evidence) for evidence in view.incident.evidence]
    name = max([7, *(len(row[0]) for row in rows)])
    tone = tone_of(view.incident.severity)
    head = (Span(f"{'Numbers':<{name}}", "strong"), dim(f"  {'value':>9}  {'limit':>9}  {'usual':>9}"))
    return [head, *((Span(f"{row[0]:<{name}}  "), Span(f"{row[1]:>9}", tone), Span(f"  {row[2] or '–':>9}"),
                        dim(f"  {row[3] or '–':>9}")) for row in rows)]


def _manual_lines(slug: str) -> list[Line]:
    found = manual(slug)
    if found is None:
        return _titled("Manual", say("This verdict is the notebook's own; it has no page.", "dim"))
    lines = _titled("Manual", (Span(f"{found.slug} ({found.code}): "), Span(found.summary)))
    for part in PARTS:
        if part in found.parts:
            lines += [(), (Span(f"{part}: ", "strong"), Span(found.parts[part]))]
    return lines


def _advice(frame: Frame, view: IncidentView) -> list[tuple[Span, str]]:
    """Mark and words of each piece of advice."""
    incident = view.incident
    rows = [(strong(f"{i}  "), f"{one[:1].upper()}{one[1:]}.") for i, one in enumerate(incident.next, 1)]
    is_rescued = incident.rescue_helps and incident.state == "open" and incident.severity != "info"
    if is_rescued and frame.is_live and frame.wanted.is_now:
        target = frame.facts.target
        back = "the initial weights" if target is None else f"step {steps(target)} (healthy)"
        rows.append((key("r  "), f"goes back to {back}, lr x0.1, clip 1.0."))
    return rows or [(dim("–  "), "Nothing to do.")]


def text_lines(frame: Frame, entry: Entry | None, width: int, *, numbers: bool) -> list[Line]:
    """All that is said of an entry, wrapped; `numbers` where they do not stand elsewhere."""
    if entry is None:
        lines: list[Line] = [
            say("No rule has found anything wrong so far."),
            say("What is found is listed here, with the stretch of curve that shows it, its numbers, what to do, "
                "and its manual page.", "dim")]
        if frame.unlooked:
            lines.append(say("The arrow down shows what the rules that could not look are waiting for.", "dim"))
    elif isinstance(entry, NotEvaluated):
        lines = [say("This rule could not look, so its silence says nothing."),
                 (Span("It needs "), Span(", ".join(entry.needs), "strong"), Span(".")), *_manual_lines(entry.rule)]
    else:
        lines = [say(entry.incident.why), *_event(frame, entry), say(_course(entry, frame.wanted.at), "dim")]
        if numbers and entry.incident.evidence:
            lines += [(), *number_lines(entry)]
        advice = [row for mark, words in _advice(frame, entry) for row in _hung(mark, words, min(width, PROSE))]
        lines += [*_titled("What to do", *advice), *_manual_lines(entry.incident.rule)]
    return [row for line in lines for row in _wrapped(line, min(width, PROSE))]


def _hung(mark: Span, words: str, width: int) -> list[Line]:
    """The words wrapped beside their mark."""
    rows = _wrapped(say(words), max(1, width - len(mark.text)))
    return [(mark if i == 0 else Span(" " * len(mark.text)), *row) for i, row in enumerate(rows)]


def _wrapped(line: Line, width: int) -> list[Line]:
    """At most `width` cells each; what fits keeps its spaces."""
    if sum(cell_len(span.text) for span in line) <= width:
        return [line]
    return [(*row[:-1], row[-1]._replace(text=row[-1].text.rstrip())) for row in wrap(line, width)]


def title_of(entry: Entry | None) -> str:
    """What the text is about."""
    if entry is None:
        return "nothing found"
    return entry.rule if isinstance(entry, NotEvaluated) else entry.incident.headline


# ---------------------------------------------------------------------- pictures


def _boxed(lines: list[Line], title: str, value: str, state: State | None, size: tuple[int, int], glyphs: GlyphSet, *,
           framed: bool) -> Picture:
    canvas = Canvas(*size)
    width, height = size
    draw_heading(canvas, title, value, state, glyphs, framed=framed, focused=False)
    put_lines(canvas, lines, *((2, 1, width - 4, height - 2) if framed else (1, 1, width - 2, height - 1)), glyphs)
    return canvas.picture()


def inside(width: int, height: int, *, framed: bool) -> tuple[int, int]:
    """Cells that a box leaves for its lines."""
    return (max(1, width - 4), max(1, height - 2)) if framed else (max(1, width - 2), max(1, height - 1))


def draw_list(frame: Frame, look: Look, width: int, height: int, glyphs: GlyphSet, *, framed: bool) -> Picture:
    """The list in its box."""
    columns, rows = inside(width, height, framed=framed)
    lines = list_lines(frame, look, min(columns, ROW), rows)
    return _boxed(lines, "incidents", _counts(frame, look, rows), None, (width, height), glyphs, framed=framed)


def draw_text(frame: Frame, look: Look, width: int, height: int, glyphs: GlyphSet, *, framed: bool) -> Picture:
    """The words in their box; at its right end which lines of how many are shown."""
    entry = look.chosen(frame)
    columns, rows = inside(width, height, framed=framed)
    lines = text_lines(frame, entry, columns, numbers=not framed)
    first = max(0, min(look.line, len(lines) - rows))
    where = f"{first + 1}–{min(len(lines), first + rows)} of {len(lines)} lines" if len(lines) > rows else ""
    state = entry.incident.severity if isinstance(entry, IncidentView) else None
    return _boxed(lines[first:first + rows], title_of(entry), where, state, (width, height), glyphs, framed=framed)


def draw_numbers(frame: Frame, look: Look, width: int, height: int, glyphs: GlyphSet) -> Picture:
    """The evidence in its box, and how to read the curve above it."""
    entry = look.chosen(frame)
    lines: list[Line] = []
    if isinstance(entry, IncidentView):
        lines = number_lines(entry)[: height - 3]
        ended = entry.incident.resolved_step
        legend = f"┊ began at {steps(entry.incident.onset_step)}" + (f"   ╎ over at {steps(ended)}" if ended else "")
        lines.append((dim(legend + ("   ╌ limit" if entry.curve and entry.curve.limit is not None else "")),))
    return _boxed(lines, "evidence", "", None, (width, height), glyphs, framed=True)


def curve_spec(frame: Frame, look: Look) -> tuple[ChartSpec, XAxis]:
    """The chosen incident's stretch of curve: onset and end marked, the limit a line where it is one of this curve."""
    entry = look.chosen(frame)
    if not isinstance(entry, IncidentView) or entry.curve is None:
        waiting = "no incident is chosen" if not isinstance(entry, IncidentView) else "its curve was not recorded"
        return ChartSpec("curve", waiting=waiting), XAxis()
    incident, curve = entry.incident, entry.curve
    marks = [VMark(incident.onset_step, "onset", ROLES[tone_of(incident.severity)])]
    if incident.resolved_step is not None:
        marks.append(VMark(incident.resolved_step, "rollback", "good"))
    if frame.wanted.at is not None:
        marks.append(VMark(frame.wanted.at, "cursor", "info", heavy=True))
    value, limit = next((words[1:3] for e in incident.evidence for words in [evidence_words(e)]
                         if curve.title in (words[0], f"{words[0]} of {incident.layer}")), ("", ""))
    levels = () if curve.limit is None else (Level(curve.limit, f"limit {limit or number(curve.limit)}", "warning"),)
    # The onset stands in the title, too: another incident is another axis.
    title = f"{curve.title} around step {steps(incident.onset_step)}" + (" · log" if curve.log else "")
    return ChartSpec(
        title, value, incident.severity, (Series.thin(curve.columns),), curve.log, marks=tuple(marks),
        levels=levels, robust=False), XAxis(curve.first, curve.last)
