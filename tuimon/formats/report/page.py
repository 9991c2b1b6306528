"""The page: a report as one HTML document. Pure: the same report makes the same bytes."""

from __future__ import annotations

import base64
import hashlib
import math
from collections import Counter

from tuimon.diagnosis.figures import duration, size
from tuimon.diagnosis.model import Badge
from tuimon.diagnosis.wording import count, rate
from tuimon.formats.report import heatmap, plot
from tuimon.formats.report.html import Html, el, join
from tuimon.formats.report.incidents import autopsies, incidents
from tuimon.formats.report.model import Graph, Machine, Parameter, Report
from tuimon.formats.report.style import STYLE
from tuimon.formats.report.words import (
    facts,
    folded,
    log_tag,
    moment,
    section,
    sentence,
    sign,
    step,
    table,
    value,
    when,
)
from tuimon.record.status import UNMEASURED

MOST_TENSORS = 2_000
"""Rows of the table of parameters."""
_WORDS = {"generalisation": "validation", "throughput": "speed"}


def page(report: Report, version: str = "") -> str:
    """The whole document; `version` of tuimon is named where it is given."""
    maker = f"tuimon {version}".rstrip()
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = (f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'")
    head = el(
        "head", el("meta", charset="utf-8"),
        el("meta", http_equiv="Content-Security-Policy", content=policy),
        el("meta", name="viewport", content="width=device-width, initial-scale=1"),
        el("meta", name="color-scheme", content="light dark"), el("meta", name="referrer", content="no-referrer"),
        el("meta", name="generator", content=maker),
        el("title", f"{report.head.name}: {_verdict_word(report)}"), el("style", Html(STYLE)))
    body = el("body", el("main", *_parts(report)), _foot(report, maker))
    return f"<!doctype html>\n{el('html', head, body, lang='en')}\n"


def _parts(report: Report) -> tuple[Html | None, ...]:
    return (
        _head(report), _verdict(report), _badges(report.diagnosis.badges), _graphs(report),
        incidents(report.incidents, report.diagnosis), autopsies(report.autopsies), _layers(report), _deeds(report),
        _checkpoints(report), _machine(report), _parameters(report.parameters),
    )


def _head(report: Report) -> Html:
    head = report.head
    steps = join((step(head.steps), f" of {count(head.total)}" if head.total else None, " steps"))
    state = None if head.state == "unknown" else el("b", head.state)
    return el(
        "header", el("p", "tuimon report", class_="over"), el("h1", head.name),
        facts(head.model, head.device, steps, state,
              None if head.seconds is None else f"{duration(head.seconds)} from first to last step",
              None if head.started is None else f"begun {moment(head.started)}"),
        el("p", f"The last that it said: {head.why}", class_="dim") if head.why else None,
        el("p", head.statement, class_="dim") if head.statement else None,
        el("p", "Log: ", el("code", head.source), None if head.kind == "run" else f" ({head.kind})", class_="dim"),
        el("ul", *(el("li", f"{sentence(note)}.") for note in head.notes),
           *(el("li", f"Note on {metric}: {text}") for metric, text in head.labels), class_="notes dim")
        if head.notes or head.labels else None)


def _verdict_word(report: Report) -> str:
    leading = report.diagnosis.leading
    return leading.headline if leading else "healthy" if report.diagnosis.steps else UNMEASURED


def _verdict(report: Report) -> Html:
    diagnosis = report.diagnosis
    one = diagnosis.leading
    if one is None:
        return _calm(report)
    signs = len(diagnosis.event(one)) - 1
    others = len(diagnosis.open_incidents) - 1 - signs
    more = [f"{signs} more sign{'s' * (signs != 1)} of it"] * bool(signs) + [f"{others} more open"] * bool(others)
    return el(
        "section", el("h2", sign(one.severity), one.headline),
        facts(el("b", one.severity, class_=f"word {one.severity}"), when(one),
              join(("worst in ", el("code", one.layer))) if one.layer else None, f"confidence {one.confidence}", *more),
        el("p", one.why, class_="why"),
        el("ol", *(el("li", sentence(advice)) for advice in one.next)) if one.next else None,
        class_=f"verdict {one.severity}", id="verdict")


def _calm(report: Report) -> Html:
    diagnosis = report.diagnosis
    if not diagnosis.steps:
        return el("section", el("h2", "Nothing was measured"), class_="verdict", id="verdict")
    past = Counter(i.severity for i in diagnosis.incidents if i.state == "resolved")
    words = ", ".join(f"{past[s]} {s}" for s in ("critical", "warning", "info") if past[s])
    over = f"Over by now: {words}." if words else "No incident in the whole run."
    return el("section", el("h2", sign("ok"), "Healthy"),
              el("p", f"{count(diagnosis.steps)} steps were judged and nothing is open. {over}", class_="why"),
              class_="verdict ok", id="verdict")


def _badges(badges: tuple[Badge, ...]) -> Html:
    def one(badge: Badge) -> Html:
        tone = badge.severity or ("ok" if badge.word == "ok" else "waiting")
        word = "not judged" if tone == "waiting" else badge.word
        return el("li", sign(tone), el("span", _WORDS.get(badge.category, badge.category)), el("b", word), class_=tone)

    return el("ul", *map(one, badges), class_="badges", aria_label="state of each category at the end")


def _graphs(report: Report) -> Html:
    drawn = [_graph(one, report) for one in report.graphs]
    key = [el("li", el("i", str(i), class_=f"key {m.tone}"), el("span", "step ", step(m.step)), el("span", m.words))
           for i, m in enumerate(report.moments, 1)]
    missing = el("p", f"Not in this log: {', '.join(report.missing)}.", class_="dim") if report.missing else None
    return section("curves", "Curves", el("div", *drawn, class_="graphs"),
                   el("ol", *key, class_="moments") if key else None, missing)


def _graph(one: Graph, report: Report) -> Html:
    swatches = [el("span", el("i", class_=f"swatch {'healthy' if r.is_healthy else 'usual'}"), r.word)
                for r in one.ranges]
    name = "training" if one.other is not None else ""
    if plot.is_dense(one.line):
        swatches += [el("span", el("i", class_="swatch line-1 range"), f"{name} lowest to highest".strip()),
                     el("span", el("i", class_="swatch line-1"), "moving median")]
    elif name:
        swatches.append(el("span", el("i", class_="swatch line-1"), name))
    if one.other is not None:
        last = join(("validation, last ", value(one.other_last)))
        swatches.append(el("span", el("i", class_="swatch line-2"), last))
    now = el("data", rate(one.last), value=repr(one.last), class_="n") if one.name == "lr" and math.isfinite(one.last) \
        else value(one.last)
    caption = el("figcaption", el("b", one.title), log_tag(one.log),
                 el("span", "last ", now, class_="now"))
    drawn = plot.draw(plot.Plot(
        report.first, report.last, one.log, one.line, one.other, one.ranges, report.moments,
        words=f"{one.title} over steps {report.first:,} to {report.last:,}"))
    return el("figure", caption, drawn, el("p", *swatches, class_="swatches") if swatches else None, class_="graph")


def _layers(report: Report) -> Html | None:
    if not report.depth.names or not len(report.depth.steps):
        return None
    about = ("Gradient RMS of each layer over the steps, from the input at the top to the output; at the right what "
             "was measured last.")
    return section("layers", "Layers", el("p", about, class_="dim"),
                   heatmap.draw(report.depth, report.first, report.last, report.moments))


def _deeds(report: Report) -> Html | None:
    if not report.deeds:
        return None
    rows = [(moment(line.time) if line.time else "–", step(line.step), line.text, line.who or "–")
            for line in report.deeds]
    return section("actions", "What was done, and noted", table(("when", "step", "what", "who"), rows, (1,)))


def _checkpoints(report: Report) -> Html | None:
    if not report.checkpoints and not report.healthy:
        return None
    rows = [(step(one.step), moment(one.time), "–" if one.size is None else size(one.size),
             el("code", one.sha256[:16]) if one.sha256 else "–",
             join((el("code", one.name), None if one.is_there else " (gone)"))) for one in report.checkpoints]
    kept = el("p", "Snapshots that had earned their health, the newest: step ", step(report.healthy[-1]), ".") \
        if report.healthy else None
    made = table(("step", "written", "size", "sha256", "name"), rows, (0, 2)) if rows else \
        el("p", "None was written to disk.")
    return section("checkpoints", "Checkpoints", kept, made)


def _machine(report: Report) -> Html | None:
    one = report.machine
    if one is None:
        return None
    rows = [(name, words) for name, words in _environment(one, report.parameters) if words]
    return section("environment", "Environment", el(
        "dl", *(join((el("dt", name), el("dd", words))) for name, words in rows), class_="pairs"))


def _environment(one: Machine, parameters: tuple[Parameter, ...]) -> list[tuple[str, Html | str]]:
    entries = [p.entry for p in parameters]
    trained = [e for e in entries if e.trained]
    tensors = ""
    if entries:
        kinds = ", ".join(sorted({e.dtype for e in entries}))
        frozen = len(entries) - len(trained)
        tensors = (f"{count(sum(e.numel for e in entries))} parameters in {count(len(entries))} tensors ({kinds})"
                   + (f"; {count(frozen)} of these not trained" if frozen else ""))
    clips = {True: "by the script itself", False: "not by the script", None: ""}[one.clips]
    process = f"{one.host}, process {one.pid}" if one.pid is not None else one.host
    argv = one.script or " ".join(one.argv)
    return [
        ("command", el("code", argv) if argv else ""), ("host", process),
        ("processes", str(one.world_size) if one.world_size > 1 else ""),
        ("attempts", str(one.attempts) if one.attempts > 1 else ""), ("optimizer", one.optimizer),
        ("clipping", clips), ("model", tensors),
        ("versions", ", ".join(f"{name} {version}" for name, version in one.versions.items())),
    ]


def _parameters(parameters: tuple[Parameter, ...]) -> Html | None:
    if not parameters:
        return None
    weighed = any(p.weight is not None for p in parameters)   # not in a log of before that was logged
    rows = [(el("code", p.entry.name), " × ".join(map(str, p.entry.shape)) or "scalar", count(p.entry.numel),
             p.entry.dtype, "yes" if p.entry.trained else "no", _last(p.grad), _last(p.update),
             *([_last(p.weight)] if weighed else ())) for p in parameters[:MOST_TENSORS]]
    beyond = len(parameters) - MOST_TENSORS
    more = el("p", f"{count(beyond)} more are left out.") if beyond > 0 else None
    head = ("name", "shape", "elements", "type", "trained", "last gradient norm", "last update ratio",
            *(["last weight norm"] if weighed else ()))
    return folded(
        f"Parameters: {count(len(parameters))} tensors", table(head, rows, (2, 5, 6, 7)), more, class_="parameters")


def _last(number: float | None) -> Html | str:
    return "–" if number is None else value(number)


def _foot(report: Report, maker: str) -> Html:
    made = f", {moment(report.head.written)}" if report.head.written else ""
    return el("footer", f"Written by {maker}{made}. "
                        "This page is complete in itself: no script, no network.")
