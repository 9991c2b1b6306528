"""A job of SLURM leads to its run: by what a `squeue` says that nobody has to believe."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.cli import main
from tuimon.errors import RunNotFound, UsageError
from tuimon.record.liveness import ProcessIdentity
from tuimon.record.rundir import RunDir, RunInfo, create_run
from tuimon.record.segments import LogWriter, Row
from tuimon.remote import slurm
from tuimon.remote.slurm import Job, job_of, machines, run_of, run_told

BEGAN = time.mktime((2026, 11, 28, 9, 0, 0, 0, 0, -1))


class Squeue:
    def __init__(self, place: Path) -> None:
        self.place = place

    def says(self, *lines: str, status: int = 0, error: str = "") -> None:
        (self.place / "out").write_text("".join(f"{line}\n" for line in lines))
        (self.place / "err").write_text(error)
        script = self.place / "squeue"
        script.write_text(f'#!/bin/sh\necho "$@" > {self.place}/asked\ncat {self.place}/out\ncat {self.place}/err >&2\nexit {status}\n')
        script.chmod(0o700)


@pytest.fixture
def squeue(tmp_path, monkeypatch) -> Squeue:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return Squeue(tmp_path / "bin")


def run(root: Path, name: str, host: str, started: float, *jobs: str) -> RunDir:
    root.mkdir(exist_ok=True)
    found = create_run(name, root)
    found.write_info(RunInfo(name, ProcessIdentity(1, 1.0, "other", host), started=started, jobs=jobs))
    log = LogWriter(found.metrics, attempt=1, from_step=0, tensors=0)
    log.append([Row(1, time.time(), {"loss": 1.0})])
    log.close()
    return found


JOB = Job("42", "node01", ("node01", "node02"), BEGAN)


def test_a_job_says_where_it_runs_and_since_when(squeue):
    squeue.says("RUNNING|2026-11-28T09:00:00|node01|node[01-02],gpu7|None")
    assert job_of("42") == Job("42", "node01", ("node01", "node02", "gpu7"), BEGAN)
    assert (squeue.place / "asked").read_text() == "--noheader --jobs=42 --format=%T|%S|%B|%N|%r\n"


@pytest.mark.parametrize(("lines", "said"), [
    (["PENDING|N/A|n/a||Priority"], "does not run: pending (Priority)"),
    (["RUNNING|x|a|a|None", "RUNNING|x|b|b|None"], "has 2 parts that run"),
    ([], "squeue knows no job 42"),
    (["what | ever"], "squeue says nothing of it"),
])
def test_a_job_that_does_not_run_is_said_so(squeue, lines, said):
    squeue.says(*lines)
    with pytest.raises(UsageError) as error:
        job_of("42")
    assert said in str(error.value)


def test_what_squeue_complains_of_is_said(squeue):
    squeue.says(status=1, error="slurm_load_jobs error: Invalid job id\x1b[31m specified\n")
    with pytest.raises(UsageError, match="Invalid job id specified") as error:
        job_of("42")
    assert "\x1b" not in str(error.value)


@pytest.mark.parametrize("odd", ["", "-1", "42;ls", "--help", "a", "4 2", "٤٢", "42_", "9" * 40])
def test_no_option_and_no_command_is_a_job(squeue, odd):
    squeue.says("RUNNING|x|a|a|None")
    with pytest.raises(UsageError, match="is no job"):
        job_of(odd)
    assert not (squeue.place / "asked").exists()


def test_without_slurm_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="squeue cannot be started"):
        job_of("42")


def test_lists_of_machines_are_read_and_nothing_that_ssh_would_take_for_an_option():
    assert machines("a[08-10,2]-x,b") == ("a08-x", "a09-x", "a10-x", "a2-x", "b")
    assert machines("-oProxyCommand=x,$(ls),-o[1-2],a b,ok") == ("ok",)
    assert machines("(null)") == ()
    assert len(machines("n[0-999999999999]")) <= 1 << 16


@given(st.text(max_size=60) | st.from_regex(r"[a-c\[\],0-9-]{0,30}", fullmatch=True))
def test_whatever_it_is_only_names_come_out(nodes):
    assert all(slurm._NAME.fullmatch(name) for name in machines(nodes))


def test_the_run_is_the_one_on_its_machines_since_it_began(tmp_path):
    root = tmp_path / "runs"
    run(root, "before", "node01", BEGAN - 4000)
    run(root, "elsewhere", "node09", BEGAN + 10)
    wanted = run(root, "mine", "node01.cluster.example", BEGAN + 10)
    assert run_of(JOB, root) == wanted
    with pytest.raises(RunNotFound, match="no run of job 42"):
        run_of(replace(JOB, hosts=("node05",)), root)
    other = run(root, "too", "node02", BEGAN + 20)
    with pytest.raises(UsageError) as error:
        run_of(JOB, root)
    assert wanted.name in str(error.value)
    assert other.name in str(error.value)


def test_a_run_that_names_its_job_is_found_without_asking_slurm(tmp_path):
    root = tmp_path / "runs"
    mine, theirs = run(root, "mine", "node01", BEGAN + 10, "42", "40_2"), run(root, "theirs", "node01", BEGAN + 20, "43")
    assert run_told("42", root) == run_told("40_2", root) == mine
    assert run_told("43", root) == theirs
    assert run_told("40", root) is None
    with pytest.raises(UsageError, match="is no job"):
        run_told("-1", root)
    with pytest.raises(RunNotFound):   # on its machine, and another job's by its own word
        run_of(replace(JOB, number="44"), root)
    again = run(root, "again", "node09", BEGAN + 30, "42")
    with pytest.raises(UsageError, match="job 42 may be any of"):
        run_told("42", root)
    assert again.path.is_dir()


def test_watch_of_a_job_goes_where_its_run_is(squeue, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TUIMON_RUNS", str(tmp_path / "runs"))
    squeue.says("RUNNING|2026-11-28T09:00:00|node01|node01|None")
    ssh = tmp_path / "bin" / "ssh"
    ssh.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/reached\nexit 255\n')
    ssh.chmod(0o700)
    monkeypatch.delenv("TUIMON_SSH", raising=False)
    assert main(["watch", "--slurm", "42", "--plain"]) == 2
    assert "no run of job 42 (node01) is seen from here; nor is it a machine" in capsys.readouterr().err
    assert " -- node01 " in (tmp_path / "reached").read_text()
    assert "TUIMON_READONLY" not in os.environ   # what was looked at from afar says nothing of what comes after
    assert main(["watch", "--slurm", "42", "name"]) == 2
