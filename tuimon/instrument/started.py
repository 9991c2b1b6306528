"""Who started this process: a job of SLURM, a torchrun. Reads the environment and asks the process table.

A torchrun that starts its ranks again tells them how often it has: what they train goes on in the run of before.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tuimon.errors import LogError, UsageError
from tuimon.record.liveness import identity, is_alive
from tuimon.record.rundir import RunInfo, list_runs

LOOKED_AT: Final = 64
"""Newest runs among which that of the round before is looked for."""
_COUNT: Final = itertools.count()


def jobs(env: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """By which names SLURM knows the job: its number, and 123_4 of an array or 123+1 of one with several parts."""
    env = os.environ if env is None else env

    def named(joint: str, *names: str) -> str:
        parts = [env.get(name, "") for name in names]
        return joint.join(parts) if all(part.isdecimal() and len(part) < 20 for part in parts) else ""

    found = (named("", "SLURM_JOB_ID"), named("_", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"),
             named("+", "SLURM_HET_JOB_ID", "SLURM_HET_JOB_OFFSET"))
    return tuple(name for name in found if name)


def torchrun(env: Mapping[str, str] | None = None) -> str:
    """Which torchrun started this rank, and which of its attached runs this is; "" where none did. Counts on."""
    env = os.environ if env is None else env
    name = env.get("TORCHELASTIC_RUN_ID", "")
    if not name:
        return ""
    if name == "none":   # what it is called where nobody has named it
        try:
            agent = identity(os.getppid())
        except ProcessLookupError:
            return ""
        name = f"{agent.pid} of {agent.host}, {agent.boot_id}, {agent.since_boot}"
    return f"{name[:200]} #{next(_COUNT)}"


def restarts() -> int:
    """How often torchrun has started these ranks again."""
    text = os.environ.get("TORCHELASTIC_RESTART_COUNT", "")
    return int(text) if text.isdecimal() else 0


def round_before(info: RunInfo) -> Path | None:
    """Where these ranks were recorded before torchrun started them again; None where they were not, or still are."""
    if not (info.torchrun and restarts()):
        return None
    try:
        runs = list_runs()[:LOOKED_AT]
    except UsageError:   # no home
        return None
    for run in runs:
        try:
            before = run.read_info()
        except LogError:
            continue
        if before is not None and (before.torchrun, before.name) == (info.torchrun, info.name):
            return None if is_alive(before.process) else run.path
    return None
