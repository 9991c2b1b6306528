"""ranks-seen.json: how it stands with the ranks of a run on another machine, as its far side saw it. Touches the disk.

What comes over a link is not trusted: numbers are numbers, words are clean, and there are as many rows as ranks.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from tuimon.record.chunk import Floats, Ints
from tuimon.record.files import open_to_read
from tuimon.record.paces import Slow
from tuimon.record.plain import is_whole
from tuimon.record.roster import Rank, Ranks
from tuimon.record.rundir import RunDir
from tuimon.record.text import clean
from tuimon.record.worlds import MOST_RANKS

FILE: Final = "ranks-seen.json"
STATES: Final = frozenset({"live", "silent", "missing", "ended", "crashed", "died"})
_LAST: Final = frozenset({"step_time", "data_time", "memory", "own_time"})
_MOST: Final = 16 << 20
_LONGEST: Final = 64
"""Values of a sparkline."""
_STRETCHES: Final = 1024


@dataclass(frozen=True, slots=True)
class Seen:
    """The ranks, and what `Paces.strip` says of them there."""

    ranks: Ranks
    strip: tuple[Ints, Floats]


class SeenReader:
    """Reads the file where it is another than before."""

    def __init__(self, run: RunDir) -> None:
        self._path: Path = run.path / FILE
        self._stamp: tuple[int, int, int] | None = None
        self._found: Seen | None = None

    def look(self) -> Seen | None:
        """The newest; None where there is none, or it is none of ours."""
        try:
            status = os.lstat(self._path)
        except OSError:
            return None
        stamp = status.st_mtime_ns, status.st_size, status.st_ino
        if stamp != self._stamp:
            self._stamp, self._found = stamp, _read(self._path)
        return self._found


def _read(path: Path) -> Seen | None:
    try:
        with os.fdopen(open_to_read(path), "rb") as file:
            return seen_of(json.loads(file.read(_MOST)))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError,
            OverflowError):
        return None


def seen_of(body: Any) -> Seen:
    """Out of JSON; ValueError, TypeError, KeyError or AttributeError where it is none of ours."""
    world = body["world"]
    if not is_whole(world) or not 1 < world <= MOST_RANKS or len(body["ranks"]) != world:
        raise ValueError("not the ranks of a run")
    ranks = tuple(_rank(number, one) for number, one in enumerate(body["ranks"]))
    missing = tuple(_number(one, world) for one in body["missing"][:world])
    slow = tuple(Slow(_number(rank, world), _finite(times), int(since)) for rank, times, since in body["slow"][:world])
    strip = body["strip"][:_STRETCHES]
    means = np.array([[np.nan if one is None else float(one) for one in means] for _, means in strip], np.float64)
    steps = np.array([int(first) for first, _ in strip], np.int64)
    return Seen(Ranks(world, ranks, missing, int(body["late"]), slow), (steps, means.reshape(len(steps), world)))


def _number(value: Any, world: int) -> int:
    if not is_whole(value) or not 0 <= value < world:
        raise ValueError("not one of the ranks")
    return value


def _finite(value: Any) -> float:
    found = float(value)
    if not math.isfinite(found):
        raise ValueError("not a number")
    return found


def _rank(number: int, body: Any) -> Rank:
    state, step = body["state"], body["step"]
    if state not in STATES or not is_whole(step):
        raise ValueError("not a rank")
    last = {str(name): float(value) for name, value in body["last"].items() if value is not None and name in _LAST}
    own, steps = (tuple(float(one) for one in body[name][:_LONGEST] if one is not None)
                  for name in ("own_time", "step_times"))
    why, host, device = (clean(str(body[name]), 200 if name == "why" else 60) for name in ("why", "host", "device"))
    return Rank(number, step, _finite(body["time"]), state, _finite(body["since"]), why, last, own, steps, host, device)
