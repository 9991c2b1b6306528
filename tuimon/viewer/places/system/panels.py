"""Each panel as a picture of exactly its size. Pure: the view in, cells out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from tuimon.diagnosis.axes import fit
from tuimon.diagnosis.figures import UNKNOWN
from tuimon.viewer.arrange import put_lines
from tuimon.viewer.charts import chart
from tuimon.viewer.charts.chart import ChartSpec, VMark, draw_heading
from tuimon.viewer.charts.picture import Canvas, Picture, Role
from tuimon.viewer.charts.series import EMPTY, Series
from tuimon.viewer.glyphs import BRAILLE, GlyphSet, State
from tuimon.viewer.lines import Line, Span, Tone, dim
from tuimon.viewer.machine.model import Host, Sample
from tuimon.viewer.places.system import traces, words
from tuimon.viewer.places.system.model import SystemView
from tuimon.viewer.text import pad

FULL: Final = 0.95
"""Share from which memory or a disk counts as nearly full."""
LABEL: Final = 10
_VALUE: Final = 20
_MOST: Final = 16
"""Cells for the greatest value of the last minutes."""


@dataclass(frozen=True, slots=True)
class Style:
    """How everything here is drawn."""

    glyphs: GlyphSet = BRAILLE
    binary: bool = False
    """Bytes in powers of 1,024 rather than 1,000."""

    @property
    def degrees(self) -> str:
        """Celsius, as far as this terminal can write it."""
        return " C" if self.glyphs.name == "ascii" else " °C"

    def amount(self, count: float | None) -> str:
        """Bytes."""
        return words.amount(count, binary=self.binary)

    def say(self, text: str) -> str:
        """Text that this terminal can draw."""
        return self.glyphs.say(text)


@dataclass(frozen=True, slots=True)
class Inside:
    """A framed canvas and the cells in it."""

    canvas: Canvas
    left: int
    width: int
    height: int

    @staticmethod
    def of(title: str, value: str, state: State | None, width: int, height: int, style: Style) -> Inside:
        """An empty panel; its upper row inside is 1."""
        canvas = Canvas(width, height)
        draw_heading(canvas, title, value, state, style.glyphs,
                     framed=height >= 3 and width >= 12, focused=False)
        return Inside(canvas, 2, max(1, width - 4), max(0, height - 2))

    def write(self, lines: Sequence[Line], style: Style) -> int:
        """Lines at the foot, the first ones where there is no room for all; returns the rows left above."""
        kept = list(lines[:self.height])
        above = self.height - len(kept)
        put_lines(self.canvas, kept, self.left, 1 + above, self.width, len(kept), style.glyphs)
        return above


Chart = Callable[[Inside, int], None]


def charted(title: str, value: str, state: State | None, lines: Sequence[Line], draw: Chart, size: tuple[int, int],
            style: Style) -> Picture:
    """A chart above its lines; without one where fewer than three rows are left for it."""
    inside = Inside.of(title, value, state, *size, style)
    room = inside.height
    kept = lines if room - len(lines) >= 3 else lines[:room]
    above = inside.write(kept, style)
    if above >= 3:
        draw(inside, above)
    return inside.canvas.picture()


def metered(label: str, part: float | None, said: str, width: int, *, full: float = FULL) -> Line:
    """A label, what it says, and a bar of its share; of the colour of a warning where it is nearly full."""
    is_full = part is not None and part >= full
    tone: Tone = "warning" if is_full else "info"
    tail = (Span(" ▲ nearly full", "warning"),) if is_full else ()
    cells = max(0, min(24, width - LABEL - _VALUE - 8 - sum(len(span.text) for span in tail)))
    on, off = traces.meter(part, cells)
    return (dim(pad(label, LABEL)), Span(pad(said, _VALUE)), Span("━" * on, tone), dim("─" * off),
            Span(pad(words.share(part), 6, right=True)), *tail)


def traced(view: SystemView, named: Sequence[tuple[str, Role, float]], top: float, labels: tuple[str, str],
           style: Style, legend: Sequence[tuple[str, Role]] = ()) -> Chart:
    """A chart of columns of the ring: (name, role, factor), later ones over earlier; `legend`: words beside it.

    Of several only the last is filled: which is which is seen without colour, too.
    """

    def draw(inside: Inside, rows: int) -> None:
        gutter = traces.GUTTER
        traces.draw_axis(inside.canvas, inside.left, 1, rows, labels, style.glyphs)
        for y, (word, role) in enumerate(legend if rows >= len(legend) + 2 else (), 2):
            inside.canvas.put(inside.left + gutter - 1 - len(word), y, word, role)
        place = (inside.left + gutter, 1, inside.width - gutter, rows)
        for i, (name, role, factor) in enumerate(named, 1):
            traces.draw_trace(inside.canvas, place, view.traces.times, factor * view.traces.of(name), top, role,
                              style.glyphs, filled=i == len(named))
    return draw


# ---------------------------------------------------------------------- processor, memory, disk and network


def cpu_value(sample: Sample) -> str:
    """CPUs that training keeps busy, of how many that it may use; without training the machine's share."""
    if sample.tree is None:
        return words.share(sample.host.cpu) if sample.host else UNKNOWN
    most = float(sample.host.cores) if sample.host else 1.0
    if sample.limits.cpus is not None:
        most = min(most, sample.limits.cpus)
    return f"{words.cores(sample.tree.cores)} of {most:g} core{'' if most == 1 else 's'}"


