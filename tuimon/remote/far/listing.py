"""The runs under a root, told as they change, for a list that somebody looks at from afar.

Touches the disk; writes only where it was told that it may, and then a name, a note, or that a run is gone. Of a run
goes what differs from what was told last; small changes of many runs wait for each other.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import time
from typing import TYPE_CHECKING, Any, Iterator, Sequence

from tuimon.remote.far.files import json_of, put, runs
from tuimon.remote.far.followed import Message
from tuimon.remote.far.glance import ENDED, described, status, used
from tuimon.remote.far.pace import Window
from tuimon.remote.far.sketch import Best, logs_of, losses_of, whole

if TYPE_CHECKING:
    from tuimon.remote.far.abreast import Abreast, Bests
    from tuimon.remote.far.agent import Code

EVERY = 2.0
"""Seconds between two readings of a run, and between two looks at the root; of many ranks more."""
CHECKED = 100
"""Runs whose files are looked at in one poll."""
BUDGET, REST = 0.02, 0.1
"""Seconds of reading in one poll, and from one poll to the next where all have been told."""
RATE = 1200.0
"""Bytes a second that changes of runs that are known already may take."""
PLAIN = 3000
"""Characters of one message."""
BEAT = 4.0
SMALL = ("last_sign", "bytes", "losses")
"""What goes along with other changes, and alone only where it differs by much."""
MOST_RUNS = 20_000
ASIDE = ".label.json.far"


class _Known:
    """What is known of one run."""

    __slots__ = ("begun", "best", "entry", "files", "is_searched", "is_settled", "path", "read_at", "seen",
                 "several", "sketched", "told", "was_searched", "world")

    def __init__(self, path: str, names: Sequence[str]) -> None:
        self.path = path
        self.best: Best | Bests = Best(names)
        self.several: Abreast | None = None
        """Of a run of several ranks, once there is what tells of those."""
        self.world = 1
        """How many there are; 0: that has yet to come."""
        self.files = [os.path.join(path, name) for name in
                      ("run.json", "launch.json", "label.json", "events.jsonl", "metrics", "checkpoints")]
        self.seen: list[Any] = []
        self.entry: dict[str, Any] = {}
        self.told: dict[str, Any] = {}
        self.read_at, self.sketched, self.is_searched = float("-inf"), -1.0, False
        self.begun = float("-inf")
        """When it was read first."""
        self.was_searched = self.is_settled = False
        """Whether its whole log was searched once, and whether what was found then was told."""

    @property
    def is_live(self) -> bool:
        """Whether it trains."""
        return bool(self.entry) and self.entry["state"] not in (*ENDED, "unreadable")

    def look(self) -> list[Any]:
        """What its files look like."""
        found: list[Any] = []
        for path in (*self.files, *logs_of(self.path).get(0, [])[-1:]):
            try:
                it = os.lstat(path)
                found.append((it.st_mtime_ns, it.st_size, it.st_ino))
            except OSError:
                found.append(None)
        return found

    def read(self, names: Sequence[str], mono: float, code: Code) -> None:
        """Read it anew. Of a log that has grown by little the curve stays."""
        self.read_at, before = mono, self.seen
        self.begun = mono if not self.entry else self.begun
        self.seen, logs = self.look(), logs_of(self.path)
        info, launch = json_of(self.files[0]), json_of(self.files[1])
        if self._count(info.get("world_size"), names, code):
            before = []
        found: dict[str, Any]
        if (not info and self.seen[0]) or (not launch and self.seen[1]):
            found = {"state": "unreadable", "why": "its description is none of ours"}
        else:
            found = {**described(self.path, info, launch), **status(
                self.path, info, launch, logs, names, time.time(), self.several)}
        size, kept = used(self.path)
        found["bytes"], found["checkpoints"] = size, kept
        found["losses"] = self.entry.get("losses", [])
        grown = abs(found.get("step", 0) - self.sketched)
        if before[4:] != self.seen[4:] and (not before or grown * 32 > self.sketched or not self.is_live):
            self.sketched = found.get("step", 0)
            some = [logs.get(0, [])] if self.several is None else self.several.sketched(logs)
            found["losses"] = [brief(loss) for loss in losses_of(some, names)]
        self.is_searched = self.is_searched and before[4:] == self.seen[4:]
        self.entry = {name: brief(value) for name, value in found.items()}
        self._add_best()

    def _count(self, world: Any, names: Sequence[str], code: Code) -> bool:
        """Look how many ranks there are; whether that is news, or only now all that tells of them is there."""
        world = world if whole(world) and world > 1 else 1
        if world == self.world:
            return False
        abreast = code.find("abreast") if world > 1 else None
        self.world = 0 if world > 1 and abreast is None else world
        self.several = None if abreast is None else abreast.Abreast(self.path, world, names)
        self.best = Best(names) if self.several is None else self.several.best
        return self.world > 0

    def search(self, until: float) -> None:
        """Look for the best validation loss, as long as there is time."""
        self.is_searched = self.best.advance(logs_of(self.path), until)
        self.was_searched = self.was_searched or self.is_searched
        self._add_best()

    def _add_best(self) -> None:
        step, value = self.best.best or (None, None)
        self.entry["best_val"], self.entry["best_val_step"] = brief(value), step

    def is_new(self, now: float) -> bool:
        """Whether it is to be told of for the first time; for a while that waits until all of it was searched."""
        return bool(self.entry) and not self.is_settled and (
            self.was_searched or (not self.told and now - self.begun >= 1.0))

    def news(self) -> dict[str, Any]:
        """What differs from what was told; small things alone only where they differ by much."""
        entry, told = self.entry, self.told
        found = {name: value for name, value in entry.items() if name not in told or told[name] != value}
        if set(found) <= set(SMALL) and told and not (
                abs(entry["bytes"] - told["bytes"]) * 10 > told["bytes"] or ("losses" in found and not self.is_live)):
            return {}
        return found


def brief(value: Any) -> Any:
    """A number to six digits, as JSON has it: what is not finite is a word."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if abs(value) < 1e7 else value if abs(value) < 1e300 else repr(value)
    return value


