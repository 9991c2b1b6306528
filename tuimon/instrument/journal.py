"""What the writer thread keeps until the disk has taken it: order, back-off, thinning, gaps in band. Touches the disk.

Trouble is answered, never raised: a write that fails leaves its rows here, the next one is half as large and comes
after 50 ms to 2 s; when space returns everything follows, headed by a gap frame if rows had to be thinned out, and an
event tells what was wrong and what is missing. A disk that is full to the end takes at least how the run ended and
what is missing, in room that was kept for that. A run directory that is gone, or may not be written, turns recording
off with one warning; judging and steering go on.
"""

from __future__ import annotations

import errno
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from tuimon.instrument.queueing import BYTES, LIMIT, Item, Note, size_of, thin
from tuimon.record.events import LAST_WORDS, EventWriter
from tuimon.record.files import OS, Files
from tuimon.record.rundir import RunDir
from tuimon.record.segments import LogWriter, Row

if TYPE_CHECKING:  # this file needs no torch
    from tuimon.instrument.ranks.joining import Joined, Joining

BATCH: Final = 4096
FIRST_DELAY: Final = 0.05
LONGEST_DELAY: Final = 2.0
NOTABLE: Final = 2.0
"""Seconds of trouble that are told even where nothing is missing afterwards; and of peace until it is over."""
PASSING: Final = (OSError, MemoryError)
"""What a write may meet that has nothing to do with what is written."""
_HOPELESS: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""Errors of opening a file that waiting does not cure."""
_LOG: Final = logging.getLogger("tuimon")


@dataclass(slots=True)
class Patience:
    """When to try again after a failure, and with how much at once."""

    clock: Callable[[], float]
    delay: float = 0.0
    until: float = 0.0
    batch: int = BATCH
    why: str = ""
    """The trouble, "" where there is none."""

    def is_over(self) -> bool:
        """Whether the next try is due."""
        return self.clock() >= self.until

    def failed(self, error: Exception, size: int) -> None:
        """Wait longer, take half."""
        self.delay = min(LONGEST_DELAY, max(FIRST_DELAY, 2 * self.delay))
        self.until = self.clock() + self.delay
        self.batch = max(1, min(self.batch, size) // 2)
        self.why = getattr(error, "strerror", None) or str(error) or type(error).__name__

    def succeeded(self) -> None:
        """Take more again."""
        self.delay, self.until, self.why = 0.0, 0.0, ""
        self.batch = min(BATCH, 2 * self.batch)


@dataclass(slots=True)
class Outage:
    """A stretch in which the disk did not take what it was given."""

    clock: Callable[[], float]
    began: float | None = None
    step: int = 0
    """As far as the log went then."""
    why: str = ""
    rows: int = 0
    """Thinned out of what waited."""
    last: float = 0.0
    """When something failed last."""
    is_told: bool = False
    """Whether a person has been warned."""

    def goes_on(self, step: int, why: str, rows: int = 0) -> None:
        """It begins, or lasts; its first reason is the one that it is known by."""
        if self.began is None:
            self.began, self.step = self.clock(), step
        self.last, self.why = self.clock(), self.why or why
        self.rows += rows

    @property
    def seconds(self) -> float:
        """How long it has lasted by the last failure."""
        return 0.0 if self.began is None else self.last - self.began

    @property
    def fields(self) -> dict[str, Any]:
        """Of the event that tells of it once it is over."""
        return {"rows": self.rows, "why": self.why, "seconds": round(self.seconds, 1)}


class Journal:
    """The metrics log and the event log of one attempt. Writer thread only, after `open`."""

    def __init__(
        self, run: RunDir, *, attempt: int, from_step: int, tensors: int, probes: int = 0, files: Files = OS,
        clock: Callable[[], float] = time.monotonic, limit: int = LIMIT, off: str = "", world: int = 1,
        joining: Joining | None = None,
    ) -> None:
        """joining: finds the place of a rank other than 0; till then `run` and `attempt` are not known."""
        self.run, self.attempt, self._from_step = run, attempt, from_step
        self._rank, self._world, self._joining = 0, world, joining
        self._told: Callable[[Sequence[Item]], Sequence[Item]] | None = None
        self._tensors, self._probes = tensors, probes
        self._files, self._limit = files, limit
        self._log: LogWriter | None = None
        self._events: EventWriter | None = None
        self._items: deque[Item] = deque()
        self._step = from_step
        """As far as the log goes."""
        self._notes: deque[Note] = deque(maxlen=limit)
        self._vector_bytes = 0
        self._dropped, self._why = 0, ""
        self._outage = Outage(clock)
        self._metrics_patience, self._events_patience = Patience(clock), Patience(clock)
        self.off = off
        """Why nothing is recorded any more; "" while it is."""
        self.dropped = 0
        """Rows thinned out so far."""

    @property
    def backlog(self) -> int:
        """Rows and events that the disk has not taken yet."""
        return len(self._items) + len(self._notes)

    @property
    def trouble(self) -> str:
        """What is wrong with the disk right now; "" where nothing is."""
        return self.off or self._metrics_patience.why or self._events_patience.why

    def open(self) -> None:
        """Open both files. Never raises: trouble that may pass is tried again at the next flush."""
        try:
            if self._joining is not None and not self._join(self._joining.look(waits=bool(self._items))):
                return
            if self._events is None:
                self._events = EventWriter(
                    self.run.events_of(self._rank), self.attempt, self._files, kept=LAST_WORDS)
            if self._log is None:
                self._log = LogWriter(
                    self.run.metrics, attempt=self.attempt, from_step=self._from_step, tensors=self._tensors,
                    probes=self._probes, rank=self._rank, world=self._world, files=self._files,
                )
        except OSError as error:
            if error.errno in _HOPELESS:
                self._turn_off(f"{self.run.name} cannot be written: {error.strerror}")
            else:
                self._metrics_patience.failed(error, BATCH)
                self._outage.goes_on(self._step, self._metrics_patience.why)
        except Exception as error:  # nobody foresaw it; a later try may do
            self._metrics_patience.failed(error, BATCH)

    def _join(self, joined: Joined | None) -> bool:
        """Whether the place is known, now or from here on."""
        if joined is None:
            return False
        self._joining, self._told = None, joined.told
        self.run, self.attempt, self._rank, self._world = joined.run, joined.attempt, joined.rank, joined.world
        self._notes.extendleft(reversed(joined.notes))
        if joined.trouble:
            self._turn_off(joined.trouble, logging.DEBUG)   # rank 0 has said so
        return not self.off

    def keep(self, items: Sequence[Item], notes: Sequence[Note], thinned: int = 0) -> None:
        """Take over what has to be written."""
        if self.off:
            return
        self._items.extend(items)
        self._notes.extend(notes)
        self._vector_bytes += sum(map(size_of, items))
        self._drop(thinned, "the writer was held up")
        if len(self._items) >= self._limit or self._vector_bytes >= BYTES:
            kept, dropped = thin(list(self._items), self._limit)
            self._items = deque(kept)
            self._vector_bytes = sum(map(size_of, kept))
            self._drop(dropped, self.trouble or "more than the disk took")

    def flush(self, *, is_last: bool = False) -> None:
        """Write what is waiting, as far as the disk takes it. Never raises OSError."""
        if self.off:
            return
        if (self._log is None or self._events is None) and self._metrics_patience.is_over():
            self.open()
        if self._log is not None:
            self._flush_metrics(self._log)
        self._follow_outage(is_last=is_last)
        if self._events is not None:
            self._flush_events(self._events)

    def _flush_metrics(self, log: LogWriter) -> None:
        patience = self._metrics_patience
        while (self._items or self._dropped) and patience.is_over():
            batch = list(islice(self._items, patience.batch))
            try:
                if self._dropped:
                    log.gap(self._dropped, self._why)
                    self._dropped = 0
                log.append(batch if self._told is None else self._told(batch))
            except PASSING as error:
                patience.failed(error, len(batch))
                self._outage.goes_on(self._step, patience.why)
                return
            except Exception as error:
                if len(batch) > 1:
                    patience.batch = len(batch) // 2  # find the one that cannot be encoded
                    continue
                self._drop(len(batch), f"{type(error).__name__}: {error}"[:200])
            self._forget(batch)
            patience.succeeded()

    def _follow_outage(self, *, is_last: bool) -> None:
        """Warn once of one that lasts; tell of one that is over, if anybody could have noticed."""
        outage, name = self._outage, self.run.name
        if outage.began is None:
            return
        is_notable = outage.seconds >= NOTABLE
        if self._items or self._dropped:
            if is_notable and not outage.is_told:
                outage.is_told = True
                _LOG.warning("%s cannot be recorded for now, training goes on: %s", name, outage.why)
            return
        is_last = is_last or any(note.kind == "end" for note in self._notes)
        if not is_last and outage.clock() - outage.last < NOTABLE:
            return
        if outage.is_told:
            _LOG.warning("%s is recorded again; rows missing: %s", name, f"{outage.rows:,}")
        if is_notable or outage.rows:
            if len(self._notes) == self._limit:
                self._notes.popleft()
            self._notes.appendleft(Note("gap", outage.step, time.time(), outage.fields))   # before what came meanwhile
        self._outage = Outage(outage.clock)

    def _forget(self, batch: Sequence[Item]) -> None:
        for item in batch:
            self._items.popleft()
            self._step = max(self._step, item.step)
            self._vector_bytes -= size_of(item)

    def _flush_events(self, events: EventWriter) -> None:
        patience = self._events_patience
        while self._notes and patience.is_over():
            note = self._notes[0]
            if note.kind == "end" and (self._items or self._dropped):
                return   # after the rows, or what is said of them
            try:
                events.append(note.kind, note.step, note.time, note.fields)
            except PASSING as error:
                patience.failed(error, 1)
                return
            except Exception as error:
                _LOG.debug("an event that cannot be written: %s", error)
            self._notes.popleft()
            patience.succeeded()

    def beat(self, wall: float, mono: float, state: str) -> None:
        """A sign of life, in its place after the rows; and a look whether the run directory is still there."""
        if self.off or self._log is None:
            return
        try:
            os.stat(self.run.metrics)
        except OSError as error:
            if error.errno in _HOPELESS:
                self._turn_off(f"the directory of {self.run.name} is gone: {error.strerror}")
                return
        if not self._items and self._metrics_patience.is_over():
            try:
                self._log.beat(wall, mono, state)
            except Exception as error:
                self._metrics_patience.failed(error, BATCH)

    def sync(self) -> None:
        """Make what was written durable. A disk that cannot is trouble that the next write will meet."""
        for file in (self._log, self._events):
            if file is not None and not self.off:
                try:
                    file.sync()
                except Exception as error:
                    _LOG.debug("fdatasync: %s", error)

    def close(self) -> None:
        """A last try for everything that waits, then give the files back."""
        if self._joining is not None and not self.off:
            self._join(self._joining.last_look())
        for _ in range(16):
            self._metrics_patience.until = self._events_patience.until = 0.0
            self.flush(is_last=True)
            if not self.backlog:
                break
        if self.backlog or self._dropped:
            self._give_up()
        self.sync()
        for file in (self._log, self._events):
            if file is not None:
                try:
                    file.close()
                except Exception as error:
                    _LOG.debug("close: %s", error)
        self._log = self._events = None

    def _give_up(self) -> None:
        """Say what the disk has not taken, and how the run ended, in the room that is kept for this."""
        rows, why = sum(isinstance(item, Row) for item in self._items), self.trouble
        last = deque(note for note in self._notes if note.kind in ("gap", "end"))
        others = deque(note for note in self._notes if note.kind not in ("gap", "end"))
        self._tell(others, is_last=False)   # a disk that takes no rows may take what happened behind the end
        lost = len(others)
        if rows or lost or self._dropped:
            self._outage.goes_on(self._step, why, rows)
            fields = {**self._outage.fields, "events": lost}
            last.insert(-1, Note("gap", self._outage.step, time.time(), fields))
        self._tell(last, is_last=True)
        events = lost + sum(note.kind == "end" for note in last)
        if rows or events:
            _LOG.warning("the end of %s is not recorded; rows: %d, events: %d: %s", self.run.name, rows, events, why)

    def _tell(self, notes: deque[Note], *, is_last: bool) -> None:
        """Write what the disk takes of them; the rest stays."""
        try:
            while notes and self._events is not None:
                note = notes[0]
                self._events.append(note.kind, note.step, note.time, note.fields, is_last=is_last)
                notes.popleft()
        except PASSING as error:
            _LOG.debug("the last words: %s", error)

    def _drop(self, count: int, why: str) -> None:
        if count:
            self._dropped += count
            self.dropped += count
            self._why = why
            self._outage.goes_on(self._step, why, count)

    def _turn_off(self, why: str, level: int = logging.WARNING) -> None:
        self.off = why
        self._items.clear()
        self._notes.clear()
        _LOG.log(level, "nothing is recorded any more, training goes on: %s", why)
