"""`tuimon mirror`: a run that goes on, as an event file that TensorBoard follows. Touches the disk, never the run's.

    DIR/<run>/events.out.tfevents.<time>.tuimon    one file, appended to
    DIR/<run>/tuimon-mirror.json                   how far it is: replaced whole after each turn

What stands in the event file behind the size that is remembered was written by a turn that did not end, and is cut off
when the mirror is started again. Rows and incidents that are remembered are passed over: none stands there twice.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Final

from tuimon.errors import LogError, UsageError
from tuimon.formats.exports import wire
from tuimon.formats.exports.blocks import READ, Block, Cutter, Origin, facts, numbered
from tuimon.formats.exports.boards import Board, as_markdown, told
from tuimon.formats.exports.titles import titles
from tuimon.formats.sources import Source
from tuimon.record.chunk import Chunk
from tuimon.record.events import EventReader
from tuimon.record.files import OS, write_atomically, write_fully
from tuimon.record.plain import built
from tuimon.record.ranks import RanksReader, reader_of
from tuimon.record.reader import LogReader
from tuimon.record.rundir import RunDir

STATE: Final = "tuimon-mirror.json"
SCHEMA: Final = 1
EVERY: Final = 1.0
"""Seconds from one turn to the next."""


@dataclass(frozen=True, slots=True)
class Place:
    """How far a mirror is."""

    run: str
    file: str
    """Name of the event file."""
    size: int = 0
    """Bytes of it that count."""
    attempt: int = 0
    step: int | None = None
    """Attempt and step of the last row in it; None before there is one."""
    events: int = 0
    """Events of the run that were looked at."""
    begun: float | None = None
    """Wall clock of the run's first row, by which it is told from another of its name; None where it has none yet."""


