"""How the list of runs answers keys, with 100 runs as the issue has it, and with 1,000.

    pytest -m bench tests/bench/test_bench_runs.py -s
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

import pytest
from frames import FLUID, heading, panel

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "viewer"))

import synthetic

from tuimon.record.rundir import RunDir
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
