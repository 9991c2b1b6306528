"""What a frame of the overview costs at 120x40 with 5,000 steps, and how many bytes it sends. pytest -m bench -s."""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path

import pytest
from pty_terminal import Terminal

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "viewer"))

import synthetic

from tuimon.viewer.reading import Reading
from tuimon.viewer.screens.overview import Overview
from tuimon.viewer.terse import terse

STEPS, EACH, FRAMES = 5_000, 3, 40
SIZE = (120, 40)


def table(title: str, unit: str, rows: dict[str, list[float]]) -> None:
    """Min, median and max of each row."""
    print(f"\n{title}\n{unit:38}{'min':>10}{'median':>10}{'max':>10}")
    for name, values in rows.items():
        print(f"{name:38}{min(values):10,.2f}{statistics.median(values):10,.2f}{max(values):10,.2f}")


def grown(run: synthetic.Run) -> synthetic.Run:
    for _ in range(STEPS // 500):
        run.go(500, snapshots=False)
    return run


async def measured(run: synthetic.Run) -> dict[str, list[float]]:
    """The parts of a frame, each in ms, on a screen that is really laid out."""
    from textual.app import App

    from tuimon.viewer.first import empty_frame
    from tuimon.viewer.glyphs import BRAILLE
    from tuimon.viewer.theme import PALETTES, Ink

    overview = Overview(empty_frame("bench", ""), Ink(PALETTES["dark"], "truecolor"), BRAILLE)

    class Bare(App[None]):
        def on_mount(self) -> None:
            self.push_screen(overview)

    reading = Reading(run.dir)
    rows: dict[str, list[float]] = {"read and judge": [], "lay out and draw": [], "until the screen is idle again": [],
                                    "reference: the whole screen anew": []}
    app = Bare()
    async with app.run_test(size=SIZE) as pilot:
        while (frame := reading.poll(time.time(), time.monotonic())) is None or reading.is_behind:
            pass
        overview.show_frame(frame)
        await pilot.pause()
        overview.show_frame(frame)
        await pilot.pause()
        for _ in range(FRAMES):
            run.go(EACH, snapshots=False)
            began = time.perf_counter()
            frame = reading.poll(time.time(), time.monotonic())
            read = time.perf_counter()
            assert frame is not None
            overview.show_frame(frame)
            drawn = time.perf_counter()
            await pilot.pause()
            settled = time.perf_counter()
            terse(overview._compositor.render_update(full=True).render_segments(app.console))
            whole = time.perf_counter()
            for row, seconds in zip(rows.values(), (read - began, drawn - read, settled - drawn, whole - settled), strict=True):
                row.append(1e3 * seconds)
    return rows


def sent(run: synthetic.Run) -> list[float]:
    """Bytes that the real program writes for each of the frames, on a pty."""
    sizes: list[float] = []
    argv = [sys.executable, "-m", "tuimon", "watch", str(run.dir.path)]
    with Terminal(argv, *SIZE, {"TUIMON_RUNS": str(run.dir.path.parent), "PYTHONPATH": os.getcwd()}) as terminal:
        terminal.wait_for(f"step {run.step:,}/")
        quiet(terminal)
        for _ in range(FRAMES):
            before = len(terminal.raw)
            run.go(EACH, snapshots=False)
            terminal.wait_for(f"step {run.step:,}/")
            quiet(terminal)
            sizes.append(float(len(terminal.raw) - before))
        run.hold()
        terminal.wait_for("HELD")
        quiet(terminal)
        still = len(terminal.raw)
        until = time.monotonic() + 3.0
        while time.monotonic() < until:
            terminal.pump(0.1)
        assert len(terminal.raw) == still, "a run that stands still sends nothing"
    return sizes


def quiet(terminal: Terminal) -> None:
    """Take what is still under way."""
    while True:
        seen = len(terminal.raw)
        terminal.pump(0.1)
        if len(terminal.raw) == seen:
            return


@pytest.mark.bench
@pytest.mark.timeout(300)
async def test_what_a_frame_of_the_overview_costs():
    rows = await measured(grown(synthetic.Run(total=20_000)))
    rows["a frame"] = [a + b + c for a, b, c in zip(*list(rows.values())[:3], strict=True)]
    table(f"a frame of the overview, {SIZE[0]}x{SIZE[1]}, {STEPS:,} steps and {EACH} more each", "ms", rows)
    assert statistics.median(rows["a frame"]) < 250.0


@pytest.mark.bench
@pytest.mark.timeout(300)
def test_how_many_bytes_a_frame_of_the_overview_sends():
    early, late = sent(synthetic.Run(total=20_000).go(300, snapshots=False)), sent(grown(synthetic.Run(total=20_000)))
    table(f"bytes of a frame, {SIZE[0]}x{SIZE[1]}", "bytes", {"from step 300": early, f"from step {STEPS:,}": late})
    assert statistics.median(late) < 6_000
