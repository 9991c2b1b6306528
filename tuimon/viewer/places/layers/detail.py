"""Computes what the layers show, in the feed's thread: the map over the window, an opened layer, the tensors.

Only what is new is computed; what does not change between two looks is handed out again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from tuimon.diagnosis.calm import FEWEST, Calm, calm
from tuimon.diagnosis.past import as_of
from tuimon.record.history import History, thin
from tuimon.record.layered import LayerGroups
from tuimon.record.tensors import TensorTable
from tuimon.viewer.places.layers import shades
from tuimon.viewer.places.layers.learned import Learned
from tuimon.viewer.places.layers.model import Ask, Grid, LayersView, Page, Usual
from tuimon.viewer.places.layers.parameters import Parameters
from tuimon.viewer.places.layers.quantities import QUANTITY, Name
from tuimon.viewer.places.layers.sources import Rows, offered, rows_of
from tuimon.viewer.places.layers.thinning import Thinner

if TYPE_CHECKING:
    from tuimon.viewer.reading import Reading
    from tuimon.viewer.wanted import Wanted

COLUMNS: Final = 1024
"""Columns that an opened layer's history is thinned to."""


class LayersDetail:
    """The layers of one run."""

    def __init__(self) -> None:
        self._table: TensorTable | None = None
        self._groups: LayerGroups | None = None
        self._thinner = Thinner()
        self._source: tuple[Name, int] | None = None
        self._shown: tuple[object, ...] = ()
        self._view = LayersView(0, "gradient", (), (), 0.0, 1.0, None, Grid.empty(), np.zeros((0, 0), np.int8),
                                np.zeros(0, np.float32), awaited="waiting for the first gradients")
        self._learned: dict[int, Learned] = {}
        """By the step with which it begins to be calm."""
        self._parameters = Parameters(None)

    def update(self, reading: Reading, wanted: Wanted, now: float, mono: float) -> LayersView:
        """The layers over the steps that are wanted."""
        del now, mono
        ask = wanted.ask if isinstance(wanted.ask, Ask) else Ask()
        history = reading.history
        ends = wanted.window.ends(reading.whole_last, history.last_step)
        diagnosis = reading.diagnosis if wanted.at is None else as_of(reading.diagnosis, wanted.at)
        quiet = calm(diagnosis.incidents)
        shown = (history, history.revision, quiet, ends, wanted.at, ask)
        if shown == self._shown:
            return self._view   # a judge that only got further changes nothing
        self._shown = shown
        if history.table is not self._table:
            self._told(history.table)
        self._view = self._viewed(history, ask, ends, wanted.at, quiet)
        return self._view

    def close(self) -> None:
        """Nothing is held."""

    def _told(self, table: TensorTable | None) -> None:
        """Another run's tensors, or the first time that they are known."""
        self._table, self._groups = table, None if table is None else LayerGroups.of(table)
        self._source = None
        self._parameters = Parameters(table)

    def _viewed(self, history: History, ask: Ask, ends: tuple[float, float], at: int | None,
                quiet: tuple[Calm, ...]) -> LayersView:
        there = offered(history)
        quantity = ask.quantity
        rows = rows_of(history, self._groups, quantity) if quantity in there else None
        revision, (first, last) = self._view.revision + 1, ends
        before = quiet[0].until
        tensors = self._parameters.of(history, None, at, quiet) if ask.tensors else None
        if rows is None:
            return LayersView(revision, quantity, there, (), first, last, before, Grid.empty(),
                              np.zeros((0, 0), np.int8), np.zeros(0, np.float32), None, tensors,
                              self._awaited(history, quantity))
        source = quantity, rows.revision
        if source != self._source:
            self._source = source
            self._thinner.clear()
            self._learned.clear()
        a = int(np.searchsorted(rows.steps, math.floor(first)))
        b = int(np.searchsorted(rows.steps, min(math.ceil(last), last if at is None else at), side="right"))
        known = len(rows.steps) if at is None else int(np.searchsorted(rows.steps, at, side="right"))
        is_told = b > a or 0 < a <= b < known
        a, b = max(0, a - 1), min(known, b + 1)   # what was before the window stands until the next is measured
        grid = self._thinner.take(rows.steps, a, b, len(rows.layers), rows.read)
        usual, *again = self._usual(rows, known, quiet)
        ranks = shades.ranked(grid, QUANTITY[quantity], shades.centres(usual.of))
        for later in again:
            column = int(np.searchsorted(grid.steps, later.since))
            ranks[column:] = shades.ranked(grid.after(column), QUANTITY[quantity], shades.centres(later.of))
        page = None
        if ask.layer is not None and ask.layer in (names := rows.names):
            page = self._page(history, rows, names.index(ask.layer), (a, b), revision, at, quiet)
        return LayersView(revision, quantity, there, rows.names, first, last, before, grid, ranks, usual.of, page,
                          tensors, "" if is_told else "nothing was measured in these steps", tuple(again))

    def _usual(self, rows: Rows, known: int, quiet: tuple[Calm, ...]) -> list[Usual]:
        """What is usual from which step on: learned of each calm stretch of the rows that are known, if long enough."""
        last = int(rows.steps[known - 1]) + 1 if known else 0
        found: list[Usual] = []
        for one in quiet:
            first, end = one.within(rows.steps[:known])
            if not found or end - first >= FEWEST:
                learned = self._learned.setdefault(one.since, Learned(one.since))
                found.append(Usual(one.since, learned.take(rows, last if one.until is None else one.until)))
        self._learned = {one.since: self._learned[one.since] for one in found}
        return found

    def _awaited(self, history: History, quantity: Name) -> str:
        if not history.last_step:
            return "waiting for the first step"
        about = QUANTITY[quantity]
        return f"{about.title}: {about.needs}"

    def _page(self, history: History, rows: Rows, index: int, window: tuple[int, int], revision: int,
              at: int | None, quiet: tuple[Calm, ...]) -> Page:
        """One layer: its values between two rows, and its tensors."""
        a, b = window
        values, seen = rows.only(index)(slice(a, b))
        there = seen[:, 0]
        steps = rows.steps[a:b][there]
        ends = (int(steps[0]), int(steps[-1])) if len(steps) else (0, 1)
        found = thin(steps, values[there, 0].astype(np.float64), *ends, COLUMNS)
        return Page(rows.names[index], index, revision, found,
                    self._parameters.of(history, rows.layers[index], at, quiet))
