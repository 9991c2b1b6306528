"""What `tuimon checkpoints` does with a run: list what is stored, read it to the last byte. Touches the disk."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np

from tuimon.diagnosis.story import Story, tell
from tuimon.errors import CheckpointError
from tuimon.formats.exports.blocks import numbered
from tuimon.formats.progress import Watch, unwatched
from tuimon.record.catalogue import used
from tuimon.record.chunk import Chunk
from tuimon.record.events import EventReader
from tuimon.record.manifest import CheckpointInfo, Opened, listed, retained, translated
from tuimon.record.plain import finite
from tuimon.record.ranks import reader_of
from tuimon.record.rundir import RunDir
from tuimon.record.status import is_live
from tuimon.record.worlds import bytes_of

LOADING: Final = "tuimon.instrument.loading"
"""What loads them: by its name, for it knows torch."""

State = Literal["healthy", "pending", "suspect", "damaged", "refused"]


@dataclass(frozen=True, slots=True)
class Kept:
    """One checkpoint, with what the run says of it."""

    info: CheckpointInfo
    loss: float | None
    """As measured at its step; None where it was not."""
    why: tuple[str, ...]
    """Why the next save leaves it alone; empty where it does not."""
    problem: str
    """Why it cannot be used, as far as was looked."""
    is_read: bool = False
    """Whether every byte was compared with what was written."""
    is_loaded: bool = False
    """Whether it was loaded as well, by a process apart."""

    @property
    def state(self) -> State:
        """Earned its health, has yet to, never will, or cannot be used."""
        if self.problem:
            return "damaged" if self.info.is_damaged or not self.info.problem else "refused"
        return "healthy" if self.info.healthy else "suspect" if self.info.suspect else "pending"

    def json(self) -> dict[str, Any]:
        """For programs; numbers that are not finite are words, null is not known."""
        info = self.info
        body: dict[str, Any] = finite({
            "id": info.id, "step": info.step, "attempt": None if info.problem else info.attempt,
            "saved": None if info.problem else info.saved, "bytes": None if info.problem else info.bytes,
            "ranks": None if info.problem else info.world,
            "sha256": info.sha256 or None, "state": self.state, "kept": list(self.why), "loss": self.loss,
            "verified": False if self.problem else True if self.is_read else None,
            "loaded": self.is_loaded if self.is_loaded or self.problem else None,
            "problem": self.problem, "left_out": list(info.left_out), "path": str(info.path),
        })
        return body


@dataclass(frozen=True, slots=True)
class Stored:
    """All of a run."""

    run: RunDir
    kept: tuple[Kept, ...]
    """Oldest first."""
    bytes: int
    """Disk space that the directory takes, unfinished saves included."""
    unfinished: int
    """Saves that are under way, or were when their process died."""
    is_live: bool
    rescue: int | None = None
    """Step of the snapshot in memory that a rescue of the live run would go back to; None where there is none."""

    @property
    def taken(self) -> str | None:
        """Which one `tuimon.resume` goes on from, as far as is known: the newest that nothing is wrong with."""
        return next((one.info.id for one in reversed(self.kept) if not one.problem), None)

    @property
    def last_healthy(self) -> str | None:
        """The newest that has earned its health."""
        return next((one.info.id for one in reversed(self.kept) if one.state == "healthy"), None)

    def json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "schema": 1, "run": self.run.name, "path": str(self.run.checkpoints), "bytes": self.bytes,
            "unfinished": self.unfinished, "is_live": self.is_live, "resume_takes": self.taken,
            "last_healthy": self.last_healthy, "rescue_step": self.rescue,
            "checkpoints": [one.json() for one in self.kept],
        }


@dataclass(slots=True)
class _Told:
    """What was found out about the checkpoints, by their ids."""

    problems: dict[str, str] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)
    loaded: set[str] = field(default_factory=set)


def stored(run: RunDir, *, verify: bool = False, load: bool = False, watch: Watch = unwatched) -> Stored:
    """What is there. `verify` compares every byte; `load` also loads each in a process apart that knows torch."""
    infos = listed(run.checkpoints)
    told = _Told({i.id: i.problem.removeprefix("unreadable: ") for i in infos if i.problem})
    if verify or load:
        _read(run, infos, told, watch)
    if load:
        _load(run, [i.id for i in infos if i.id in told.read], told, watch)
    infos = [i for i in infos if os.path.lexists(i.path)]  # a live run removes the old ones meanwhile
    why = retained(infos)
    losses = _losses(run, {(i.attempt, i.step) for i in infos if not i.problem}, watch)
    live = is_live(run)
    return Stored(
        run,
        tuple(Kept(i, None if i.problem else losses.get((i.attempt, i.step)), why.get(i.id, ()),
                   told.problems.get(i.id, ""), i.id in told.read, i.id in told.loaded) for i in infos),
        used(str(run.checkpoints))[0], _unfinished(run), live, _story(run).rescue_target if live else None,
    )


def _read(run: RunDir, infos: Sequence[CheckpointInfo], told: _Told, watch: Watch) -> None:
    whole = [i for i in infos if not i.problem]
    total, done = max(1, sum(i.bytes for i in whole)), 0

    def count(size: int) -> None:
        nonlocal done
        done += size
        watch("hashing", done / total)

    for info in whole:
        try:
            with translated("unreadable"), Opened(run.checkpoints, info.id) as opened:
                opened.verify(count)
            told.read.add(info.id)
        except CheckpointError as error:
            told.problems[info.id] = str(error).removeprefix("unreadable: ")


def _load(run: RunDir, names: Sequence[str], told: _Told, watch: Watch) -> None:
    """In a process apart: torch takes seconds and gigabytes, and whatever a file does is done to that one."""
    if not names:
        return
    watch("loading", math.nan)
    waiting = list(names)
    with subprocess.Popen(  # noqa: S603  # ours
        [sys.executable, "-m", LOADING, str(run.checkpoints), *names], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    ) as child:
        try:
            for line in child.stdout or ():
                said = json.loads(line)
                waiting.remove(said["id"])
                if said["problem"]:
                    told.problems[said["id"]] = str(said["problem"])
                else:
                    told.loaded.add(said["id"])
                watch("loading", 1 - len(waiting) / len(names))
        except (ValueError, KeyError, TypeError):
            child.kill()
        except BaseException:  # Ctrl+C: it is not left behind
            child.kill()
            raise
    for name in waiting:
        told.problems[name] = f"loading it ended with status {child.returncode}, which is all that is known"


def _losses(run: RunDir, wanted: Collection[tuple[int, int]], watch: Watch) -> dict[tuple[int, int], float]:
    """The loss of each (attempt, step), where it was measured."""
    found: dict[tuple[int, int], float] = {}
    if not wanted:
        return found
    reader, size = reader_of(run.metrics), bytes_of(run.metrics)

    def chunks() -> Iterator[Chunk]:
        while more := reader.poll():
            yield from more
            watch("reading", reader.consumed / max(size, reader.consumed, 1))

    for attempt, chunk in numbered(chunks()):
        steps, values = chunk.measured("loss")
        for _, step in (pair for pair in wanted if pair[0] == attempt):
            at = np.flatnonzero(steps == step)
            if len(at):
                found[attempt, step] = float(values[at[-1]])
    return found


def _unfinished(run: RunDir) -> int:
    try:
        return sum(name.startswith(".tmp-") for name in os.listdir(run.checkpoints))
    except OSError:
        return 0


def _story(run: RunDir) -> Story:
    reader, story = EventReader(run.events), Story()
    while events := reader.poll():
        for event in events:
            story = tell(story, event)
    return story
