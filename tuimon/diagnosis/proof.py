"""The stretch of curve that convicts an incident. No I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from tuimon.diagnosis.axes import XAxis, is_wide
from tuimon.diagnosis.model import Category, Incident
from tuimon.record.chunk import Ints
from tuimon.record.history import History, Thin, thin
from tuimon.record.metrics import METRICS
from tuimon.record.probes import QUANTITIES
from tuimon.record.text import clean

COLUMNS: Final = 512
"""Columns that a stretch is thinned to."""
LEAD: Final = 40
"""Steps shown before the onset, at least; half of what follows where that is more."""
LEAD_ROWS: Final = 8
"""Measurements shown before the onset, at least: what is logged rarely has few steps of its own."""
LAYER: Final = 200
"""Longest name of a layer in characters."""
_BY_CATEGORY: Final[dict[Category, str]] = {
    "loss": "loss", "gradients": "grad_norm", "updates": "update_ratio", "numerics": "loss", "layers": "grad_norm",
    "generalisation": "val_loss", "throughput": "throughput", "activations": "loss",
}
_PER_LAYER: Final = ("layer_grad_rms", "layer_grad_norm")


@dataclass(frozen=True, slots=True)
class CurveView:
    """The stretch of a curve that convicts an incident."""

    title: str
    """What is plotted, in words: "grad norm"."""
    log: bool
    first: int
    """Step at the left end."""
    last: int
    """Step at the right end; it grows in steps while the incident is open."""
    limit: float | None
    """What the curve crossed; None where the test was not about a point of this curve."""
    columns: Thin = field(compare=False, repr=False)


class LayerRows(Protocol):
    """Gradient RMS per layer: m rows, L layers."""

    @property
    def names(self) -> tuple[str, ...]:
        """(L) in model order, clean."""
    @property
    def steps(self) -> Ints | None:
        """(m,); None before the first row."""
    @property
    def rms(self) -> NDArray[Any] | None:
        """(m, L); NaN where a layer had no gradient."""

    def index(self, layer: str | None) -> int | None:
        """The column of a layer, or of the one that a module is part of; None where there is none."""


def cleaned(incident: Incident) -> Incident:
    """The same incident, its texts safe to show; how it was told before is left out."""
    return replace(
        incident, layer=None if incident.layer is None else clean(incident.layer, LAYER), why=clean(incident.why, 800),
        headline=clean(incident.headline, 80), next=tuple(clean(one, 400) for one in incident.next),
        before=())


def curve(incident: Incident, history: History, layers: LayerRows) -> CurveView | None:
    """What the incident's first evidence was measured on, or else what its category is about, around its steps."""
    for name in (*(e.metric for e in incident.evidence), _BY_CATEGORY[incident.category]):
        title, found = _stretch(incident, name, history, layers)
        if found is None or not len(found[2]):
            continue
        first, last, columns = found
        log = name in _PER_LAYER or (name in METRICS and METRICS[name].log_axis) or is_wide(columns.low, columns.high)
        return CurveView(title, log, first, last, _limit(incident, name, columns), columns)
    return None


def _stretch(
    incident: Incident, name: str, history: History, layers: LayerRows,
) -> tuple[str, tuple[int, int, Thin] | None]:
    """A name for people, and first step, last step and values of one metric; of the incident's layer, where it can."""
    if name in _PER_LAYER:
        return _layer_stretch(incident, layers)
    if name in QUANTITIES:
        title, found = _probe_stretch(incident, name, history)
        if found is not None:
            return title, found
    before = history.step_before(name, incident.onset_step, LEAD_ROWS)
    first, last = span(incident, history.last_step, before)
    return _label(name), (first, last, history.thin(name, first, last, COLUMNS))


def _label(name: str) -> str:
    return METRICS[name].label if name in METRICS else name


def _layer_stretch(incident: Incident, layers: LayerRows) -> tuple[str, tuple[int, int, Thin] | None]:
    """Gradient RMS of the incident's layer, from the strip's own rows."""
    at = layers.index(incident.layer)
    if layers.steps is None or layers.rms is None or at is None or not len(layers.steps):
        return "", None
    name, values = layers.names[at], layers.rms[:, at].astype(np.float64)
    measured = ~np.isnan(values)   # NaN says that there was no gradient
    first, last = span(incident, int(layers.steps[-1]), leading_step(incident, layers.steps))
    found = thin(layers.steps[measured], values[measured], first, last, COLUMNS)
    return f"gradient RMS of {name}", (first, last, found)


def _probe_stretch(incident: Incident, name: str, history: History) -> tuple[str, tuple[int, int, Thin] | None]:
    """What the activation probes measured in the incident's layer."""
    steps, values = history.probes.series(history.probe_rows(), name, incident.layer or "")
    if not len(steps):
        return "", None
    first, last = span(incident, history.last_step, leading_step(incident, steps))
    title = _label(name) + (f" of {clean(incident.layer, LAYER)}" if incident.layer else "")
    return title, (first, last, thin(steps, values.astype(np.float64), first, last, COLUMNS))


def span(incident: Incident, now: int, before: int | None) -> tuple[int, int]:
    """First and last step to show: from some time before the onset to its end, or to now with some room.

    `before` is the step of the measurement LEAD_ROWS before the onset. While the incident stays open the answer
    changes rarely.
    """
    end = now if incident.resolved_step is None else incident.resolved_step
    after = int(XAxis().grown(max(1, end - incident.onset_step)).last)
    first = incident.onset_step - max(LEAD, after // 2)
    return max(0, first if before is None else min(first, before)), incident.onset_step + after


def leading_step(incident: Incident, steps: Ints) -> int | None:
    """The step of the measurement LEAD_ROWS before the onset, of those at `steps` (n,); else the first."""
    at = int(np.searchsorted(steps, incident.onset_step)) - LEAD_ROWS
    return int(steps[max(0, at)]) if len(steps) else None


def _limit(incident: Incident, name: str, columns: Thin) -> float | None:
    """The limit, where the number that crossed it is one of this curve: some tests are about its swing or its slope."""
    said = next((e for e in incident.evidence if e.metric == name), None)
    if said is None or not math.isfinite(said.limit):
        return None
    at = (columns.steps >= incident.onset_step) & np.isfinite(columns.low)
    if not at.any() or not math.isfinite(said.value):
        return None
    low, high = float(columns.low[at].min()), float(columns.high[at].max())
    room = 0.02 * (high - low)
    return said.limit if low - room <= said.value <= high + room else None
