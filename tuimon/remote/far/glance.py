"""One run at a glance, however long its log is: what `record.status` tells, where no numpy is.

Touches the disk, only to read, and never through a link. A test holds what is told here against those two.
"""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING, Any, Sequence

from tuimon.remote.far import rows as log
from tuimon.remote.far.files import alive, json_of, number
from tuimon.remote.far.followed import read_at, size_of
from tuimon.remote.far.rows import Rows
from tuimon.remote.far.sketch import LARGEST, WINDOW, Logs, whole

if TYPE_CHECKING:
    from tuimon.remote.far.abreast import Abreast

NEAR, TAIL = 1 << 14, 1 << 18
SILENT, FULL_AFTER = 60.0, 3.0
LEAST_ROOM = 64 << 10
ENDED = ("finished", "stopped", "crashed", "died")
SEVERITIES = ("info", "warning", "critical")
SIGNALS = {15: "SIGTERM", 2: "SIGINT", 1: "SIGHUP"}
FULL = "the disk with this run is full: training goes on, its rows wait in memory"


class Said:
    """What the events of a run say about its state."""

    def __init__(self, state: str = "starting", attempt: int = 0) -> None:
        self.state, self.attempt, self.why, self.step = state, attempt, "", 0
        self.incidents: dict[str, tuple[str, str, Any]] = {}
        self.leads = ""

    def take(self, body: dict[str, Any]) -> None:
        """One event more."""
        kind = body.get("kind")
        if kind in ("state", "end"):
            self.state = text(body, "state")[:20] or self.state
            self.why = "" if self.state == "running" else text(body, "error") or text(body, "why")
            self.step = int(body["step"]) if kind == "end" else 0
        elif kind == "incident":
            rule = text(body, "rule")
            self.incidents.pop(rule, None)
            self.leads = text(body, "leads")
            if text(body, "change") != "resolved":
                since = body.get("onset_step")
                self.incidents[rule] = (text(body, "severity"), text(body, "headline"), since if whole(since) else None)

    def worst(self) -> tuple[str, str, Any]:
        """Severity, headline and first step of the worst open incident; of equals, of the one that leads."""
        found = max(self.incidents, key=lambda rule: (_rank(self.incidents[rule][0]), rule == self.leads), default=None)
        return ("healthy", "", None) if found is None else self.incidents[found]


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else -1


def text(body: dict[str, Any], name: str, most: int = 400) -> str:
    """A text of a file's; whoever shows it cleans it."""
    value = body.get(name)
    return value[:most] if isinstance(value, str) else ""


def told(run: str, state: str, attempt: int) -> Said:
    """What the last events say; of a file that is longer it is known before that it runs."""
    path = os.path.join(run, "events.jsonl")
    start = max(0, size_of(path) - TAIL)
    data = read_at(path, start, TAIL)
    said = Said(state, attempt) if start and attempt else Said()
    for line in data[:data.rfind(b"\n") + 1].split(b"\n")[1 if start else 0:]:
        try:
            body = json.loads(line)
            if isinstance(body, dict) and whole(body.get("attempt")) and whole(body.get("step")):
                if body.get("kind") == "attempt":
                    said = Said(attempt=body["attempt"])
                said.take(body)
        except (ValueError, TypeError, RecursionError):
            continue
    return said


class End:
    """The end of a log."""

    def __init__(self) -> None:
        self.step: int | None = None
        self.loss: float | None = None
        self.lr: float | None = None
        self.sign: float | None = None
        self.state = ""

    def take(self, data: bytes, names: Sequence[str]) -> bool:
        """From its end backwards; whether nothing older can add to it."""
        for kind, start, end in reversed(list(log.walk(data))):
            if kind == log.BEAT and not self.state:
                try:
                    body = json.loads(data[start:end])
                    self.state = str(body["state"])[:20]
                    self.sign = number(body.get("wall")) if self.sign is None else self.sign
                except (ValueError, KeyError, TypeError, RecursionError):
                    continue
            elif kind == log.ROWS:
                for rows in log.decode(data, [(start, end)], names):
                    self.step = rows.steps[-1] if self.step is None else self.step
                    self.sign = rows.times[-1] if self.sign is None else self.sign
                    self.loss = _last(rows, "loss") if self.loss is None else self.loss
                    self.lr = _last(rows, "lr") if self.lr is None else self.lr
            if self.loss is not None and self.state:
                return True
        return False


def _last(rows: Rows, name: str) -> float | None:
    if name not in rows.names:
        return None
    at = rows.names.index(name)
    mask = rows.present[at]
    return next((v for i, v in reversed(list(enumerate(rows.values[at]))) if mask is None or mask[i]), None)


