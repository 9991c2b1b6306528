"""What stands beside the log in a run directory, and which run is meant. Touches the disk; only `command` writes.

Names are labels: nothing outside the run directory is opened, and nothing through a link.
"""

from __future__ import annotations

import json
import os
import re
import stat
import time
from collections import deque
from typing import Any, Iterator

from tuimon.remote.far.followed import Message, read_at

CHUNK = 4096
EARLY_EVERY, LATE_EVERY = 0.1, 2.0
LARGE = 32 << 10
"""Bytes of a file that goes after the first picture: of ten thousand tensors run.json is a megabyte."""
MOST_WHOLE = 8 << 20
MOST_SMALL = 1 << 20
MOST_EVENTS = 4 << 20
"""Of the events, what is sent to begin with: the last ones."""
MOST_CONSOLE = 64 << 10
MOST_BEHIND = 1 << 20
"""Bytes of the console that may wait to be told; of more, only the last ones ever are."""
MOST_COMMAND = 16_384
WHOLE = ("run.json", "launch.json", "label.json")
SLACK = 2.0
_STAMP = re.compile(r"-(\d{8}-\d{6})-[0-9a-f]{6}$")


class Files:
    """One run's files, as far as they have been told of."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._early: deque[Message] = deque()
        self._middle: deque[Message] = deque()
        self._late: deque[Message] = deque()
        self._known: dict[str, Any] = {}
        self._ends: dict[str, int] = {}
        self._looked_early = self._looked_late = float("-inf")

    def poll(self, now: float) -> None:
        """Look what is new."""
        if now - self._looked_early >= EARLY_EVERY and not (self._early or self._middle):
            self._looked_early = now
            for name in WHOLE:
                self._whole(name, self._early, MOST_WHOLE)
            self._tail("events.jsonl", self._middle, MOST_EVENTS)
        if now - self._looked_late >= LATE_EVERY and not self._late:
            self._looked_late = now
            self._tail("console.log", self._late, MOST_CONSOLE)
            for name in self._below("autopsy", "", ".json") + self._below("checkpoints", "manifest.json", ""):
                self._whole(name, self._late, MOST_SMALL)

    def early(self) -> Message | None:
        """What a first look needs."""
        return self._early.popleft() if self._early else None

    def middle(self) -> Message | None:
        """What happened: of a long run that is much to tell before there is anything to look at."""
        return self._middle.popleft() if self._middle else None

    def late(self) -> Message | None:
        """What can wait."""
        return self._late.popleft() if self._late else None

    def tell(self, name: str, data: bytes) -> bool:
        """Tell what is no file here as one, in its turn; whether there was room."""
        if self._middle:
            return False
        self._middle.extend(_pieces(name, data))
        return True

    def command(self, body: bytes) -> str:
        """Put a command into the spool, in this machine's time; why that cannot be, or nothing."""
        try:
            told = json.loads(body)
            if len(body) > MOST_COMMAND or not isinstance(told, dict) or not isinstance(told.get("who"), dict):
                return "not a command"
            told["issued"] = time.time() - max(0.0, float(told.pop("age", 0.0)))
            client = os.environ.get("SSH_CONNECTION", "").split(" ")[0]
            told["who"] = {**told["who"], "origin": client or "remote"}
            name = re.sub(r"[^0-9A-Za-z-]", "", str(told.get("id", "")))[:80]
            name = f"{time.time_ns():020d}-{name}.json"
            spool = os.path.join(self._path, "commands")
            put(os.path.join(spool, "tmp", name), os.path.join(spool, "new", name),
                json.dumps(told, allow_nan=False).encode())
        except (ValueError, TypeError, OverflowError, RecursionError):
            return "not a command"
        except OSError as error:
            return f"it could not be handed over: {error.strerror}"
        return ""

    def _whole(self, name: str, queue: deque[Message], most: int) -> None:
        path = os.path.join(self._path, name)
        try:
            found = os.lstat(path)
        except OSError:
            return
        sign = (found.st_mtime_ns, found.st_size, found.st_ino)
        if self._known.get(name) == sign or not stat.S_ISREG(found.st_mode) or found.st_size > most:
            return
        data = read_at(path, 0, most)
        self._known[name] = sign
        queue = self._middle if queue is self._early and len(data) > LARGE else queue
        queue.extend(_pieces(name, data))

    def _tail(self, name: str, queue: deque[Message], most: int) -> None:
        path = os.path.join(self._path, name)
        try:
            size = os.lstat(path).st_size
        except OSError:
            return
        at, is_new = self._ends.get(name, -1), False
        if at < 0 or size < at or (size - at > MOST_BEHIND and queue is self._late):
            at, is_new = max(0, size - most), True
        data = read_at(path, at, most)
        if is_new and at:
            half = data.find(b"\n") + 1   # the first may be half a line
            at, data = at + half, data[half:]
        if name.endswith(".jsonl"):
            data = data[:data.rfind(b"\n") + 1]
        self._ends[name] = at + len(data)
        if not data and not is_new:
            return
        for start in range(0, max(1, len(data)), CHUNK):
            queue.append(({"k": "tail", "name": name, "new": is_new and start == 0}, data[start:start + CHUNK]))

    def _below(self, folder: str, inner: str, ending: str) -> list[str]:
        """Files in a folder, or the one called `inner` in each of its folders."""
        try:
            names = sorted(os.listdir(os.path.join(self._path, folder)))[-256:]
        except OSError:
            return []
        return [os.path.join(folder, name, inner) if inner else os.path.join(folder, name)
                for name in names if name.endswith(ending) and not name.startswith(".")]


