"""Deleting a run: never a live one, never anything but a run directory under the root. Touches the disk."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Mapping
from pathlib import Path

from tuimon.errors import UsageError
from tuimon.record.readonly import ONLY_LOOKS, READ_ONLY, is_read_only
from tuimon.record.rundir import RunDir
from tuimon.record.status import SILENT_S, status
from tuimon.record.worlds import segments_of


def refusal(run: RunDir, root: Path, env: Mapping[str, str] | None = None) -> str:
    """Why this run may not be deleted now; "" where it may. Reads the disk and the process table."""
    if is_read_only(env):
        return f"{ONLY_LOOKS} ({READ_ONLY} is set)"
    name = run.path.name
    if run.path.parent != root or name in ("", ".", "..") or run.path != root / name:
        return "it is not directly under the root of the runs"
    try:
        if not stat.S_ISDIR(os.lstat(run.path).st_mode):
            return "it is no directory of its own, but a link or a file"
        if not stat.S_ISDIR(os.lstat(run.metrics).st_mode):
            return "it is not a run: its metrics are elsewhere"
    except FileNotFoundError:
        return "it is not a run: it has no metrics" if os.path.lexists(run.path) else "it is gone already"
    except OSError as error:
        return f"it cannot be looked at: {error.strerror}"
    found = status(run, time.time)
    if found.is_live:
        return f"it is alive ({found.state}): end it first"
    if found.state == "unreadable" and time.time() - _written(run) < SILENT_S:
        return "it cannot be read, and something wrote into it a moment ago"
    return ""


def _written(run: RunDir) -> float:
    """Wall clock of the last write into the log or the events; 0.0 where there is none."""
    found = 0.0
    for path in (run.events, run.metrics, *(paths[-1] for paths in segments_of(run.metrics).values())):
        try:
            found = max(found, os.lstat(path).st_mtime)
        except OSError:
            continue
    return found


def remove(run: RunDir, root: Path, env: Mapping[str, str] | None = None) -> None:
    """Delete the run's directory and all in it; links in it are removed, not followed.

    UsageError says why it may not be; OSError where the disk refuses, and then some of it may be gone.
    """
    why = refusal(run, root, env)
    if why:
        raise UsageError(f"{run.name} is not deleted: {why}")
    if not shutil.rmtree.avoids_symlink_attacks:
        raise UsageError(f"{run.name} is not deleted: this system cannot do it safely")
    shutil.rmtree(run.path)
