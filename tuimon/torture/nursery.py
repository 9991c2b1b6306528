"""The process that has loaded torch once and forks a child for each job: `python -m tuimon.torture.nursery`.

    <- {"job": "train", "ledger": path, ...}     -> {"pid": n}
    <- {"end of": n}                             -> {"status": null | exit status, negative: a signal}

A child is reaped only when its end is asked for, so its number is nobody else's until then. When nobody is left at the
other end, all children are killed. Knows torch, as its jobs do. Starts processes.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from tuimon.torture.jobs import JOBS
from tuimon.torture.ledger import Ledger

LATER: Final = ("torch._dynamo", "tuimon.instrument.attach", "tuimon.diagnosis.engine")
"""What `attach` loads when it is called [2 s]: here once, for all children."""


def said_by(ledger: Path) -> Path:
    """Where a child's last words are, and what it printed."""
    return ledger.with_suffix(".said")


def main() -> None:
    """Serve until standard input ends."""
    torch.set_num_threads(1)
    for name in LATER:
        importlib.import_module(name)
    children: set[int] = set()
    sys.stdout.write("{}\n")
    sys.stdout.flush()
    for line in sys.stdin:
        asked = json.loads(line)
        if "end of" in asked:
            answer: dict[str, Any] = {"status": _ended(asked["end of"], children)}
        else:
            pid = os.fork()
            if pid == 0:
                _work(asked)
            children.add(pid)
            answer = {"pid": pid}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    for pid in children:
        os.kill(pid, signal.SIGKILL)


def _ended(pid: int, children: set[int]) -> int | None:
    found, status = os.waitpid(pid, os.WNOHANG)
    if not found:
        return None
    children.discard(pid)
    return os.waitstatus_to_exitcode(status)


def _work(job: Mapping[str, Any]) -> None:
    """The child. Never returns."""
    status = 1
    path = Path(job["ledger"])
    said = os.open(said_by(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(said, 1)
    os.dup2(said, 2)
    try:
        os.setsid()
        JOBS[job["job"]](job, Ledger(path))
        status = 0
    except BaseException:  # the outermost frame of the child: whoever asked is told
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
