"""How a console of 50 MB opens, scrolls and is searched, through the real panel without a terminal.

    pytest -m bench tests/bench/test_bench_console.py -s
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import pytest
from frames import FLUID, heading, panel, say

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "viewer"))

import synthetic

from tuimon.record.console import ConsoleReader
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
    async with panel(run.dir, size) as app:
        began = time.perf_counter()
        app.simulate_key("o")
        await app.until(lambda: app.in_front().PLACE == "console" and app.screen.query("#printed"))
        view = app.screen.query_one("#printed", PictureView)
        await app.until(lambda: view.picture.height and "following" in view.picture.lines[0])
        say(f"{'from the key to the newest lines':<44} {1e3 * (time.perf_counter() - began):9.0f} ms")
        heading(f"{size[0]}x{size[1]}")
        worst = [await app.row(name, keys, lambda: view.picture, many) for name, keys, many in (
            ("a row up", ["up"], STEPS), ("a page up", ["pageup"], STEPS), ("a page down", ["pagedown"], STEPS),
            ("a row down", ["down"], STEPS), ("the first, the newest", ["home", "end"], 200),
            ("lines numbered, or not", ["number_sign"], 200),
        )]
    assert max(worst) < FLUID
