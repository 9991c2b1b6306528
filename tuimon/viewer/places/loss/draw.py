"""The loss analysis as pictures: the curve with what was read off it, and the readings in words. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from rich.cells import cell_len

from tuimon.diagnosis.axes import XAxis
from tuimon.diagnosis.curve.model import CurveReading
from tuimon.diagnosis.curve.report import LABEL, Judged, facts
from tuimon.diagnosis.curve.words import NOTEBOOK_MOODS, agreement, said, steps
from tuimon.diagnosis.figures import UNKNOWN
from tuimon.diagnosis.notebook_curves import EXPLODED, OSCILLATIONS, TRENDS, VANISHED, VOLATILITIES
from tuimon.diagnosis.tone import BADGES
from tuimon.diagnosis.wording import number
from tuimon.viewer.arrange import put_lines, wrap
from tuimon.viewer.charts.chart import ChartSpec, Fan, Level, Tag, VMark, draw_heading
from tuimon.viewer.charts.picture import Canvas, Picture, Role
from tuimon.viewer.charts.series import Series
from tuimon.viewer.charts.spec import VALIDATION, tagged
from tuimon.viewer.glyphs import GlyphSet, State
from tuimon.viewer.lines import Line, Span, Tone, dim, say, strong
from tuimon.viewer.places.loss.model import LossView

POINTS: Final = 400
"""Points at which a law or a forecast is drawn."""
START: Final = 0.12
"""Share of the steps at the start that may lie above the picture ..."""
DOMINATES: Final = 1.3
"""... where it makes the range this many times as large."""
PROSE: Final = 96
"""Longest line of prose in cells."""
_STATES: Final[dict[str, State]] = {"good": "good", "watch": "warning", "bad": "critical", "unknown": "unknown"}
_TONES: Final[dict[str, Tone]] = {"good": "ok", "watch": "warning", "bad": "critical", "unknown": "dim"}
_LAWS: Final = {"exponential": "exponential law", "power": "power law"}


# ---------------------------------------------------------------------- the curve


def x_of(view: LossView) -> XAxis:
    """The steps that the chart spans: those of the window; of the whole run on to where the forecast goes."""
    if view.is_whole and view.end is not None:
        return XAxis(view.first, max(view.last, view.end))
    return XAxis(view.first, view.last)


def curve_spec(view: LossView, marks: tuple[VMark, ...], *, log: bool, cursor: int | None = None,
               readout: float | None = None) -> ChartSpec:
    """Losses, evaluations, the law through them, the forecast with its band, changes, the best evaluation, the target.

    `readout` is the loss at the crosshair, which stands at step `cursor`.
    """
    series: list[Series] = []
    fans: tuple[Fan, ...] = ()
    levels: list[Level] = []
    tags: list[Tag] = []
    reading = None if view.judged is None else view.judged.reading
    if view.loss is not None:
        series.append(Series.thin(view.loss))
    if view.validation is not None and len(view.validation.steps):
        series.append(Series.thin(view.validation, "data-2"))
        tags += tagged(series[-1], VALIDATION, x_of(view).last)
    if reading is not None:
        law, (ahead, fans) = _law(reading), _ahead(reading)
        series += [*law, *ahead]
        for line, word in ((law[-1:], _letter(reading)), (ahead[-1:], "f")):
            tags += [tag for one in line for tag in tagged(one, word, x_of(view).last)]
        marks = (*marks, *(VMark(change.step, "rise", "warning") if change.size > 0 else
                           VMark(change.step, "fall", "info") for change in reading.changes))
        if reading.validation is not None:
            marks = (*marks, VMark(reading.validation.best_step, "best", "data-2"))
    if view.target is not None:
        levels.append(Level(view.target, f"target {number(view.target)}", "info"))
    since = -math.inf if log else _since(view)
    title = "loss" + (" · log" if log else " · the descent at its start is cut off" if math.isfinite(since) else "")
    state = None if reading is None else _STATES[reading.mood]
    value = view.current
    if cursor is not None:
        value, state = f"{UNKNOWN if readout is None else number(readout)} at {steps(cursor)}", None
    return ChartSpec(title, value, state, tuple(series), log, marks=marks, levels=tuple(levels),
                     fans=fans, tags=tuple(tags), since=since, waiting=view.awaited or "waiting for the first loss")


def _since(view: LossView) -> float:
    """Step from which the y axis is fitted: where the first descent would flatten all that follows, a little later."""
    loss = None if view.loss is None else view.loss.between(view.first, view.last)
    if loss is None or len(loss) < 8:
        return -math.inf
    start = float(loss.steps[0]) + START * float(loss.steps[-1] - loss.steps[0])
    later = loss.steps >= start
    fine = np.isfinite(loss.low) & np.isfinite(loss.high)
    if not (later & fine).any():
        return -math.inf
    low, top, highest = (float(one) for one in (
        loss.low[fine].min(), loss.high[later & fine].max(), loss.high[fine].max()))
    return start if highest - low > DOMINATES * (top - low) > 0 else -math.inf


def _letter(reading: CurveReading) -> str:
    """Stands at the end of the law's line: e or p."""
    return "" if reading.laws.chosen is None else reading.laws.chosen.form[:1]


