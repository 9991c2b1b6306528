"""Every run under a root, as a list that can be asked for again and again. Touches the disk and the process table.

A run is read when its files have changed since, and no more often than every few seconds; else asking costs some stats.
A poll ends when its time is up and goes on with the next one: nothing waits for a root with thousands of runs.
"""

from __future__ import annotations

import math
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from tuimon.errors import LogError
from tuimon.record.label import FILE as LABEL
from tuimon.record.label import NO_LABEL, Label, read_label
from tuimon.record.reader import segment_paths
from tuimon.record.rundir import Launch, RunDir, RunInfo, called, list_runs, runs_root
from tuimon.record.sketch import Validation, losses_of
from tuimon.record.status import RunStatus, status_of
from tuimon.record.text import clean
from tuimon.record.together import Validations, sketched

BUDGET: Final = 0.05
"""Seconds of reading in one poll."""
EVERY: Final = 2.0
"""Seconds between two readings of the same run, and between two looks at the root."""
LONGEST: Final = 4_000
"""Characters of one word of a command line."""
CHECKED: Final = 100
"""Runs whose files are looked at in one poll."""
UNREAD: Final = RunStatus("")


@dataclass(frozen=True, slots=True)
class Entry:
    """One run. What it says of itself is clean; `path` and `key` are as they are: clean them before they are shown."""

    path: Path
    status: RunStatus = UNREAD
    """Its state is "" until the run has been read."""
    label: Label = NO_LABEL
    run_name: str = ""
    """What the run calls itself."""
    started: float = 0.0
    """Wall clock, seconds since the epoch; of an unread run that of its directory."""
    best_val: float | None = None
    best_val_step: int | None = None
    losses: tuple[float, ...] = ()
    """At most 32, evenly over its steps; NaN where one of a stretch was not finite."""
    optimizer: str = ""
    model: str = ""
    parameters: int = 0
    """Trained ones; 0 where unknown."""
    device: str = ""
    host: str = ""
    pid: int = 0
    argv: tuple[str, ...] = ()
    size: int = 0
    """Bytes on disk of all that is in its directory."""
    checkpoints: int = 0
    machine: str = ""
    """What the other machine is called that it is on; "": on this one."""
    there: str = ""
    """Its directory's name there."""

    @property
    def key(self) -> str:
        """The directory's name: unique under the root."""
        return self.there or self.path.name

    @property
    def name(self) -> str:
        """What a person calls it."""
        return self.label.name or self.run_name or called(self.key)

    @property
    def is_read(self) -> bool:
        """Whether more than its name is known."""
        return bool(self.status.state)


@dataclass(frozen=True, slots=True)
class Listing:
    """The runs, live ones first, then the newest."""

    entries: tuple[Entry, ...] = ()
    unread: int = 0
    """Runs of which only the name is known yet."""

    @property
    def size(self) -> int:
        """Bytes on disk of those that have been read."""
        return sum(entry.size for entry in self.entries)

    @property
    def live(self) -> int:
        """How many train now."""
        return sum(entry.status.is_live for entry in self.entries if entry.is_read)


_Stamp = tuple[int, int, int]
_NEVER: Final[_Stamp] = (-1, -1, -1)


def _stamp(path: str) -> _Stamp:
    try:
        found = os.lstat(path)
    except OSError:
        return _NEVER
    return found.st_mtime_ns, found.st_size, found.st_ino


class _Known:
    """What is remembered of one run."""

    def __init__(self, run: RunDir, born: float) -> None:
        self.run = run
        self.entry = Entry(run.path, started=born)
        base = str(run.path)
        self._files = [os.path.join(base, name) for name in
                       ("run.json", "launch.json", LABEL, "events.jsonl", "metrics", "checkpoints")]
        self._newest = ""
        self._seen: list[_Stamp] = []
        self._validation: Validation | Validations = Validation(run.metrics)
        self._info: RunInfo | None = None
        self._launch: Launch | None = None
        self._why = ""
        """Why these cannot be read."""
        self.read_at = -math.inf
        self.is_searched = False
        """Whether the best validation loss is that of the whole log."""

    @property
    def is_due(self) -> bool:
        """Whether its files differ from what was read of them. A few stats."""
        return self._look() != self._seen

    def _look(self) -> list[_Stamp]:
        return [_stamp(path) for path in (*self._files, self._newest or self._files[4])]

    def read(self, now: float, mono: float) -> None:
        """Read it anew. Never raises for a damaged run."""
        self.read_at = mono
        before, self._newest = self._seen, str(next(reversed(segment_paths(self.run.metrics)), ""))
        self._seen = seen = self._look()   # before reading: what is written meanwhile is read next time
        if not before or before[:2] != seen[:2]:
            self._why = ""
            try:
                self._info, self._launch = self.run.read_info(), self.run.read_launch()
            except LogError as error:
                self._why = clean(str(error))
            if self._world > 1:
                self._validation = Validations(self.run.metrics, self._world)
        found = RunStatus("unreadable", why=self._why) if self._why else status_of(
            self.run, self._info, self._launch, now)
        moved = not before or before[4:] != seen[4:]
        old = self.entry
        size, checkpoints = used(str(self.run.path))
        self.is_searched = self.is_searched and not moved
        ranks = sketched(self._world)
        self._describe(found, losses_of(self.run.metrics, ranks) if moved else old.losses, size, checkpoints)

    @property
    def _world(self) -> int:
        return self._info.world_size if self._info is not None else 1

    def look_again(self, now: float, mono: float) -> None:
        """The process may have gone without a word."""
        self.read_at = mono
        if not self.entry.status.is_live:
            return
        self._describe(status_of(self.run, self._info, self._launch, now), self.entry.losses, self.entry.size,
                       self.entry.checkpoints)

    def search(self, is_over: Callable[[], bool]) -> None:
        """Look for the best validation loss, as long as there is time."""
        self.is_searched = self._validation.advance(is_over)
        best = self._validation.best
        if best is not None and (best[1], best[0]) != (self.entry.best_val, self.entry.best_val_step):
            self._describe(self.entry.status, self.entry.losses, self.entry.size, self.entry.checkpoints)

    def _describe(self, found: RunStatus, losses: tuple[float, ...], size: int, checkpoints: int) -> None:
        info, launch, best = self._info, self._launch, self._validation.best
        process = info.process if info else launch.process if launch else None
        argv = info.argv if info and info.argv else tuple(launch.script.split()) if launch else ()
        entry = Entry(
            self.run.path, found, read_label(self.run), clean(info.name if info else launch.name if launch else ""),
            found.started or self.entry.started, best[1] if best else None, best[0] if best else None, losses,
            clean(info.optimizer) if info else "", clean(info.model) if info else "",
            sum(t.numel for t in info.tensors if t.trained) if info else 0,
            clean(info.device) if info else "", clean(process.host) if process else "", process.pid if process else 0,
            tuple(clean(word, LONGEST) for word in argv), size, checkpoints)
        if entry != self.entry:
            self.entry = entry


