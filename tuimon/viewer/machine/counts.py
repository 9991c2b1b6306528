"""Reads the kernel's counters: of a tree of processes, of the machine, of its control groups. Touches /proc by psutil.

The law of this file: looking costs the one that is looked at nothing. What the kernel answers from its own counters is
read; the exact share of each page (smaps) is not, for the kernel walks the pages under the process's own lock.
"""

from __future__ import annotations

import math
import os
from dataclasses import replace
from typing import Any, Final

import psutil

from tuimon.record.liveness import ProcessIdentity, has_started_as
from tuimon.viewer.machine.model import HostCounts, Limits, ProcessCounts
from tuimon.viewer.text import clean

MOST: Final = 64
"""Processes of a tree that are looked at."""
CGROUPS: Final = "/sys/fs/cgroup"
_COMMANDS: Final = (
    ("multiprocessing.resource_tracker", "resource tracker"), ("multiprocessing.forkserver", "fork server"),
    ("torch/_inductor/compile_worker", "compile worker"), ("torch._inductor.compile_worker", "compile worker"),
    ("--multiprocessing-fork", "spawned worker"), ("multiprocessing.spawn", "spawned worker"),
)


def role_of(name: str, command: list[str], *, first: bool) -> str:
    """What a process of the tree does: by the name that torch gives its data workers, or by its command."""
    if first:
        return "training"
    if name.startswith("pt_data_worker"):
        return "data worker"
    line = " ".join(command[:8])
    return next((role for mark, role in _COMMANDS if mark in line), name or "?")


class TreeReader:
    """The training process and its descendants. Who they are is asked now and then, what they do at each reading."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[psutil.Process, str, str]] = {}
        self.more = 0
        """Descendants beyond MOST."""

    def find(self, wanted: ProcessIdentity) -> bool:
        """Look who is there now; False where the training process is gone."""
        self.more = 0
        try:
            root = psutil.Process(wanted.pid)
            if not has_started_as(root, wanted) or root.status() == psutil.STATUS_ZOMBIE:
                raise psutil.NoSuchProcess(wanted.pid)
            found = [root, *_descendants(root)]
        except psutil.NoSuchProcess:
            self._known = {}
            return False
        except psutil.Error:
            found = []   # there, and not to be looked at: a table that hides other users' processes
        self.more = max(0, len(found) - MOST)
        kept: dict[int, tuple[psutil.Process, str, str]] = {}
        for i, one in enumerate(found[:MOST]):
            before = self._known.get(one.pid)
            kept[one.pid] = before if before is not None and before[0] == one else (one, *_who(one, first=i == 0))
        self._known = kept
        return True

    def read(self, *, files: bool) -> list[ProcessCounts]:
        """The counters of those that are still there, the training process first; `files`: count open files, too."""
        found = []
        for one, name, role in self._known.values():
            try:
                found.append(_counts(one, name, role, files=files))
            except psutil.Error:
                continue   # ended since
        return found


def _descendants(root: psutil.Process) -> list[psutil.Process]:
    try:
        return list(root.children(recursive=True))
    except psutil.AccessDenied:
        return []


def _who(one: psutil.Process, *, first: bool) -> tuple[str, str]:
    try:
        name = clean(one.name(), 40)
    except psutil.Error:
        name = ""
    try:
        command = one.cmdline()
    except psutil.Error:
        command = []
    return name, clean(role_of(name, command, first=first), 24)


def _counts(one: psutil.Process, name: str, role: str, *, files: bool) -> ProcessCounts:
    with one.oneshot():
        times, memory = one.cpu_times(), one.memory_info()
        threads, state = int(one.num_threads()), str(one.status())
        switched = _asked(one, "num_ctx_switches")
        moved = _asked(one, "io_counters")
    return ProcessCounts(
        one.pid, float(one.create_time()), name, role, float(times.user + times.system), int(memory.rss),
        int(getattr(memory, "shared", 0)), threads, None if switched is None else int(sum(switched)),
        _asked(one, "num_fds") if files else None, None if moved is None else int(moved.read_bytes),
        None if moved is None else int(moved.write_bytes), state)


def _asked(one: psutil.Process, what: str) -> Any:
    """The answer, or None where it may not be given or this system has none."""
    try:
        return getattr(one, what)()
    except (psutil.AccessDenied, AttributeError, NotImplementedError):
        return None


# ---------------------------------------------------------------------- the machine


def host_counts(directory: str = "") -> HostCounts:
    """The machine's counters, and the room on the disk that holds `directory`."""
    busy, total = [], []
    for core in psutil.cpu_times(percpu=True):
        idle = core.idle + getattr(core, "iowait", 0.0)
        # guest time is counted in user time already
        whole = sum(core) - getattr(core, "guest", 0.0) - getattr(core, "guest_nice", 0.0)
        busy.append(whole - idle)
        total.append(whole)
    memory = psutil.virtual_memory()
    received, sent = _network()
    disk, free = _disk(directory)
    swap, swapped = _swap()
    return HostCounts(tuple(busy), tuple(total), received, sent, _load(), int(memory.total),
                      int(memory.total - memory.available), swap, swapped, disk, free)


