"""A viewer that is stopped or killed: training neither waits for it nor holds anything of it."""

from __future__ import annotations

import os
import re
import signal
import stat
import statistics
import sys
import threading
import time

import pytest
from pty_terminal import Terminal

from tuimon.record.liveness import is_alive
from tuimon.record.rundir import list_runs, runs_root
from tuimon.record.segments import LogReader
from tuimon.record.status import status

SPEED = 10
"""Steps a second: far below what any machine reaches, so that the cap sets the rate."""
STEPS = 30


class Steps:
    """What the training process has recorded: when each step was completed, by its own clock."""

    def __init__(self) -> None:
        self._log, self.times = LogReader(list_runs()[0].metrics), []

    def more(self, count: int, seconds: float = 60.0) -> list[float]:
        """The seconds between the next `count` steps; fails where they do not come."""
        self._poll()
        begin, deadline = len(self.times), time.monotonic() + seconds
        while len(self.times) < begin + count:
            assert time.monotonic() < deadline, "training has stopped"
            threading.Event().wait(0.05)  # the machine is to be left to training
            self._poll()
        return [b - a for a, b in zip(self.times[begin:], self.times[begin + 1:], strict=False)]

    def _poll(self) -> None:
        for chunk in self._log.poll():
            self.times += chunk.times.tolist()


def foreign_files(pid: int) -> list[str]:
    """What a process holds open that another could keep it waiting on: terminals, sockets, pipes with another end."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{fd}"
        kind, name = os.stat(path).st_mode, os.readlink(path)
        if not (stat.S_ISREG(kind) or name == "/dev/null" or name.startswith("anon_inode:")):
            found.append(name)
    return found


@pytest.mark.parametrize("number", [signal.SIGSTOP, pytest.param(signal.SIGKILL, marks=pytest.mark.nightly)])
def test_a_viewer_that_is_stopped_or_killed_does_not_change_the_rate_of_training(number):
    command = [sys.executable, "-m", "tuimon", "demo", "healthy", "--speed", str(SPEED), "--steps", "5000"]
    with Terminal(command, 120, 40, {"TUIMON_RUNS": str(runs_root())}) as terminal:
        terminal.wait_for("step 1")
        steps, process = Steps(), list_runs()[0].read_info().process
        if os.path.isdir(f"/proc/{process.pid}/fd"):
            assert foreign_files(process.pid) == []
        watched = steps.more(STEPS)
        terminal.process.send_signal(number)
        alone = steps.more(STEPS)
        # that nothing can block is shown above; other work on the machine may double a step, waiting would end them
        assert statistics.median(alone) < 2 * max(statistics.median(watched), 1 / SPEED)
        assert is_alive(process)
        assert status(list_runs()[0]).state == "running"
        if number == signal.SIGSTOP:
            terminal.process.send_signal(signal.SIGCONT)
            now = len(steps.times)
            terminal.wait_for(lambda text: any(int(n) >= now for n in re.findall(r"step (\d+)", text)))
