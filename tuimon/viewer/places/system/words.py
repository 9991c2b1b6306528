"""Amounts, times and sentences of the place, each in a width that does not change from one second to the next. Pure."""

from __future__ import annotations

import math
from typing import Final

from tuimon.diagnosis.figures import UNKNOWN, number
from tuimon.diagnosis.figures import step as steps
from tuimon.viewer.lines import Line, Span, dim
from tuimon.viewer.machine.model import Gpus, Sample
from tuimon.viewer.places.system.model import SystemView
from tuimon.viewer.places.system.steps import FEWEST, PartName, StepTimes, Trend

_UNITS: Final = {True: (1_024.0, ("KiB", "MiB", "GiB", "TiB", "PiB")), False: (1_000.0, ("kB", "MB", "GB", "TB", "PB"))}
AMOUNT: Final = 8
"""Cells of an amount at most."""
RATE: Final = AMOUNT + 2
PARTS: Final[dict[PartName, str]] = {
    "data": "waiting for data", "rest": "forward, backward", "optimizer": "optimizer", "tuimon": "tuimon itself"}


def amount(count: float | None, *, binary: bool = False) -> str:
    """Bytes in three digits: 812 B, 3.1 MB (powers of 1,000), or 3.1 MiB, 0.98 GiB (of 1,024)."""
    if count is None or not math.isfinite(count):
        return UNKNOWN
    base, units = _UNITS[binary]
    if abs(round(count)) < 1_000:
        return f"{round(count)} B"
    power = next((i for i in range(1, len(units)) if abs(count) < 999.5 * base**i), len(units))
    count, unit = count / base**power, units[power - 1]
    digits = 2 if abs(count) < 0.995 else 1 if abs(count) < 9.95 else 0
    return f"{count:.{digits}f} {unit}"


def of_amount(used: float | None, whole: float | None, *, binary: bool = False) -> str:
    """"12 of 63 GB", or with both units where they differ; "–" where nothing is known."""
    if used is None or whole is None:
        return amount(used if whole is None else whole, binary=binary)
    left, right = amount(used, binary=binary), amount(whole, binary=binary)
    if left.split(" ")[-1] == right.rsplit(" ", maxsplit=1)[-1]:
        left = left.split(" ")[0]
    return f"{left} of {right}"


def per_second(count: float | None, *, binary: bool = False) -> str:
    """Bytes per second."""
    return UNKNOWN if count is None or not math.isfinite(count) else f"{amount(count, binary=binary)}/s"


def cores(busy: float | None) -> str:
    """CPUs kept busy: 0.03, 3.1, 12."""
    if busy is None or not math.isfinite(busy):
        return UNKNOWN
    return f"{busy:.2f}" if busy < 9.995 else f"{busy:.1f}"


def share(part: float | None) -> str:
    """A share of something, in four cells: " 7 %"."""
    return UNKNOWN if part is None or not math.isfinite(part) else f"{100 * part:.0f} %"


def taken(seconds: float) -> str:
    """How long something takes: 0.4 ms, 21 ms, 1.82 s."""
    if not math.isfinite(seconds):
        return UNKNOWN
    if seconds < 9.95e-3:
        return f"{1e3 * seconds:.1f} ms"
    if seconds < 0.9995:
        return f"{1e3 * seconds:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 99.5 else f"{seconds:.0f} s"


def pace(times: StepTimes) -> str:
    """How fast training goes, in tokens where they are logged."""
    if not times.count:
        return ""
    said = f"{number(times.pace)} steps/s"
    if math.isfinite(times.tokens):
        said += f"   {round(times.tokens):,} tokens/s"
    return said


def stretch(times: StepTimes) -> str:
    """Which steps are spoken of."""
    if not times.count:
        return ""
    return f"steps {steps(times.first)} to {steps(times.last)}"


def growth(trend: Trend, *, binary: bool = False) -> str:
    """Whether memory grows, in a few words; "" where it was not logged."""
    if trend.word == "none":
        return ""
    if trend.word == "few":
        return f"cannot tell yet, {trend.count} of {FEWEST} values"
    if trend.word == "level":
        return "level"
    return f"{trend.word} {amount(abs(1_000 * trend.slope), binary=binary)} per 1,000 steps"


def unmeasured(times: StepTimes) -> list[str]:
    """What of a step is not known, and why: nothing is guessed."""
    if not times.count:
        return []
    known = {part.name for part in times.parts}
    said = []
    if "data" not in known:
        said.append("waiting for data: not measured (no DataLoader seen)")
    if "optimizer" not in known:
        said.append("optimizer: not measured apart from the rest")
    if "tuimon" not in known:
        said.append("tuimon itself: not measured (on a GPU, or not yet)")
    return said


def gpu_absence(gpus: Gpus) -> str:
    """One line where there is no GPU to show; "" where there is."""
    refused = f": {gpus.why}" if gpus.why else ""
    return {
        "none": "no NVIDIA GPU found", "no-package": "install tuimon[gpu] to see the GPU",
        "no-driver": f"the NVIDIA driver cannot be asked{refused}", "starting": "asking the NVIDIA driver",
        "silent": "" if gpus.gpus else f"the NVIDIA driver is not answering, {gpus.waited} s",
    }.get(gpus.state, "")


def strapline(view: SystemView, *, binary: bool = False) -> Line:
    """Who is looked at, and what cannot be."""
    sample = view.sample
    if view.late:
        return (Span(f"▲ the system has not answered for {view.late} s: these numbers are old", "warning"),)
    if sample.where == "elsewhere":
        return (Span("◌ ", "info"), Span(f"training runs on host {sample.host_name}", "strong"),
                dim(": only what the run logged"))
    absence = gpu_absence(sample.gpus)
    tail = (" · the machine as it is now" if view.scrubbed is not None else "") + (f" · {absence}" if absence else "")
    if sample.where == "unknown":
        return (dim("◌ waiting for a training process" + (tail if view.number else "")),)
    if sample.where == "gone":
        what = dim("training has ended") if view.ended else Span(f"✝ training process {sample.pid} is gone", "warning")
        return (what, dim(f": machine and log only{tail}"))
    ranks = f", one of {view.ranks} ranks" if view.ranks > 1 else ""
    return (Span(f"pid {sample.pid}", "strong"),
            dim(f" on {sample.host_name}{ranks}{_limits(sample, binary=binary)}{tail}"))


def _limits(sample: Sample, *, binary: bool) -> str:
    limits = sample.limits
    allowed = [f"{limits.cpus:g} CPUs"] if limits.cpus is not None else []
    allowed += [amount(limits.memory, binary=binary)] if limits.memory is not None else []
    return f" · may use {' and '.join(allowed)}" if allowed else ""
