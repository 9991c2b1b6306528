"""From two readings of counters to what happens per second. Pure; time is an argument.

A counter that went backwards (a process number used again, an interface that was reset) tells nothing: None.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from tuimon.viewer.machine.model import Host, HostCounts, Process, ProcessCounts, Tree


def per_second(before: float | None, after: float | None, seconds: float) -> float | None:
    """The rise of a counter per second; None where one is missing, time stood still or it fell."""
    if before is None or after is None or not seconds > 0 or after < before:
        return None
    return (after - before) / seconds


def process(before: ProcessCounts | None, now: ProcessCounts, seconds: float) -> Process:
    """One process between two readings; of the first one only what stands still."""
    if before is not None and before.started != now.started:
        before = None
    cores = switches = read = written = None
    if before is not None:
        cores = per_second(before.cpu, now.cpu, seconds)
        switches = per_second(before.switches, now.switches, seconds)
        read = per_second(before.read, now.read, seconds)
        written = per_second(before.written, now.written, seconds)
    return Process(now.pid, now.role, now.name, cores, now.resident, now.threads, now.files, switches, read, written,
                   now.state)


def tree(before: Mapping[int, ProcessCounts], now: Sequence[ProcessCounts], seconds: float, *, more: int = 0,
         files: Mapping[int, int | None] | None = None) -> Tree:
    """The whole tree between two readings; `now` begins with the training process.

    `files`: open files as they were counted last, by number of the process.

    Of shared pages only the largest share of one process is counted: exact where all share the same pages.
    """
    opened = {one.pid: one.files for one in now} if files is None else files
    found = tuple(replace(process(before.get(one.pid), one, seconds), files=opened.get(one.pid)) for one in now)
    total = sum(one.resident for one in now)
    own = sum(max(0, one.resident - one.shared) for one in now) + max((one.shared for one in now), default=0)
    return Tree(
        found, _sum(one.cores for one in found), min(own, total), total, sum(one.threads for one in now),
        _count(one.files for one in found), _sum(one.switches for one in found), _sum(one.read for one in found),
        _sum(one.written for one in found), more,
        sum(one.read is None and one.files is None for one in found))


def host(before: HostCounts | None, now: HostCounts, seconds: float) -> Host:
    """The machine between two readings."""
    busy: tuple[float, ...] | None = None
    received = sent = None
    if before is not None:
        received = per_second(before.received, now.received, seconds)
        sent = per_second(before.sent, now.sent, seconds)
        if len(before.busy) == len(now.busy):
            rises = [(b - a, d - c) for a, b, c, d in
                     zip(before.busy, now.busy, before.total, now.total, strict=True)]
            busy = tuple(min(1.0, max(0.0, work / all_)) if all_ > 0 else 0.0 for work, all_ in rises)
    return Host(busy, received, sent, now.load, now.memory, now.memory_used, now.swap, now.swap_used, now.disk,
                now.disk_free, max(1, len(now.busy)))


def _sum(values: Iterable[float | None]) -> float | None:
    """Sum of those that are known; None where none is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _count(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
