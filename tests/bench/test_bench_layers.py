"""What the layers cost with 2,000 layers of five tensors each: a frame on a laid-out screen, a key, a row more.

    pytest -m bench tests/bench/test_bench_layers.py -s
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from frames import FLUID, heading, panel
from test_bench_long_runs import deep

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "viewer"))

from read_run import Read, stretch, table, tensor_rows

from tuimon.record.history import History
from tuimon.record.rundir import RunDir
from tuimon.viewer.frame import empty_frame
from tuimon.viewer.glyphs import BRAILLE
from tuimon.viewer.places.layers.detail import LayersDetail
from tuimon.viewer.places.layers.model import Ask
from tuimon.viewer.places.layers.screen import LayersScreen
from tuimon.viewer.theme import PALETTES, Ink
from tuimon.viewer.wanted import Wanted
from tuimon.viewer.widgets.picture import PictureView

LAYERS, PARTS, ROWS, FRAMES = 2_000, 5, 1_500, 100
SIZES = ((120, 40), (200, 60))


def grown() -> Read:
    read = Read(History(table(LAYERS, tuple("abcde"))))
    for first in range(1, ROWS, 250):
        more(read, first, 250)
    return read


def more(read: Read, first: int, count: int) -> None:
    grad = 10 ** (0.1 * np.random.default_rng(first).standard_normal((count, LAYERS * PARTS), np.float32) - 2)
    read.more(stretch(tensor_rows(grad, steps=np.arange(first, first + count))))


async def keys(view, size) -> dict[str, list[float]]:
    """CPU milliseconds from a key to a screen that is idle again."""
    from textual.app import App

    layers = LayersScreen(replace(empty_frame("bench", ""), detail=view), Ink(PALETTES["dark"], "truecolor"), BRAILLE)

    class Bare(App[None]):
        def on_mount(self) -> None:
            self.push_screen(layers)

    found: dict[str, list[float]] = {}
    async with Bare().run_test(size=size) as pilot:
        await pilot.pause()
        layers.action_layer(1)

        async def timed(name: str, do) -> None:
            for i in range(FRAMES):
                began = time.process_time()
                do(i)
                await pilot.pause()
                found.setdefault(f"{name}, {size[0]}x{size[1]}", []).append(1e3 * (time.process_time() - began))

        await timed("all in one picture, down", lambda _: layers.action_layer(1))
        await timed("all in one picture, a frame", lambda i: layers.show_frame(replace(layers.frame, revision=i)))
        layers.action_unfold()
        await timed("a row each, down", lambda _: layers.action_layer(1))
        await timed("a row each, a page down", lambda _: layers.action_layer(5))
        await timed("a row each, left", lambda _: layers.action_moment(0))
        layers.action_worst()
        await timed("worst first, down", lambda _: layers.action_layer(1))
    return found


@pytest.mark.bench
@pytest.mark.timeout(300)
@pytest.mark.parametrize("size", SIZES)
async def test_bench_keys_in_the_whole_panel(tmp_path, size):
    async with panel(RunDir(deep(tmp_path / "run")), size) as app:
        app.simulate_key("l")
        await app.until(lambda: app.in_front().PLACE == "layers" and app.in_front().view is not None)
        app.simulate_key("down")
        screen = app.in_front()
        seen, table = screen.query_one("#map", PictureView), screen.query_one("#tensors", PictureView)
        heading(f"{LAYERS:,} layers, {size[0]}x{size[1]}")
        worst = [await app.row(name, keys, lambda: seen.picture, many) for name, keys, many in (
            ("all in one picture, down, up", ["down"] * 14 + ["up"] * 14, 280),
            ("a step to the left, to the right", ["left"] * 30 + ["right"] * 20, 200),
            ("worst first, or not", ["w"], 200), ("a row each, or not", ["d"], 201),
            ("a row each, down, up", ["down"] * 49 + ["up"] * 48, 291),
            ("a row each, pages", ["pagedown"] * 20 + ["pageup"] * 20, 200),
        )]
        app.simulate_key("p")
        await app.until(lambda: table.picture.height)
        worst += [await app.row(name, keys, lambda: table.picture, many) for name, keys, many in (
            ("all parameters, down", ["down"], 200), ("all parameters, a page", ["pagedown"] * 20 + ["pageup"] * 20, 200),
            ("all parameters, worst first", ["w"], 200),
        )]
    assert max(worst) < FLUID


@pytest.mark.bench
@pytest.mark.timeout(300)
async def test_two_thousand_layers_stay_fluid():
    read, detail = grown(), LayersDetail()
    wanted = Wanted(place="layers", ask=Ask())
    began = time.process_time()
    view = detail.update(read, wanted, 0.0, 0.0)
    rows = {"the first look": [1e3 * (time.process_time() - began)]}
    for step in range(ROWS + 1, ROWS + 41):
        more(read, step, 1)
        read.history.tensor_rows()   # what every poll pays, whatever is shown
        began = time.process_time()
        view = detail.update(read, wanted, 0.0, 0.0)
        rows.setdefault("a row more", []).append(1e3 * (time.process_time() - began))
    for size in SIZES:
        rows |= await keys(view, size)
    print(f"\n{LAYERS:,} layers, {LAYERS * PARTS:,} tensors, {ROWS:,} rows; ms of CPU\n{'':44}{'median':>9}{'p99':>9}{'max':>9}")
    for name, times in rows.items():
        print(f"{name:44}{np.median(times):9.1f}{np.percentile(times, 99):9.1f}{max(times):9.1f}")
    assert all(np.median(times) < 50 for name, times in rows.items() if name != "the first look")
