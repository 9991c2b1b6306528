"""Nobody watches, all night: incidents hours apart are rescued, at most three times, and nothing piles up."""

from __future__ import annotations

import gc
import os
import threading
from collections import deque
from pathlib import Path

import pytest
import torch
from control_parts import FAST, events, wait_for
from steering_parts import ScriptedJudge, incident
from torch import nn

import tuimon
from tuimon.instrument.guard import Guard

pytestmark = pytest.mark.usefixtures("one_thread")


def judge(onsets: list[int], lasts: int = 40) -> ScriptedJudge:
    """Finds an explosion at each of these steps; it is over when the run was rolled back, or never."""
    def find(step: int, marks: list) -> tuple:
        rolled = [m.step for m in marks if m.kind == "rollback"]
        found = []
        for onset in onsets:
            if step >= onset:
                cured = next((s for s in rolled if s >= onset), None)
                found.append(incident(onset=onset, resolved=None if cured is None else cured + 1))
        return tuple(found)

    scripted = ScriptedJudge(find)
    scripted.fed = deque(maxlen=1)   # what a test keeps is no growth
    return scripted


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def sizes() -> dict[str, int]:
    gc.collect()
    return {"threads": threading.active_count(), "files": open_files(), "objects": len(gc.get_objects())}


@pytest.mark.parametrize(("hour", "policy"), [
    (200, "rescue"), (200, "stop"), (200, "warn"),
    pytest.param(20_000, "rescue", marks=[pytest.mark.nightly, pytest.mark.timeout(3600)]),
])
def test_a_night_of_incidents_leaves_threads_files_and_memory_as_they_were(hour: int, policy: str, tmp_path: Path) -> None:
    before = set(threading.enumerate())
    model = nn.Linear(4, 4)
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3)
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run", on_critical=policy, detail="light")
    writer = monitor._recorder._writer
    writer._guard, writer._pace = Guard(judge([hour, 2 * hour, 3 * hour, 4 * hour]), 2), FAST
    seen, done = [], False

    def train() -> None:
        nonlocal done
        for step in range(1, 5 * hour + 1):
            model(torch.ones(2, 4)).square().mean().backward()
            opt.step()
            opt.zero_grad()
            if step % 50 == 0:
                wait_for(lambda at=step: monitor.diagnosis().steps >= at - 50, "the guard")
            if step % 200 == 0 and step < 3 * hour:
                monitor.checkpoint()
            if step == 3 * hour - 1:
                # a checkpoint that is being verified holds files for a moment: only those that stay are a leak
                wait_for(lambda: open_files() <= seen[0]["files"] + 2, "files that are open no longer than they are used")
            if step in (hour - 1, 3 * hour - 1):
                seen.append(sizes())
        done = True

    with monitor:
        thread = threading.Thread(target=lambda: _until_stopped(train), daemon=True)
        thread.start()
        if policy == "rescue":
            # the events, which grow by thousands, are read only where it can be
            wait_for(lambda: monitor._open.steering.state == "held" and any(
                e.get("verb") == "hold" and e["outcome"] == "applied" for e in events(monitor.run_dir) if e["kind"] == "command"
            ), "the hold after three rescues", 20 + hour / 8)   # on a busy machine fewer than a hundred steps a second
            monitor._recorder.order("stop", "test")
        thread.join(600)
        assert not thread.is_alive()
        assert len(monitor._open.steering._snapshots.steps) <= 4
    orders = [e["verb"] for e in events(monitor.run_dir) if e["kind"] == "command" and e["outcome"] == "received"
              and e["who"]["origin"] == "guard"]
    assert orders == {"rescue": ["rescue"] * 3 + ["hold"], "stop": ["stop"], "warn": []}[policy]
    assert done == (policy == "warn")
    if policy != "stop":
        assert len(list((monitor.run_dir / "checkpoints").iterdir())) <= 4
        assert seen[1]["threads"] == seen[0]["threads"]
        assert seen[1]["objects"] - seen[0]["objects"] < 5000 + 2 * hour // 10
    assert not set(threading.enumerate()) - before


def _until_stopped(train) -> None:
    try:
        train()
    except tuimon.TrainingStopped:
        return
