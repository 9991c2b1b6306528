"""The panel of the GPUs as a picture. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tuimon.diagnosis.figures import UNKNOWN
from tuimon.viewer.arrange import put_lines
from tuimon.viewer.charts.picture import Picture, Role
from tuimon.viewer.glyphs import State
from tuimon.viewer.lines import Line, Span, dim
from tuimon.viewer.machine.model import Gpu
from tuimon.viewer.places.system import words
from tuimon.viewer.places.system.model import SystemView
from tuimon.viewer.places.system.panels import LABEL, Inside, Style, charted, metered, traced
from tuimon.viewer.text import pad


def gpu(view: SystemView, size: tuple[int, int], style: Style) -> Picture:
    """One GPU with its last minutes, or several in a table."""
    gpus, width = view.sample.gpus, size[0] - 4
    late = gpus.state == "silent"
    own = {one.pid for one in view.sample.tree.processes} if view.sample.tree else set()
    value = f"not answering, {gpus.waited} s" if late else _gpu_value(gpus.gpus)
    state: State | None = "warning" if late or any(one.lost or one.slowed for one in gpus.gpus) else None
    if len(gpus.gpus) > 1:
        names = [one.name for one in gpus.gpus if not one.lost] or [gpus.gpus[0].name]
        inside = Inside.of(f"4 GPU · {len(gpus.gpus)} x {names[0]}", value, state, *size, style)
        told = _told(gpus.gpus, own, inside.height - 1)
        rows: list[Line] = [gpu_head(width), *(gpu_row(one, own, width, style) for one in told)]
        if len(told) < len(gpus.gpus):
            rows.append((dim(f"     {len(gpus.gpus) - len(told)} more"),))
        if late:
            rows = [tuple(dim(span.text) for span in row) for row in rows]
        put_lines(inside.canvas, rows, inside.left, 1, inside.width, inside.height, style.glyphs)
        return inside.canvas.picture()
    one, lines = gpus.gpus[0], gpu_lines(gpus.gpus[0], own, width, style)
    if late:   # what is old looks old
        lines = [tuple(dim(span.text) for span in line) for line in lines]
    title = f"4 GPU {one.index} · {one.name}"
    named: list[tuple[str, Role, float]] = [(f"gpu {one.index}", "spark", 1.0)]
    return charted(title, value, state, lines,
                   traced(view, named, 1.0, ("100 %", "0 %"), style), size, style)


def _told(gpus: tuple[Gpu, ...], own: set[int], rows: int) -> list[Gpu]:
    """All, or where there is too little room those that matter most: what is lost or slowed, and what is used."""
    if len(gpus) <= rows:
        return [*gpus]
    weighty = sorted(gpus, key=lambda one: not (one.lost or one.slowed or any(pid in own for pid, _ in one.processes)))
    return sorted(weighty[:max(0, rows - 1)], key=lambda one: one.index)


def _gpu_value(gpus: Sequence[Gpu]) -> str:
    known = [one.busy for one in gpus if one.busy is not None]
    return words.share(sum(known) / len(known)) if known else UNKNOWN


def _known(value: float | None, unit: str = "") -> str:
    return UNKNOWN if value is None else f"{value:,.0f}{unit}"


def gpu_lines(one: Gpu, own: set[int], width: int, style: Style) -> list[Line]:
    """What the driver says of one GPU; what it does not tell is a dash."""
    if one.lost:
        return [(Span(f"the driver does not reach it: {one.lost}", "warning"),)]
    part = one.memory_used / one.memory if one.memory and one.memory_used is not None else None
    said = words.of_amount(one.memory_used, one.memory, binary=style.binary)
    slowed: Line = (dim("   runs at full speed"),) if not one.slowed else (
        Span(f"   ▲ slowed by {', '.join(one.slowed)}", "warning"),)
    limit = f" of {one.power_limit:,.0f}" if one.power is not None and one.power_limit is not None else ""
    return [
        # the driver reports a share of memory that is nearly full as a matter of course: torch keeps what it frees
        metered("memory", part, said, width, full=2.0),
        (dim(pad("power", LABEL)), Span(f"{_known(one.power)}{limit} W"), dim("   temperature "),
         Span(_known(one.temperature, style.degrees))),
        (dim(pad("clock", LABEL)), Span(f"{_known(one.clock)} of {_known(one.clock_most)} MHz"), *slowed),
        (dim(pad("this run", LABEL)), *_on_gpu(one, own, style)),
    ]


def _on_gpu(one: Gpu, own: set[int], style: Style) -> Line:
    mine = [size for pid, size in one.processes if pid in own]
    if mine:
        held = sum(size for size in mine if size is not None)
        return (Span(style.amount(held) if any(size is not None for size in mine) else UNKNOWN),
                dim(f" in {len(mine)} process{'es' if len(mine) > 1 else ''}"))
    if one.processes:
        return (dim(f"not among the {len(one.processes)} processes on it (numbers differ inside a container)"),)
    return (dim("nothing of it is here"),)


def gpu_head(width: int) -> Line:
    """What the columns of the table are."""
    head = "  #  busy  memory             power  temp     clock" + ("  this run" if width > 60 else "")
    return (dim(pad(head, width)),)


def gpu_row(one: Gpu, own: set[int], width: int, style: Style) -> Line:
    """One GPU of several."""
    if one.lost:
        return (Span(f" {one.index:>2}  "), Span(f"lost: {one.lost}", "warning"))
    mine = sum(size or 0 for pid, size in one.processes if pid in own)
    here = any(pid in own for pid, _ in one.processes)
    row: list[Span] = [
        Span(f"{'▸' if here else ' '}{one.index:>2} {words.share(one.busy):>5}", "strong" if here else "plain"),
        Span(f"  {pad(words.of_amount(one.memory_used, one.memory, binary=style.binary), 15)}"),
        Span(f"{_known(one.power, ' W'):>9}{_known(one.temperature, style.degrees):>6}{_known(one.clock):>6} MHz")]
    if width > 60:
        row.append(Span(f"{style.amount(mine) if here else UNKNOWN:>10}"))
    if one.slowed:
        row.append(Span(f"  ▲ {one.slowed[0]}" if width >= 80 else " ▲", "warning"))
    return tuple(row)
