"""Both readings of a curve as text and as JSON: one curve, several, or the six patterns. Pure."""

from __future__ import annotations

import dataclasses
import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tuimon.diagnosis.curve.forecast import reach
from tuimon.diagnosis.curve.model import CurveReading, Fit, Reach
from tuimon.diagnosis.curve.picture import MARKS, RUNS, draw_curve, draw_together
from tuimon.diagnosis.curve.reading import read_curve
from tuimon.diagnosis.curve.sources import Source
from tuimon.diagnosis.curve.words import agreement, band, said, steps
from tuimon.diagnosis.model import plain
from tuimon.diagnosis.notebook import LossCurveAnalyzer, generate_example_patterns
from tuimon.diagnosis.wording import count, number

HALF_AGAIN: Final = 1.5
"""Where the forecast looks when nobody says how long the run is: within what was back-tested."""
LABEL: Final = 10
"""Cells of a label."""


@dataclass(frozen=True, slots=True)
class Page:
    """What the text is laid out for."""

    width: int = 80
    colour: bool = False
    ascii_only: bool = False


@dataclass(frozen=True, slots=True)
class Judged:
    """One curve with both readings."""

    source: Source
    reading: CurveReading
    notebook: dict[str, Any]
    assumed: float | None
    """The length of the run, where nobody said it and half as much again was taken."""
    reach: Reach | None


def judge_source(source: Source, total: float | None = None, target: float | None = None) -> Judged:
    """Read one curve both ways. `total` overrides what the run declared; `target` is a loss to be reached."""
    total = source.total_steps if total is None else total
    assumed = None
    finite = source.steps[np.isfinite(source.losses)]
    if total is None and len(finite):
        first, last = float(finite.min()), float(finite.max())
        assumed = total = first + HALF_AGAIN * (last - first)
    reading = read_curve(source.steps, source.losses, total, source.val)
    notebook = LossCurveAnalyzer().analyze_pattern(source.losses.tolist())
    goal = reach(reading.outlook, target) if target is not None and reading.outlook is not None else None
    return Judged(source, reading, notebook, assumed, goal)


def gallery() -> list[Judged]:
    """The notebook's six patterns, judged."""
    return [
        judge_source(Source(name, np.arange(1.0, len(losses) + 1), np.array(losses), float(len(losses)), None))
        for name, losses in generate_example_patterns().items()
    ]


def as_json(judged: Judged) -> dict[str, Any]:
    """One curve as strict JSON: non-finite numbers are words, None is "cannot tell"."""
    reading = judged.reading
    body = {f.name: _plain(getattr(reading, f.name)) for f in dataclasses.fields(reading) if f.name != "outlook"}
    if reading.trend is not None:
        body["trend"]["word"] = reading.trend.word
    return {
        "schema": 1, "source": judged.source.name, "steps": 0 if math.isnan(reading.last) else round(reading.last),
        "verdict": reading.verdict, "mood": reading.mood, "agreement": agreement(reading, judged.notebook),
        "notebook": _plain(judged.notebook), "reading": body, "assumed_total_steps": judged.assumed,
        "reach": _plain(judged.reach),
    }


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return plain(value) if isinstance(value, float) else value


