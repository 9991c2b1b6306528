"""Who the ranks of a run are, and which of them live. Touches the disk and the process table.

What a rank says of itself is in ranks/r<k>.json, how it ended in its own events; a process of this machine that is gone
did not say so. What cannot be known is not guessed: a rank without a log of this attempt is missing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from tuimon.record.events import Event, last_events
from tuimon.record.liveness import ProcessIdentity, is_alive
from tuimon.record.paces import Slow
from tuimon.record.patience import Patience
from tuimon.record.plain import built
from tuimon.record.rundir import RunDir
from tuimon.record.text import clean
from tuimon.record.worlds import described, segments_of

FRESH: Final = 2.0
"""Seconds since its last sign for which a rank is not asked whether it has ended: it beats every second."""
_TAIL: Final = 1 << 16
GONE: Final = frozenset({"died", "crashed"})
"""States in which a rank is gone for good: without a word, which others then fall over, or with an error."""
LOST: Final = frozenset({"silent", "missing", *GONE})
"""States in which a rank is not there, as it should be while the others train."""


@dataclass(frozen=True, slots=True)
class Rank:
    """One rank as its log tells."""

    rank: int
    step: int
    """Last step in its log; -1 before the first."""
    time: float
    """Wall clock of that row; 0.0 before the first."""
    state: str
    """"live", "silent" (says nothing), "missing" (was never there), "ended", "crashed" (it said so), "died" (not)."""
    since: float = 0.0
    """Wall clock of its last sign of life; 0.0 where there is none."""
    why: str = ""
    """What ended it, where it said so; of one that lives, what of tuimon has switched itself off there."""
    last: Mapping[str, float] = field(default_factory=dict)
    """Its own step_time, data_time, memory and own_time."""
    own_time: tuple[float, ...] = ()
    """Of its last rows, oldest first."""
    step_times: tuple[float, ...] = ()
    """The same of whole steps."""
    host: str = ""
    device: str = ""


@dataclass(frozen=True, slots=True)
class Ranks:
    """All ranks of a run, by number."""

    world: int
    ranks: tuple[Rank, ...]
    missing: tuple[int, ...] = ()
    """Without which the others are told."""
    late: int = 0
    """Rows that came when their step had been told."""
    slow: tuple[Slow, ...] = ()
    """Those that hold the others up, the slowest first."""

    @property
    def slowest(self) -> Slow | None:
        """Who holds the others up most."""
        return self.slow[0] if self.slow else None

    @property
    def lost(self) -> tuple[Rank, ...]:
        """Those that are not there, as they should be."""
        return tuple(self.ranks[number] for number in lost([rank.state for rank in self.ranks]))


def lost(states: Sequence[str]) -> list[int]:
    """The ranks that are not there, as they should be: gone, or never come, or silent while others live."""
    lives, there = "live" in states, any(state != "missing" for state in states)
    expected = {*GONE, *({"silent"} if lives else ()), *({"missing"} if there else ())}
    return [rank for rank, state in enumerate(states) if state in expected]


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a rank beside its log."""

    state: str
    why: str = ""
    host: str = ""
    device: str = ""


@dataclass(frozen=True, slots=True)
class _Words:
    """What a rank has said of itself in the end."""

    end: tuple[str, str] | None = None
    """In which state it ended and why; None where it did not say so."""
    fault: str = ""
    """What of tuimon has switched itself off there, last."""

    def after(self, event: Event) -> _Words:
        """And of this event."""
        if event.kind == "end":
            return replace(self, end=(clean(event.text("state"), 20), clean(event.text("error"), 200)))
        if event.kind == "fault":
            part, error = clean(event.text("part"), 40), clean(event.text("error"), 150)
            return replace(self, fault=f"{part or 'a part of tuimon'} switched itself off: {error}")
        return self


