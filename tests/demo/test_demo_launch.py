"""Starting and ending a real training process; following one that has been recorded."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from tuimon.control.commands import Command
from tuimon.control.spool import Inbox, prepare, submit
from tuimon.demo.launch import _reopen, environment, launch
from tuimon.demo.options import DemoOptions
from tuimon.demo.train import train
from tuimon.errors import UsageError
from tuimon.record.liveness import is_alive
from tuimon.record.rundir import create_run, list_runs


def wait_for(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "never came"
        os.sched_yield()


def test_the_launch_says_what_is_coming_before_torch_is_there_and_ends_what_it_started():
    started = launch(DemoOptions(scenario="healthy", steps=100_000, seed=9))
    try:
        said = started.run.read_launch()
        assert (said.name, said.scenario, said.total_steps, said.seed) == ("healthy", "healthy", 100_000, 9)
        assert said.statement.startswith("AdamW 3e-4")
        assert said.process.pid == started.pid
        assert is_alive(said.process)
        assert os.getsid(started.pid) == started.pid != os.getsid(0)
        assert oct(started.run.console.stat().st_mode & 0o777) == "0o600"
        assert started.poll() is None
    finally:
        status = started.end(stop_s=2.0, terminate_s=5.0)
    assert started.end() == status
    assert not is_alive(said.process)


def test_a_run_that_is_told_to_stop_leaves_at_a_step_boundary_and_says_so():
    pytest.importorskip("tuimon.instrument.attach")
    from tuimon.record.status import status

    started = launch(DemoOptions(scenario="healthy", steps=100_000, speed=1000))
    try:
        wait_for(lambda: status(started.run).step >= 3)
    finally:
        ended = started.end(stop_s=30.0)
    assert ended == 0
    assert status(started.run).state == "stopped"


@pytest.mark.nightly
def test_a_stopped_run_goes_on_from_its_checkpoint_to_its_own_last_step():
    pytest.importorskip("tuimon.instrument.attach")
    from tuimon.control import spool
    from tuimon.control.commands import Command
    from tuimon.record.history import History
    from tuimon.record.segments import LogReader
    from tuimon.record.status import status

    first = launch(DemoOptions(scenario="slow", steps=16, speed=8, seed=4))
    try:
        wait_for(lambda: status(first.run).step >= 3)
        spool.submit(first.run.commands, Command(spool.new_id(), "checkpoint", issued=time.time()))
        wait_for(lambda: any(p.name[0].isdigit() for p in first.run.checkpoints.iterdir()))
    finally:
        first.end(stop_s=30.0)
    stopped_at = status(first.run).step
    assert 3 <= stopped_at < 16
    again = launch(DemoOptions(scenario="slow", speed=1e9, resume=first.run.name))
    assert again.process.wait(60) == 0
    assert again.run == first.run
    found = status(again.run)
    assert (found.state, found.attempt, found.step, found.total_steps) == ("finished", 2, 16, 16)
    history, reader = History(), LogReader(again.run.metrics)
    while chunks := reader.poll():
        for chunk in chunks:
            history.extend(chunk)
    assert history.series("loss").steps.tolist() == list(range(1, 17))
    bare = train(DemoOptions(scenario="slow", steps=16, speed=1e9, seed=4), bare=True)
    assert history.series("loss").values.tolist() == [loss.item() for loss in bare]


def test_what_refuses_to_be_asked_starts_nothing():
    with pytest.raises(UsageError, match="known"):
        launch(DemoOptions(scenario="explode"))
    with pytest.raises(UsageError, match="no-such-run"):
        launch(DemoOptions(scenario="healthy", resume="no-such-run"))
    assert list_runs() == []


def test_cuda_that_is_not_there_is_refused_before_anything_is_started():
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is CUDA here")
    with pytest.raises(UsageError, match="no CUDA device"):
        launch(DemoOptions(scenario="healthy", device="cuda"))
    assert list_runs() == []


def test_only_an_ended_run_of_the_same_scenario_with_a_checkpoint_can_be_resumed():
    from tuimon.record.liveness import identity
    from tuimon.record.rundir import Launch

    run = create_run("healthy")
    run.write_launch(Launch(run.name, "healthy", "", 50, 1, time.time(), identity()))
    with pytest.raises(UsageError, match="while it runs"):
        launch(DemoOptions(scenario="healthy", resume=run.name))
    run.write_launch(Launch(run.name, "slow", "", 50, 1, 0.0, None))
    with pytest.raises(UsageError, match="tuimon demo slow --resume"):
        launch(DemoOptions(scenario="healthy", resume=run.name))
    with pytest.raises(UsageError, match="no checkpoint"):
        launch(DemoOptions(scenario="slow", resume=run.name))


def test_what_nobody_read_before_a_run_ended_is_not_obeyed_by_the_attempt_that_resumes_it():
    run = create_run("healthy")
    prepare(run.commands)
    (run.checkpoints / "step-000000001").mkdir()
    (run.commands / "new" / "folder").mkdir()
    submit(run.commands, Command("left", "stop", issued=time.time()))
    _reopen(run.name, "healthy")
    assert not [found for found in Inbox(run.commands, 2).poll() if isinstance(found, Command)]


def test_the_training_process_finds_this_tuimon_first_and_a_tiny_model_gets_one_thread():
    env = environment({"PYTHONPATH": os.pathsep.join(["x", "", "y"]), "HOME": "/h"}, "tiny")
    first, *rest = env["PYTHONPATH"].split(os.pathsep)
    assert os.path.isfile(os.path.join(first, "tuimon", "demo", "train.py"))
    assert rest == ["x", "y"]
    assert (env["HOME"], env["OMP_NUM_THREADS"]) == ("/h", "1")
    assert "OMP_NUM_THREADS" not in environment({}, "small")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="only newer Pythons can be told")
def test_what_lies_in_the_directory_one_stands_in_is_not_taken_for_ours(tmp_path):
    for name in ("random", "tuimon"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not ours')")
    done = subprocess.run([sys.executable, "-m", "tuimon.errors"], check=False, capture_output=True, text=True, cwd=tmp_path,
                          env=environment(os.environ, "tiny"))
    assert (done.returncode, done.stderr) == (0, "")


def test_the_bare_loop_prints_its_losses_and_bad_options_one_line():
    command = [sys.executable, "-m", "tuimon.demo.train"]
    done = subprocess.run([*command, "healthy", "--bare", "--steps", "3", "--speed", "1e9"], capture_output=True, text=True)
    assert len(json.loads(done.stdout)["losses"]) == 3
    refused = subprocess.run([*command, "nonsense"], capture_output=True, text=True)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("tuimon: unknown demo 'nonsense'")
    assert refused.stderr.count("\n") == 1


def headless(**options):
    pytest.importorskip("tuimon.instrument.attach")
    pytest.importorskip("tuimon.diagnosis.notebook")
    from tuimon.demo.headless import run

    out, err = io.StringIO(), io.StringIO()
    status = run(DemoOptions(headless=True, speed=1e9, **options), out, err)
    return status, json.loads(out.getvalue()), err.getvalue()


def test_a_short_healthy_run_without_a_screen_ends_well_and_says_so():
    status, body, said = headless(scenario="healthy", steps=30)
    assert status == 0
    assert (body["schema"], body["steps"], body["state"], body["verdict"]) == (1, 30, "finished", "healthy")
    assert body["loss_last"] < body["loss_first"]
    assert body["rescues"] == 0
    assert said.splitlines()[0].endswith(list_runs()[0].read_launch().statement)


@pytest.mark.nightly
def test_an_explosion_from_the_start_fails_the_run_without_a_screen():
    status, body, _ = headless(scenario="exploding", from_start=True, steps=40)
    assert status == 3
    assert body["verdict"] == "critical"


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.nightly)])
def test_a_run_without_a_screen_that_is_told_to_go_leaves_no_training_behind(number):
    command = [sys.executable, "-m", "tuimon", "demo", "exploding", "--headless", "--from-start", "--on-critical", "hold"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        said = next(line for line in process.stderr if line.startswith("held"))
        assert f"tuimon watch {list_runs()[0].name}" in said
        process.send_signal(number)
        body = json.loads(process.communicate(timeout=30)[0])
    assert (process.returncode, body["state"]) == (128 + number, "stopped")
    assert not is_alive(list_runs()[0].read_info().process)


def test_a_training_process_that_refuses_is_a_usage_error():
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device to train on")
    with pytest.raises(UsageError, match="no CUDA device"):
        headless(scenario="healthy", device="cuda")
