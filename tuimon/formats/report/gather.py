"""A run or a log, read and judged, as the values of a report. Touches the disk."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

import numpy as np

from tuimon.diagnosis.autopsy.fallback import from_log
from tuimon.diagnosis.autopsy.model import Autopsy
from tuimon.diagnosis.axes import is_wide
from tuimon.diagnosis.calm import calm
from tuimon.diagnosis.causes import as_events
from tuimon.diagnosis.figures import span
from tuimon.diagnosis.layers import Layers
from tuimon.diagnosis.limits import HEALTHY_UPDATE
from tuimon.diagnosis.model import Diagnosis
from tuimon.diagnosis.proof import curve
from tuimon.diagnosis.story import Story, lowered, tell
from tuimon.formats.judged import Judged, judged
from tuimon.formats.progress import Watch, unwatched
from tuimon.formats.reading import Reading
from tuimon.formats.report.model import (
    Depth,
    Graph,
    Head,
    LayerTable,
    Machine,
    Moment,
    Parameter,
    Range,
    Report,
    Saved,
    Told,
)
from tuimon.formats.sources import Source
from tuimon.record.events import Event, EventReader
from tuimon.record.history import History
from tuimon.record.metrics import METRICS
from tuimon.record.rundir import Launch, RunDir, RunInfo
from tuimon.record.status import status
from tuimon.record.text import clean

COLUMNS: Final = 600
"""Columns that a graph is thinned to: about one to a pixel of a wide page."""
MOST_CURVES: Final = 24
"""Incidents that get a curve of their own; those after are told in words."""
MOST_LINES: Final = 10_000
"""Lines of the run's diary: a page can be longer than a screen."""
MOST_MOMENTS: Final = 12
"""Lines through the graphs: more would hide what they point at."""


def gather(
    source: Source, rules: Literal["tuimon", "notebook"] = "tuimon", *, now: float = 0.0, watch: Watch = unwatched,
) -> Report:
    """The report of one run. `now`: wall clock, seconds since the epoch. LogError where it cannot be read."""
    one = judged(source, rules, watch)
    run = RunDir(Path(os.path.abspath(source.path))) if source.kind == "run" else None
    info = run.read_info() if run else None
    launch = run.read_launch() if run else None
    events = _events(run) if run else []
    story = Story(keeps=MOST_LINES)
    for event in events:
        if event.kind != "incident":  # they are judged here anew, and have their own place
            story = tell(story, event)
    history = History(info.table if info else None, one.reading.context.probes)
    for at, chunk in enumerate(one.reading.chunks):
        history.extend(chunk)
        watch("drawing", at / len(one.reading.chunks))
    table, depth = _layers(one, history)
    first, last = _span(one.reading)
    ratio = "grad_param_ratio" if rules == "notebook" else "update_ratio"
    graphs = tuple(_graph(name, one.diagnosis, history, first, last)
                   for name in ("loss", "grad_norm", ratio, "lr") if len(history.series(name)))
    return Report(
        _head(one, history, run, info, launch, now), one.diagnosis, first, last, graphs,
        tuple(METRICS[name].label for name in ("loss", "grad_norm", ratio, "lr") if not len(history.series(name))),
        _moments(story, one.diagnosis), tuple(_told(one.diagnosis, history, table)),
        _autopsies(one.reading, events, is_ours=run is not None), depth,
        tuple(line for line in story.lines if line.mark != "snapshot" and (line.mark or line.glyph != "╷")),
        tuple(_saved(run, events)) if run else (), story.healthy, _machine(info, launch, story),
        tuple(_parameters(info, history)) if info else (),
    )


def _events(run: RunDir) -> list[Event]:
    reader, found = EventReader(run.events), []
    while more := reader.poll():
        found += more
    return found


