"""Ranks that torchrun starts again, also as others, go on in the same run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ranks import restarting
from tests.ranks.launching import PATIENCE, ROOT
from tuimon.record.events import EventReader
from tuimon.record.log import decode_json, frames
from tuimon.record.reader import segment_paths
from tuimon.record.rundir import RunDir, list_runs


def torchrun(out: Path, size: int, **more: str) -> None:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **more}
    subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={size}",
                    "--max-restarts=1", restarting.__file__, str(out)], env=env, check=True, timeout=PATIENCE)


def heads(run: RunDir, rank: int) -> list[tuple[int, int]]:
    """Attempt and world of each segment."""
    found = []
    for path in segment_paths(run.metrics, rank):
        head = next(f for f in frames(path.read_bytes()) if not isinstance(f, int))
        body = decode_json(head.payload)
        found.append((body["attempt"], body["world"]))
    return found


@pytest.mark.nightly
def test_restarts_are_attempts_of_the_same_run_though_the_world_changes(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    torchrun(tmp_path, 2, TUIMON_RUN_DIR=str(run.path))   # one rank dies, both are started again
    torchrun(tmp_path, 3, TUIMON_RUN_DIR=str(run.path))   # the same
    assert heads(run, 0) == [(1, 2), (2, 2), (3, 3), (4, 3)]
    assert heads(run, 1) == heads(run, 0)
    assert heads(run, 2) == [(3, 3), (4, 3)]
    ends = [e for e in EventReader(run.events).poll() if e.kind == "end"]
    assert [(e.attempt, e.step, e.text("state")) for e in ends if e.attempt in (2, 4)] == [
        (2, 8, "finished"), (4, 8, "finished")]
    assert {p.read_text() for p in tmp_path.glob("round-1-*")} == {str(run.path)}


@pytest.mark.nightly
def test_so_are_they_where_nobody_has_named_a_directory(tmp_path: Path) -> None:
    torchrun(tmp_path, 2)
    (run,) = list_runs()
    assert heads(run, 0) == heads(run, 1) == [(1, 2), (2, 2)]
