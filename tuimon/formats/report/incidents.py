"""The incidents of a report: what was found, its numbers, its stretch of curve, what to do, its manual page. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby

from tuimon.diagnosis.autopsy.model import Autopsy
from tuimon.diagnosis.autopsy.page import page as autopsy_page
from tuimon.diagnosis.autopsy.words import subject
from tuimon.diagnosis.manual import page as manual_page
from tuimon.diagnosis.model import Diagnosis, Incident
from tuimon.diagnosis.proof import CurveView
from tuimon.errors import UsageError
from tuimon.formats.report import plot
from tuimon.formats.report.html import Html, el, join, text
from tuimon.formats.report.model import Moment, Told
from tuimon.formats.report.words import facts, folded, log_tag, section, sentence, sign, step, table, value, when
from tuimon.record.metrics import METRICS
from tuimon.record.text import clean


def incidents(told: tuple[Told, ...], diagnosis: Diagnosis) -> Html:
    """All of them, each cause before its signs, and what could not be looked for."""
    said = [_incident(one) for one in told] or [el("p", "None: nothing was wrong in what could be judged.")]
    return section("incidents", "Incidents", *said, _not_evaluated(diagnosis))


def _incident(told: Told) -> Html:
    one = told.incident
    head = el("h3", sign(one.severity), one.headline)
    over = "over" if one.state == "resolved" else "open"
    what = facts(
        el("b", f"{one.severity}, {over}", class_=f"word {one.severity}"), when(one),
        join(("in ", el("code", one.layer))) if one.layer else None, f"confidence {one.confidence}",
        join(("found at step ", step(one.detected_step))), el("code", one.code))
    cause = el("p", f"A sign of what stands above it ({one.cause.replace('-', ' ')}).", class_="dim") \
        if one.cause and told.depth else None
    return el(
        "article", head, what, el("p", one.why, class_="why"), cause, _evidence(one), _curve(told), _advice(told),
        _manual(one), class_=f"incident {one.severity} {one.state}{' sign-of' if told.depth else ''}")


def _evidence(one: Incident) -> Html | None:
    if not one.evidence:
        return None
    with_usual = any(math.isfinite(e.usual) for e in one.evidence)
    rows = [(METRICS[e.metric].label if e.metric in METRICS else e.metric, value(e.value),
             "–" if math.isnan(e.limit) else value(e.limit),
             *(("–" if math.isnan(e.usual) else value(e.usual),) if with_usual else ())) for e in one.evidence]
    head = ("measured", "value", "limit", *(("usual here",) if with_usual else ()))
    return table(head, rows, range(1, 4), class_="evidence")


def _curve(told: Told) -> Html | None:
    view = told.curve
    if view is None:
        return None
    words = f"{view.title}, steps {view.first:,} to {view.last:,}"
    drawn = plot.draw(plot.Plot(
        view.first, view.last, view.log, view.columns, moments=tuple(_moments(told.incident, view)), limit=view.limit,
        words=words, ticks=4))
    return el("figure", el("figcaption", el("b", view.title), log_tag(view.log)), drawn, class_="graph small")


def _moments(one: Incident, view: CurveView) -> Iterator[Moment]:
    yield Moment(one.onset_step, "it began", one.severity, "onset")
    if one.resolved_step is not None and one.resolved_step <= view.last:
        yield Moment(one.resolved_step, "it was over", "ok", "event")


def _advice(told: Told) -> Html | None:
    one = told.incident
    if not one.next:
        return None
    if not told.is_advised:
        return el("p", "What to do is said above: this goes when its cause does.", class_="dim")
    return el("div", el("h4", "What to do" if one.state == "open" else "What helps, should it come back"),
              el("ol", *(el("li", sentence(advice)) for advice in one.next)), class_="advice")


def _manual(one: Incident) -> Html | None:
    try:
        found = manual_page(one.rule)
    except UsageError:  # the notebook's rules have no pages
        return None
    parts = [join((el("dt", title), el("dd", sentence(words)))) for title, words in found.parts.items()]
    return folded(join(("Manual: ", el("code", found.slug))), el("p", sentence(found.summary)), el("dl", *parts),
                  class_="manual")


def _not_evaluated(diagnosis: Diagnosis) -> Html | None:
    waiting = sorted((", ".join(n.needs), n.rule) for n in diagnosis.not_evaluated)
    if not waiting:
        return None
    rows = [(needs, ", ".join(rule for _, rule in rules)) for needs, rules in groupby(waiting, key=lambda one: one[0])]
    title = f"What could not be looked for: {len(waiting)} rule{'s' * (len(waiting) != 1)}"
    return folded(title, table(("for want of", "rules"), rows))


def autopsies(found: tuple[Autopsy, ...]) -> Html | None:
    """Where values that were not finite came from."""
    if not found:
        return None
    told = [el("article", el("h3", f"First: {subject(one)}"),
               el("pre", *(Html(text(line) + "\n") for line in autopsy_page(one, 96, "", clean))), class_="autopsy")
            for one in found]
    return section("autopsy", "Where the first NaN came from", *told)
