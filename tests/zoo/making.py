"""Making recordings: one process per run, each with one thread of torch. What is there already stays.

Only the processes know torch. A run that fails is told and left out; the others go on.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

from tests.zoo.cache import path_of, split_by_presence
from tests.zoo.recording import save
from tests.zoo.split import Run
from tests.zoo.thin import thinned


class Going(NamedTuple):
    """A process at work."""

    run: Run
    since: float


def make_all(runs: Sequence[Run], directory: Path, *, jobs: int = 1, thin: bool = False) -> list[Run]:
    """Make what is missing; the runs that failed."""
    directory.mkdir(parents=True, exist_ok=True)
    there, missing = split_by_presence(directory, runs)
    print(f"{directory}: {len(there)} of {len(runs)} recordings are there", file=sys.stderr)
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"      # inherited by the processes
    context = multiprocessing.get_context("spawn")
    waiting, going, failed, done = list(reversed(missing)), dict[BaseProcess, Going](), list[Run](), 0
    try:
        while waiting or going:
            while waiting and len(going) < jobs:
                run = waiting.pop()
                process = context.Process(target=make_one, args=(run, path_of(directory, run), thin))
                process.start()
                going[process] = Going(run, time.monotonic())
            wait([process.sentinel for process in going])
            for process in [p for p in going if p.exitcode is not None]:
                run, since = going.pop(process)
                done += 1
                failed += [run] if process.exitcode else []
                _progress(run, done, len(missing), time.monotonic() - since, process.exitcode)
    finally:
        for process in going:
            process.terminate()
            process.join()
    return failed


def _progress(run: Run, done: int, of: int, took: float, status: int | None) -> None:
    how = "" if not status else f"  FAILED with status {status}"
    print(f"[{done:>{len(str(of))}}/{of}] {run.name:<40} {took:5.1f} s{how}", file=sys.stderr, flush=True)


def make_one(run: Run, path: Path, thin: bool) -> None:
    """Train, record and keep one run. In a process of its own."""
    import torch

    from tests.zoo.train import make

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="tuimon-zoo-") as root:
        os.environ["TUIMON_RUNS"] = root
        recording = make(run.kind, run.seed, Path(root))
    save(path, thinned(recording) if thin else recording)
