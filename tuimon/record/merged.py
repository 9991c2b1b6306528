"""The runs of this machine and those of others as one list. Touches the disk and the process table.

What is told of another machine's runs (see `hosts`) is not trusted: here every text is cleaned and every number
looked at, once, as it comes in.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from tuimon.record.catalogue import BUDGET, Catalogue, Entry, Listing
from tuimon.record.far import REFUSED, Far, read_far
from tuimon.record.files import open_to_read
from tuimon.record.hosts import LIST, REACHING, ask, hosts_in, run_place
from tuimon.record.label import LONGEST_NAME, LONGEST_NOTE, Label, one_line
from tuimon.record.roster import LOST
from tuimon.record.rundir import RunDir
from tuimon.record.status import ENDED, RunStatus
from tuimon.record.text import clean
from tuimon.record.worlds import MOST_RANKS

PORTION: Final = 4 << 20
"""Bytes of a list that are read in one go."""
STATES: Final = frozenset({"starting", "running", "paused", "held", "stopping", "unreadable", *ENDED})
VERDICTS: Final = frozenset({"healthy", "info", "warning", "critical"})
MOST: Final = 2**53
POINTS: Final = 32


@dataclass(frozen=True, slots=True)
class Host:
    """One other machine, as its link stands. Its texts are clean."""

    name: str
    state: str
    """"live", "reaching", "reconnecting", "refused" (a person has to log in), or "unreached": it never was."""
    why: str = ""
    since: float = 0.0
    """Wall clock since when it has been reached."""
    heard: float = 0.0
    """Wall clock of the last word from there."""
    root: str = ""
    """Where its runs are."""
    count: int = 0
    unread: int | None = None
    """Runs that it has not told of yet; None while it is not known how many."""
    control: bool = False
    """Whether its runs can be named, and deleted."""
    place: Path = Path()


class Elsewhere:
    """The runs of one other machine, as they are told."""

    def __init__(self, place: RunDir) -> None:
        self._place = place
        self._bodies: dict[str, dict[str, Any]] = {}
        self._entries: dict[str, Entry] = {}
        self._file, self._at, self._half = (0, 0), 0, b""
        self._far = Far("")
        self._heard = 0.0
        self._root = ""
        self._left: int | None = None
        self.revision = 0
        """Grows with every run that is told of anew."""

    @property
    def host(self) -> Host:
        """How it stands."""
        far = self._far
        state = far.state if far.state in ("live", REACHING, REFUSED) else "reconnecting"
        if state == "reconnecting" and not far.since:
            state = "unreached"
        return Host(clean(far.host, 60), state, clean(far.why, 160), far.since, self._heard, self._root,
                    len(self._entries), self._left, far.control, self._place.path)

    @property
    def entries(self) -> list[Entry]:
        """The runs."""
        return list(self._entries.values())

    def poll(self) -> None:
        """Read what is new."""
        ask(self._place.path)
        found = read_far(self._place)
        if found is not None:
            skew, (self._far, self._heard) = self._far.skew, found
            if self._far.skew != skew:
                for key in self._bodies:
                    self._make(key)
        for line in self._lines():
            try:
                self._take(json.loads(line))
            except (ValueError, TypeError, KeyError, RecursionError):
                continue

    def _lines(self) -> list[bytes]:
        try:
            with os.fdopen(open_to_read(self._place.path / LIST), "rb") as file:
                found = os.fstat(file.fileno())
                if (found.st_dev, found.st_ino) != self._file or found.st_size < self._at:
                    self._file, self._at, self._half = (found.st_dev, found.st_ino), 0, b""
                    self._bodies, self._entries = {}, {}
                data = os.pread(file.fileno(), PORTION, self._at)
        except OSError:
            return []
        self._at += len(data)
        *lines, self._half = (self._half + data).split(b"\n")
        return lines

    def _take(self, body: dict[str, Any]) -> None:
        if "run" in body:
            key = str(body.pop("run"))
            self._bodies[key] = {**self._bodies.get(key, {}), **body}
            self._make(key)
        elif "gone" in body:
            self._bodies.pop(body["gone"], None)
            self._entries.pop(body["gone"], None)
            self.revision += 1
        else:
            self._root, self._left = clean(str(body["root"]), 200), int(body["left"])

    def _make(self, key: str) -> None:
        machine = clean(self._far.host, 60)
        self._entries[key] = entry_of(self._place.path, key, self._bodies[key], machine, self._far.skew)
        self.revision += 1


def entry_of(place: Path, key: str, told: Mapping[str, Any], machine: str, skew: float = 0.0) -> Entry:
    """One run of another machine, out of whatever was told of it."""
    best = _number(told.get("best_val"))
    state, verdict = (_text(told, name, 20) for name in ("state", "verdict"))
    started, sign, step = _number(told.get("started")) or 0.0, _number(told.get("last_sign")), _whole(told.get("step"))
    found = RunStatus(
        state if state in STATES else "unreadable", _whole(told.get("attempt")) or 0, step or 0,
        _whole(told.get("total")), _number(told.get("loss")), None if sign is None else sign + skew, started + skew,
        verdict if verdict in VERDICTS else "", _text(told, "headline"), _text(told, "why"), _whole(told.get("since")),
        _number(told.get("lr")), None, told.get("is_full") is True, max(1, _whole(told.get("world")) or 1),
        _lost(told.get("lost")))
    losses, name, note = told.get("losses"), told.get("label"), told.get("note")
    some = [_number(one) for one in losses[:POINTS]] if isinstance(losses, list) else []
    return Entry(
        run_place(place, key), found,
        Label(one_line(name, LONGEST_NAME) if isinstance(name, str) else "",
              one_line(note, LONGEST_NOTE) if isinstance(note, str) else ""),
        _text(told, "run_name", 80), started + skew if started else 0.0, best, _whole(told.get("best_val_step")),
        tuple(math.nan if one is None else one for one in some), _text(told, "optimizer", 60),
        _text(told, "model", 120), _whole(told.get("parameters")) or 0, _text(told, "device", 60),
        _text(told, "host", 80), _whole(told.get("pid")) or 0, tuple(_text(told, "argv").split()),
        _whole(told.get("bytes")) or 0, _whole(told.get("checkpoints")) or 0, machine, key)


def _lost(told: object) -> tuple[tuple[int, str], ...]:
    """The ranks that are not there, of lists by their states."""
    found: dict[int, str] = {}
    for state, ranks in told.items() if isinstance(told, dict) else ():
        if state in LOST and isinstance(ranks, list):
            found.update({rank: state for rank in ranks[:MOST_RANKS] if _whole(rank) is not None})
    return tuple(sorted(found.items()))


_WORDS: Final = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def _number(value: object) -> float | None:
    if isinstance(value, str):
        return _WORDS.get(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return None
    return None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST else None


def _text(told: Mapping[str, Any], name: str, limit: int = 400) -> str:
    value = told.get(name)
    return clean(value, limit) if isinstance(value, str) else ""


def once(entries: Iterable[Entry]) -> list[Entry]:
    """Each run once: a home may be shared by machines. As told here, else where it trains, else by the first."""
    found: dict[tuple[object, ...], Entry] = {}
    for entry in entries:
        is_known = bool(entry.pid and entry.host)
        run = (entry.key, entry.host, entry.pid) if is_known else (entry.key, entry.machine)
        other = found.get(run)
        if other is None or (other.machine and not _is_at_home(other) and _is_at_home(entry)):
            found[run] = entry
    return list(found.values())


def _is_at_home(entry: Entry) -> bool:
    """Whether the machine that tells of it is that on which it trains."""
    return entry.machine.rpartition("@")[2].partition(".")[0] == entry.host.partition(".")[0]


NOTHING: Final = Listing()


class Merged:
    """This machine's runs and those of the hosts at a place."""

    def __init__(self, root: Path | None = None, place: Path | None = None, *, here: bool = True) -> None:
        """`place`: see `hosts`; None: this machine only. `here`: whether this machine's are among them."""
        self.here, self._with_here = Catalogue(root), here
        self._hosts: list[Elsewhere] = [] if place is None else [Elsewhere(one) for one in hosts_in(place)]
        self._place = place
        self._merged_for: tuple[object, ...] = ()
        self.unread_here = 1
        """Runs of this machine of which only the name is known."""
        self._listing = Listing()

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The other machines, in the order in which they were named."""
        return tuple(one.host for one in self._hosts)

    def poll(self, now: float, budget: float = BUDGET) -> Listing:
        """As `Catalogue.poll`, of all of them."""
        here = self.here.poll(now, budget) if self._with_here else NOTHING
        self.unread_here = here.unread
        if self._place is None:
            return here
        if not self._hosts or len(self._hosts) < len(hosts_in(self._place)):   # they make their places themselves
            self._hosts = [Elsewhere(one) for one in hosts_in(self._place)]
        for one in self._hosts:
            one.poll()
        merged_for = (here, *(one.revision for one in self._hosts))
        left = here.unread + sum(one.host.unread or 0 for one in self._hosts)
        if merged_for != self._merged_for:
            self._merged_for = merged_for
            entries = once([*here.entries, *(entry for one in self._hosts for entry in one.entries)])
            entries.sort(key=lambda e: (not (e.is_read and e.status.is_live), -e.started, e.machine, e.key))
            self._listing = Listing(tuple(entries), left)
        elif left != self._listing.unread:
            self._listing = replace(self._listing, unread=left)
        return self._listing
