"""Starting the demo's training process: what can be refused before it starts, its run directory, its command line."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import Final

from tuimon.control import spool
from tuimon.demo.options import DemoOptions, Size
from tuimon.errors import UsageError
from tuimon.launch.process import HERE, Started, check_python, create, start
from tuimon.record.rundir import Launch, RunDir, prepare_run
from tuimon.record.runs import find_run
from tuimon.record.status import status

NOTEBOOK: Final = ("healthy", "exploding", "vanishing", "slow")
"""The four trainings that the notebook draws beside each other."""


def launch(options: DemoOptions, clock: Callable[[], float] = time.time) -> Started:
    """Create the run directory, say in it what is coming, and start training. UsageError where that cannot be."""
    options = options.check()
    check_python()
    _check_torch(options)
    run = create(options.scenario) if options.resume is None else _reopen(options.resume, options.scenario)
    earlier = run.read_launch() if options.resume is not None else None
    if earlier is not None:  # the order of the data and the length of the schedule belong to the run
        options = replace(options, seed=earlier.seed, steps=options.steps or earlier.total_steps)
    statement = options.plan.statement
    said = Launch(name=options.scenario, scenario=options.scenario, statement=statement,
                  total_steps=options.total_steps, seed=options.seed, started=clock())
    arguments = ["-m", "tuimon.demo.train", *replace(options, run_dir=str(run.path)).arguments()]
    return start(run, said, arguments, environment(os.environ, options.size))


def launch_all(options: DemoOptions) -> tuple[Started, ...]:
    """Start the notebook's four, each as `launch` would. Where one cannot be started, those before it are ended."""
    begun: list[Started] = []
    try:
        for name in NOTEBOOK:
            begun.append(launch(replace(options, scenario=name, deep=name == "vanishing", from_start=False)))  # noqa: PERF401  # ended below
    except BaseException:
        for one in begun:
            one.end(0.0, 0.0)
        raise
    return tuple(begun)


def _check_torch(options: DemoOptions) -> None:
    """UsageError where training could not begin. Only an explicit `--device cuda` pays for loading torch to be sure."""
    if find_spec("torch") is None:
        raise UsageError("the demo trains with PyTorch, which this Python does not have: pip install torch")
    if options.device == "cuda" and options.resume is None:
        look = "import sys, torch; sys.exit(0 if torch.cuda.is_available() else 3)"
        done = subprocess.run([sys.executable, "-c", look], check=False, capture_output=True)  # noqa: S603  # ours
        if done.returncode == 3:  # anything else: the training process will say it better
            raise UsageError("--device cuda: this PyTorch sees no CUDA device; --device auto takes what there is")


def _reopen(selector: str, scenario: str) -> RunDir:
    """The run to go on with: ended, of the same scenario, with a checkpoint."""
    run = find_run(selector)
    found, earlier = status(run), run.read_launch()
    if found.is_live:
        raise UsageError(f"{run.name} is {found.state}: it cannot be resumed while it runs")
    if earlier is not None and earlier.scenario != scenario:
        wanted = earlier.scenario
        raise UsageError(f"{run.name} is a run of {wanted}: tuimon demo {wanted} --resume {run.name}")
    if not run.checkpoints.is_dir() or not any(run.checkpoints.iterdir()):
        raise UsageError(f"{run.name} has no checkpoint to resume from; c writes one while it runs")
    prepare_run(run)
    spool.prepare(run.commands)
    spool.clear(run.commands)
    return run


def environment(env: Mapping[str, str], size: Size) -> dict[str, str]:
    """The environment of a training process: this tuimon first, output unbuffered, one thread where more do not pay."""
    path = os.pathsep.join([HERE, *(p for p in env.get("PYTHONPATH", "").split(os.pathsep) if p and p != HERE)])
    # SAFEPATH (3.11): what lies in the directory one stands in, a random.py or another tuimon, is not taken for ours
    ours = {"PYTHONPATH": path, "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"} if size == "tiny" else {}
    return {**env, **threads, **ours}