def page(judged: Judged, layout: Page) -> str:
    """One curve: picture, both verdicts, and what they rest on."""
    reading = judged.reading
    picture = draw_curve(
        judged.source, reading, width=layout.width, height=max(12, min(24, layout.width // 5)), colour=layout.colour,
        ascii_only=layout.ascii_only,
    )
    rows = [("tuimon", reading.verdict), ("notebook", _notebook(judged)), ("", ""), *facts(judged)]
    return f"{picture.rstrip()}\n\n" + "\n".join(_row(label, text, layout.width) for label, text in rows) + "\n"


def gallery_page(layout: Page) -> str:
    """The six patterns, small, with what each verdict says."""
    parts = []
    for judged in gallery():
        picture = draw_curve(judged.source, judged.reading, width=min(layout.width, 100), height=10,
                             colour=layout.colour, ascii_only=layout.ascii_only)
        rows = (("tuimon", judged.reading.verdict), ("notebook", _notebook(judged)))
        text = "\n".join(_row(label, words, layout.width) for label, words in rows)
        parts.append(f"{picture.rstrip()}\n{text}\n")
    return "\n".join(parts)


def comparison(runs: Sequence[Judged], layout: Page) -> str:
    """Several curves: one picture, one table, one verdict each."""
    picture = draw_together([j.source for j in runs], width=layout.width, height=max(14, min(26, layout.width // 5)),
                            colour=layout.colour, ascii_only=layout.ascii_only)
    ends = [j.reading.last for j in runs if j.reading.points]
    common = min(ends, default=math.nan)
    names = max(4, min(24, layout.width - 58, max(len(j.source.name) for j in runs)))
    head = ("", "run", "steps", "loss", "at " + (steps(common) if ends else "?"), "per 100", "noise", "forecast")
    rows = [head]
    for k, judged in enumerate(runs):
        r = judged.reading
        rows.append((
            MARKS[k % len(MARKS)], _short(judged.source.name, names), steps(r.last) if r.points else "none",
            number(r.level) if r.points else "", _level_at(judged.source, common),
            number(r.trend.slope) if r.trend else "", number(r.noise) if r.noise is not None else "",
            band(r.forecast.interval.low, r.forecast.interval.high) if r.forecast else "",
        ))
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    table = [
        " ".join(cell.ljust(w) if i < 2 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
        .rstrip() for row in rows
    ]
    verdicts = [
        _row(MARKS[k % len(MARKS)], f"{j.reading.verdict} {agreement(j.reading, j.notebook)}", layout.width, 2)
        for k, j in enumerate(runs)
    ]
    if layout.colour:
        table[1:] = [_tinted(k, line) for k, line in enumerate(table[1:])]
        verdicts = [_tinted(k, text) for k, text in enumerate(verdicts)]
    return "\n".join((picture.rstrip(), "", *table, "", *verdicts)) + "\n"


def _tinted(k: int, text: str) -> str:
    """The run's letter in the colour of its line."""
    red, green, blue = RUNS[k % len(RUNS)]
    return f"\x1b[38;2;{red};{green};{blue}m{text[0]}\x1b[0m{text[1:]}"


def _row(label: str, text: str, width: int, indent: int = LABEL) -> str:
    body = textwrap.wrap(text, max(30, width - indent - 1), break_long_words=False) or [""]
    return "\n".join(f"{label if not i else '':<{indent}} {line}".rstrip() for i, line in enumerate(body))


def _short(name: str, width: int) -> str:
    return name if len(name) <= width else name[: width - 2] + ".."


def _level_at(source: Source, step: float) -> str:
    """Median of what was logged in the 2 % before that step."""
    x, y = source.steps, source.losses
    near = np.isfinite(y) & (x <= step)
    if not near.any():
        return ""
    late = near & (x > step - max(0.02 * (step - x[near].min()), 0.0) - 1e-9)
    return number(float(np.median(y[late if late.any() else near][-256:])))


def _notebook(judged: Judged) -> str:
    words = said(judged.notebook)
    return f"{words[0].upper()}{words[1:]}. {agreement(judged.reading, judged.notebook)}"


def facts(judged: Judged) -> list[tuple[str, str]]:
    """What a verdict rests on: a label and words a line; an empty label goes on with the one before."""
    r = judged.reading
    rows = [("points", f"{count(r.points)} from step {steps(r.first)} to {steps(r.last)}" if r.points else "none")]
    if r.spacing > 1 and r.points:
        rows[0] = ("points", f"{rows[0][1]}, one every {number(r.spacing)} steps")
    if r.not_finite and r.first_not_finite is not None:
        rows.append(("not finite", f"{count(r.not_finite)}, the first at step {steps(r.first_not_finite)}"))
    if r.trend is not None:
        t = r.trend
        share = "" if math.isnan(t.relative) else f"; {number(100 * t.relative)} % of it"
        ends = f"{number(t.interval.low)} to {number(t.interval.high)}"
        pace = f"{number(t.slope)} nats per 100 steps (95 %: {ends}{share})"
        rows.append(("trend", f"{pace} since step {steps(t.first)}"))
    if r.noise is not None:
        outliers = f"; {count(r.outliers)} outlier{'s' * (r.outliers != 1)}" if r.outliers else ""
        rows.append(("noise", f"{number(r.noise)} nats from one point to the next{outliers}"))
    rows += _laws(r)
    rows.append(("swings", _swing(r)))
    rows.append(("changes", _changes(r)))
    rows += _validation(judged)
    rows += _ahead(judged)
    rows += [("wants" if not i else "", text) for i, text in enumerate(r.waiting)]
    return rows


def _laws(r: CurveReading) -> list[tuple[str, str]]:
    name = {"exponential": "exponential", "power": "power law", "either": "either", "line": "a line",
            "neither": "neither", None: "none yet"}[r.laws.better]
    rows = [("law", f"{name}: {r.laws.why}")]
    return rows + [("", _law(fit)) for fit in (r.laws.exponential, r.laws.power) if fit is not None]


def _law(fit: Fit) -> str:
    low, constant, high = (
        "unbounded" if math.isinf(v) else steps(v) if v >= 1000 else number(v)
        for v in (fit.interval.low, fit.constant, fit.interval.high)
    )
    ends = f"95 %: {low} to {high}"
    what = f"tau {constant} steps" if fit.form == "exponential" else f"alpha {constant}"
    return f"{fit.form}: {what} ({ends}), tends to {number(fit.floor)}, misses by {number(fit.misfit)}"


def _swing(r: CurveReading) -> str:
    o = r.oscillation
    if o is None:
        return "none"
    size = "" if o.matters else "; too small to matter"
    return (f"a period of {number(o.period)} steps, {number(o.amplitude)} nats, {o.share:.0%} of the scatter, steps "
            f"{steps(o.first)} to {steps(o.last)} (p {number(o.p_value)}){size}")


def _signed(value: float) -> str:
    return f"{'-' if value < 0 else '+'}{number(abs(value))}"


def _changes(r: CurveReading) -> str:
    said_of = [
        f"a jump of {_signed(c.size)} at step {steps(c.step)}" if c.kind == "jump" else
        f"{'steeper' if c.size < 0 else 'turning up'} from step {steps(c.step)} ({_signed(c.size)} nats per 100 steps)"
        for c in r.changes[-4:]
    ]
    more = f"; {len(r.changes) - 4} before" if len(r.changes) > 4 else ""
    return "; ".join(said_of) + more if said_of else "none"


def _validation(judged: Judged) -> list[tuple[str, str]]:
    v = judged.reading.validation
    if v is None:
        return []
    best = f"best {number(v.best)} at step {steps(v.best_step)}, {number(v.last)} now"
    gap = gap_of(judged.source)
    apart = "" if gap is None else f"; {number(abs(gap))} {'above' if gap >= 0 else 'below'} training"
    turned = "; it has turned while training goes on falling" if v.turned else ""
    return [("validation", f"{best}{apart}{turned}")]


def gap_of(source: Source) -> float | None:
    """The newest evaluation less the training loss around it (median of the last 16 up to there); None without both."""
    if source.val is None:
        return None
    at = np.flatnonzero(np.isfinite(source.val[1]))
    if not len(at):
        return None
    newest = at[np.argmax(source.val[0][at])]
    before = source.losses[(source.steps <= source.val[0][newest]) & np.isfinite(source.losses)][-16:]
    return float(source.val[1][newest] - np.median(before)) if len(before) else None


def _ahead(judged: Judged) -> list[tuple[str, str]]:
    r = judged.reading
    rows = []
    if r.forecast is not None:
        f = r.forecast
        why = " (nobody said how long it is: half as long again)" if judged.assumed is not None else ""
        ends = band(f.interval.low, f.interval.high)
        rows.append(("forecast", f"{number(f.middle)} at step {steps(f.step)}, 80 %: {ends}{why}"))
    if r.plateau is not None:
        p = r.plateau
        most = "at most {} % better" if p.bound >= 0 else "at least {} % worse"
        gain = f"{most.format(number(100 * abs(p.bound)))} over {steps(p.steps)} steps, at 99 %"
        more = f"; {steps(p.steps_needed)} more steps would decide" if p.steps_needed else ""
        rows.append(("plateau", f"{p.state}: {gain}{more}"))
    if judged.reach is not None:
        g = judged.reach
        never = "never as it goes"
        when = [f"in {steps(v)} steps" if math.isfinite(v) else never for v in (g.middle, g.soonest, g.latest)]
        rows.append(("reach", f"{number(g.loss)} {when[0]} (soonest {when[1]}, latest {when[2]})"))
    return rows
