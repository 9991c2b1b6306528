"""How old what stands on the screen is, at the end of a bad link through a real ssh; or what has come, where it is drawn here.

Run by hand: pytest -m bench tests/bench/test_bench_ssh.py -s
"""

from __future__ import annotations

import os
import re
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import synthetic
from far_terminal import FarTerminal
from pty_terminal import Terminal
from sshd import MODEM, WEAK, FarMachine, far_machine

from tuimon.record.log import Row
from tuimon.record.reader import LogReader
from tuimon.record.rundir import RunDir, create_run, prepare_run
from tuimon.record.segments import LogWriter
from tuimon.remote.host import parse
from tuimon.remote.reached import reached

SECONDS = 30.0
HZ = 20
"""Steps a second."""
LINKS = {"64 kbit/s, 100 ms round trip": (0.05, MODEM), "256 kbit/s, 100 ms round trip": (0.05, WEAK),
         "64 kbit/s, 300 ms round trip": (0.15, MODEM), "300 ms round trip": (0.15, 0.0), "no delay": (0.0, 0.0)}


class Lag(NamedTuple):
    """Of one link, in its last two thirds."""

    begun: float
    """Seconds until the run was on the screen."""
    fresh: tuple[float, float]
    """Seconds from when a step was written until it was on the screen, of those that were: median and most."""
    behind: tuple[float, float]
    """Since when there was a newer step than the one on the screen: median and most, at any time."""
    frames: float
    """A second."""
    carried: float
    """Bytes a second that came through the link."""


def measured(far: FarMachine, link: tuple[float, float], *options: str) -> Lag:
    """Watch a live run over it."""
    host = far.host("bench", delay=link[0], rate=link[1])
    run = synthetic.healthy(root=far.runs)
    first, written = run.step, {}
    with FarTerminal(far.argv(host, f"tuimon watch {run.dir.name}", "-t", *options), 120, 40, {}) as near:
        near.wait_for("Healthy", 120)
        opened = time.monotonic() - near.started
        begun, shown, fresh, behind = time.monotonic(), first, [], []
        frames, carried, counted = 0, 0, 0.0
        while (now := time.monotonic()) < begun + SECONDS:
            if run.step < first + (now - begun) * HZ:
                run.go(1)
                written[run.step] = now
            near.pump(0.01)
            now = time.monotonic()
            if not counted and now > begun + SECONDS / 3:
                counted, carried, frames = now, far.link(host).carried()[1], near.raw.count(b"\x1b[?2026l")
            found = re.search(r"step (\d+)/", near.text)
            before, shown = shown, int(found[1]) if found else shown
            if counted:
                behind.append(now - written.get(shown + 1, now))
                if shown != before:
                    fresh.append(now - written[shown])
        took = time.monotonic() - counted
        return Lag(opened, (statistics.median(fresh), max(fresh)), (statistics.median(behind), max(behind)),
                   (near.raw.count(b"\x1b[?2026l") - frames) / took, (far.link(host).carried()[1] - carried) / took)


@pytest.mark.bench
@pytest.mark.timeout(900)
def test_how_old_the_screen_is_through_ssh(tmp_path):
    print(f"\n{f'120x40, {HZ} steps/s, s':44}{'first':>8}{'fresh':>8}{'most':>8}{'behind':>8}{'most':>8}{'frames/s':>10}{'carried B/s':>13}")
    with far_machine(tmp_path) as far:
        for name, link in LINKS.items():
            for options in ((), ("-C",)):
                lag = measured(far, link, *options)
                print(f"{name + ', -C' * bool(options):44}{lag.begun:8.2f}{lag.fresh[0]:8.2f}{lag.fresh[1]:8.2f}"
                      f"{lag.behind[0]:8.2f}{lag.behind[1]:8.2f}{lag.frames:10.1f}{lag.carried:13,.0f}", flush=True)
                far.restore()


class Writer:
    """A run of random metrics, written row by row; `rows` of it before anybody looks."""

    def __init__(self, root: Path, metrics: int, rows: int) -> None:
        self.dir = create_run("bench", root)
        prepare_run(self.dir)
        self.log = LogWriter(self.dir.metrics, attempt=1, from_step=0, tensors=0)
        self.names, self.random, self.step = [f"metric_{i}" for i in range(metrics)], np.random.default_rng(0), 0
        while self.step < rows:
            self.go(min(50, rows - self.step))

    def go(self, count: int) -> None:
        """So many rows more."""
        values = self.random.normal(size=(count, len(self.names))).tolist()
        self.log.append([Row(self.step + i + 1, time.time(), dict(zip(self.names, row, strict=True)))
                         for i, row in enumerate(values)])
        self.step += count


class Near:
    """What has come of it."""

    def __init__(self, run: RunDir) -> None:
        self._run, self._reader, self.newest = run, LogReader(run.metrics), 0

    def look(self) -> int:
        """The newest step that is here."""
        if self._reader.is_replaced:
            self._reader = LogReader(self._run.metrics)
        for chunk in self._reader.poll():
            if len(chunk):
                self.newest = max(self.newest, int(chunk.steps[-1]))
        return self.newest


