"""The same numbers in the terminal UI of W&B and in ours, one after the other in the same run.

    pytest -m bench tests/bench/test_bench_peer.py -s        # with wandb installed beside, or on the PATH

A finished run of four metrics is opened in both. "All there": the last thing that the program wrote before it fell
silent; CPU seconds and memory are those of the program and what it started.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pty_costs import Screen, has_curves, table

from tuimon.record.events import EventWriter
from tuimon.record.liveness import ProcessIdentity, boot_id
from tuimon.record.rundir import RunInfo, create_run
from tuimon.record.segments import LogWriter, Row

ROOT = Path(__file__).resolve().parents[2]
SIZE, TRIES, SILENCE = (120, 40), 3, 2.0
THEIRS = """
import json, sys, wandb
run = wandb.init(project="p", mode="offline", dir=sys.argv[1], settings=wandb.Settings(x_disable_stats=True, console="off"))
for line in open(sys.argv[2]):
    run.log(json.loads(line))
run.finish()
"""


def program() -> str | None:
    beside = Path(sys.executable).parent / "wandb"
    return str(beside) if beside.exists() else shutil.which("wandb")


def numbers(steps: int):
    rng = np.random.default_rng(0)
    for i in range(1, steps + 1):
        noise = rng.standard_normal(3)
        yield {"loss": float(2 + 8 * math.exp(-i / 500) + 0.05 * noise[0]), "grad_norm": math.exp(0.1 * noise[1]),
               "lr": 3e-4 * min(1, i / 200), "update_ratio": 1.2e-3 * math.exp(0.05 * noise[2])}


def our_run(root: Path, steps: int) -> Path:
    """As the writer of a run leaves it that does twenty steps a second: a batch for each, a beat a second."""
    run = create_run("bench", root)
    run.write_info(RunInfo("bench", ProcessIdentity(2**22 - 3, 1.0, boot_id(), os.uname().nodename), total_steps=steps))
    events = EventWriter(run.events, 1)
    events.append("attempt", 0, 0.0, {"number": 1, "from_step": 0})
    log = LogWriter(run.metrics, attempt=1, from_step=0, tensors=0)
    for i, values in enumerate(numbers(steps), 1):
        log.append([Row(i, 1e9 + 0.05 * i, values)])
        if i % 20 == 0:
            log.beat(1e9 + 0.05 * i, 0.05 * i, "running")
    log.close()
    events.append("end", steps, 1e9 + 0.05 * steps, {"state": "finished"})
    events.close()
    return run.path


def their_run(root: Path, steps: int, wandb: str, env: dict[str, str]) -> Path:
    """Written by their own library, offline."""
    rows = root / "rows.jsonl"
    rows.write_text("".join(json.dumps(values) + "\n" for values in numbers(steps)))
    python = Path(wandb).parent / "python"
    subprocess.run([str(python), "-c", THEIRS, str(root), str(rows)], check=True, env={**os.environ, **env}, capture_output=True)
    return next((root / "wandb").glob("offline-run-*"))


def opened(argv: list[str], env: dict[str, str]) -> list[float]:
    with Screen(argv, SIZE, env, ROOT) as screen:
        first, _ = screen.until(has_curves, 120.0)
        whole, cpu = screen.until_still(SILENCE)
        return [first, whole, cpu, screen.memory / 1e6]


@pytest.mark.bench
@pytest.mark.timeout(1800)
def test_what_opening_a_run_costs_beside_the_terminal_ui_of_wandb(tmp_path):
    wandb = program()
    if wandb is None:
        pytest.skip("wandb is not installed")
    home = {"HOME": str(tmp_path), "WANDB_SILENT": "true"}
    rows: dict[str, list[list[float]]] = {}
    for steps in (5_000, 100_000):
        folder = tmp_path / str(steps)
        folder.mkdir()
        ours, theirs = our_run(folder, steps), their_run(folder, steps, wandb, home)
        env = {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache"), "XDG_CONFIG_HOME": str(folder / "config")}
        for _ in range(TRIES):
            rows.setdefault(f"tuimon watch, {steps:,} steps", []).append(
                opened([sys.executable, "-m", "tuimon", "watch", str(ours)], env))
            rows.setdefault(f"wandb leet, {steps:,} steps", []).append(opened([wandb, "leet", "run", str(theirs)], home))
    table(f"a finished run of four metrics, {SIZE[0]}x{SIZE[1]}; medians of {TRIES}",
          ("first chart s", "all there s", "CPU s", "memory MB"), rows, ".2f")
    for steps in (5_000, 100_000):
        ours, theirs = rows[f"tuimon watch, {steps:,} steps"], rows[f"wandb leet, {steps:,} steps"]
        assert min(tries[2] for tries in ours) < 2 * min(tries[2] for tries in theirs)
