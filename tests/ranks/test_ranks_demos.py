"""The scripts in demos/ for several ranks run as they stand."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.ranks.launching import PATIENCE, ROOT, free_port
from tuimon.formats.read import read_run
from tuimon.record.ranks import RanksReader, reader_of
from tuimon.record.rundir import list_runs, runs_root


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
