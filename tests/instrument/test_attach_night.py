"""A training on a machine that has nothing: no terminal, no home, no rights, no /proc. And somebody is told of it all."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training_loops import Net

import tuimon
from tuimon.errors import AttachError
from tuimon.record.events import EventReader
from tuimon.record.rundir import RunDir, list_runs
from tuimon.record.status import status

ROOT = Path(tuimon.__file__).parents[1]
NOBODY = 54321
"""No user of any machine has this number: no name, no home."""

_SCRIPT = """
import sys, warnings
warnings.simplefilter("always")
import torch, tuimon

def train(watched):
    torch.manual_seed(0)
    model = torch.nn.Linear(8, 8)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monitor = tuimon.attach(model, optimizer, name="night") if watched else None
    losses = []
    for step in range(30):
        loss = (model(torch.randn(4, 8)) ** 2).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if watched and step == 20:
            monitor.checkpoint()
            monitor.note("a note")
            repr(monitor)
    return losses, monitor, optimizer

alone, _, _ = train(False)
watched, monitor, optimizer = train(True)
assert alone == watched
print("the same")
"""


def trained(tmp_path: Path, env: dict[str, str], *before: str) -> str:
    """The complaints of a script on a machine without a terminal: its input closed, output and errors in files."""
    out, err = tmp_path / "out", tmp_path / "err"
    bare = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with out.open("w") as o, err.open("w") as e:
        done = subprocess.run([*before, sys.executable, "-c", _SCRIPT], stdin=None, stdout=o, stderr=e, env={**bare, **env}, check=False,
                              preexec_fn=lambda: os.close(0), cwd="/", timeout=200)
    assert (done.returncode, out.read_text()) == (0, "the same\n"), err.read_text()
    return err.read_text()


def test_under_slurm_and_nohup_a_run_is_recorded_and_trains_as_it_would_alone(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path / "home"), "SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_NTASKS": "1", "TERM": "dumb"}
    (tmp_path / "home").mkdir(mode=0o700)
    assert trained(tmp_path, env, "nohup") == ""
    (run,) = list_runs(tmp_path / "home" / ".local" / "state" / "tuimon" / "runs")
    assert (status(run).state, status(run).step) == ("finished", 30)


def as_nobody() -> tuple[str, ...]:
    if os.geteuid() or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv, to be somebody else")
    try:
        subprocess.run(["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", sys.executable, "-c", "import numpy"],
                       check=True, capture_output=True, env={"PATH": "/usr/bin:/bin"})
    except subprocess.CalledProcessError:
        pytest.skip("this Python is readable for its owner only")
    return "setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"


@pytest.mark.parametrize(("env", "is_other", "what"), [
    pytest.param({"HOME": "/proc"}, False, "cannot write to /proc/.local", marks=pytest.mark.nightly),   # read-only for root too
    ({}, True, "this user has no home directory"),
    pytest.param({"HOME": "/"}, True, "cannot write to /.local", marks=pytest.mark.nightly),
])
def test_where_nothing_can_be_written_it_trains_in_memory_with_one_warning_that_says_what_to_set(tmp_path, env, is_other, what) -> None:
    complaints = trained(tmp_path, env, *(as_nobody() if is_other else ()))
    assert complaints.count("Warning") == 1
    assert f"nothing is recorded, training goes on: {what}" in complaints
    assert "set TUIMON_RUNS" in complaints
    assert not Path("/.local").exists()


@pytest.mark.nightly
def test_a_sandbox_without_proc_is_measured_and_seen_to_live(tmp_path: Path) -> None:
    there = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
    if os.geteuid() or not shutil.which("unshare") or subprocess.run([*there, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no /proc to take away here")
    trained(tmp_path, {"TUIMON_RUNS": str(tmp_path / "runs")}, *there)
    (run,) = list_runs(tmp_path / "runs")
    assert (status(run).state, status(run).step) == ("finished", 30)


def attached(**options):
    model = Net()
    return tuimon.attach(model, torch.optim.SGD(model.parameters(), lr=0.1), **options)


def test_a_disk_that_is_full_or_read_only_at_the_start_costs_the_run_its_record_and_not_the_training(tmp_path: Path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunDir, "write_info", full)
    for where in ({}, {"run_dir": tmp_path / "mine"}):
        with pytest.warns(RuntimeWarning, match="No space left on device; set TUIMON_RUNS or run_dir="):
            monitor = attached(**where)
        monitor.close()
        assert list_runs() == []
        assert not (tmp_path / "mine").exists()


def test_a_wrong_target_is_refused_at_once_and_a_wrong_preference_only_warned_of(monkeypatch) -> None:
    with pytest.raises(AttachError, match="notify wants a URL"):
        attached(notify="no-such-program-at-all")
    with pytest.raises(AttachError, match="notify wants a URL"):
        tuimon.integrations.HFCallback(notify=[3])
    monkeypatch.setenv("TUIMON_NOTIFY", "no-such-program-at-all")
    with pytest.warns(RuntimeWarning, match="TUIMON_NOTIFY: notify wants a URL"):
        attached().close()


def test_a_script_that_crashes_has_told_before_it_is_gone(tmp_path: Path) -> None:
    told = "name='night', notify='sh -c \"cat > told\"'"
    script = _SCRIPT.replace('name="night"', told) + "raise ValueError('no more data')\n"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": str(ROOT), "TUIMON_RUNS": str(tmp_path / "runs")}, timeout=200)
    assert done.returncode == 1
    assert '"headline": "Crashed at step 30"' in (tmp_path / "told").read_text()   # a container would end here
    (run,) = list_runs(tmp_path / "runs")
    assert [line.kind for line in EventReader(run.notices).poll()] == ["watching", "sent"]
    assert "told of what goes wrong: command sh" in [e.text("text") for e in EventReader(run.events).poll()]