class Mirror:
    """Writes what a run has logged since the last turn. UsageError where that cannot be done."""

    def __init__(self, run: RunDir, root: str, *, layers: bool = False) -> None:
        """`root`: where TensorBoard looks; the run gets a directory of its own in it."""
        self._run, self._with_layers = run, layers
        self.folder = os.path.join(root, run.name)
        inside = os.path.realpath(run.path)
        if os.path.commonpath([inside, os.path.realpath(self.folder)]) == inside:
            raise UsageError(f"{root}: lies within the run, whose directory is its own; name another")
        self._fd = -1
        with _told(self.folder):
            os.makedirs(self.folder, exist_ok=True)
            self.place = self._found()
            self._open()
        self._board = Board(self.place.attempt, self.place.step)
        self._news = EventReader(run.events)
        self._log: LogReader | RanksReader | None = None
        self._attempt, self._is_known = 1, False
        self._cutter: Cutter | None = None
        self._names: dict[str, str] = {}
        self._seen = 0
        """Events that were read since this mirror was started."""

    def turn(self) -> int:
        """Write what is new; rows that were written."""
        if self._cutter is None:
            origin = self._origin()
            if origin.info is None:
                return 0  # nobody has attached yet, and so no layer has a name
            self._cutter = Cutter(origin.context, layers=self._with_layers)
        log = self._log = self._log or reader_of(self._run.metrics)
        rows = 0
        with _told(self.folder):
            while more := log.poll(READ):
                for block in self._blocks(more, self._cutter):
                    self._put(self._written(block))
                    rows += len(block)
            if log.is_replaced:
                raise UsageError(f"{self._run.name}: another run took the place of the one that is mirrored")
            self._tell()
            self._save()
        return rows

    def close(self) -> None:
        """Give the file back. Idempotent."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    def _blocks(self, chunks: list[Chunk], cutter: Cutter) -> Iterator[Block]:
        """Those rows that are not in the file yet."""
        for attempt, chunk in numbered(iter(chunks), self._attempt):
            self._attempt = attempt
            if not self._is_known and len(chunk):
                self._know(float(chunk.times[0]))
            for block in cutter.cut(attempt, chunk):
                newer = block.after(self.place.attempt, self.place.step)
                if len(newer):
                    yield newer

    def _know(self, begun: float) -> None:
        """Tell the run from another that had its name, by when its first row was written."""
        if not math.isfinite(begun):
            begun = 0.0
        if self.place.begun not in (None, begun):
            raise UsageError(f"{self.folder}: mirrors another run of that name; name another directory")
        self.place, self._is_known = replace(self.place, begun=begun), True

    def _written(self, block: Block) -> bytes:
        first = self.place.step is None or block.attempt != self.place.attempt
        new = [name for name in block.columns if name not in self._names]
        if new:
            self._names = titles([*self._names, *new])
        said = self._board.rows(block, self._names)
        if first:
            words = as_markdown(facts(self._origin()))
            said += wire.text(float(block.times[0]), int(block.steps[0]), "tuimon/run", words)
        self.place = replace(self.place, attempt=block.attempt, step=int(block.steps[-1]))
        return said

    def _origin(self) -> Origin:
        """The run as it describes itself now."""
        return Origin(Source(str(self._run.path), "run"))

    def _tell(self) -> None:
        while more := self._news.poll():
            for event in more:
                self._seen += 1
                if self._seen > self.place.events and event.kind == "incident":
                    self._put(told(event))
            self.place = replace(self.place, events=max(self._seen, self.place.events))

    def _put(self, data: bytes) -> None:
        write_fully(OS, self._fd, data, self.place.size)
        self.place = replace(self.place, size=self.place.size + len(data))

    def _save(self) -> None:
        body = {"schema": SCHEMA, **asdict(self.place)}
        write_atomically(os.path.join(self.folder, STATE), json.dumps(body).encode())

    def _found(self) -> Place:
        """Where the last mirror of this run has ended, or the beginning."""
        try:
            with open(os.path.join(self.folder, STATE), "rb") as file:
                place = _read(file.read(1 << 16))
        except FileNotFoundError:
            place = None
        if place is None or place.run != self._run.name:
            if any("tfevents" in name for name in os.listdir(self.folder)):
                raise UsageError(f"{self.folder}: has event files already, and no {STATE} that tells how far they are; "
                                 "name another directory")
        else:
            path = os.path.join(self.folder, place.file)
            if os.path.exists(path) and os.path.getsize(path) >= place.size:
                return place
        return Place(self._run.name, f"events.out.tfevents.{int(self._started()):010d}.tuimon")

    def _started(self) -> float:
        """Wall clock, as far as anybody has said; 0 where nobody has."""
        info = self._run.read_info()
        launch = None if info else self._run.read_launch()
        return info.started if info else launch.started if launch else 0.0

    def _open(self) -> None:
        path = os.path.join(self.folder, self.place.file)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise UsageError(f"{self.folder}: another mirror is writing there") from None
        except OSError:
            pass  # a file system without locks: then it is for the user to start but one
        self._save()
        os.ftruncate(self._fd, self.place.size)
        if not self.place.size:
            self._put(wire.beginning(self._started()))


def follow(mirror: Mirror, is_over: Callable[[], bool], pause: Callable[[float], bool]) -> int:
    """Turns until the run has ended or `pause(seconds)` says True; rows that were written.

    Whether it has ended is asked before a turn, so that what it wrote last is read.
    """
    rows, over = 0, False
    while not over:
        over = is_over()
        rows += mirror.turn()
        over = over or pause(EVERY)
    return rows


def _read(raw: bytes) -> Place | None:
    """A place out of a state file; None for what is none of ours."""
    try:
        body = json.loads(raw)
        if body.pop("schema") != SCHEMA:
            return None
        place = built(Place, body)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    numbers = (place.size, place.attempt, place.events, 0 if place.step is None else place.step)
    named = place.file == os.path.basename(place.file) and "tfevents" in place.file
    return place if named and min(numbers) >= 0 else None


@contextlib.contextmanager
def _told(folder: str) -> Iterator[None]:
    """One line for what a disk refuses."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {error.strerror or error}") from None
    except LogError as error:
        raise UsageError(f"{folder}: {error}") from None
