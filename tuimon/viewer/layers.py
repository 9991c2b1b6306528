"""The layer strip: gradient RMS per layer, computed once per row and kept. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from tuimon.diagnosis.calm import calm
from tuimon.diagnosis.figures import number
from tuimon.diagnosis.model import Diagnosis
from tuimon.record.columns import Column
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
    rows: tuple[Column, Column, Column] | None = None
    """`steps`, `rms`, and where it was measured (there NaN is a value). They grow: old rows are not copied for new."""
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
        if self.rows is not None and self.rows[0].size and revision == self._revision:
            new = rows.since(self.rows[0].size)
            if len(new):
                parts: tuple[NDArray[Any], ...] = (new.steps, *self.groups.grad_rms(new))
                for column, part in zip(self.rows, parts, strict=True):
                    column.extend(part)
            return
        self._revision = revision
        self._thinner.clear()
        rms, seen = self.groups.grad_rms(rows)
        self.rows = Column.of(rows.steps.copy()), Column.of(rms), Column.of(seen)

    @property
    def steps(self) -> NDArray[np.int64] | None:
        """(m,) None before the first row."""
        return None if self.rows is None else self.rows[0].view

    @property
    def rms(self) -> NDArray[np.float32] | None:
        """(m, L), as `steps`."""
        return None if self.rows is None else self.rows[1].view

    def index(self, layer: str | None) -> int | None:
        """The row of a layer, or of the one that a module is part of; None where there is none."""
        name = clean(layer or "", NAME)
        return next((i for i, mine in enumerate(self.names) if name == mine or name.startswith(f"{mine}.")), None)

    def view(self, diagnosis: Diagnosis, at: int | None = None) -> HeatView:
        """What the strip shows now, or showed at a step."""
        if self.rows is None or not self.rows[0].size:
            return HeatView(self.names)
        all_steps, all_rms, all_seen = (column.view for column in self.rows)
        end = len(all_steps) if at is None else int(np.searchsorted(all_steps, at, side="right"))
        if not end:
            return HeatView(self.names)
        now = all_rms[end - 1]
        grid = self._thinner.take(all_steps, 0, end, len(self.names), lambda which: (all_rms[which], all_seen[which]))
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

