"""A far end and a near end with a link of some rate and delay between them, in a time that only the test moves."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from writers import LogWriter

from tuimon.record.log import Row
from tuimon.record.metrics import METRICS
from tuimon.record.rundir import create_run, prepare_run
from tuimon.remote.far import agent as far
from tuimon.remote.far.agent import Agent
from tuimon.remote.far.rows import unpack
from tuimon.remote.far.wire import MAGIC, Packer, Unpacker

ROUTE = 36
"""Bytes that ssh adds to each message."""


class Lags(NamedTuple):
    """Seconds since when there has been a newer step than the one that has come, at any time; and what was carried."""

    median: float
    most: float
    rate: float
    """Bytes a second."""


class Noise:
    """A run of random metrics, written row by row."""

    def __init__(self, root: Path, names: list[str], rows: int) -> None:
        self.dir = create_run("noise", root)
        prepare_run(self.dir)
        self.log = LogWriter(self.dir.metrics, attempt=1, from_step=0, tensors=0)
        self.names, self.random, self.step = names, np.random.default_rng(0), 0
        for _ in range(rows):
            self.go(0.0)

    def go(self, now: float) -> None:
        """One row more."""
        self.step += 1
        values = self.random.normal(size=len(self.names)).tolist()
        self.log.append([Row(self.step, now, dict(zip(self.names, values, strict=True)))])


class Modem:
    """Opens the only run under `root`."""

    def __init__(self, root: Path, *, rate: float = 8000.0, delay: float = 0.05) -> None:
        """`rate`: bytes a second; `delay`: seconds each way."""
        self.rate, self.delay, self.now = rate, delay, 1000.0
        self.agent, self.packer, self.unpacker = Agent(str(root), list(METRICS), "test"), Packer(), Unpacker()
        self.unpacker.feed(MAGIC)
        self.newest: dict[str, int] = {}
        """The last step that has come of each metric."""
        self.carried, self._free, self._order = 0, 0.0, 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self.agent.receive({"k": "open", "run": None, "control": False}, b"", self.now)
        self._at(self.now, self._tick)

    def _at(self, when: float, do: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._events, (when, self._order, do))

    def _tick(self) -> None:
        self.agent.poll(self.now)
        self._send()
        self._at(self.now + far.TICK, self._tick)

    def _send(self) -> None:
        for data in self.agent.talk(self.packer, self.now):
            size = len(data) + ROUTE
            self._free = max(self._free, self.now) + size / self.rate
            self._at(self._free + self.delay, lambda data=data, size=size: self._arrive(data, size))

    def _arrive(self, data: bytes, size: int) -> None:
        self.carried += size
        for head, body in self.unpacker.feed(data):
            if head["k"] == "rows":
                rows = unpack(head, body)
                for name, there in zip(rows.names, rows.present, strict=True):
                    if there is None or there[-1]:
                        self.newest[name] = max(self.newest.get(name, 0), rows.steps[-1])
        self._at(self.now + self.delay + 0.01, self._answer)

    def _answer(self) -> None:
        self.agent.receive({"k": "ack", "n": 1}, b"", self.now)
        self._send()

    def until(self, when: float) -> None:
        """Let time pass."""
        while self._events and self._events[0][0] <= when:
            self.now, _, do = heapq.heappop(self._events)
            do()
        self.now = when

    def watch(self, run: Noise, hertz: float, seconds: float, names: list[str] | None = None) -> Lags:
        """So many rows a second; lags of those metrics in the last two thirds."""
        begun, first, written, lags, carried = self.now, run.step, {}, [], 0
        for i in range(int(seconds * 100)):
            self.until(begun + i / 100)
            while hertz and run.step < first + (self.now - begun) * hertz:
                run.go(self.now)
                written[run.step] = self.now
            if i == int(seconds * 100) // 3:
                carried = self.carried
            if i > seconds * 100 / 3:
                seen = min(self.newest.get(name, 0) for name in names or run.names)
                lags.append(self.now - written.get(seen + 1, self.now))
        return Lags(float(np.median(lags)), max(lags), (self.carried - carried) / (2 / 3 * seconds))