def cpu(view: SystemView, size: tuple[int, int], style: Style) -> Picture:
    """Training's share of the cores before the machine's; each core; load."""
    host, tree, ring = view.sample.host, view.sample.tree, view.traces
    width = size[0] - 4
    count = host.cores if host else 1
    most = traces.greatest(ring.times, ring.of("cores"), count * ring.of("cpu"))
    top = traces.top_of_cores(most, count)
    lines: list[Line] = []
    if host is not None:
        lines.append((dim(pad("cores", LABEL)), *_cores(host, width - LABEL, style)))
        load = "  ".join(f"{one:5.2f}" for one in host.load) if host.load else UNKNOWN
        lines.append((dim(pad("machine", LABEL)), Span(pad(words.share(host.cpu), 5, right=True)),
                      dim("   load "), Span(load)))
    if tree is not None:
        switched = UNKNOWN if tree.switches is None else f"{tree.switches:,.0f}/s"
        opened = UNKNOWN if tree.files is None else f"{tree.files:,}"
        lines.append((dim(pad("threads", LABEL)), Span(f"{tree.threads:5,}"), dim("   open files "),
                      Span(f"{opened:>5}"), dim("   switches "), Span(f"{switched:>8}")))
    named: list[tuple[str, Role, float]] = [("cpu", "data-dim", count)]
    legend: list[tuple[str, Role]] = []
    if tree is not None:
        named.append(("cores", "data", 1.0))
        legend = [(f"{style.glyphs.say('█')} run", "data"), (f"{style.glyphs.across}machine", "data-dim")]
    return charted("1 cpu", cpu_value(view.sample), None, lines,
                   traced(view, named, top, (f"{top:g}", "0"), style, legend), size, style)


def _cores(host: Host, width: int, style: Style) -> Line:
    """One bar per core; of more cores than cells the busiest of neighbours."""
    if host.busy is None or width < 1:
        return (dim(UNKNOWN),)
    groups = np.array_split(np.asarray(host.busy), min(width, len(host.busy)))
    return (dim("".join(style.glyphs.bars[traces.bar(float(group.max()), 1.0)] for group in groups)),)