def _law(reading: CurveReading) -> list[Series]:
    law = reading.laws.chosen
    if law is None or not reading.last > law.origin:
        return []
    # As many points at the start, where a law bends, as later.
    t = np.concatenate(([0.0], np.geomspace(max(1.0, reading.spacing), reading.last - law.origin, POINTS)))
    return [Series.of(law.origin + t, law.at(law.origin + t), "data-3")]


def _ahead(reading: CurveReading) -> tuple[list[Series], tuple[Fan, ...]]:
    if reading.forecast is None or reading.outlook is None:
        return [], ()
    x = np.linspace(reading.last, reading.forecast.step, POINTS)
    low, middle, high = reading.outlook.at(x)
    return ([Series.of(x, low, "mark"), Series.of(x, high, "mark"), Series.of(x, middle, "data-4")],
            (Fan(x, low, high),))


def legend(view: LossView, glyphs: GlyphSet) -> list[tuple[str, Role]]:
    """What the lines are, each in its own colour and with the letter at its end, and what a mark stands for."""
    line = glyphs.across * 2
    parts: list[tuple[str, Role]] = [(f" {line}", "data"), (" loss", "note")]
    reading = None if view.judged is None else view.judged.reading
    if view.validation is not None and len(view.validation.steps):
        parts += [(f"   {line}v", "data-2"), (" validation", "note")]
    if reading is None:
        return parts
    if reading.validation is not None:
        parts += [(f" {glyphs.best}", "data-2"), (" its best", "note")]
    law = reading.laws.chosen
    if law is not None:
        parts += [(f"   {line}{_letter(reading)}", "data-3"), (f" {_LAWS[law.form]}", "note")]
    if reading.forecast is not None:
        parts += [(f"   {line}f", "data-4"), (" forecast, 80 % band", "note")]
    turns: tuple[tuple[bool, str, Role, str], ...] = (
        (True, glyphs.over, "warning", " change upwards"), (False, glyphs.under, "info", " change downwards"))
    for is_up, arrow, role, words in turns:
        if any((change.size > 0) == is_up for change in reading.changes):
            parts += [(f"   {glyphs.turn}{arrow}", role), (words, "note")]
    return parts


def draw_legend(view: LossView, width: int, height: int, glyphs: GlyphSet) -> Picture:
    """The legend; entries that do not fit are left out."""
    canvas = Canvas(width, height)
    at = 0
    parts = legend(view, glyphs)
    for (shape, role), (words, tone) in zip(parts[::2], parts[1::2], strict=True):
        if at + cell_len(shape) + cell_len(words) > width:
            break
        at = canvas.put(canvas.put(at, 0, shape, role), 0, words, tone)
    return canvas.picture()


# ---------------------------------------------------------------------- the words


@dataclass(frozen=True, slots=True)
class Box:
    """One box of words."""

    title: str
    lines: tuple[Line, ...]
    value: str = ""
    state: State | None = None


def boxes(view: LossView, width: int) -> tuple[Box, Box]:
    """Both verdicts, and what they rest on, for boxes of `width` cells of text."""
    if view.judged is None:
        return Box("what it says", (say(view.awaited or "nothing was read yet", "dim"),)), Box("the reading", ())
    mood = view.judged.reading.mood
    when = f" as of step {steps(view.as_of)}" if width >= 50 else ""
    verdicts = Box(f"what both say{when}",
                   tuple(_verdicts(view, view.judged, min(width, PROSE))), state=_STATES[mood])
    return verdicts, Box("the reading", tuple(_reading(view.judged, min(width, PROSE))))


def _verdicts(view: LossView, judged: Judged, width: int) -> list[Line]:
    reading, mood = judged.reading, judged.reading.mood
    found = _hung("tuimon", (_sign(mood), Span(reading.verdict)), width)
    words = said(judged.notebook)
    found += [(), *_hung("notebook", (_sign(_notebook_mood(judged)), Span(f"{words[:1].upper()}{words[1:]}.")), width)]
    found += [(), *_hung("together", (Span(agreement(reading, judged.notebook)),), width)]
    pattern = view.pattern
    if pattern is not None:
        name = pattern.name or "none of the six"
        found += [(), *_hung("pattern", (strong(name), Span(f": {pattern.why}.")), width)]
    found += [(), *_hung("target", _target(judged), width)]
    return found