@contextmanager
def reaching(far: FarMachine, link: tuple[float, float]) -> Iterator[tuple[RunDir, str, float]]:
    """A run there as one here: its directory, the host, and seconds until there was something to look at."""
    host, began = far.host("bench", delay=link[0], rate=link[1]), time.monotonic()
    with reached(parse(f"{host}:"), control=False) as near:
        yield near, host, time.monotonic() - began


def follow(far: FarMachine, link: tuple[float, float], metrics: int, hertz: float, rows: int = 600) -> str:
    """One line of the table; lag and bytes are those of the last two thirds."""
    run, written, lags = Writer(far.runs, metrics, rows), {}, []
    with reaching(far, link) as (mirror, host, first):
        near, begun, live, counted = Near(mirror), time.monotonic(), 0.0, 0.0
        before = (0, 0)
        while (now := time.monotonic()) < begun + SECONDS:
            if run.step < rows + (now - begun) * hertz:
                run.go(1)
                written[run.step] = now
            seen = near.look()
            now = time.monotonic()
            live = live or (first + now - begun if seen >= rows else 0.0)
            if not counted and now > begun + SECONDS / 3:
                counted, before = now, far.link(host).carried()
            if counted:
                lags.append(now - written.get(seen + 1, now))
            time.sleep(0.005)
        took = time.monotonic() - counted
        up, down = ((b - a) / took for a, b in zip(before, far.link(host).carried(), strict=True))
    return f"{first:8.2f}{live:8.2f}{statistics.median(lags):8.2f}{max(lags):8.2f}{up:10,.0f}{down:10,.0f}"


@pytest.mark.bench
@pytest.mark.timeout(900)
def test_how_new_what_has_come_is_where_it_is_drawn_here(tmp_path, monkeypatch):
    """Wanted: lag <= 2 round trips + 0.2 s; idle <= 0.3 kB/s, 20 metrics <= 4 kB/s, 200 metrics at 10 Hz <= 10 kB/s."""
    print(f"\n{'s, and bytes a second':52}{'first':>8}{'live':>8}{'lag':>8}{'most':>8}{'up':>10}{'down':>10}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    slow, free = LINKS["64 kbit/s, 100 ms round trip"], LINKS["no delay"]
    with far_machine(tmp_path) as far:
        monkeypatch.setenv("TUIMON_SSH", str(far.root / "near" / "ssh"))
        for name, link, metrics, hertz, rows in (
            ("64 kbit/s, 100 ms: 20 metrics, 20 Hz", slow, 20, 20, 600), ("64 kbit/s, 100 ms: 200 metrics, 10 Hz", slow, 200, 10, 600),
            ("64 kbit/s, 100 ms: nothing new", slow, 20, 0, 600), ("no delay: 20 metrics, 20 Hz", free, 20, 20, 600),
            ("no delay: 200 metrics, 10 Hz", free, 200, 10, 600), ("64 kbit/s, 100 ms: 20 metrics, 1,000,000 rows", slow, 20, 20, 1_000_000)):
            print(f"{name:52}{follow(far, link, metrics, hertz, rows)}", flush=True)
            far.restore()


def first_picture(far: FarMachine, host: str) -> tuple[float, int]:
    """Seconds from typing `tuimon watch HOST:` until the run is on the screen, and bytes that came and went for it."""
    env = {name: os.environ[name] for name in ("TUIMON_SSH", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")}
    with Terminal([sys.executable, "-m", "tuimon", "watch", f"{host}:"], 120, 40, env) as near:
        near.wait_for(lambda text: "240/600" in text and "LOSS" in text, 60)
        took = time.monotonic() - near.started
        carried = sum(far.link(host).carried())
        near.press("q")
        near.wait_for_end()
    return took, carried


@pytest.mark.bench
@pytest.mark.timeout(900)
def test_how_long_the_first_picture_takes(tmp_path, monkeypatch):
    """Medians of five; `sent`: tuimon is not installed there."""
    for name in ("cache", "config"):
        monkeypatch.setenv(f"XDG_{name.upper()}_HOME", str(tmp_path / name))
    print(f"\n{'s':44}{'median':>8}{'least':>8}{'most':>8}{'bytes':>10}")
    with far_machine(tmp_path) as far:
        monkeypatch.setenv("TUIMON_SSH", str(far.root / "near" / "ssh"))
        for name, (delay, rate) in LINKS.items():
            for kind in ("", "bare"):
                found = []
                for _ in range(5):
                    synthetic.healthy(root=far.runs)
                    found.append(first_picture(far, far.host("bench", delay=delay, rate=rate, kind=kind)))
                    far.restore()
                times = sorted(took for took, _ in found)
                print(f"{name + (', sent' if kind else ''):44}{times[2]:8.2f}{times[0]:8.2f}{times[-1]:8.2f}"
                      f"{statistics.median(carried for _, carried in found):10,.0f}", flush=True)
