"""Starting a training process and ending it. Starts a process and writes to its run directory; no torch, no textual.

The process has a session of its own: Ctrl+C, a closed laptop or a crashed viewer never reach it. It says whatever it
says into console.log, and everything else into its run directory: nobody holds a pipe to it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from tuimon.control import spool
from tuimon.control.commands import Command, Who
from tuimon.demo.options import DemoOptions, Size
from tuimon.errors import UsageError
from tuimon.record.liveness import identity
from tuimon.record.rundir import Launch, RunDir, create_run, prepare_run
from tuimon.record.runs import find_run
from tuimon.record.status import status

STOP_S: Final = 6.0
"""How long a run may take to leave at a step boundary, before it is told by signal."""
TERMINATE_S: Final = 4.0
"""How long after that, before it is killed."""
_POLL_S: Final = 0.02


@dataclass(frozen=True)
class Started:
    """A training process and its run."""

    run: RunDir
    launch: Launch
    process: subprocess.Popen[bytes]

    @property
    def pid(self) -> int:
        """Of the training process, and of its process group."""
        return self.process.pid

    def poll(self) -> int | None:
        """Its exit status; None while it lives. Negative: the signal that killed it."""
        return self.process.poll()

    def end(self, stop_s: float = STOP_S, terminate_s: float = TERMINATE_S) -> int:
        """End it: ask at a step boundary, then by SIGTERM, then kill its process group. Its exit status. Idempotent."""
        if self.poll() is None and self.run.run_json.exists():
            self._ask_to_stop()
            self._wait(stop_s)
        if self.poll() is None:
            self.process.terminate()
            self._wait(terminate_s)
        if self.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)  # its own group: start_new_session made it the leader
        return self.process.wait()

    def _ask_to_stop(self) -> None:
        who = Who(uid=os.getuid(), pid=os.getpid(), origin="launch")
        command = Command(spool.new_id(), "stop", issued=time.time(), who=who)
        try:
            spool.submit(self.run.commands, command)
        except OSError:
            return  # the directory is gone or full: the signal will do

    def _wait(self, seconds: float) -> None:
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return


def launch(options: DemoOptions, clock: Callable[[], float] = time.time) -> Started:
    """Create the run directory, say in it what is coming, and start training. UsageError where that cannot be."""
    options = options.check()
    if not sys.executable:
        raise UsageError("this Python does not know its own path, so it cannot start a training process")
    _check_torch(options)
    run = _create(options) if options.resume is None else _reopen(options.resume, options.scenario)
    earlier = run.read_launch() if options.resume is not None else None
    if earlier is not None:  # the order of the data and the length of the schedule belong to the run
        options = replace(options, seed=earlier.seed, steps=options.steps or earlier.total_steps)
    statement = options.plan.statement
    said = Launch(name=run.name, scenario=options.scenario, statement=statement, total_steps=options.total_steps,
                  seed=options.seed, started=clock())
    run.write_launch(said)
    process = _start(run, replace(options, run_dir=str(run.path)))
    try:
        said = replace(said, process=identity(process.pid))
        run.write_launch(said)
    except ProcessLookupError:
        pass  # already gone: what it said is in console.log
    return Started(run, said, process)


def _check_torch(options: DemoOptions) -> None:
    """UsageError where training could not begin. Only an explicit `--device cuda` pays for loading torch to be sure."""
    if find_spec("torch") is None:
        raise UsageError("the demo trains with PyTorch, which this Python does not have: pip install torch")
    if options.device == "cuda" and options.resume is None:
        look = "import sys, torch; sys.exit(0 if torch.cuda.is_available() else 3)"
        done = subprocess.run([sys.executable, "-c", look], check=False, capture_output=True)  # noqa: S603  # ours
        if done.returncode == 3:  # anything else: the training process will say it better
            raise UsageError("--device cuda: this PyTorch sees no CUDA device; --device auto takes what there is")


def _create(options: DemoOptions) -> RunDir:
    try:
        run = create_run(options.scenario)
        spool.prepare(run.commands)
    except OSError as error:
        raise UsageError(f"cannot create a run directory at {error.filename}: {error.strerror}") from None
    return run


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


def _start(run: RunDir, options: DemoOptions) -> subprocess.Popen[bytes]:
    said = os.open(run.console, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(  # noqa: S603  # our own interpreter and module
            [sys.executable, "-m", "tuimon.demo.train", *options.arguments()],
            stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True, close_fds=True,
            env=environment(os.environ, options.size),
        )
    except OSError as error:
        raise UsageError(f"cannot start {sys.executable}: {error.strerror}") from None
    finally:
        os.close(said)


def environment(env: Mapping[str, str], size: Size) -> dict[str, str]:
    """The environment of a training process: this tuimon first, output unbuffered, one thread where more do not pay."""
    here = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join([here, *(p for p in env.get("PYTHONPATH", "").split(os.pathsep) if p and p != here)])
    ours = {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"} if size == "tiny" else {}
    return {**env, **threads, **ours}
