"""Twenty seeds of the promise: seen in time, saved every time, and never a false alarm. Minutes long."""

from __future__ import annotations

import json
import math
import subprocess
import sys

import pytest

from tuimon.record.events import EventReader
from tuimon.record.history import History
from tuimon.record.rundir import list_runs
from tuimon.record.segments import LogReader

SEEDS = range(1, 21)


def headless(*args: str) -> dict:
    done = subprocess.run([sys.executable, "-m", "tuimon", "demo", *args, "--headless", "--speed", "1000"], capture_output=True, text=True)
    assert done.returncode in (0, 3), done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def table():
    rows = []
    yield rows
    print("\nseed  detected  loss then  rescues  loss last  healthy  ratio")
    for row in rows:
        print("{:4}  {:8}  {:9.3f}  {:7}  {:9.3f}  {:7.3f}  {:.3f}".format(*row))


@pytest.mark.nightly
@pytest.mark.parametrize("seed", SEEDS)
def test_twenty_explosions_are_seen_in_time_and_saved_and_twenty_healthy_runs_are_silent(seed, table):
    rescued = headless("exploding", "--on-critical", "rescue", "--seed", str(seed))
    reader, history = LogReader(list_runs()[0].metrics), History()
    while chunks := reader.poll():
        for chunk in chunks:
            history.extend(chunk)
    loss = dict(zip(history.series("loss").steps.tolist(), history.series("loss").values.tolist(), strict=True))
    detected = min(i["detected_step"] for i in rescued["incidents"] if i["severity"] == "critical")
    usual = sorted(loss[s] for s in range(detected - 60, detected - 30))[15]
    before = [loss[s] for s in loss if s <= detected]
    assert all(math.isfinite(v) for v in before)
    assert max(before[-40:]) < 10 * usual
    assert [e for e in EventReader(list_runs()[0].events).poll() if e.text("tick") == "done"]
    healthy = headless("healthy", "--seed", str(seed), "--steps", str(rescued["steps"]))
    table.append((seed, detected, loss[detected], rescued["rescues"], rescued["loss_last"], healthy["loss_last"],
                  rescued["loss_last"] / healthy["loss_last"]))
    assert rescued["loss_last"] <= 1.3 * healthy["loss_last"]
    assert [i for i in healthy["incidents"] if i["severity"] in ("warning", "critical")] == []
