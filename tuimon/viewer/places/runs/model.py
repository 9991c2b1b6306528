"""What the list of runs is made of: rows, what a person does with them, and how they look at them. Pure values."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal, get_args

from tuimon.diagnosis.model import SEVERITIES
from tuimon.errors import UsageError
from tuimon.record.catalogue import Entry
from tuimon.record.lost import lost_words
from tuimon.record.merged import Host
from tuimon.record.query import Query, parse
from tuimon.viewer.lines import Tone, judged
from tuimon.viewer.text import clean

Sort = Literal["age", "loss", "steps", "verdict", "size", "name"]
SORTS: Final[tuple[Sort, ...]] = get_args(Sort)


@dataclass(frozen=True, slots=True)
class Row:
    """One run, its text made safe."""

    entry: Entry
    name: str
    verdict: str
    """"healthy", "plateau since 9,100", "no steps yet"."""
    tone: Tone
    """Of the verdict."""
    model: str = ""
    device: str = ""
    optimizer: str = ""
    host: str = ""
    command: str = ""
    note: str = ""
    why: str = ""

    @property
    def key(self) -> str:
        """Unique among all that are listed."""
        return f"{self.entry.machine}:{self.entry.key}" if self.entry.machine else self.entry.key

    @property
    def is_live(self) -> bool:
        """Whether it trains now."""
        return self.entry.is_read and self.entry.status.is_live


def row_of(entry: Entry) -> Row:
    """A run as a row."""
    words, tone = _verdict(entry)
    return Row(
        entry, clean(entry.name, 80), words, tone, clean(entry.model, 80), clean(entry.device, 40),
        clean(entry.optimizer, 40), clean(entry.host, 60), clean(" ".join(entry.argv), 400),
        clean(entry.label.note, 400), clean(entry.status.why, 300))


def _verdict(entry: Entry) -> tuple[str, Tone]:
    found = entry.status
    if not entry.is_read:
        return "", "dim"
    if found.state == "unreadable":
        return "cannot be read", "warning"
    if not found.step:
        return "no steps yet" if found.is_live else "no steps", "dim"
    if found.is_full and found.verdict != "critical":
        return "disk full", "warning"
    if found.is_maimed and found.verdict != "critical":
        return lost_words(found.lost), "warning"
    return judged(found.verdict, clean(found.headline, 80), found.since)


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be done with a run's directory."""

    serial: int
    """Each order is carried out once."""
    kind: Literal["label", "delete"]
    key: str
    name: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """What this person wants of the runs."""

    orders: tuple[Order, ...] = ()
    """The latest ones."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has become of an order."""

    serial: int
    words: str
    done: bool


@dataclass(frozen=True, slots=True)
class RunsView:
    """The runs as they are known now."""

    rows: tuple[Row, ...] = ()
    """Live ones first, then the newest."""
    unread: int = 0
    root: str = ""
    here: str = ""
    """Key of the run that is watched; "" where it lies elsewhere."""
    now: float = 0.0
    """Wall clock, rounded down: ages change no more often than can be seen."""
    outcomes: tuple[Outcome, ...] = ()
    binary: bool = False
    """Sizes by powers of 1,024."""
    hosts: tuple[Host, ...] = ()
    """The other machines whose runs are among them."""

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(row.entry.size for row in self.rows)

    @property
    def live(self) -> int:
        """How many train now."""
        return sum(row.is_live for row in self.rows)

    def host_of(self, row: Row) -> Host | None:
        """The other machine that a run is on."""
        return next((host for host in self.hosts if row.entry.machine and host.name == row.entry.machine), None)


NO_RUNS: Final = RunsView()


@dataclass(frozen=True, slots=True)
class Look:
    """How one person looks at the list."""

    key: str = ""
    """Of the chosen run: the choice stays on it, whatever moves."""
    row: int = 0
    """Where it stood when last seen."""
    top: int = 0
    """First row that is shown."""
    marked: tuple[str, ...] = ()
    """Keys, in the order of marking."""
    filter: str = ""
    """As typed."""
    query: Query = field(default_factory=Query)
    """The last filter that could be understood."""
    problem: str = ""
    """Why the filter cannot be understood."""
    sort: Sort = "age"

    def filtered(self, text: str) -> Look:
        """With another filter; one that cannot be understood leaves the last one in force."""
        try:
            return replace(self, filter=text, query=parse(text), problem="")
        except UsageError as error:
            return replace(self, filter=text, problem=clean(str(error), 200))

    def sorted_next(self) -> Look:
        """In the next order."""
        return replace(self, sort=SORTS[(SORTS.index(self.sort) + 1) % len(SORTS)])

    def at(self, rows: Sequence[Row], height: int) -> Look:
        """The same choice among these rows, and in sight where `height` rows are shown; its neighbour if it is gone."""
        if not rows:
            return replace(self, row=0, top=0)
        found = next((i for i, row in enumerate(rows) if row.key == self.key), min(self.row, len(rows) - 1))
        most = max(0, len(rows) - height)
        top = min(max(self.top, found - height + 1), found, most) if height > 0 else 0
        return replace(self, key=rows[found].key, row=found, top=max(0, top))

    def moved(self, rows: Sequence[Row], by: int, height: int) -> Look:
        """Choose another: `by` rows further, no farther than the ends."""
        if not rows:
            return self
        here = self.at(rows, height)
        there = min(len(rows) - 1, max(0, here.row + by))
        return replace(here, key=rows[there].key, row=there).at(rows, height)

    def turned(self, key: str) -> Look:
        """Mark that run, or take its mark away."""
        if key in self.marked:
            return replace(self, marked=tuple(one for one in self.marked if one != key))
        return replace(self, marked=(*self.marked, key))

    def unmarked(self) -> Look:
        """Without marks."""
        return replace(self, marked=())

    def chosen(self, rows: Sequence[Row]) -> Row | None:
        """The run that keys act on."""
        return next((row for row in rows if row.key == self.key), None)


def _last(value: float | None) -> float:
    return math.inf if value is None or not math.isfinite(value) else value


def _severity(row: Row) -> int:
    verdict = row.entry.status.verdict
    return SEVERITIES.index(verdict) if verdict in SEVERITIES else -1


_BY: Final[Mapping[Sort, Callable[[Row], object]]] = {
    "loss": lambda r: _last(r.entry.status.loss),
    "steps": lambda r: -r.entry.status.step,
    "verdict": lambda r: -_severity(r),
    "size": lambda r: -r.entry.size,
    "name": lambda r: r.name.lower(),
}


def listed(view: RunsView, look: Look) -> tuple[Row, ...]:
    """The rows that the filter lets through, in the chosen order; equals stay live first, then newest."""
    rows = [row for row in view.rows if look.query.matches(row.entry, view.now)] if look.query.terms else view.rows
    order = _BY.get(look.sort)
    return tuple(rows) if order is None else tuple(sorted(rows, key=order))  # type: ignore[arg-type]  # each orders one kind of value


def marked(view: RunsView, look: Look) -> tuple[str, ...]:
    """The marked runs that are still there."""
    there = {row.key for row in view.rows}
    return tuple(key for key in look.marked if key in there)


def paths(view: RunsView, look: Look) -> tuple[Path, ...]:
    """What is to be compared: the marked runs; without any, the chosen one and the watched one."""
    known = {row.key: row.entry.path for row in view.rows}
    keys = marked(view, look) or tuple(dict.fromkeys(key for key in (look.key, view.here) if key))
    return tuple(known[key] for key in keys if key in known)
