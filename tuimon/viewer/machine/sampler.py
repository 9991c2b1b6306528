"""Looks at the machine once a second, in a thread of its own. The only place here that owns a thread.

Not in the viewer's feed: a process that hangs inside the kernel can make the process table hang, and just then the rest
of the screen must go on. Looking takes about 3 ms for a tree of twenty processes; while nobody looks it is done less.
"""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tuimon.record.liveness import ProcessIdentity, boot_id
from tuimon.viewer.machine import rates
from tuimon.viewer.machine.counts import TreeReader, allowed, host_counts
from tuimon.viewer.machine.gpus import GpuWatch
from tuimon.viewer.machine.model import NOTHING, Gpus, Host, HostCounts, ProcessCounts, Sample, Target, Tree
from tuimon.viewer.machine.ring import NO_TRACES, Ring, Traces
from tuimon.viewer.text import clean

EVERY: Final = 1.0
"""Seconds between two looks ..."""
SELDOM: Final = 5.0
"""... and while the place is not in front."""
AWAY: Final = 3.0
"""Seconds without a question after which it is not."""
FIND_EVERY: Final = 5.0
"""Seconds between two looks who belongs to the tree ..."""
FIND_SHARE: Final = 1 / 500
"""... or more: of the time at most this share."""


class Sampler:
    """One look after the other."""

    def __init__(self, gpus: GpuWatch | None = None, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._gpus = gpus if gpus is not None else GpuWatch()
        self._clock = clock
        self._reader = TreeReader()
        self._process: ProcessIdentity | None = None
        self._is_there = False
        self._find_at = -math.inf
        self._before: tuple[float, dict[int, ProcessCounts]] | None = None
        self._host_before: tuple[float, HostCounts] | None = None
        self._files: dict[int, int | None] = {}

    def sample(self, target: Target, mono: float) -> Sample:
        """What the machine does, over the time since the look before."""
        process = target.process
        if process != self._process:
            self._process, self._before, self._find_at = process, None, -math.inf
        if process is not None and process.host != socket.gethostname():
            return Sample(mono, "elsewhere", clean(process.host, 60), process.pid)
        host, gpus = self._machine(target, mono), self._gpus.poll(mono)
        if process is None:
            return Sample(mono, "unknown", host=host, gpus=gpus)
        tree = self._tree(process, mono)
        if tree is None:
            return Sample(mono, "gone", clean(process.host, 60), process.pid, host=host, gpus=gpus)
        return Sample(mono, "here", clean(process.host, 60), process.pid, tree, host, allowed(process.pid), gpus)

    def close(self) -> None:
        """End what was started."""
        self._gpus.close()

    def _machine(self, target: Target, mono: float) -> Host:
        now = host_counts(target.directory)
        before, self._host_before = self._host_before, (mono, now)
        return rates.host(before[1], now, mono - before[0]) if before else rates.host(None, now, 0.0)

    def _tree(self, process: ProcessIdentity, mono: float) -> Tree | None:
        looked = mono >= self._find_at
        if looked:
            started = self._clock()
            self._is_there = process.boot_id == boot_id() and self._reader.find(process)
            self._find_at = mono + max(FIND_EVERY, (self._clock() - started) / FIND_SHARE)
        found = self._reader.read(files=looked) if self._is_there else []
        if self._is_there and (not found or found[0].pid != process.pid) and not looked:
            self._find_at = -math.inf   # it has ended since
            return self._tree(process, mono)
        if not self._is_there:
            self._before = None
            return None
        if looked:
            self._files = {one.pid: one.files for one in found}
        before, self._before = self._before, (mono, {one.pid: one for one in found})
        kept, seconds = (before[1], mono - before[0]) if before else ({}, 0.0)
        return rates.tree(kept, found, seconds, more=self._reader.more, files=self._files)


def columns(sample: Sample) -> dict[str, float | None]:
    """What is kept of a look, by name."""
    tree, host = sample.tree, sample.host
    kept: dict[str, float | None] = {}
    if tree is not None:
        kept |= {"cores": tree.cores, "resident": float(tree.resident), "read": tree.read, "written": tree.written}
    if host is not None:
        kept |= {"cpu": host.cpu, "memory": float(host.memory_used), "received": host.received, "sent": host.sent}
    if sample.gpus.state == "ok":
        for gpu in sample.gpus.gpus:
            kept[f"gpu {gpu.index}"] = gpu.busy
    return kept


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """The newest sample with what came before it."""

    sample: Sample = NOTHING
    traces: Traces = NO_TRACES
    number: int = 0
    """Counts the looks."""


class Watch:
    """A thread that looks. `see` says what it saw last, and never waits."""

    def __init__(self, sampler: Callable[[], Sampler] = Sampler, *,
                 clock: Callable[[], float] = time.monotonic) -> None:
        """`sampler` is made in the thread: it starts processes and reads files."""
        self._make, self._clock = sampler, clock
        self._target = Target()
        self._look = Look()
        self._asked = clock()
        self._wake, self._closed = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="tuimon-machine", daemon=True)
        self._thread.start()

    def see(self, target: Target, mono: float) -> Look:
        """The newest look; the next one is at `target`."""
        is_back, self._asked = mono - self._asked > AWAY, mono
        if is_back or target != self._target:
            self._target = target
            self._wake.set()
        return self._look

    def close(self) -> None:
        """Look no more; waits a moment for the thread, not for ever."""
        self._closed = True
        self._wake.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        ring, number = Ring(), 0
        sampler = self._make()
        target = self._target
        while not self._closed:
            before, target = target, self._target
            if target.process != before.process:
                ring = Ring()
            mono = self._clock()
            sample = self._sampled(sampler, target, mono)
            ring.add(mono, columns(sample))
            number += 1
            self._look = Look(sample, ring.traces(), number)
            self._wake.wait(SELDOM if mono - self._asked > AWAY else EVERY)
            self._wake.clear()
        sampler.close()

    @staticmethod
    def _sampled(sampler: Sampler, target: Target, mono: float) -> Sample:
        try:
            return sampler.sample(target, mono)
        except Exception:
            # A system that answers as none of those we know must not take the place away.
            return Sample(mono, "unknown", gpus=Gpus())
