"""How the list of runs answers keys, with 100 runs as the issue has it, and with 1,000.

    pytest -m bench tests/bench/test_bench_runs.py -s
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

import pytest
from frames import FLUID, heading, panel

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "viewer"))

import synthetic

from tuimon.record.hosts import host_place
from tuimon.record.rundir import RunDir
from tuimon.remote.listed import Listed
from tuimon.viewer.widgets.picture import PictureView

WRITTEN = 100
"""Runs that are written one by one; more are copies of these."""


def runs(count: int) -> RunDir:
    """Live, dead, finished and exploding ones; the one to begin with."""
    written = []
    for i in range(min(count, WRITTEN)):
        run = synthetic.Run(name=f"lr-{i:04}-{'abc'[i % 3] * (i % 7)}", seed=i, alive=i % 25 == 0).go(60 + i % 90)
        if i % 7 == 0:
            run.explode().go(40)
        if i % 25 and i % 3:
            run.end()
        written.append(run.dir)
    for i in range(count - len(written)):
        like = written[i % len(written)].path
        shutil.copytree(like, like.with_name(f"{like.name}-{i:04}"))
    return written[0]


@pytest.mark.bench
@pytest.mark.timeout(600)
@pytest.mark.parametrize("count", [100, 1000])
@pytest.mark.parametrize("size", [(120, 40), (200, 60)])
async def test_bench_the_list_of_runs(count, size):
    run = runs(count)
    async with panel(run, size) as app:
        began = time.perf_counter()
        app.simulate_key("b")
        await app.until(lambda: app.in_front().PLACE == "runs" and app.current.detail is not None)
        first = time.perf_counter() - began
        await app.until(lambda: len(app.current.detail.rows) == count and not app.current.detail.unread)
        heading(f"{count:,} runs, {size[0]}x{size[1]}: listed after {first:.2f} s, all read after "
                f"{time.perf_counter() - began:.2f} s")
        view = app.screen.query_one("#runs-list", PictureView)
        app.simulate_key("t")
        app.simulate_key("home")
        await app.until(lambda: app.screen._look.row == 0)
        worst = [await app.row(name, keys, lambda: view.picture, many) for name, keys, many in (
            ("another run", ["down"] * 40 + ["up"] * 40, 200),
            ("a page", ["pagedown", "pageup"], 200),
            ("the last, the first", ["end", "home"], 200),
            ("a mark", ["space"], 200),
            ("sorted otherwise", ["t"], 200),
        )]
        app.simulate_key("slash")
        await app.until(lambda: app.focused is not None)
        worst.append(await app.row("a filter, typed", [*"lr>1e-5", *["backspace"] * 7], lambda: view.picture, 210))
    assert count > 100 or max(worst) < FLUID   # a thousand: what there is to come


def far_runs(place: Path, count: int, hosts: int = 4) -> None:
    """As many runs, told by several machines."""
    for i in range(hosts):
        listed = Listed(host_place(place, i), f"node{i}", None, control=False)
        listed.heard(time.time(), time.time())
        listed.take({"k": "listed", "root": "/runs"}, b"")
        listed.take({"k": "runs", "gone": [], "left": 0}, json.dumps({
            f"lr-{k:04}-20261128-120000-{k:06x}": {
                "state": "running" if k % 25 == 0 else "finished", "started": time.time() - k, "step": 60 + k % 90, "loss": 2 + k / 1e4,
                "run_name": f"lr-{k:04}", "verdict": "healthy", "losses": [4 - j / 16 for j in range(32)], "lr": 3e-4, "bytes": 50_000 + k}
            for k in range(i, count, hosts)}).encode())


@pytest.mark.bench
@pytest.mark.timeout(600)
async def test_bench_the_list_of_runs_of_several_machines(tmp_path):
    count, here = 1000, synthetic.healthy(steps=20).dir
    place = tmp_path / "place"
    place.mkdir()
    far_runs(place, count)
    async with panel(here, (120, 40), hosts=place) as app:
        began = time.perf_counter()
        app.simulate_key("b")
        await app.until(lambda: app.in_front().PLACE == "runs" and app.current.detail is not None
                        and len(app.current.detail.rows) == count + 1)
        heading(f"{count:,} runs of four machines, 120x40: listed after {time.perf_counter() - began:.2f} s")
        view = app.screen.query_one("#runs-list", PictureView)
        for name, keys in (("another run", ["down"] * 40 + ["up"] * 40), ("a page", ["pagedown", "pageup"]), ("the last, the first", ["end", "home"])):
            await app.row(name, keys, lambda: view.picture, 200)
        app.simulate_key("slash")
        await app.until(lambda: app.focused is not None)
        await app.row("a filter, typed", [*"host:node1", *["backspace"] * 10], lambda: view.picture, 200)