def put(aside: str, path: str, data: bytes) -> None:
    """Write a file whole: beside its place first; OSError where that cannot be."""
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, 0o600)   # there are umasks that take the owner's own rights
        os.write(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(aside, path)


def _pieces(name: str, data: bytes) -> Iterator[Message]:
    for at in range(0, max(1, len(data)), CHUNK):
        yield {"k": "file", "name": name, "at": at, "size": len(data)}, data[at:at + CHUNK]


def runs(root: str) -> list[str]:
    """The runs under a root, newest first."""
    found: list[tuple[str, float, str]] = []
    try:
        for entry in os.scandir(root):
            if entry.is_dir(follow_symlinks=False) and os.path.isdir(os.path.join(entry.path, "metrics")):
                stamp = _STAMP.search(entry.name)
                found.append((stamp.group(1) if stamp else "", entry.stat(follow_symlinks=False).st_ctime, entry.name))
    except OSError:
        return []
    return [name for _, _, name in sorted(found, reverse=True)]


def named(root: str, selector: str | None) -> tuple[str | None, str]:
    """The directory of the run that a person means, or why there is none: as `record.runs.find_run`."""
    if selector and (os.sep in selector or selector in (".", "..")):
        path = os.path.abspath(os.path.expanduser(selector))
        return (path, "") if os.path.isdir(os.path.join(path, "metrics")) else (
            None, f"{selector!r} is not a run directory: it has no metrics/")
    there = runs(root)
    if not there:
        return None, f"no runs under {root}"
    if not selector:
        chosen = next((name for name in there if live(os.path.join(root, name))), there[0])
        return os.path.join(root, chosen), ""
    labels = {name: json_of(os.path.join(root, name, "label.json")).get("name") for name in there}
    exact = [name for name in there if name == selector] or [name for name in there if labels[name] == selector]
    found = exact[:1] or [name for name in there if name.startswith(selector)]
    if not found:
        return None, "no run named {!r}; the latest are: {}".format(selector, ", ".join(there[:5]))
    if len({_STAMP.sub("", name) for name in found}) > 1:
        return None, "{!r} fits several runs: {}".format(selector, ", ".join(found[:5]))
    return os.path.join(root, found[0]), ""


def live(path: str) -> bool | None:
    """Whether the process that trains is there; None where that cannot be told."""
    told = [json_of(os.path.join(path, name)) for name in ("run.json", "launch.json")]
    starts = [number(body.get("started")) for body in told]
    return alive(told[1 if starts[1] > starts[0] else 0].get("process"))


def alive(process: Any) -> bool | None:
    """Whether a process is there, by what was written down of it; None where that cannot be told."""
    if not isinstance(process, dict) or process.get("host") != os.uname().nodename:
        return None
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            if file.read().strip() != process.get("boot_id"):
                return False
        with open("/proc/{}/stat".format(int(process["pid"])), encoding="utf-8", errors="replace") as file:
            fields = file.read().rpartition(")")[2].split()
        begun = float(fields[19]) / os.sysconf("SC_CLK_TCK")
        since = process.get("since_boot")
        if isinstance(since, float):   # what no setting of the clock moves
            return fields[0] != "Z" and abs(begun - since) < SLACK
        with open("/proc/stat", encoding="ascii") as file:
            boot = next(float(line.split()[1]) for line in file if line.startswith("btime"))
        return fields[0] != "Z" and abs(boot + begun - number(process.get("started"))) <= SLACK
    except (OSError, ValueError, KeyError, IndexError, StopIteration, TypeError):
        pass
    try:
        os.kill(int(process["pid"]), 0)
    except PermissionError:
        return True
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return False
    return True


def json_of(path: str) -> dict[str, Any]:
    """A file's object; nothing where it is none."""
    try:
        body = json.loads(read_at(path, 0, MOST_WHOLE) or b"{}")
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def number(value: Any) -> float:
    """A number of a file's; 0.0 for what is none."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else 0.0
