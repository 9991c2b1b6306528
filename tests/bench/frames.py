"""How long a key waits for its answer on the screen, and whose time that is, in the whole panel with its feed.

What would be sent to a terminal is made as for a real one, and dropped. A frame is fluid when the thread that draws
needs at most `FLUID` for it: wall time also holds what others do on this machine, and up to 17 ms until Textual draws.
"""

from __future__ import annotations

import asyncio
import gc
import math
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from textual.drivers.headless_driver import HeadlessDriver

from tuimon.record.rundir import RunDir
from tuimon.viewer import interpreter
from tuimon.viewer.app import Tuimon
from tuimon.viewer.feed import Feed
from tuimon.viewer.glyphs import BRAILLE
from tuimon.viewer.terse import terse

FLUID = 50.0
"""Milliseconds."""
Sign = Callable[[], object]
"""What is another object once a key has its answer."""


class Nowhere(HeadlessDriver):
    """A terminal that takes everything at once."""

    is_headless = False

    def write(self, data: str) -> None:
        terse(data)


class Took(NamedTuple):
    """One frame, in ms."""

    wall: float
    cpu: float
    """Of the thread that draws."""
    others: float
    """CPU of the other threads meanwhile: of the feed."""
    garbage: float
    """CPU of searches for garbage, in whatever thread."""


class Panel(Tuimon):
    """The panel, which says when it has drawn."""

    def __init__(self, run: RunDir, hosts: Path | None = None) -> None:
        super().__init__(run.name, lambda ready: Feed(run, ready, hosts=hosts), glyphs=BRAILLE, settle=interpreter.settle)
        self.driver_class = Nowhere
        self.drawn = asyncio.Event()
        self.searched = self._began = 0.0

    def post_display_hook(self) -> None:
        super().post_display_hook()
        self.drawn.set()

    def searching(self, phase: str, told: Mapping[str, object]) -> None:
        del told
        if phase == "start":
            self._began = time.thread_time()
        else:
            self.searched += time.thread_time() - self._began

    async def answered(self, key: str, sign: Sign) -> Took:
        """From a key until something else than `sign` is on the terminal."""
        before, searched = sign(), self.searched
        wall, cpu, everything = time.perf_counter(), time.thread_time(), time.process_time()
        self.simulate_key(key)
        async with asyncio.timeout(30):
            while sign() is before:
                self.drawn.clear()
                await self.drawn.wait()
        cpu, everything = time.thread_time() - cpu, time.process_time() - everything
        took = time.perf_counter() - wall, cpu, everything - cpu, self.searched - searched
        return Took(*(1e3 * t for t in took))

    async def row(self, name: str, keys: Sequence[str], sign: Sign, count: int = 200) -> float:
        """A row of the table: so many keys, one after the other, and the p99 of CPU."""
        times = [await self.answered(keys[i % len(keys)], sign) for i in range(count)]

        def at(which: str, share: float) -> float:
            column = sorted(getattr(t, which) for t in times)
            return column[max(0, math.ceil(share * len(column)) - 1)]

        figures = "".join(f"{at(w, 0.5):9.1f}{at(w, 0.99):8.1f}{at(w, 1.0):8.1f}" for w in ("wall", "cpu"))
        say(f"{name:34}{figures}{at('others', 0.99):11.1f}{at('garbage', 1.0):10.1f}")
        return at("cpu", 0.99)

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(120):
            while not holds():  # noqa: ASYNC110 - nothing tells that a picture has changed
                await asyncio.sleep(0.02)


def say(words: str) -> None:
    """Past the panel, which takes what is printed for itself."""
    print(words, file=sys.__stdout__, flush=True)


def heading(title: str) -> None:
    say(f"\n{title}; load {os.getloadavg()[0]:.1f}; ms\n{'':34}{'wall p50':>9}{'p99':>8}{'max':>8}{'CPU p50':>9}{'p99':>8}"
        f"{'max':>8}{'feed p99':>11}{'garbage':>10}")


@asynccontextmanager
async def panel(run: RunDir, size: tuple[int, int], hosts: Path | None = None) -> AsyncIterator[Panel]:
    app, threshold, turn = Panel(run, hosts), gc.get_threshold(), sys.getswitchinterval()
    interpreter.begin()
    gc.callbacks.append(app.searching)
    try:
        async with app.run_test(headless=False, size=size):
            await app.until(lambda: app.current.newest)
            yield app
    finally:
        gc.callbacks.remove(app.searching)
        gc.set_threshold(*threshold)
        gc.unfreeze()
        sys.setswitchinterval(turn)