def end_of(paths: list[str], names: Sequence[str]) -> End:
    """Of the newest segment that has anything in it; of one in which nothing but beats stand, the rows before those."""
    found = End()
    for path in reversed(paths):
        size = size_of(path)
        for part in (NEAR, TAIL):
            found = End() if found.step is None else found
            if found.take(read_at(path, max(0, size - part), part), names) or size <= part:
                break
        at = size - TAIL
        while found.step is None and at > 0:   # it is held, maybe for days
            at -= LARGEST
            found.take(read_at(path, max(0, at), LARGEST + WINDOW + min(0, at)), names)
        if found.step is not None:
            break
    return found


def status(run: str, info: dict[str, Any], launch: dict[str, Any], logs: Logs, names: Sequence[str], now: float,
           several: Abreast | None) -> dict[str, Any]:
    """State, step, loss, verdict: as `record.status`. `several`: what tells of all ranks, where there are several."""
    end = end_of(logs.get(0, []), names)
    attempt = info.get("attempt", 1)
    said = told(run, end.state or "running", attempt if info and whole(attempt) else 0)
    if several is not None and end.step is not None:
        step, end.loss = several.last(logs)
        end.step = end.step if step is None else step
    severity, headline, since = said.worst() if end.step or said.incidents else ("", "", None)
    process = launch.get("process") if launch and not said.attempt else info.get("process") if info else None
    state, why = settled(derived(said.state, process, end.sign, now), info, launch)
    started = (info or launch).get("started")
    if state == "starting" and not process and (started is None or now - number(started) > SILENT):
        state = "died"
    age = 0.0 if end.sign is None else now - end.sign
    is_full = state not in ENDED and age > FULL_AFTER and _is_full(run)
    return {
        "state": state, "why": FULL if is_full else said.why or why, "attempt": said.attempt,
        "step": max(end.step or 0, said.step), "loss": end.loss, "lr": end.lr, "verdict": severity,
        "headline": headline, "since": since, "is_full": is_full, "last_sign": end.sign,
        **({} if several is None else {"lost": several.lost(logs, said.attempt, now)})}


def derived(state: str, process: Any, sign: float | None, now: float) -> str:
    """The state a person should read: a run whose process is gone has died, whatever it wrote last."""
    if state in ENDED or not process:
        return state
    lives = alive(process)
    if lives is None:
        lives = sign is not None and now - sign < SILENT
    return state if lives else "died"


def settled(state: str, info: dict[str, Any], launch: dict[str, Any]) -> tuple[str, str]:
    """The state and the reason, where whoever started the script saw it end."""
    code: Any = launch.get("status")
    starter = launch.get("process")
    pids = [one.get("pid") for one in (info.get("process"), starter) if isinstance(one, dict)]
    if not whole(code) or (info and (len(pids) < 2 or pids[0] != pids[1])):
        return state, ""
    if state in ("stopped", "crashed") or (state == "finished" and code == 0):
        return state, ""
    if code == 0:
        return "finished", ""
    if -code in SIGNALS:
        return "stopped", f"told to go by {SIGNALS[-code]}"
    return ("died", f"killed by signal {-code}") if code < 0 else ("crashed", f"the script ended with status {code}")


def _is_full(run: str) -> bool:
    try:
        there = os.statvfs(os.path.join(run, "metrics"))
    except OSError:
        return False
    return there.f_blocks > 0 and there.f_bavail * there.f_frsize < LEAST_ROOM


def used(path: str) -> tuple[int, int]:
    """Bytes of the files below, links not followed, and the number of checkpoints."""
    total = kept = 0
    for folder, folders, files in os.walk(path):
        if folder == os.path.join(path, "checkpoints"):
            kept = sum(not name.startswith(".") for name in folders)
        for name in files:
            total += size_of(os.path.join(folder, name))
    return total, kept


def described(run: str, info: dict[str, Any], launch: dict[str, Any]) -> dict[str, Any]:
    """What the run says of itself, and what a person called it."""
    label = json_of(os.path.join(run, "label.json"))
    either = info or launch
    process = either.get("process")
    process = process if isinstance(process, dict) else {}
    argv = info.get("argv") or launch.get("script")
    words = argv.split() if isinstance(argv, str) else argv if isinstance(argv, list) else []
    return {
        "run_name": text(either, "name", 120), "label": text(label, "name", 80), "note": text(label, "note"),
        "started": number(either.get("started")), "total": either.get("total_steps"),
        "device": text(info, "device", 60),
        "model": text(info, "model", 120), "optimizer": text(info, "optimizer", 60), "host": text(process, "host", 80),
        "pid": process.get("pid"), "world": info.get("world_size", 1), "parameters": _trained(info.get("tensors")),
        "argv": " ".join(str(word)[:200] for word in words[:40])[:400]}


def _trained(tensors: Any) -> int:
    try:
        return sum(math.prod(one["shape"]) for one in tensors if one["trained"])
    except (TypeError, KeyError):
        return 0
