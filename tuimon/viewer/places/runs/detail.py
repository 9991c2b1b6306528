"""Lists the runs for the screen, and does with them what was ordered, in the feed's thread. Touches the disk."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tuimon.diagnosis.figures import size
from tuimon.errors import UsageError
from tuimon.record.catalogue import BUDGET, Entry, Listing
from tuimon.record.hosts import answered, order
from tuimon.record.label import Label, write_label
from tuimon.record.merged import Merged
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
        self._root = root
        self._runs: Merged | None = None
        self._found = Listing()
        self._rows: dict[int, Row] = {}
        self._listed: tuple[Row, ...] = ()
        self._keys: dict[Path, str] = {}
        self._done = 0
        self._outcomes: tuple[Outcome, ...] = ()
        self._waits: dict[int, tuple[Path, int, str]] = {}
        """Orders that another machine has not answered: its place, their number there, what is said when it is done."""

    def update(self, reading: Reading, wanted: Wanted, now: float, mono: float) -> RunsView:
        """What the list shows now."""
        del mono
        if self._runs is None:
            self._runs = Merged(self._root, reading.hosts)
        runs = self._runs
        if isinstance(wanted.ask, Ask):
            for order in wanted.ask.orders:
                if order.serial > self._done:
                    self._done = order.serial
                    self._tell(self._carry_out(runs, order, binary=wanted.units.binary))
        self._hear()
        found = runs.poll(now, FIRST if runs.unread_here else BUDGET)
        if found is not self._found:
            self._found = found
            self._rows = {id(entry): self._rows.get(id(entry)) or row_of(entry) for entry in found.entries}
            self._listed = tuple(self._rows.values())
            self._keys = {row.entry.path: row.key for row in self._listed}
        return RunsView(self._listed, found.unread, clean(str(runs.here.root), 200),
                        self._keys.get(reading.run.path, ""), _rounded(now, found.entries), self._outcomes,
                        wanted.units.binary, runs.hosts)

    def close(self) -> None:
        """Nothing is held open."""

    def _tell(self, outcome: Outcome | None) -> None:
        if outcome is not None:
            self._outcomes = (*self._outcomes, outcome)[-KEPT:]

    def _hear(self) -> None:
        """What has become of orders elsewhere."""
        for serial, (place, number, words) in list(self._waits.items()):
            why = answered(place, number)
            if why is not None:
                del self._waits[serial]
                self._tell(Outcome(serial, words if not why else f"refused there: {clean(why, 160)}", done=not why))

    def _order(self, runs: Merged, row: Row, what: Order, *, binary: bool) -> Outcome | None:
        """Have it done where that run is."""
        host = next((host for host in runs.hosts if host.name == row.entry.machine), None)
        name = clean(row.entry.key, 60)
        if host is None or not host.control or is_read_only():
            return Outcome(what.serial, f"{ONLY_LOOKS}: nothing was written", done=False)
        if host.state != "live":
            return Outcome(what.serial, f"{host.name} is not reached now: nothing was written", done=False)
        number = time.time_ns()
        order(host.place, number, {"kind": what.kind, "run": row.entry.key, "name": what.name, "note": what.note})
        freed = size(row.entry.size, binary=binary)
        words = f"deleted {name} on {host.name}: {freed} freed" if what.kind == "delete" else _named(name, what.name)
        self._waits[what.serial] = (host.place, number, words)
        return None

    def _carry_out(self, runs: Merged, order: Order, *, binary: bool) -> Outcome | None:
        name = clean(order.key, 60)
        row = next((row for row in self._rows.values() if row.key == order.key), None)
        if row is None:
            return Outcome(order.serial, f"{name} is gone", done=False)
        root = runs.here.root
        run = RunDir(root / row.entry.key)
        try:
            if row.entry.machine:
                return self._order(runs, row, order, binary=binary)
            if order.kind == "delete":
                remove(run, root)
                words = f"deleted {name}: {size(row.entry.size, binary=binary)} freed"
            elif is_read_only():
                return Outcome(order.serial, f"{ONLY_LOOKS}: nothing was written", done=False)
            else:
                kept = write_label(run, Label(order.name, order.note))
                words = _named(name, kept.name)
        except UsageError as error:
            return Outcome(order.serial, clean(str(error), 200), done=False)
        except OSError as error:
            return Outcome(order.serial, f"{name}: {error.strerror or error}", done=False)
        runs.here.forget(row.entry.key)
        return Outcome(order.serial, words, done=True)


def _named(name: str, called: str) -> str:
    return f"{name}: called {clean(called, 60)}" if called else f"{name}: saved"


def _rounded(now: float, entries: tuple[Entry, ...]) -> float:
    """Whole seconds while there is a run whose age is said in seconds, else twenty."""
    newest = max((entry.started for entry in entries), default=-math.inf)
    grain = 1.0 if now - newest < YOUNG else 20.0
    return now // grain * grain
