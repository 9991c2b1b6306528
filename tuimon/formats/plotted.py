"""What `tuimon plot` prints: metrics as pictures of characters, with where incidents began. Touches nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from tuimon.diagnosis.axes import is_wide
from tuimon.diagnosis.causes import as_events
from tuimon.diagnosis.figures import span
from tuimon.diagnosis.model import Incident, Severity
from tuimon.diagnosis.plotting import Chart, Colour, Layer, Upright, draw
from tuimon.diagnosis.wording import count, number, rate
from tuimon.errors import UsageError
from tuimon.formats.judged import Judged
from tuimon.formats.names import metric_of
from tuimon.record.history import History, Thin
from tuimon.record.metrics import METRICS
from tuimon.record.text import clean

LINES: Final[tuple[Colour, ...]] = (
    (86, 180, 233), (230, 159, 0), (0, 178, 135), (204, 121, 167), (240, 228, 66), (160, 160, 160),
)
"""Okabe and Ito's colours, which colour-blind eyes tell apart."""
MARKS: Final = "abcdefghijklmnopqrstuvwxyz"
TONES: Final[dict[Severity, Colour]] = {"critical": (213, 94, 0), "warning": (230, 159, 0), "info": (86, 180, 233)}
MOST: Final = 6
"""Incidents that get a line."""
ALIKE: Final = 30.0
"""Times as large as another that a metric's largest value may be and still share its axis."""


@dataclass(frozen=True, slots=True)
class Look:
    """How it is to be drawn."""

    width: int = 80
    height: int = 16
    colour: bool = False
    ascii_only: bool = False
    log: bool | None = None
    """None: as each metric is best seen."""
    overlay: bool = False
    first: int | None = None
    last: int | None = None
    """Steps, both included; None: as far as the log goes."""


def plotted(one: Judged, metrics: Sequence[str], look: Look) -> Iterator[str]:
    """The lines to print. UsageError, naming what there is, for a metric that the log does not hold."""
    history = History()
    for chunk in one.reading.chunks:
        history.extend(chunk)
    names = [_known(name, history, one) for name in metrics or ("loss",)]
    begin = min(int(history.series(name).steps[0]) for name in names)
    end = max(int(history.series(name).steps[-1]) for name in names)
    first = begin if look.first is None else look.first
    last = end if look.last is None else look.last
    if last < first or last < begin or first > end:
        raise UsageError(f"no steps from {count(first)} to {count(last)}: there are {count(begin)} to {count(end)}")
    begun = _begun(one, first, last)
    uprights = tuple(Upright(i.onset_step, TONES[i.severity]) for i in begun)
    lines = {name: history.thin(name, first, last, 2 * look.width) for name in names}
    if look.overlay and len(names) > 1:
        pictures = [_together(lines, uprights, (first, last), look)]
    else:
        pictures = [_alone(name, line, _broken(history, name, first, last), uprights, (first, last), look)
                    for name, line in lines.items()]
    for at, picture in enumerate(pictures):
        yield from [""] * bool(at)
        yield from (line.rstrip() for line in picture.rstrip("\n").split("\n"))
    yield from [""] * bool(begun)
    yield from _told(begun, look)


def _known(name: str, history: History, one: Judged) -> str:
    """The metric that is meant: by our name, by the file's, or by a common one."""
    named = {raw: metric for metric, raw in one.reading.columns.items()}
    common = metric_of(name)
    for metric in (name, named.get(name), common[0] if common else None):
        if metric is not None and len(history.series(metric)):
            return metric
    there = ", ".join(sorted(history.names)) or "nothing"
    raise UsageError(f"no metric {clean(name, 60)!r} in {one.reading.name}: it has {there}")


def _begun(one: Judged, first: int, last: int) -> list[Incident]:
    """What began within these steps, the causes only, the worst of many."""
    roots = [i for i, depth in as_events(one.diagnosis.incidents)
             if depth == 0 and i.severity != "info" and first <= i.onset_step <= last]
    worst = sorted(roots, key=lambda i: (i.severity != "critical", i.onset_step))[:MOST]
    return sorted(worst, key=lambda i: i.onset_step)


