"""A night's sleep within a step, an exception that cannot be printed, Ctrl+C under torture."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import tuimon
from tuimon.diagnosis.engine import Engine
from tuimon.diagnosis.model import RunContext
from tuimon.instrument.guard import chunk_of
from tuimon.record.segments import Row
from tuimon.torture.training import batch, pair, update


def test_a_machine_that_slept_for_a_night_within_a_step_is_no_incident():
    noise, rows, now = np.random.default_rng(1), [], 1e9
    for step in range(1, 1001):
        seconds = 8 * 3600.0 if step == 500 else float(noise.normal(0.1, 0.003))
        now += seconds
        rows.append(Row(step, now, {"loss": float(2 + noise.normal(0, 0.01)) + 3 / step, "grad_norm": 1.0, "lr": 1e-3,
                                    "step_time": seconds, "data_time": 0.01, "throughput": 1000 / seconds}))
    engine = Engine(RunContext())
    engine.feed(chunk_of(rows, 0))
    assert [i.rule for i in engine.diagnosis.incidents if i.category == "throughput"] == []


def test_an_exception_that_cannot_be_printed_ends_the_run_by_its_name_and_reaches_the_script(tmp_path):
    class Unspeakable(Exception):
        def __str__(self):
            raise RuntimeError("no words")

    def script():
        model, optimizer = pair()
        with tuimon.attach(model, optimizer, run_dir=tmp_path / "run"):
            update(model, optimizer, batch(1))
            raise Unspeakable

    with pytest.raises(Unspeakable):
        script()
    end = json.loads((tmp_path / "run" / "events.jsonl").read_text().splitlines()[-1])
    assert (end["kind"], end["state"], end["error"]) == ("end", "crashed", "Unspeakable")


@pytest.mark.nightly
def test_ctrl_c_under_torture_prints_what_is_known_so_far_and_leaves_nothing_behind(tmp_path):
    tortured = subprocess.Popen([sys.executable, "-m", "tuimon", "torture", "--minutes", "10", "--json", "--only", "kill-training",
                                 str(tmp_path)], stdout=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while len(list(tmp_path.glob("*/*.ledger"))) == 0:
        assert time.monotonic() < until
        threading.Event().wait(0.01)
    tortured.send_signal(signal.SIGINT)
    said, _ = tortured.communicate(timeout=60)
    assert tortured.returncode == 130
    found = json.loads(said)
    assert not found["complete"]
    assert [f["fault"] for f in found["faults"]] == ["kill-training"]
    assert os.listdir(tmp_path) == []
