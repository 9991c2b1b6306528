"""A training process: starting it and ending it. Starts a process and writes to its run directory; no torch.

The process has a session of its own: Ctrl+C, a closed laptop or a crashed viewer never reach it. It says whatever it
says into console.log, and everything else into its run directory: nobody holds a pipe to it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tuimon.control import spool
from tuimon.control.commands import Command
from tuimon.control.person import this_person
from tuimon.errors import UsageError
from tuimon.private import open_file
from tuimon.record.liveness import identity
from tuimon.record.rundir import Launch, RunDir, create_run

STOP_S: Final = 6.0
"""How long a run may take to leave at a step boundary, before it is told by signal."""
TERMINATE_S: Final = 4.0
"""How long after that, before it is killed."""
HERE: Final = str(Path(__file__).resolve().parents[2])
"""Where this tuimon is imported from."""


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

    def has_ended(self, seconds: float) -> bool:
        """Whether it has, or does within these seconds."""
        self._wait(seconds)
        return self.poll() is not None

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
        return self.tell()

    def tell(self) -> int:
        """Wait for its exit status, and write it into launch.json, so that every viewer can say how it ended."""
        status = self.process.wait()
        with contextlib.suppress(OSError):  # the directory is gone or full: they will say that it died
            self.run.write_launch(replace(self.launch, status=status))
        return status

    def tell_when_it_ends(self) -> None:
        """The same, in a thread of its own."""
        threading.Thread(target=self.tell, name="tuimon-status", daemon=True).start()

    def _ask_to_stop(self) -> None:
        command = Command(spool.new_id(), "stop", issued=time.time(), who=this_person("launch"))
        try:
            spool.submit(self.run.commands, command)
        except OSError:
            return  # the directory is gone or full: the signal will do

    def _wait(self, seconds: float) -> None:
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return


def check_python() -> None:
    """UsageError where this Python cannot start another."""
    if not sys.executable:
        raise UsageError("this Python does not know its own path, so it cannot start a training process")


def create(name: str) -> RunDir:
    """A fresh run directory with its spool. UsageError where it cannot be made."""
    try:
        run = create_run(name)
        spool.prepare(run.commands)
    except OSError as error:
        raise UsageError(f"cannot create a run directory at {error.filename}: {error.strerror}") from None
    return run


def start(run: RunDir, said: Launch, arguments: Sequence[str], environment: Mapping[str, str],
          stdin: int = subprocess.DEVNULL) -> Started:
    """Write launch.json, then start this Python with `arguments`. UsageError where that cannot be."""
    run.write_launch(said)
    console = open_file(run.console, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        process = subprocess.Popen(  # noqa: S603  # our own interpreter
            [sys.executable, *arguments], stdin=stdin, stdout=console, stderr=console, start_new_session=True,
            close_fds=True, env=environment,
        )
    except OSError as error:
        raise UsageError(f"cannot start {sys.executable}: {error.strerror}") from None
    finally:
        os.close(console)
    try:
        said = replace(said, process=identity(process.pid))
        run.write_launch(said)
    except ProcessLookupError:
        pass  # already gone: what it said is in console.log
    return Started(run, said, process)
