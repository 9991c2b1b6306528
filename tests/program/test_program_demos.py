"""The scripts in demos/ run as they stand, and what they recorded makes sense."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tuimon.record.events import Event, EventReader
from tuimon.record.rundir import RunDir, list_runs, runs_root
from tuimon.record.segments import LogReader

ROOT = Path(__file__).resolve().parents[2]


def run(script: str, steps: int) -> tuple[str, dict[str, RunDir]]:
    """What it printed, and its runs by name."""
    env = {**os.environ, "TUIMON_RUNS": str(runs_root()), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-W", "error", str(ROOT / "demos" / script), str(steps)], env=env,
                          capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout, {info.name: found for found in list_runs() if (info := found.read_info()) is not None}


def columns(found: RunDir) -> dict[str, dict[int, float]]:
    read: dict[str, dict[int, float]] = {}
    for chunk in LogReader(found.metrics).poll():
        for name in chunk.columns:
            steps, values = chunk.measured(name)
            read.setdefault(name, {}).update(zip(steps.tolist(), values.tolist(), strict=True))
    return read


def events(found: RunDir) -> list[Event]:
    return list(EventReader(found.events).poll())


def test_the_loop_of_nanogpt_learns_and_its_validation_is_recorded():
    printed, runs = run("attach_nanogpt.py", 40)
    read = columns(runs["GPTModel"])
    assert list(read["loss"]) == list(range(1, 41))
    assert read["loss"][40] < 0.85 * read["loss"][1]
    assert read["val_loss"].keys() == {20, 40}
    assert read["val_loss"][40] < read["val_loss"][20]
    assert f"{read['val_loss'][40]:.3f}" in printed
    assert [read["lr"][n] for n in (1, 10)] == [1e-4, 1e-3]
    assert read["lr"][40] < read["lr"][25] < 1e-3
    assert set(read["clipped"].values()) == {1.0}
    assert set(read["tokens"].values()) == {2 * 6 * 64}
    assert events(runs["GPTModel"])[-1].text("state") == "finished"


@pytest.mark.nightly
def test_amp_counts_what_it_skipped_and_shows_losses_unscaled():
    _, runs = run("attach_accumulate_amp.py", 30)
    read = columns(runs["GPTModel"])
    assert read["skipped"].keys() == set(range(1, 31))
    skipped = [n for n, was in read["skipped"].items() if was]
    assert skipped == [10]
    assert [read["loss_scale"][n] for n in (1, 10, 11, 30)] == [2.0**116, 2.0**116, 2.0**115, 2.0**115]
    trained = [read["loss"][n] for n in range(1, 31) if n not in skipped]
    assert all(map(math.isfinite, trained))
    assert trained[-1] < 0.85 * trained[0] < 5
    assert all(0 < read["grad_norm"][n] < 100 for n in range(1, 31) if n not in skipped)


@pytest.mark.nightly
def test_each_half_of_a_gan_has_its_own_numbers():
    printed, runs = run("attach_gan.py", 150)
    made, judged = columns(runs["gan-generator"]), columns(runs["gan-critic"])
    assert list(made["loss"]) == list(judged["loss"]) == list(range(1, 151))
    assert judged["loss"][1] > 0.6
    assert made["loss"] != judged["loss"]
    assert made["radius"].keys() == set(range(1, 151))
    assert made["radius"][1] < 0.4 < made["radius"][150]
    assert "radius" not in judged
    assert "mean radius" in printed
    assert [events(found)[-1].text("state") for found in runs.values()] == ["finished", "finished"]


@pytest.mark.nightly
def test_a_run_that_explodes_unwatched_is_rescued_and_says_so():
    printed, runs = run("rescue_headless.py", 160)
    read = columns(runs["GPTModel"])
    assert list(read["loss"]) == list(range(1, 161))
    before, worst = read["loss"][79], max(read["loss"].values())
    assert worst > 2 * before
    rescued = [e.step for e in events(runs["GPTModel"]) if e.kind == "rescue" and e.text("tick") == "restored"]
    assert rescued
    assert 80 <= rescued[0] < 120
    assert f"step {rescued[0]}: rescued" in printed
    assert "critical" in printed
    assert read["loss"][rescued[0] + 1] < worst / 2
    assert read["clipped"][rescued[0] + 1] == 1.0
    assert printed.strip().endswith("open now: healthy")   # at 0.3 a tenth was still too much, and attention collapsed
