"""The scripts in demos/ for several ranks run as they stand."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from tests.ranks.launching import PATIENCE, ROOT, free_port
from tuimon.formats.read import read_run
from tuimon.record.ranks import RanksReader, reader_of
from tuimon.record.rundir import list_runs, runs_root
from tuimon.record.status import status


@pytest.mark.parametrize("more", [
    pytest.param([]), pytest.param(["--sharded"], marks=pytest.mark.nightly)], ids=["ddp", "sharded"])
def test_the_script_for_torchrun_makes_one_run_of_two_ranks(more):
    env = {**os.environ, "TUIMON_RUNS": str(runs_root()), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port()),
         str(ROOT / "demos" / "torchrun_ranks.py"), "24", *more],
        env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    [run] = list_runs()
    assert f"2 ranks recorded in {run.path}" in done.stdout
    losses = {int(s): float(v) for c in read_run(run).chunks for s, v in zip(*c.measured("loss"), strict=True)}
    assert sorted(losses) == list(range(1, 25))
    assert losses[24] < losses[1]
    reader = reader_of(run.metrics)
    assert isinstance(reader, RanksReader)
    while reader.poll():
        pass
    assert [(rank.step, rank.state) for rank in reader.ranks.ranks] == [(24, "ended"), (24, "ended")]


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash")
def test_the_script_for_slurm_is_one_and_starts_what_there_is():
    script = ROOT / "demos" / "slurm_ranks.sbatch"
    assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    [started] = [line.split()[0] for line in script.read_text().splitlines() if line.strip().startswith("demos/")]
    assert (ROOT / started).exists()


def until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.1)


@pytest.mark.nightly
@pytest.mark.parametrize("who", [0, 1])
def test_a_rank_that_stands_still_and_then_dies_is_named_whichever_it_is(who):
    env = {**os.environ, "TUIMON_RUNS": str(runs_root()), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port()),
         str(ROOT / "demos" / "torchrun_ranks.py"), "100000"], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    pid = 0
    try:
        until(lambda: list_runs() and status(list_runs()[0]).step > 5)
        [run] = list_runs()
        pid = json.loads((run.ranks / f"r{who}.json").read_text())["process"]["pid"]
        assert status(run).lost == ()
        os.kill(pid, signal.SIGSTOP)
        until(lambda: (who, "silent") in status(run).lost)
        assert status(run).is_maimed
        os.kill(pid, signal.SIGCONT)
        until(lambda: status(run).lost == ())
        os.kill(pid, signal.SIGKILL)
        until(lambda: (who, "died") in status(run).lost)
    finally:
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        started.terminate()
        started.wait(60)