def memory(view: SystemView, size: tuple[int, int], style: Style) -> Picture:
    """What training holds; the machine, its swap, and the container."""
    sample, ring = view.sample, view.traces
    host, tree, limits, width = sample.host, sample.tree, sample.limits, size[0] - 4
    lines: list[Line] = []
    if tree is not None and tree.resident_sum > 1.02 * tree.resident:
        lines.append((dim(pad("summed", LABEL)), Span(pad(style.amount(tree.resident_sum), words.AMOUNT)),
                      dim("  shared pages counted each time")))
    shares: list[float] = []
    if host is not None:
        shares.append(host.memory_used / max(1, host.memory))
        lines.append(metered("machine", shares[0], words.of_amount(host.memory_used, host.memory, binary=style.binary),
                             width))
        if host.swap:
            part = (host.swap_used or 0) / host.swap
            lines.append(metered("swap", part, words.of_amount(host.swap_used, host.swap, binary=style.binary), width))
    if limits.memory is not None:
        shares.append(limits.used / limits.memory if limits.used is not None and limits.memory else math.nan)
        lines.append(metered("container", shares[-1], words.of_amount(limits.used, limits.memory, binary=style.binary),
                             width))
    name = "resident" if tree is not None else "memory"
    most = traces.greatest(ring.times, ring.of(name))
    top = traces.top_of_bytes(most, binary=style.binary)
    state: State | None = "warning" if any(part >= FULL for part in shares) else None
    labels = (style.amount(top) if most else "", "0")
    return charted("2 memory", memory_value(sample, style), state, lines,
                   traced(view, [(name, "spark", 1.0)], top, labels, style), size, style)


def memory_value(sample: Sample, style: Style) -> str:
    """What training holds; without training what the machine does."""
    if sample.tree is not None:
        return style.amount(sample.tree.resident)
    return style.amount(sample.host.memory_used) if sample.host else UNKNOWN


FLOWS: Final = (("read", "read"), ("written", "written"), ("received", "received"), ("sent", "sent"))
"""Column of the ring, and its word."""


def flow(view: SystemView, size: tuple[int, int], style: Style) -> Picture:
    """Disk traffic of training and network traffic of the machine, each with its last minutes; room on the disk."""
    host, ring = view.sample.host, view.traces
    free = f"{style.amount(host.disk_free)} free" if host is not None and host.disk_free is not None else ""
    is_full = bool(host and host.disk and host.disk_free is not None and host.disk_free < (1 - FULL) * host.disk)
    inside = Inside.of("3 disk and network", free, "warning" if is_full else None, *size, style)
    each = max(1, inside.height // len(FLOWS))
    for i, (name, word) in enumerate(FLOWS[:inside.height]):
        row = 1 + i * each
        values = ring.of(name)
        now = float(values[-1]) if len(values) else None
        top = traces.top_of_bytes(traces.greatest(ring.times, values), binary=style.binary)
        at = inside.canvas.put(inside.left, row, pad(word, LABEL), "label")
        said = style.say(words.per_second(now, binary=style.binary))
        at = inside.canvas.put(at, row, pad(said, words.RATE, right=True), "value")
        left = at + 2
        rows, room = each - (1 if each > 2 else 0), inside.left + inside.width - left
        if len(values) and room >= _MOST + 16:
            room -= _MOST
            most = words.per_second(traces.greatest(ring.times, values), binary=style.binary)
            inside.canvas.put(left + room, row, style.say(pad(f"max {most}", _MOST, right=True)), "note")
        if rows > 1:
            traces.draw_trace(inside.canvas, (left, row, room, rows), ring.times, values, top, "spark", style.glyphs)
        else:
            traces.draw_strip(inside.canvas, left, row, traces.levels(ring.times, values, room, top), "spark",
                              style.glyphs)
    return inside.canvas.picture()


# ---------------------------------------------------------------------- memory over steps


def growth(view: SystemView, size: tuple[int, int], style: Style) -> Picture:
    """The memory that training held, step by step, as the run logged it."""
    said = words.growth(view.trend, binary=style.binary)
    base = 1_024.0 if style.binary else 1_000.0
    unit = base**3 if view.trend.held >= base**3 else base**2
    named = style.amount(unit).split(" ")[-1]
    series: Series = EMPTY
    if view.curve is not None and len(view.curve):
        thin = Series.thin(view.curve)
        series = Series(thin.table / (1, unit, unit, unit, 1))
    title = f"6 memory by step · {named}" if len(series) else "6 memory by step"
    marks = (VMark(view.scrubbed, "cursor", "cursor"),) if view.scrubbed is not None else ()
    spec = ChartSpec(title, said, None, (series,), marks=marks,
                     waiting="no memory logged so far", robust=False)
    y = fit(None, spec.extent, view.x, log=False, robust=False)
    return chart.draw(spec, *size, view.x, y, style.glyphs)

