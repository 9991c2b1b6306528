"""A job of SLURM: on which machines it runs and since when, and which run is its. Asks `squeue`; touches the disk.

What `squeue` prints is not trusted: it is short, its names are names of machines, and none of it reaches a shell.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tuimon.errors import LogError, RunNotFound, UsageError
from tuimon.record.rundir import RunDir, list_runs
from tuimon.record.status import is_live
from tuimon.record.text import clean

_JOB: Final = re.compile(r"[0-9]{1,18}(?:[_+][0-9]{1,9})?")
"""A job, one of an array, or one part of a job of several."""
_FORMAT: Final = "%T|%S|%B|%N|%r"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}")
_GROUP: Final = re.compile(r"([A-Za-z0-9._-]*)\[([0-9,-]{1,4096})\]([A-Za-z0-9._-]*)")
PATIENCE: Final = 30.0
"""Seconds in which a controller answers."""
SLACK: Final = 120.0
"""Seconds by which the clocks of two machines may differ."""
_MOST: Final = 1 << 16
"""Bytes that are looked at, and machines of a job."""


@dataclass(frozen=True, slots=True)
class Job:
    """What SLURM says of a job that runs."""

    number: str
    head: str
    """The machine on which its script runs; "" where that is not said."""
    hosts: tuple[str, ...]
    started: float
    """Wall clock; 0.0 where that is not said."""


def job_of(number: str) -> Job:
    """A job that runs now; UsageError where it is none, or SLURM cannot be asked."""
    _check(number)
    try:
        done = subprocess.run(["squeue", "--noheader", f"--jobs={number}", f"--format={_FORMAT}"],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False)
    except OSError as error:
        raise UsageError(f"squeue cannot be started: {error.strerror}; is this a machine of the cluster?") from None
    except subprocess.TimeoutExpired:
        raise UsageError(f"squeue did not answer for {PATIENCE:.0f} s") from None
    lines = [line.strip() for line in done.stdout[:_MOST].decode("utf-8", "replace").splitlines() if line.strip()]
    if done.returncode or not lines:
        why = clean(done.stderr[:_MOST].decode("utf-8", "replace").strip(), 200) or "it has ended, or never was"
        raise UsageError(f"squeue knows no job {number}: {why}")
    return _parsed(number, lines)


def _check(number: str) -> None:
    if not _JOB.fullmatch(number):
        raise UsageError(f"{number!r:.80} is no job of SLURM; wanted is its number, such as 123456 or 123456_7")


def _parsed(number: str, lines: Sequence[str]) -> Job:
    fields = [line.split("|") for line in lines]
    running = [one for one in fields if len(one) == 5 and one[0] == "RUNNING"]
    if not running:
        state, why = (clean(fields[0][i], 80) if len(fields[0]) == 5 else "" for i in (0, 4))
        raise UsageError(f"job {number} does not run: {state.lower() or 'squeue says nothing of it'}"
                         f"{f' ({why})' if why and why != 'None' else ''}")
    if len(running) > 1:
        raise UsageError(f"job {number} has {len(running)} parts that run: name one of them, such as {number}_0")
    _, started, head, nodes, _ = running[0]
    hosts = machines(nodes)
    return Job(number, head if _NAME.fullmatch(head) else "", hosts, _wall(started))


def machines(nodes: str) -> tuple[str, ...]:
    """node[01-03,7],gpu1 as names; what is none is left out."""
    found: list[str] = []
    for part in re.findall(r"[^,\[]*(?:\[[^\]]*\][^,\[]*)?", nodes[:_MOST]):
        group = _GROUP.fullmatch(part)
        if group is None:
            found += [part] if _NAME.fullmatch(part) else []
            continue
        before, numbers, after = group.groups()
        for number in numbers.split(","):
            first, _, last = number.partition("-")
            if not first.isdecimal() or (last and not last.isdecimal()):
                continue
            begin, end = int(first), int(last or first)
            if not _NAME.fullmatch(f"{before}{first}{after}"):
                continue
            found += [f"{before}{i:0{len(first)}}{after}" for i in range(begin, min(end, begin + _MOST) + 1)]
            if len(found) > _MOST:
                return tuple(found[:_MOST])
    return tuple(found)


def _wall(words: str) -> float:
    try:
        return time.mktime(time.strptime(words, "%Y-%m-%dT%H:%M:%S"))
    except (ValueError, OverflowError):
        return 0.0


def run_told(number: str, root: Path | None = None) -> RunDir | None:
    """The run that says itself that this job trains it, or did: SLURM need not be asked; None where none does."""
    _check(number)
    return _one_of([run for run in list_runs(root) if number in _jobs(run)], number)


def run_of(job: Job, root: Path | None = None) -> RunDir:
    """The run that a job trains, where its directory can be seen from here; RunNotFound where there is none.

    UsageError where two runs that go on now may be meant.
    """
    hosts = {_short(host) for host in job.hosts}
    found = [run for run in list_runs(root) if _is_its(run, hosts, job.started)]
    chosen = _one_of(found, job.number)
    if chosen is None:
        raise RunNotFound(f"no run of job {job.number} ({', '.join(job.hosts[:3]) or 'no machine'}) is seen from here")
    return chosen


def _one_of(found: Sequence[RunDir], number: str) -> RunDir | None:
    """The newest, or the one that lives."""
    live = [run for run in found if is_live(run)]
    if len(live) > 1:
        raise UsageError(f"job {number} may be any of: {', '.join(clean(run.name, 100) for run in live[:5])}; "
                         f"watch one of them by its name")
    return next(iter(live or found), None)


def _jobs(run: RunDir) -> tuple[str, ...]:
    try:
        info = run.read_info()
    except LogError:
        return ()
    return info.jobs if info is not None else ()


def _is_its(run: RunDir, hosts: set[str], started: float) -> bool:
    try:
        info = run.read_info()
    except LogError:
        return False
    if info is None or info.jobs or info.started < started - SLACK:   # one that names its jobs names another
        return False
    return _short(info.process.host) in hosts


def _short(host: str) -> str:
    """Without the domain, which not every side names."""
    return host.partition(".")[0].lower()
