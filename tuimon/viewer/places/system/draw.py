"""The whole place as one picture: a line about whom it shows, then single lines or panels. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tuimon.diagnosis.figures import UNKNOWN
from tuimon.viewer.arrange import put_lines
from tuimon.viewer.charts.picture import Canvas, Picture
from tuimon.viewer.lines import Span
from tuimon.viewer.places.system import graphics, panels, tables, traces, words
from tuimon.viewer.places.system.layout import Slot, plan
from tuimon.viewer.places.system.model import Choice, Panel, SystemView
from tuimon.viewer.places.system.panels import Style
from tuimon.viewer.text import fit, pad

_LABEL: Final = 9
_VALUE: Final = 17
_NOTE: Final = 24


def beside(pictures: Sequence[Picture]) -> Picture:
    """Pictures of one height, from left to right."""
    rows = zip(*(picture.rows for picture in pictures), strict=True)
    return Picture(sum(picture.width for picture in pictures), tuple(tuple(run for part in row for run in part)
                                                                     for row in rows))


def below(width: int, pictures: Sequence[Picture]) -> Picture:
    """Pictures of one width, from top to bottom."""
    return Picture(width, tuple(row for picture in pictures for row in picture.rows))


def draw(view: SystemView, choice: Choice, width: int, height: int, style: Style | None = None) -> Picture:
    """The body of the place in exactly `width` x `height` cells."""
    style = style or Style()
    width, height = max(1, width), max(1, height)
    divided = plan(view, choice, width, height)
    head = Canvas(width, 1 + len(divided.strips))
    line = words.strapline(view, binary=style.binary)
    put_lines(head, [(Span(" "), *line)], 0, 0, width, 1, style.glyphs)
    for row, panel in enumerate(divided.strips, 1):
        _strip(head, row, panel, view, style)
    parts = [head.picture(), *(beside([_panel(slot, view, choice, style) for slot in row]) for row in divided.rows)]
    whole = below(width, parts)
    missing = height - whole.height
    return below(width, [*parts, Canvas(width, missing).picture()]) if missing > 0 else \
        Picture(width, whole.rows[:height])


def _panel(slot: Slot, view: SystemView, choice: Choice, style: Style) -> Picture:
    size = (slot.width, slot.height)
    if slot.panel == "processes":
        return tables.processes(view, choice, size, style)
    if slot.panel == "step":
        return tables.step(view, size, style)
    drawn = {"cpu": panels.cpu, "memory": panels.memory, "flow": panels.flow, "gpu": graphics.gpu,
             "growth": panels.growth}
    return drawn[slot.panel](view, size, style)


def _strip(canvas: Canvas, row: int, panel: Panel, view: SystemView, style: Style) -> None:
    """One line: a label, a number, the last minutes, and what else matters."""
    ring, sample, host = view.traces, view.sample, view.sample.host
    note = ""
    if panel == "cpu":
        label, value, values = "cpu", panels.cpu_value(sample), ring.of("cores" if sample.tree else "cpu")
        note = f"machine {words.share(host.cpu)}" if host else ""
        top = traces.top_of_cores(traces.greatest(ring.times, values), host.cores if host else 1)
    elif panel == "memory":
        label, value, values = "memory", panels.memory_value(sample, style), ring.of(
            "resident" if sample.tree else "memory")
        top = traces.top_of_bytes(traces.greatest(ring.times, values), binary=style.binary)
        note = f"machine {words.of_amount(host.memory_used, host.memory, binary=style.binary)}" if host else ""
    elif panel == "gpu":
        label, value, note, values = "gpu", *_gpu(view, style), ring.of(
            f"gpu {sample.gpus.gpus[0].index}" if len(sample.gpus.gpus) == 1 else "")
        top = 1.0
    else:
        label, values = "disk", ring.of("read") + ring.of("written")
        value = words.per_second(float(values[-1]) if len(values) else None, binary=style.binary)
        top = traces.top_of_bytes(traces.greatest(ring.times, values), binary=style.binary)
        net = ring.of("received") + ring.of("sent")
        note = f"network {words.per_second(float(net[-1]) if len(net) else None, binary=style.binary)}"
    _line(canvas, row, (label, value, note), (values, top), view, style)


def _line(canvas: Canvas, row: int, said: tuple[str, str, str], drawn: tuple[traces.Floats, float], view: SystemView,
          style: Style) -> None:
    label, value, note = (style.say(part) for part in said)
    at = canvas.put(1, row, pad(label, _LABEL), "label")
    at = canvas.put(at + 1, row, pad(value, _VALUE), "value")
    room = canvas.width - at - 2
    notes = _NOTE if room >= _NOTE + 12 else 0
    bars = traces.levels(view.traces.times, drawn[0], room - notes - (2 if notes else 0), drawn[1])
    traces.draw_strip(canvas, at + 1, row, bars, "spark", style.glyphs)
    if notes:
        canvas.put(canvas.width - 1 - notes, row, fit(note, notes, style.glyphs.ellipsis), "note")


def _gpu(view: SystemView, style: Style) -> tuple[str, str]:
    gpus = view.sample.gpus
    if gpus.state == "silent":
        return "not answering", f"for {gpus.waited} s"
    known = [one.busy for one in gpus.gpus if one.busy is not None]
    busy = words.share(sum(known) / len(known)) if known else UNKNOWN
    used = [one.memory_used for one in gpus.gpus if one.memory_used is not None]
    whole = [one.memory for one in gpus.gpus if one.memory is not None]
    said = words.of_amount(sum(used), sum(whole), binary=style.binary) if used and whole else UNKNOWN
    several = f" ({len(gpus.gpus)} GPUs)" if len(gpus.gpus) > 1 else ""
    return f"{busy}{several}", f"memory {said}"
