"""What a person waits for: the first paint, the first live chart. Run by hand: pytest -m bench -s."""

from __future__ import annotations

import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pty_costs import Screen, has_curves
from pty_costs import table as costs
from pty_terminal import Terminal

from tuimon.record.rundir import list_runs, runs_root

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "viewer"))

import synthetic

ROOT = Path(__file__).resolve().parents[2]

TRIES = 7


def table(title: str, rows: dict[str, list[float]], unit: str) -> None:
    """Min, median and max of each row."""
    print(f"\n{title} ({unit})")
    print(f"{'':34}{'min':>9}{'median':>9}{'max':>9}")
    for name, values in rows.items():
        print(f"{name:34}{min(values):9.3f}{statistics.median(values):9.3f}{max(values):9.3f}")


def seconds(argv: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(argv, check=True, capture_output=True)
    return time.perf_counter() - start


@pytest.mark.bench
@pytest.mark.timeout(600)
def test_how_long_a_person_waits_for_the_first_paint_and_the_first_live_chart():
    rows: dict[str, list[float]] = {
        "exec to first paint": [], "exec to first step": [], "exec to live chart (5 steps)": [],
        "python -c pass": [], "python -c 'import textual.app'": [], "python -c 'import torch'": [],
    }
    for _ in range(TRIES):
        with Terminal([sys.executable, "-m", "tuimon", "demo", "exploding"], 120, 40, {"TUIMON_RUNS": str(runs_root())}) as terminal:
            terminal.wait_for("exploding")
            rows["exec to first paint"].append(time.monotonic() - terminal.started)
            terminal.wait_for(lambda text: re.search(r"step [1-9]", text) is not None, 120)
            rows["exec to first step"].append(time.monotonic() - terminal.started)
            terminal.wait_for(lambda text: re.search(r"step ([5-9]|\d\d)", text) is not None and max(text) >= "⠁", 120)
            rows["exec to live chart (5 steps)"].append(time.monotonic() - terminal.started)
            os.kill(list_runs()[0].read_info().process.pid, signal.SIGKILL)
        rows["python -c pass"].append(seconds([sys.executable, "-c", "pass"]))
        rows["python -c 'import textual.app'"].append(seconds([sys.executable, "-c", "import textual.app"]))
        rows["python -c 'import torch'"].append(seconds([sys.executable, "-c", "import torch"]))
    table("what a person waits for", rows, "s")
    assert len(rows["exec to first paint"]) == TRIES


BARE = """
from textual.app import App
from textual.widgets import Static
class Bare(App):
    ENABLE_COMMAND_PALETTE = False
    def compose(self):
        yield Static("tuimon ")
Bare().run()
"""


@pytest.mark.bench
@pytest.mark.timeout(600)
def test_how_long_a_running_run_of_5000_steps_takes_to_show(tmp_path):
    """On a quiet machine with two cores: a run is read by a process of its own while the screen is loaded."""
    run = synthetic.Run(tmp_path / "runs", total=20_000)
    for _ in range(10):
        run.go(500, snapshots=False)
    for _ in range(100):   # a hundred others, that have died
        synthetic.Run(tmp_path / "runs", alive=False).go(20)
    env = {"PYTHONPATH": str(ROOT), "TUIMON_RUNS": str(tmp_path / "runs"), "XDG_CONFIG_HOME": str(tmp_path),
           "XDG_CACHE_HOME": str(tmp_path)}
    watch = [sys.executable, "-m", "tuimon", "watch"]
    cases = {"python -c pass": ([sys.executable, "-c", "print('tuimon ')"], {}),
             "a bare Textual application": ([sys.executable, "-c", BARE], {}),
             "tuimon --help": ([sys.executable, "-m", "tuimon", "--help"], env),
             "tuimon watch RUN": ([*watch, str(run.dir.path)], env),
             "tuimon watch, 100 dead runs beside": (watch, env)}
    rows: dict[str, list[tuple[float, float]]] = {}
    for _ in range(TRIES):
        for name, (argv, more) in cases.items():
            with Screen(argv, (120, 40), more, ROOT) as screen:
                rows.setdefault(f"{name}: first text", []).append(screen.until(lambda raw: b"tuimon" in raw))
                if "watch" in name:
                    rows.setdefault(f"{name}: the panel", []).append(screen.until(lambda raw: b"GRADIENTS" in raw))
                    rows.setdefault(f"{name}: live charts", []).append(screen.until(has_curves))
    costs(f"from exec on, medians of {TRIES}", ("wall s", "CPU s"), rows)
    bare = min(wall for wall, _ in rows["a bare Textual application: first text"])
    text, charts = (min(wall for wall, _ in rows[f"tuimon watch RUN: {what}"]) for what in ("first text", "live charts"))
    print(f"over the bare application, minima: first text {text / bare:.2f}x, live charts {charts / bare:.2f}x")
    assert text < bare


@pytest.mark.bench
def test_how_long_importing_tuimon_takes():
    code = "import time; t = time.perf_counter(); import tuimon; print(time.perf_counter() - t)"
    values = [
        1e3 * float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
        for _ in range(15)
    ]
    table("import tuimon", {"import tuimon": values}, "ms")
    assert values
