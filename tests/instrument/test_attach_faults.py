"""A whole attached run on a disk that gives nothing: training is bit for bit what it is alone, and the gap is said."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import tuimon
from tuimon.record.events import EventReader
from tuimon.record.rundir import RunDir
from tuimon.record.segments import LogReader

_CHILD = """
import json, resource, shutil, sys, threading, time, warnings
sys.path.insert(0, sys.argv[2])
import torch
import training_loops as loops
import tuimon
warnings.simplefilter("error")
torch.set_num_threads(1)
torch.manual_seed(0)
model = loops.Net()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
losses = []

def train(n):
    for _ in range(n):
        loss = loops.loss_of(model, loops.batch(len(losses)))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())

def until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)

def full():
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
    until(lambda: train(5) or monitor._recorder.trouble)
    monitor.note("nobody can write this down yet")
    monitor.checkpoint()
    train(200)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    until(lambda: not monitor._recorder.trouble)

def gone():
    shutil.rmtree(sys.argv[1])
    until(lambda: train(5) or monitor._recorder.trouble)
    monitor.note("nowhere")
    monitor.checkpoint()
    train(100)

if sys.argv[3] == "bare":
    train(int(sys.argv[1]))
else:
    with tuimon.attach(model, optimizer, run_dir=sys.argv[1]) as monitor:
        train(30)
        {"full": full, "gone": gone}[sys.argv[3]]()
        train(20)
print(json.dumps(losses))
"""


def losses(what: str, how: str) -> list[float]:
    env = {**os.environ, "PYTHONPATH": str(Path(tuimon.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", _CHILD, what, str(Path(__file__).parent), how], env=env,
                          capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.nightly   # by day the fault fill-disk, and a tmpfs that fills
@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_FSIZE)[1] != resource.RLIM_INFINITY, reason="a limit is set")
def test_a_disk_that_is_full_for_a_while_costs_training_nothing_and_the_log_nothing_but_time(tmp_path: Path) -> None:
    watched = losses(str(tmp_path / "run"), "full")
    assert watched == losses(str(len(watched)), "bare")
    run = RunDir(tmp_path / "run")
    reader = LogReader(run.metrics)
    logged = {int(s): float(v) for c in reader.poll() for s, v in zip(*c.measured("loss"), strict=True)}
    missing = sum(int(str(gap["dropped"])) for gap in reader.gaps)
    assert reader.damaged == 0
    assert len(logged) + missing == len(watched)
    assert all(watched[step - 1] == loss for step, loss in logged.items())
    events = EventReader(run.events).poll()
    assert [e.text("text") for e in events if e.kind == "note"] == ["nobody can write this down yet"]
    assert (events[-1].kind, events[-1].text("state")) == ("end", "finished")
    assert [e.text("outcome") for e in events if e.kind == "checkpoint"] == ["failed"]


@pytest.mark.nightly   # by day the fault remove-directory does it
def test_a_run_directory_that_is_removed_costs_training_nothing(tmp_path: Path) -> None:
    watched = losses(str(tmp_path / "run"), "gone")
    assert watched == losses(str(len(watched)), "bare")
    assert len(watched) > 150
