"""The layer strip: gradient RMS per layer, computed once per row and kept. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from tuimon.diagnosis.calm import calm
from tuimon.diagnosis.figures import number
from tuimon.diagnosis.model import Diagnosis
from tuimon.record.history import History
from tuimon.record.layered import LayerGroups
from tuimon.record.tensors import TensorTable
from tuimon.viewer.places.layers.thinning import Thinner
from tuimon.viewer.text import clean, squeeze
from tuimon.viewer.views import HeatView

NAME: Final = 200
"""Longest name of a layer in characters: what is cut could be taken for another's."""
WORDS: Final = 40
"""Cells of a name among words."""


@dataclass(slots=True)
class LayerStrip:
    """Gradient RMS per layer, computed once per row."""

    table: TensorTable | None
    names: tuple[str, ...] = ()
    steps: NDArray[np.int64] | None = None
    rms: NDArray[np.float32] | None = None
    seen: NDArray[np.bool_] | None = None
    """Where it was measured: there NaN is a value."""
    groups: LayerGroups | None = None
    """Known from the first row on."""
    _revision: int = -1
    _thinner: Thinner = field(default_factory=Thinner)

    def update(self, history: History) -> None:
        """Take in the rows that are new; all of them again where old ones have changed."""
        if self.table is None:
            return
        rows, revision = history.tensor_rows(), history.tensor_revision
        if rows.grad.shape[1] != len(self.table):
            return
        if self.groups is None:
            self.groups = LayerGroups.of(self.table)
            self.names = tuple(clean(name, NAME) for name in self.groups.names)
        known = 0 if self.steps is None else len(self.steps)
        if self.steps is not None and self.rms is not None and self.seen is not None and known and (
                revision == self._revision):
            if len(rows) > known:
                new = rows.since(known)
                rms, seen = self.groups.grad_rms(new)
                self.steps = np.concatenate((self.steps, new.steps))
                self.rms, self.seen = np.concatenate((self.rms, rms)), np.concatenate((self.seen, seen))
            return
        self._revision = revision
        self._thinner.clear()
        self.steps = rows.steps.copy()
        self.rms, self.seen = self.groups.grad_rms(rows)

    def index(self, layer: str | None) -> int | None:
        """The row of a layer, or of the one that a module is part of; None where there is none."""
        name = clean(layer or "", NAME)
        return next((i for i, mine in enumerate(self.names) if name == mine or name.startswith(f"{mine}.")), None)

    def view(self, diagnosis: Diagnosis, at: int | None = None) -> HeatView:
        """What the strip shows now, or showed at a step."""
        if self.steps is None or self.rms is None or self.seen is None or not len(self.steps):
            return HeatView(self.names)
        end = len(self.steps) if at is None else int(np.searchsorted(self.steps, at, side="right"))
        if not end:
            return HeatView(self.names)
        now, (all_rms, all_seen) = self.rms[end - 1], (self.rms, self.seen)
        grid = self._thinner.take(self.steps, 0, end, len(self.names), lambda which: (all_rms[which], all_seen[which]))
        steps, rms, seen = grid.steps, np.where(grid.bad, np.float32(np.nan), grid.high), grid.seen
        troubled = next((i for i in diagnosis.open_incidents if i.category in ("gradients", "layers")), None)
        (_, before), *again = calm(diagnosis.incidents)
        if troubled is None:
            return HeatView(self.names, "", None, before, tuple(again), steps, rms, seen)
        where = self.index(troubled.layer)
        if where is None:
            where = int(np.argmax(np.where(np.isnan(now), np.inf, now)))
        worst = f"worst {squeeze(self.names[where], WORDS)} {number(float(now[where]))}"
        return HeatView(self.names, worst, troubled.severity, before, tuple(again), steps, rms, seen)