def _sign(mood: str) -> Span:
    tone = _TONES[mood]
    return Span(f"{BADGES.get(tone, '◌')} ", tone)


def _notebook_mood(judged: Judged) -> Literal["good", "watch", "bad", "unknown"]:
    if judged.notebook["health"] not in {"healthy", "unknown"}:
        return "bad"
    return NOTEBOOK_MOODS.get(judged.notebook["trend"], "unknown")


def _target(judged: Judged) -> Line:
    goal, reading = judged.reach, judged.reading
    if goal is None:
        return (dim("t sets a loss; then this says when it will be reached."),)
    if reading.level <= goal.loss:
        return (Span(f"{number(goal.loss)} is reached: the loss is about {number(reading.level)}."),)
    if not math.isfinite(goal.middle):
        best = "" if math.isinf(goal.soonest) else f"; at best in {steps(goal.soonest)} steps"
        return (Span(f"{number(goal.loss)} is never reached as it goes{best}."),)
    if goal.middle < reading.spacing:
        return (Span(f"{number(goal.loss)} is reached about now: the loss is {number(reading.level)}."),)
    latest = f"latest {steps(reading.last + goal.latest)}" if math.isfinite(goal.latest) else "perhaps never"
    return (Span(f"{number(goal.loss)} in {steps(goal.middle)} steps, at step {steps(reading.last + goal.middle)}"),
            dim(f" (soonest {steps(reading.last + goal.soonest)}, {latest})"), Span("."))


def _reading(judged: Judged, width: int) -> list[Line]:
    found: list[Line] = []
    for label, words in (*(row for row in facts(judged) if row[0] != "reach"), *_thresholds(judged)):
        found += _hung(label, (Span(words, "dim" if label in {"wants", ""} else "plain"),), width)
    return found


def _thresholds(judged: Judged) -> list[tuple[str, str]]:
    """What the notebook's words rest on: its numbers beside its own limits."""
    notes = judged.notebook
    parts = []
    if notes["relative_change"] is not None:
        limits = ", ".join(f"{limit:g} {word}" for limit, word in TRENDS)
        parts.append(f"last ten against first ten {number(notes['relative_change'])} (above {limits}, else worsening)")
    if notes["volatility_ratio"] is not None:
        parts.append(f"spread over mean of the last ten {number(notes['volatility_ratio'])} "
                     f"(above {VOLATILITIES[0][0]} high, {VOLATILITIES[1][0]} moderate)")
    if notes["direction_changes"] is not None:
        parts.append(f"turns in the last twenty {number(notes['direction_changes'])} "
                     f"(above {OSCILLATIONS[0][0]} high, {OSCILLATIONS[1][0]} moderate)")
    parts.append(f"health {notes['health']} (above {EXPLODED:g} exploded, below {VANISHED:g} vanished)")
    return [("notebook", "; ".join(parts))]


def _hung(label: str, line: Line, width: int) -> list[Line]:
    """The words wrapped beside their label."""
    rows = wrap(line, max(12, width - LABEL - 1))
    return [(Span(f"{label if not i else '':<{LABEL}} ", "dim"), *row[:-1], row[-1]._replace(
        text=row[-1].text.rstrip())) for i, row in enumerate(rows) if row]


def inside(width: int, height: int) -> tuple[int, int]:
    """Cells that a box leaves for its lines."""
    return (max(1, width - 4), max(1, height - 2)) if is_framed(width, height) else (max(1, width - 2),
                                                                                     max(1, height - 1))


def is_framed(width: int, height: int) -> bool:
    """Whether there is room for a frame."""
    return height >= 5 and width >= 40


def draw_box(box: Box, top: int, width: int, height: int, glyphs: GlyphSet) -> Picture:
    """One box, its lines from `top` on; at its right end which of how many are shown, where not all are."""
    canvas = Canvas(width, height)
    columns, rows = inside(width, height)
    first = max(0, min(top, len(box.lines) - rows))
    value = box.value
    if len(box.lines) > rows:
        value = f"{first + 1}–{min(len(box.lines), first + rows)} of {len(box.lines)} lines"
    framed = is_framed(width, height)
    draw_heading(canvas, box.title, value, box.state, glyphs, framed=framed, focused=False)
    put_lines(canvas, box.lines[first:first + rows], 2 if framed else 1, 1, columns, rows, glyphs)
    return canvas.picture()


def joined(both: tuple[Box, Box]) -> Box:
    """Both boxes in one, for narrow screens."""
    first, second = both
    return Box(first.title, (*first.lines, (), *second.lines), first.value, first.state)

