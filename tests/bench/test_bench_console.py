"""How a console of 50 MB opens, scrolls and is searched, through the real panel without a terminal.

    pytest -m bench tests/bench/test_bench_console.py -s
"""

from __future__ import annotations

import asyncio
import random
import statistics
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "viewer"))

import synthetic

from tuimon.record.console import ConsoleReader
from tuimon.viewer.app import Tuimon
from tuimon.viewer.feed import Feed
from tuimon.viewer.glyphs import BRAILLE
from tuimon.viewer.places.console.search import Search
from tuimon.viewer.widgets.picture import PictureView

MEGABYTES, STEPS = 50, 300


def printed(path: Path) -> int:
    """A console as trainings print it: mostly plain lines, some coloured, bars that rewrite themselves, a traceback."""
    chance, size = random.Random(0), 0
    bar = "".join(f"\rEpoch 3  {i}%|{'█' * (i // 4):25}| {i}/100 [00:{i % 60:02}<00:10, 9.5it/s]" for i in range(100))
    with open(path, "w", encoding="utf-8") as file:
        while size < MEGABYTES << 20:
            i = size // 60
            line = f"step {i:>7} loss {3 * chance.random():.4f} lr 3.0e-04 grad {chance.random():.3f} tok/s {chance.randrange(9999)}"
            if i % 50 == 7:
                line = f"\x1b[32mINFO\x1b[0m {line}"
            if i % 500 == 9:
                line = bar
            if i % 997 == 3:
                line = 'Traceback (most recent call last):\n  File "train.py", line 3\nRuntimeError: planted'
            size += file.write(line + "\n")
    return path.stat().st_size


def table(name: str, times: list[tuple[float, float]]) -> None:
    """Wall time, and CPU time of the process: what a quiet machine would take at most."""
    for kind, column in zip(("wall", "CPU"), zip(*times, strict=True), strict=True):
        ms = sorted(1e3 * t for t in column)
        print(f"{name:<30}{kind:>5}  p50 {statistics.median(ms):7.1f}  p99 {ms[int(0.99 * (len(ms) - 1))]:7.1f}  max {ms[-1]:7.1f} ms")


async def stepped(pilot, view: PictureView, key: str) -> tuple[float, float]:
    """From a key to the picture that answers it: wall and CPU seconds."""
    before, began, used = view.picture, time.perf_counter(), time.process_time()
    pilot.app.simulate_key(key)
    while view.picture is before:  # noqa: ASYNC110 - nothing tells that a picture has changed
        await asyncio.sleep(0.0005)
    return time.perf_counter() - began, time.process_time() - used


@pytest.mark.bench
@pytest.mark.parametrize("size", [(80, 24), (160, 48), (250, 70)])
async def test_bench_scrolling_a_large_console(size):
    run = synthetic.Run()
    run.go(200)
    count = printed(run.dir.console)
    began = time.perf_counter()
    reader = ConsoleReader(run.dir.console)
    reader.poll()
    print(f"\n{size[0]}x{size[1]}: {count / 2**20:.0f} MB, {reader.lines:,} lines")
    print(f"{'index':<44} {1e3 * (time.perf_counter() - began):9.0f} ms, {reader.entries:,} entries")
    for pattern in ("planted", "no such line", r"loss 0\.00\d+"):
        began, search = time.perf_counter(), Search(pattern, reader)
        while search.advance(budget=10.0):
            pass
        print(f"{'search ' + pattern:<44} {1e3 * (time.perf_counter() - began):9.0f} ms, {search.found(None, None).lines:,} lines")
    reader.close()
    app = Tuimon(run.dir.name, lambda ready: Feed(run.dir, ready), glyphs=BRAILLE)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        began = time.perf_counter()
        await pilot.press("o")
        view = app.screen.query_one("#printed", PictureView)
        while not view.picture.height or "following" not in view.picture.lines[0]:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        print(f"{'from the key to the newest lines':<44} {1e3 * (time.perf_counter() - began):9.0f} ms")
        for key in ("up", "pageup", "pagedown", "down"):
            table(f"{key}, {STEPS} times", [await stepped(pilot, view, key) for _ in range(STEPS)])
        jumps = []
        for _ in range(40):
            jumps += [await stepped(pilot, view, "home"), await stepped(pilot, view, "end")]
        table("home and end, 80 times", jumps)