def _points(line: Thin) -> tuple[list[float], list[float]]:
    """Lowest and highest of each column, so that no spike is lost."""
    fine = np.isfinite(line.low)
    steps, low, high = (np.asarray(v, np.float64)[fine] for v in (line.steps, line.low, line.high))
    return np.repeat(steps, 2).tolist(), np.stack((low, high), 1).ravel().tolist()


def _is_log(name: str, line: Thin, look: Look) -> bool:
    by_itself = METRICS[name].log_axis if name in METRICS else False
    return by_itself or is_wide(line.low, line.high) if look.log is None else look.log


def _broken(history: History, name: str, first: int, last: int) -> int | None:
    """The first step, of these, whose value was not finite."""
    series = history.series(name)
    bad = series.steps[~np.isfinite(series.values) & (series.steps >= first) & (series.steps <= last)]
    return int(bad[0]) if len(bad) else None


def _alone(
    name: str, line: Thin, broken: int | None, uprights: tuple[Upright, ...], across: tuple[int, int], look: Look,
) -> str:
    x, y = _points(line)
    log = _is_log(name, line, look)
    title = _title(name, line, broken, log)
    if not x or (log and max(y) <= 0):
        return f"{title}: nothing to draw"
    chart = Chart(title, x, y, LINES[0], log=log, uprights=uprights, bad=line.steps[line.bad].tolist(),
                  across=across)
    return draw(chart, width=look.width, height=look.height, colour=look.colour, ascii_only=look.ascii_only)


def _title(name: str, line: Thin, broken: int | None, log: bool) -> str:
    words = [METRICS[name].label if name in METRICS else clean(name, 60)]
    if len(line):
        final = float(line.last[-1])
        words.append(f"last {'NaN or infinite' if line.bad[-1] or math.isnan(final) else _said(name, final)}")
    if log:
        words.append("log")
    if broken is not None:
        words.append(f"x: not finite, first at step {count(broken)}")
    return ", ".join(words)


def _said(name: str, value: float) -> str:
    return rate(value) if name == "lr" else number(value)


def _together(
    lines: dict[str, Thin], uprights: tuple[Upright, ...], across: tuple[int, int], look: Look,
) -> str:
    """All in one picture: on one axis where they are of one size, else each over its own range."""
    points = {name: _points(line) for name, line in lines.items()}
    tops = [max(map(abs, y)) for _, y in points.values() if y]
    shared = bool(tops) and ((min(tops) > 0 and max(tops) <= ALIKE * min(tops)) or look.log is True)
    log = shared and look.log is not False and any(_is_log(name, line, look) for name, line in lines.items())
    layers = []
    for k, (name, (x, y)) in enumerate(points.items()):
        label = METRICS[name].label if name in METRICS else clean(name, 60)
        if not shared and y:
            low, high = min(y), max(y)
            label = f"{label} {span(low, high, '-' if look.ascii_only else '–')}"
            y = [(v - low) / (high - low) if high > low else 0.5 for v in y]  # noqa: PLW2901 - the same, scaled
        layers.append(Layer(label, x, y, LINES[k % len(LINES)], MARKS[k % len(MARKS)]))
    title = ("together" if shared else "each over its own range") + (", log" if log else "")
    bad = sorted({step for line in lines.values() for step in line.steps[line.bad].tolist()})
    own, *others = layers
    chart = Chart(title, own.x, own.y, own.colour, log=log, layers=tuple(others), label=own.label, mark=own.mark,
                  uprights=uprights, bad=bad, across=across)
    return draw(chart, width=look.width, height=look.height, colour=look.colour, ascii_only=look.ascii_only)


def _told(begun: Sequence[Incident], look: Look) -> Iterator[str]:
    sign = "|" if look.ascii_only else "│"
    for one in begun:
        over = "" if one.resolved_step is None else f", over at {count(one.resolved_step)}"
        yield f"{sign} {count(one.onset_step)}  {one.severity}: {one.headline}{over}"