def _network() -> tuple[int | None, int | None]:
    try:
        cards = psutil.net_io_counters(pernic=True, nowrap=False)
    except (OSError, psutil.Error):
        return None, None
    outside = [card for name, card in cards.items() if name != "lo" and not name.startswith("lo0")]
    return sum(card.bytes_recv for card in outside), sum(card.bytes_sent for card in outside)


def _disk(directory: str) -> tuple[int | None, int | None]:
    if not directory:
        return None, None
    try:
        room = psutil.disk_usage(directory)
    except OSError:
        return None, None
    return int(room.total), int(room.free)


def _swap() -> tuple[int | None, int | None]:
    """From /proc/meminfo where there is one: psutil reads more files and warns where a container hides them."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            rows = dict(line.split(":", 1) for line in file)
        total, free = (1024 * int(rows[name].split()[0]) for name in ("SwapTotal", "SwapFree"))
    except (OSError, KeyError, ValueError, IndexError):
        return None, None
    return total, total - free


def _load() -> tuple[float, float, float] | None:
    try:
        return os.getloadavg()
    except OSError:
        return None


# ---------------------------------------------------------------------- containers


def allowed(pid: int) -> Limits:
    """What a process may use: what its control groups allow, and the CPUs that it is bound to."""
    limits = limits_of(pid)
    try:
        bound = len(os.sched_getaffinity(pid))
    except (OSError, AttributeError):   # gone, hidden, or a system without it
        return limits
    if bound >= (os.cpu_count() or 1) or (limits.cpus is not None and limits.cpus <= bound):
        return limits
    return replace(limits, cpus=float(bound))


def limits_of(pid: int, *, root: str = CGROUPS, proc: str = "/proc") -> Limits:
    """What control groups (version 2) allow a process: the least of its own and all that enclose it."""
    words = _first_word(os.path.join(proc, str(pid), "cgroup"), "0::")
    if words is None:
        return Limits()
    path = os.path.normpath("/" + words.removeprefix("0::").lstrip("/"))
    memory: tuple[int, int | None] | None = None
    cpus = math.inf
    while True:
        here = os.path.join(root, path.lstrip("/"))
        most = _number(_first_word(os.path.join(here, "memory.max")))
        if most is not None and (memory is None or most < memory[0]):
            memory = most, _number(_first_word(os.path.join(here, "memory.current")))
        cpus = min(cpus, _quota(_first_word(os.path.join(here, "cpu.max"))))
        if path == "/":
            break
        path = os.path.dirname(path)
    most, used = memory or (None, None)
    return Limits(most, used, cpus if math.isfinite(cpus) else None)


def _first_word(path: str, start: str = "") -> str | None:
    """The first line that begins with `start`, or None."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return next((line.strip() for line in file if line.startswith(start)), None)
    except OSError:
        return None


def _number(words: str | None) -> int | None:
    return int(words) if words is not None and words.isdecimal() else None


def _quota(words: str | None) -> float:
    """CPUs of a line such as "200000 100000"; inf where there is no limit."""
    quota, _, period = (words or "").partition(" ")
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else math.inf