def _span(reading: Reading) -> tuple[int, int]:
    """First and last step of the pictures: from 0 where the log begins at its beginning."""
    first = min((int(c.steps[0]) for c in reading.chunks if len(c)), default=0)
    last = max((int(c.steps[-1]) for c in reading.chunks if len(c)), default=1)
    return (0 if first <= max(1, last // 20) else first), max(last, first + 1)


def _head(
    one: Judged, history: History, run: RunDir | None, info: RunInfo | None, launch: Launch | None, now: float,
) -> Head:
    reading = one.reading
    times = [c.times for c in reading.chunks if len(c)]
    begun = float(times[0][0]) if times else 0.0
    known = begun > 0 and math.isfinite(begun)
    took = max(0.0, float(times[-1][-1]) - begun) if known else None
    seen = status(run) if run else None
    return Head(
        name=info.name if info else launch.name if launch else _short(reading.name), source=reading.name,
        kind=reading.kind, state=reading.state, model=info.model if info else "", device=info.device if info else "",
        steps=one.diagnosis.steps or history.last_step, total=reading.context.total_steps,
        started=begun if known else None, seconds=took, why=seen.why if seen else "",
        statement=launch.statement if launch else "", notes=reading.notes, labels=reading.labels, written=now,
    )


def _short(path: str) -> str:
    """A file as its own name, a folder's log as the folder's."""
    return os.path.basename(os.path.normpath(os.path.abspath(path))) or path


def _graph(name: str, diagnosis: Diagnosis, history: History, first: int, last: int) -> Graph:
    metric, line = METRICS[name], history.thin(name, first, last, COLUMNS)
    other, other_last = None, math.nan
    if name == "loss" and len(history.series("val_loss")):
        other, other_last = history.thin("val_loss", first, last, COLUMNS), _last(history, "val_loss")
    return Graph(
        name, metric.label, metric.log_axis or (name == "loss" and is_wide(line.low, line.high)),
        _last(history, name), line, _ranges(name, diagnosis), other, other_last,
    )


def _last(history: History, name: str) -> float:
    value = history.value(name)
    return math.nan if value is None else value


def _ranges(name: str, diagnosis: Diagnosis) -> tuple[Range, ...]:
    if name == "update_ratio":
        return (Range(*HEALTHY_UPDATE, is_healthy=True, word=f"healthy {span(*HEALTHY_UPDATE)}"),)
    usual = diagnosis.usual.get(name)
    if name != "grad_norm" or usual is None or not (math.isfinite(usual.low) and math.isfinite(usual.high)):
        return ()
    return (Range(usual.low, usual.high, is_healthy=False, word=f"usual {span(usual.low, usual.high)}"),)


def _moments(story: Story, diagnosis: Diagnosis) -> tuple[Moment, ...]:
    """Where each event began, by what it was caused, and what was done about it."""
    roots = [i for i, depth in as_events(diagnosis.incidents) if depth == 0 and i.severity != "info"]
    onsets = [Moment(i.onset_step, f"onset: {lowered(i.headline)}", i.severity, "onset") for i in roots]
    done = [Moment(line.step, line.text, line.tone, "rollback" if line.mark == "rollback" else "event")
            for line in story.lines if line.mark in ("event", "rollback")]
    worst_first = sorted(onsets, key=lambda m: m.tone != "critical")[:MOST_MOMENTS // 2]
    chosen = [*worst_first, *done[:MOST_MOMENTS - len(worst_first)]]
    return tuple(sorted(chosen, key=lambda m: m.step))


def _told(diagnosis: Diagnosis, history: History, table: LayerTable) -> Iterable[Told]:
    """As `told.told` orders and advises them."""
    listed = as_events(diagnosis.incidents)
    treated = len(listed)
    for at, (incident, depth) in enumerate(listed):
        treated = treated if depth > treated else len(listed)
        is_advised = incident.state == "resolved" or depth <= treated
        if incident.state == "open" and depth <= treated:
            treated = depth
        yield Told(incident, depth, is_advised, curve(incident, history, table) if at < MOST_CURVES else None)


def _layers(one: Judged, history: History) -> tuple[LayerTable, Depth]:
    layers, rows = Layers(one.reading.context), history.tensor_rows()
    found = layers.profiles(rows) if len(rows) else None
    if found is None:
        return LayerTable((), None, None), Depth()
    names = tuple(clean(name, 60) for name in layers.names)
    (_, before), *again = calm(one.diagnosis.incidents)
    seen = np.stack([rows.grad_seen[:, where].any(1) for where in layers.tensors], 1)
    return (LayerTable(names, rows.steps, found.rms),
            Depth(names, rows.steps.astype(np.float64), found.rms, before, tuple(again), seen))


def _autopsies(reading: Reading, events: list[Event], *, is_ours: bool) -> tuple[Autopsy, ...]:
    found = tuple(a for e in events if e.kind == "autopsy" and (a := Autopsy.parse(e.fields)) is not None)
    if found or is_ours:
        return found
    alone = from_log(reading.chunks, reading.context.tensor_names or tuple(reading.context.layers))
    return () if alone is None else (alone,)


def _saved(run: RunDir, events: list[Event]) -> Iterable[Saved]:
    for event in events:
        step, name = event.whole("snapshot_step"), event.text("id")
        if event.kind == "checkpoint" and event.text("outcome") != "failed" and step is not None:
            is_there = bool(name) and os.sep not in name and (run.checkpoints / name / "manifest.json").is_file()
            yield Saved(step, event.time, event.whole("bytes"), event.text("sha256"), name, is_there)


def _machine(info: RunInfo | None, launch: Launch | None, story: Story) -> Machine | None:
    script = launch.script if launch else ""
    if info is None:
        return Machine(script=script) if script else None
    return Machine(info.process.host, info.process.pid, info.argv, script, info.optimizer, info.world_size,
                   max(info.attempt, story.attempt), info.clips, info.versions)


def _parameters(info: RunInfo, history: History) -> Iterable[Parameter]:
    """What was last measured of each tensor."""
    rows, weights = history.tensor_rows(), history.weight_rows()
    known = len(rows) > 0 and rows.grad.shape[1] == len(info.tensors)
    updated = np.flatnonzero(np.isfinite(rows.update).any(1)) if known else np.zeros(0, np.int64)
    weighed = len(weights) > 0 and weights.values.shape[1] == len(info.tensors)
    for i, entry in enumerate(info.tensors):
        weight = float(weights.values[-1, i]) if weighed and weights.seen[-1, i] else None
        grad = float(rows.grad[-1, i]) if known and rows.grad_seen[-1, i] else None
        update = float(rows.update[updated[-1], i]) if len(updated) else math.nan
        yield Parameter(entry, grad, None if math.isnan(update) else update, weight)
