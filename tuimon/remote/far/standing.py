"""How it stands with each rank of a run on the far side, as a file that is told. Touches the disk.

As `record.roster` has it, in plain Python.
"""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any, Optional, Sequence, Tuple

from tuimon.remote.far.files import alive, json_of
from tuimon.remote.far.followed import read_at, size_of
from tuimon.remote.far.joining import Patience

if TYPE_CHECKING:
    from tuimon.remote.far.ranked import Together

FRESH = 2.0
Words = Tuple[Optional[Tuple[str, str]], str]


class Standings:
    """How it stands with each rank, as a file that is told (see `record.seen`)."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._said: dict[int, dict[str, Any]] = {}
        self._heard: dict[int, tuple[int, int, Words]] = {}
        """Rank -> bytes of its events, for which attempt, and what they say."""

    def told(self, log: Together) -> bytes:
        """All ranks of the attempt that is told."""
        lanes, now, attempt = log.lanes, time.time(), log.lanes[0].attempt
        now = max([now] + [lane.sign for lane in lanes])
        signs = [lane.sign if lane.attempt == attempt else 0.0 for lane in lanes]
        rows = []
        for rank, lane in enumerate(lanes):
            said = self.of(rank, attempt)
            state, why = self.state(rank, attempt, signs, now, lane.patience)
            process = said.get("process") if said else None
            host = process.get("host", "") if isinstance(process, dict) else ""
            rows.append({
                "rank": rank, "step": lane.seen, "time": lane.time, "state": state, "since": signs[rank], "why": why,
                "host": str(host)[:60], "device": str((said or {}).get("device", ""))[:60],
                "last": {name: _short(value) for name, value in lane.last.items()},
                "own_time": [_short(value) for value in lane.lately["own_time"]],
                "step_times": [_short(value) for value in lane.lately["step_time"]]})
        paces = log.joiner.paces
        return json.dumps({"world": len(lanes), "late": log.late, "missing": log.missing, "ranks": rows,
                           "slow": paces.slow, "strip": paces.strip}, separators=(",", ":")).encode()

    def of(self, rank: int, attempt: int) -> dict[str, Any] | None:
        """What it says of itself; nothing where it does not, None where that is of another attempt."""
        known = self._said.get(rank)
        if known is None or known.get("attempt") != attempt:
            known = self._said[rank] = json_of(os.path.join(self._run, "ranks", f"r{rank}.json"))
        return known if known.get("attempt", attempt) == attempt else None

    def freshest(self, rank: int, attempt: int, signs: Sequence[float], now: float) -> float:
        """How old the newest sign of the ranks on its machine is; 0.0 where that is this one, or not known."""
        process = (self.of(rank, attempt) or {}).get("process")
        if not isinstance(process, dict) or alive(process) is not None:
            return 0.0
        beside = [sign for k, sign in enumerate(signs) if k != rank and self._is_beside(k, attempt, process)]
        return now - max([signs[rank], *beside])

    def _is_beside(self, rank: int, attempt: int, process: dict[str, Any]) -> bool:
        other = (self.of(rank, attempt) or {}).get("process")
        return isinstance(other, dict) and other.get("host") == process.get("host")

    def state(self, rank: int, attempt: int, signs: Sequence[float], now: float,
              patience: Patience) -> tuple[str, str]:
        """How it stands with one, and why. `signs`: when each log was written last; 0.0: there is none."""
        said = self.of(rank, attempt)
        if said is None:
            return "missing", ""
        sign = signs[rank]
        is_gone = alive(said.get("process")) is False
        is_old = is_gone or now - sign > FRESH
        end, fault = self._words(rank, attempt) if said and (rank or is_old) else (None, "")
        if end is not None and is_old:
            return ("crashed" if end[0] == "crashed" else "ended"), end[1]
        if is_gone:
            return "died", ""
        is_silent = patience.is_over(now - sign, lambda: self.freshest(rank, attempt, signs, now))
        return ("missing" if not sign else "silent" if is_silent else "live"), fault if rank else ""

    def _words(self, rank: int, attempt: int) -> Words:
        """What it has said of itself: in which state it ended and why, and what has switched itself off."""
        path = os.path.join(self._run, f"events-r{rank}.jsonl" if rank else "events.jsonl")
        size = size_of(path)
        known = self._heard.get(rank)
        if known is not None and known[:2] == (size, attempt):
            return known[2]
        end, fault = None, ""
        for line in read_at(path, max(0, size - (1 << 16)), 1 << 16).split(b"\n"):
            try:
                body = json.loads(line)
                kind = body.get("kind")
            except (ValueError, AttributeError, RecursionError):
                continue
            if kind == "attempt":
                end, fault = None, ""
            elif body.get("attempt") != attempt:
                continue
            elif kind == "end":
                end = str(body.get("state"))[:20], str(body.get("error") or "")[:200]
            elif kind == "fault":
                part = str(body.get("part") or "a part of tuimon")[:40]
                fault = "{} switched itself off: {}".format(part, str(body.get("error") or "")[:150])
        self._heard[rank] = size, attempt, (end, fault)
        return end, fault


def _short(value: float) -> float | None:
    """To four digits; None for what is no number."""
    return float(f"{value:.3e}") if value - value == 0 else None