def used(path: str) -> tuple[int, int]:
    """Bytes of the files below, links not followed, and the number of checkpoints."""
    total = checkpoints = 0
    waiting = [path]
    while waiting:
        here = waiting.pop()
        try:
            with os.scandir(here) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                        checkpoints += here.endswith(os.sep + "checkpoints") and not entry.name.startswith(".")
                    else:
                        found = entry.stat(follow_symlinks=False)
                        total += found.st_size if stat.S_ISREG(found.st_mode) else 0
        except OSError:
            continue
    return total, checkpoints


class Catalogue:
    """The runs under a root."""

    def __init__(self, root: Path | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.root = runs_root() if root is None else root
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._listed_at = -math.inf
        self._root_seen = _NEVER
        self._next = 0
        self._listing = Listing()
        self._sorted_for: list[int] = []
        """Which entries, by identity: they are kept alive by those who hold them."""

    def poll(self, now: float, budget: float = BUDGET) -> Listing:
        """What is known by now; reads on for at most `budget` seconds (math.inf: until everything is read).

        `now` is the wall clock, in seconds since the epoch. Never raises for what is on the disk.
        """
        mono = self._clock()
        self._list(mono)
        end = mono + budget

        def is_over() -> bool:
            return self._clock() >= end

        self._read(now, mono, is_over, most=CHECKED if math.isfinite(budget) else len(self._known))
        for known in self._known.values():
            if is_over():
                break
            if known.entry.is_read and not known.is_searched:
                known.search(is_over)
        return self._sorted()

    def forget(self, key: str) -> None:
        """Have that run read anew at the next poll: something was just written into it, or it was deleted."""
        self._known.pop(key, None)
        self._listed_at = -math.inf

    def _list(self, mono: float) -> None:
        """Look at the root where it has changed; and now and then, since a run gets its metrics after its directory."""
        seen = _stamp(str(self.root))
        if seen == self._root_seen and mono - self._listed_at < EVERY:
            return
        self._root_seen, self._listed_at = seen, mono
        self._known = {run.name: self._known.get(run.name) or _Known(run, _born(run)) for run in list_runs(self.root)}

    def _read(self, now: float, mono: float, is_over: Callable[[], bool], most: int) -> None:
        unread = [known for known in self._known.values() if not known.entry.is_read]
        for i, known in enumerate(unread):
            if i and is_over():
                return
            known.read(now, mono)
        live = [k for k in self._known.values() if k.entry.status.is_live and k.read_at < mono]
        rest = [k for k in self._known.values() if not k.entry.status.is_live and k.read_at < mono]
        first = self._next % max(1, len(rest))
        self._next = first + most
        for known in (*live, *islice((*rest[first:], *rest[:first]), most)):
            if is_over():
                return
            if mono - known.read_at >= EVERY:
                if known.is_due:
                    known.read(now, mono)
                elif known.entry.status.is_live:
                    known.look_again(now, mono)

    def _sorted(self) -> Listing:
        entries = [known.entry for known in self._known.values()]
        if [id(entry) for entry in entries] != self._sorted_for:
            self._sorted_for = [id(entry) for entry in entries]
            entries.sort(key=lambda e: (not (e.is_read and e.status.is_live), -e.started, e.key))
            self._listing = Listing(tuple(entries), sum(not entry.is_read for entry in entries))
        return self._listing


def _born(run: RunDir) -> float:
    try:
        return os.lstat(run.path).st_mtime
    except OSError:
        return 0.0
