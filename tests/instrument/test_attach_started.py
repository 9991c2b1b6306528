"""Whoever starts the ranks again finds their run; whoever knows a job's number finds it, too."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

import pytest
import torch
from torch import nn

import tuimon
from tuimon.instrument import started
from tuimon.instrument.place import Place, take_place
from tuimon.record.liveness import identity
from tuimon.record.rundir import RunDir, RunInfo

GONE = RunInfo("gpt", replace(identity(), pid=1, started=1.0, since_boot=1.0), torchrun="job #0")


def taken(info: RunInfo) -> Place:
    with ExitStack() as undo:
        place = take_place(info, None, undo, is_argument=False)
        undo.pop_all()
    return place


def test_what_torchrun_starts_again_goes_on_in_the_run_of_the_round_before(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    first, other = taken(GONE), taken(replace(GONE, torchrun="job #1"))
    assert first.run != other.run
    assert taken(GONE).run != first.run   # another start by the same name, not another round
    first = taken(GONE)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    again = taken(replace(GONE, process=identity()))
    assert (again.run, again.info.attempt) == (first.run, 2)
    assert taken(GONE).run != first.run   # which lives by now
    assert taken(replace(GONE, torchrun="job #1")).run == other.run
    assert taken(replace(GONE, torchrun="another #0")).info.attempt == 1


def test_a_run_says_which_torchrun_started_it_and_which_of_its_runs_it_is(monkeypatch):
    monkeypatch.setattr(started, "_COUNT", iter(range(9)))
    assert started.torchrun({}) == ""
    assert started.torchrun({"TORCHELASTIC_RUN_ID": "mine"}) == "mine #0"
    unnamed = [started.torchrun({"TORCHELASTIC_RUN_ID": "none"}) for _ in range(2)]
    assert [one.rpartition(" #")[2] for one in unnamed] == ["1", "2"]
    assert len({one.rpartition(" #")[0] for one in unnamed}) == 1   # the same agent's
    assert unnamed[0] != "none #1"


@pytest.mark.parametrize(("env", "names"), [
    ({}, ()), ({"SLURM_JOB_ID": "123"}, ("123",)), ({"SLURM_JOB_ID": "1;ls"}, ()), ({"SLURM_JOB_ID": "9" * 40}, ()),
    ({"SLURM_JOB_ID": "125", "SLURM_ARRAY_JOB_ID": "123", "SLURM_ARRAY_TASK_ID": "2"}, ("125", "123_2")),
    ({"SLURM_JOB_ID": "125", "SLURM_HET_JOB_ID": "124", "SLURM_HET_JOB_OFFSET": "1"}, ("125", "124+1")),
])
def test_a_job_goes_by_its_number_and_by_that_of_its_array(env, names):
    assert started.jobs(env) == names


def test_a_run_names_the_job_that_trains_it(monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    model = nn.Linear(2, 2)
    with tuimon.attach(model, torch.optim.SGD(model.parameters(), lr=0.1)) as monitor:
        info = RunDir(monitor.run_dir).read_info()
    assert info is not None
    assert info.jobs == ("77",)