class Roster:
    """The ranks of one run."""

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._said: dict[int, tuple[Mapping[str, Any], ProcessIdentity | None]] = {}
        """What each says of itself; its process, where that is one of this machine."""
        self._ends: dict[int, tuple[tuple[int, int, int], _Words]] = {}

    def look(
        self, rank: int, attempt: int, signs: Sequence[float], now: float, patience: Patience | None = None
    ) -> Standing:
        """How it stands with one. `signs`: when each log of this attempt was written last; 0.0: there is none."""
        sign = signs[rank]
        said = self._described(rank, attempt)
        if said is None:
            return Standing("missing")   # it has not come back since the ranks were started anew
        host, device = (clean(str(said.get(name, "")), 60) for name in ("host", "device"))
        process = self._said[rank][1] if said else None
        is_gone = process is not None and is_alive(process) is False
        # rank 0's are the run's: many, and read by whoever shows it
        words = self._words(rank, attempt) if said and (rank or is_gone or now - sign > FRESH) else _Words()
        end = words.end if is_gone or now - sign > FRESH else None
        if end is not None:
            return Standing("crashed" if end[0] == "crashed" else "ended", end[1], host, device)
        if is_gone:
            return Standing("died", "", host, device)
        is_silent = (patience or Patience()).is_over(now - sign, lambda: self.freshest(rank, attempt, signs, now))
        state = "missing" if not sign else "silent" if is_silent else "live"
        return Standing(state, words.fault if rank else "", host, device)

    def freshest(self, rank: int, attempt: int, signs: Sequence[float], now: float) -> float:
        """How old the newest sign of the ranks on its machine is; 0.0 where that is this one, or not known."""
        said = self._described(rank, attempt)
        if not said or self._said[rank][1] is not None:
            return 0.0
        host = said.get("host")
        return now - max(sign for k, sign in enumerate(signs)
                         if k == rank or (self._described(k, attempt) or {}).get("host") == host)

    def has_vectors(self, rank: int, attempt: int) -> bool:
        """Whether it writes vectors."""
        return bool((self._described(rank, attempt) or {}).get("vectors", rank == 0))

    def _described(self, rank: int, attempt: int) -> Mapping[str, Any] | None:
        """What it says of itself; nothing where it does not, None where that is of another attempt."""
        known = self._said.get(rank)
        if known is None or known[0]["attempt"] != attempt:
            said = described(self._run.ranks / f"r{rank}.json")
            if "attempt" not in said:
                return {}
            known = self._said[rank] = said, _nearby(said)
        return known[0] if known[0]["attempt"] == attempt else None

    def _words(self, rank: int, attempt: int) -> _Words:
        path = self._run.events_of(rank)
        try:
            found = os.lstat(path)
        except OSError:
            return _Words()
        stamp, known = (found.st_mtime_ns, found.st_size, attempt), self._ends.get(rank)
        if known is None or known[0] != stamp:
            words = _Words()
            for event in last_events(path, _TAIL)[0]:
                if event.kind == "attempt":
                    words = _Words()
                elif event.attempt == attempt:
                    words = words.after(event)
            known = self._ends[rank] = stamp, words
        return known[1]


def _nearby(said: Mapping[str, Any]) -> ProcessIdentity | None:
    """Its process, where that is one of this machine and can be asked for."""
    process = said.get("process")
    try:
        found = built(ProcessIdentity, process) if isinstance(process, dict) else None
    except TypeError:
        return None
    return found if found is not None and is_alive(found) is not None else None


def signs_of(metrics: Path, world: int) -> list[float]:
    """When the log of each rank was written last; 0.0 where there is none."""
    signs = [0.0] * world
    for rank, paths in segments_of(metrics).items():
        if rank < world:
            try:
                signs[rank] = os.stat(paths[-1], follow_symlinks=False).st_mtime
            except OSError:
                continue
    return signs


def standings(run: RunDir, world: int, attempt: int, now: float) -> Sequence[Standing]:
    """How it stands with each rank of a run, without its metrics."""
    roster, signs = Roster(run), signs_of(run.metrics, world)
    return [roster.look(rank, attempt, signs, max(now, *signs)) for rank in range(world)]
