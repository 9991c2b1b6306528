"""All that is said of one run, beside what is true of it. Pure: a recording in, text out."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from textwrap import indent, wrap

from tests.zoo.baselines import OTHERS
from tests.zoo.judges import OURS, Alarm, Said
from tests.zoo.recording import Recording
from tests.zoo.score import Outcome, outcome
from tests.zoo.split import is_held_out
from tuimon.diagnosis.engine import Engine
from tuimon.diagnosis.plotting import Chart, draw


def told(recording: Recording, *, plot: bool = False) -> str:
    """Label, incidents, what was told first and when, how it scores, and what the others say."""
    said = OURS.listen(recording)
    lines = [*_label(recording), "", *_alarms(said), "", *_tellings(said), ""]
    lines += [*_scored(outcome(recording, said, OURS)), "", *_others(recording), "", *_waiting(recording)]
    charts = "".join(f"\n{chart}\n" for chart in _charts(recording)) if plot else ""
    return "\n".join(chain.from_iterable(wrap(line, 120, subsequent_indent=" " * 15) or [""] for line in lines)) + "\n" + charts


def _label(recording: Recording) -> Iterator[str]:
    label = recording.label
    fate = "healthy" if label.healthy else "catastrophic" if label.catastrophic else "sick"
    yield (f"{recording.name}: {fate}, {recording.model} with {recording.optimizer or 'an unknown optimizer'}, {recording.steps} rows"
           f"{', held out' if is_held_out(label.kind) else ''}")
    for name, value in (
        ("causes", ", ".join(label.causes)), ("also", ", ".join(label.also)), ("onset", label.onset),
        ("layer", label.layer), ("lost", label.lost),
    ):
        if value not in (None, ""):
            yield f"  {name:<8}{value}"
    for chunk in recording.chunks:
        for mark in chunk.marks:
            yield f"  mark    {mark.kind} after {mark.step} {dict(mark.fields)}"


def _alarms(said: Said) -> Iterator[str]:
    yield "incidents" if said.alarms else "no incidents"
    for alarm in said.alarms:
        yield f"  {_alarm(alarm)}"
        yield from (indent(line, " " * 6) for line in wrap(alarm.why, 106))


def _alarm(alarm: Alarm) -> str:
    course = [f"onset {alarm.onset}", f"found {alarm.opened}"]
    course += [f"{word} {step}" for word, step in (("warning", alarm.warned), ("critical", alarm.critical))
               if step not in (None, alarm.opened)]
    where = f" in {alarm.layer}" if alarm.layer else ""
    return f"{alarm.severity:<9}{alarm.name}{where}: {', '.join(course)}, confidence {alarm.confidence or '-'}"


def _tellings(said: Said) -> Iterator[str]:
    yield "told, first things first"
    for telling in said.tellings:
        words = (f"{told.cause} in {told.layer}" if told.layer else str(told.cause) for told in telling.told)
        yield f"  from {telling.step:>6}  " + (", ".join(words) or "nothing")


def _scored(of: Outcome) -> Iterator[str]:
    yield "scored"
    if of.healthy or of.healthy_steps:
        false = ", ".join(f"{a.name} at {a.warned}" for a in of.false_warnings) or "none"
        yield f"  false warnings in {of.healthy_steps} healthy steps: {false}"
    if of.healthy:
        return
    yield f"  found at {of.found_at}, delay {of.delay}, by {of.found.name}" if of.found else "  not found"
    yield "  " + ", ".join(
        f"{words} {'-' if right is None else 'yes' if right else 'NO'}"
        for words, right in (
            ("right at once", of.right_at_once), ("right first", of.right_first), ("among two", of.right_among_two),
            ("layer", of.right_layer), ("in time", of.in_time),
        )
    ) + f", onset off by {of.onset_error}"
    if of.strange:
        yield "  strange: " + ", ".join(f"{a.name} at {a.warned}" for a in of.strange)


def _others(recording: Recording) -> Iterator[str]:
    yield "the others"
    for judge in OTHERS:
        said = judge.listen(recording)
        words = ", ".join(f"{a.name} at {a.opened}" for a in said.alarms[:6])
        more = f" and {len(said.alarms) - 6} more" if len(said.alarms) > 6 else ""
        yield f"  {judge.name:<22}{words or 'nothing'}{more}"


def _waiting(recording: Recording) -> Iterator[str]:
    engine = Engine(recording.context)
    for chunk in recording.chunks:
        engine.feed(chunk)
    diagnosis = engine.diagnosis
    yield "could not look at the end"
    for rule in diagnosis.not_evaluated:
        yield f"  {rule.rule:<28}{', '.join(rule.needs)}"


def _charts(recording: Recording) -> Iterator[str]:
    for metric in ("loss", "grad_norm", "update_ratio", "lr"):
        points = [chunk.measured(metric) for chunk in recording.chunks]
        steps = [int(step) for at, _ in points for step in at]
        values = [float(value) for _, found in points for value in found]
        if steps:
            yield draw(Chart(metric, steps, values, log=metric != "loss"), width=110, height=12, colour=False)
