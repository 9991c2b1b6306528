"""Lists the runs for the screen, and does with them what was ordered, in the feed's thread. Touches the disk."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tuimon.diagnosis.figures import size
from tuimon.errors import UsageError
from tuimon.record.catalogue import BUDGET, Catalogue, Entry, Listing
from tuimon.record.far import read_far
from tuimon.record.label import Label, write_label
from tuimon.record.readonly import ONLY_LOOKS, is_read_only
from tuimon.record.removal import remove
from tuimon.record.rundir import RunDir
from tuimon.viewer.places.runs.model import Ask, Order, Outcome, Row, RunsView, row_of
from tuimon.viewer.text import clean

if TYPE_CHECKING:
    from tuimon.viewer.reading import Reading
    from tuimon.viewer.wanted import Wanted

FIRST: Final = 0.25
"""Seconds of reading in one look while there are runs of which only the name is known."""
KEPT: Final = 8
"""Outcomes that are remembered."""
YOUNG: Final = 60.0


class RunsDetail:
    """One for the life of the viewer."""

    def __init__(self, root: Path | None = None) -> None:
        self._catalogue = Catalogue(root)
        self._found = Listing()
        self._rows: dict[int, Row] = {}
        self._listed: tuple[Row, ...] = ()
        self._done = 0
        self._outcomes: tuple[Outcome, ...] = ()
        self._unread = 1

    def update(self, reading: Reading, wanted: Wanted, now: float, mono: float) -> RunsView:
        """What the list shows now."""
        del mono
        if isinstance(wanted.ask, Ask):
            for order in wanted.ask.orders:
                if order.serial > self._done:
                    self._done = order.serial
                    self._outcomes = (*self._outcomes, self._carry_out(order, binary=wanted.units.binary))[-KEPT:]
        found = self._catalogue.poll(now, FIRST if self._unread else BUDGET)
        self._unread = found.unread
        if found is not self._found:
            self._found = found
            self._rows = {id(entry): self._rows.get(id(entry)) or row_of(entry) for entry in found.entries}
            self._listed = tuple(self._rows.values())
        watched = reading.run.path
        here = watched.name if watched.parent == self._catalogue.root else ""
        far = read_far(reading.run)
        elsewhere = "" if far is None else clean(far[0].host, 60)
        return RunsView(self._listed, found.unread, clean(str(self._catalogue.root), 200), here,
                        _rounded(now, found.entries), self._outcomes, wanted.units.binary, elsewhere)

    def close(self) -> None:
        """Nothing is held open."""

    def _carry_out(self, order: Order, *, binary: bool) -> Outcome:
        run = RunDir(self._catalogue.root / order.key)
        name = clean(order.key, 60)
        row = next((row for row in self._rows.values() if row.key == order.key), None)
        if row is None:
            return Outcome(order.serial, f"{name} is gone", done=False)
        try:
            if order.kind == "delete":
                remove(run, self._catalogue.root)
                words = f"deleted {name}: {size(row.entry.size, binary=binary)} freed"
            elif is_read_only():
                return Outcome(order.serial, f"{ONLY_LOOKS}: nothing was written", done=False)
            else:
                kept = write_label(run, Label(order.name, order.note))
                words = f"{name}: called {clean(kept.name, 60)}" if kept.name else f"{name}: saved"
        except UsageError as error:
            return Outcome(order.serial, clean(str(error), 200), done=False)
        except OSError as error:
            return Outcome(order.serial, f"{name}: {error.strerror or error}", done=False)
        self._catalogue.forget(order.key)
        return Outcome(order.serial, words, done=True)


def _rounded(now: float, entries: tuple[Entry, ...]) -> float:
    """Whole seconds while there is a run whose age is said in seconds, else twenty."""
    newest = max((entry.started for entry in entries), default=-math.inf)
    grain = 1.0 if now - newest < YOUNG else 20.0
    return now // grain * grain