class Listing:
    """The runs under one root."""

    def __init__(self, root: str, names: Sequence[str], *, control: bool, code: Code) -> None:
        """`control`: whether names and notes may be written, and runs deleted. `code`: the rest of the far side."""
        self._root, self._names, self._control = os.path.abspath(os.path.expanduser(root)), names, control
        self.window, self._code, self._needs = Window(), code, False
        self._known: dict[str, _Known] = {}
        self._gone: list[str] = []
        self._urgent: list[Message] = [
            ({"k": "listed", "root": self._root, "time": time.time(), "control": control}, b"")]
        self._listed_at = self._polled_at = self._paid_at = self._spoke = float("-inf")
        self._was_listed = False
        self._next = 0
        self._fresh: dict[str, _Known] = {}
        self._changed: dict[str, _Known] = {}
        """What is to be told, of runs that are new and of others, in its order."""
        self._unsettled: dict[str, _Known] = {}
        self._left: int | None = None
        self.is_on = True

    def receive(self, head: dict[str, Any], body: bytes, now: float) -> None:
        """What the near end says about the list."""
        kind = head["k"]
        if kind == "ack":
            count = head.get("n")
            self.window.answered(count if isinstance(count, int) else 0, now)
        elif kind == "list":
            self.is_on = head.get("on") is not False
        elif kind in ("label", "delete"):
            key, why = str(head.get("run"))[:255], ""
            if not self._control:
                why = "this link only looks"
            elif key not in self._known:
                why = "there is no such run"
            else:
                why = self._name(key, body) if kind == "label" else self._delete(key)
            self._urgent.append(({"k": "done", "serial": head.get("serial"), "why": why}, b""))
            self._listed_at = float("-inf")

    def poll(self, now: float) -> None:
        """Look at the disk, for a moment."""
        if not self.is_on or (now - self._polled_at < REST and not self._unsettled):
            return
        self._polled_at, until = now, time.monotonic() + BUDGET
        if now - self._listed_at >= EVERY:
            self._listed_at = now
            self._list()
        for known in self._in_turn():
            if not known.entry or (now - known.read_at >= max(EVERY, known.world / 32) and (
                    known.is_live or not known.world or known.look() != known.seen)):
                known.read(self._names, now, self._code)
                if not (known.world or self._needs):
                    self._needs = True
                    self._urgent.append(({"k": "need"}, b""))
            if not known.is_searched:
                known.search(until)
            self._note(known, now)
            if time.monotonic() >= until:
                return

    def _list(self) -> None:
        self._was_listed = True
        there = runs(self._root)[:MOST_RUNS]
        for name in sorted(set(self._known).difference(there)):
            self._gone.append(name)
            for some in (self._fresh, self._changed, self._unsettled):
                some.pop(name, None)
        fresh = [name for name in there if name not in self._known]
        self._known = {name: self._known.get(name) or _Known(os.path.join(self._root, name), self._names)
                       for name in there}
        self._unsettled.update({name: self._known[name] for name in fresh})

    def _in_turn(self) -> Iterator[_Known]:
        """Those that are not known yet, those that train, and some of the others: from where the last look ended."""
        table = list(self._known.values())
        yield from [known for known in table if not known.entry]
        yield from [known for known in table if known.is_live]
        for _ in range(min(CHECKED, len(table))):
            self._next += 1
            yield table[self._next % len(table)]

    def _note(self, known: _Known, now: float) -> None:
        """Whether there is something to tell of it."""
        name = os.path.basename(known.path)
        if known.is_new(now):
            self._fresh[name] = known
        elif known.told and known.news():
            self._changed[name] = known

    @property
    def left(self) -> int:
        """Runs of which not all was told yet."""
        return len(self._unsettled)

    def next(self, now: float) -> Message | None:
        """What to say next; None where there is nothing, or no need to say it yet."""
        if self._urgent:
            return self._urgent.pop(0)
        if not self.is_on or not self._was_listed:   # unlooked at, that nothing is left would be untrue
            return None
        gone, self._gone = self._gone[:64], self._gone[64:]
        some = self._some(now)
        left = self.left
        if gone or some or left != self._left:
            self._left = left
            return {"k": "runs", "gone": gone, "left": left, "time": round(time.time(), 1)}, json.dumps(
                some, separators=(",", ":"), ensure_ascii=True).encode()
        if now - self._spoke >= BEAT:
            return {"k": "beat", "time": round(time.time(), 1)}, b""
        return None

    def sent(self, count: int, now: float) -> None:
        """A message of so many bytes has gone."""
        self._spoke = now
        self.window.sent(count, now)
        self._paid_at = max(self._paid_at, now - 1.0) + count / RATE

    def _some(self, now: float) -> dict[str, Any]:
        """Runs with what is new of each: those of which nothing was told, else as long as that may be paid."""
        found: dict[str, Any] = {}
        size = 0
        table = self._fresh or (self._changed if now >= self._paid_at else {})
        while table and size <= PLAIN:
            name = next(iter(table))
            known = table.pop(name)
            news = known.news()
            known.told = dict(known.entry)
            if known.was_searched:
                known.is_settled = True
                self._unsettled.pop(name, None)
            if news:
                found[name] = news
                size += len(name) + len(json.dumps(news))
        return found

    # ------------------------------------------------------------------ what may be told to do

    def _name(self, key: str, body: bytes) -> str:
        """Write what a person calls it; why that cannot be."""
        try:
            told = json.loads(body)
            label = {"schema": 1, "name": str(told["name"])[:80], "note": str(told["note"])[:400]}
            folder = os.path.join(self._root, key)
            aside = os.path.join(folder, ASIDE)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(aside)
            put(aside, os.path.join(folder, "label.json"), json.dumps(label, indent=1).encode())
        except (ValueError, KeyError, TypeError, RecursionError):
            return "not a name"
        except OSError as error:
            return str(error.strerror)
        return ""

    def _delete(self, key: str) -> str:
        """Delete a run that is over: its directory under the root and what is in it, no link followed."""
        known, path = self._known[key], os.path.join(self._root, key)
        try:
            for one in (path, os.path.join(path, "metrics")):
                if not stat.S_ISDIR(os.lstat(one).st_mode):
                    return "it is no directory of its own, but a link or a file"
            known.read(self._names, time.monotonic(), self._code)
            if known.is_live:
                return f"it is alive ({known.entry['state']}): end it first"
            if known.entry["state"] == "unreadable":
                return "it cannot be read: delete it there"
            if not shutil.rmtree.avoids_symlink_attacks:
                return "that system cannot do it safely"
            shutil.rmtree(path)
        except OSError as error:
            return str(error.strerror)
        return ""


def root_for(told: Any, default: str) -> str:
    """The root that was asked for, or that of this user."""
    return told if isinstance(told, str) and told and len(told) <= 4096 and "\0" not in told else default

