"""No test leaves a training process behind, whether it passes or not."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tuimon.record.liveness import is_alive
from tuimon.record.rundir import list_runs


@pytest.fixture(autouse=True)
def _end_training(_own_runs: None) -> Iterator[None]:
    """End the training process of every run that a test started."""
    yield
    for run in list_runs():
        info, launch = run.read_info(), run.read_launch()
        for process in (info.process if info else None, launch.process if launch else None):
            if process is not None and process.pid != os.getpid() and is_alive(process):
                os.kill(process.pid, signal.SIGKILL)
