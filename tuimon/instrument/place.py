"""Where a run is recorded: its directory is found or made, claimed, and described. Touches the disk.

A place that was asked for and cannot be is a wrong argument: AttachError. A disk that is full, and a home directory
that cannot be written, are not the script's fault: it is trained and watched over in memory, with one warning.
"""

from __future__ import annotations

import errno
import fcntl
import gc
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from tuimon.errors import AttachError, LogError, UsageError
from tuimon.instrument.recorder import is_recorded
from tuimon.instrument.started import restarts, round_before
from tuimon.private import make_folder
from tuimon.record.liveness import is_alive
from tuimon.record.rundir import Launch, RunDir, RunInfo, create_run, label, prepare_run, runs_root
from tuimon.record.status import status

REMEDY: Final = "set TUIMON_RUNS or run_dir="
_NOBODYS: Final = frozenset({
    errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.ESTALE, errno.EMFILE, errno.ENFILE})
"""What a disk says whichever directory on it was asked for."""


@dataclass(frozen=True, slots=True)
class Place:
    """A run directory with its run.json written, or why there is none."""

    run: RunDir
    info: RunInfo
    trouble: str = ""
    """Why nothing can be written there; "" where all is well."""


def take_place(info: RunInfo, run_dir: str | os.PathLike[str] | None, undo: ExitStack, *, is_argument: bool) -> Place:
    """The directory in which `info` now stands as this attempt; `undo` removes what was not there before.

    is_argument: whether the script itself asked for `run_dir`. AttachError where that is what is wrong.
    """
    try:
        with ExitStack() as made:
            with ExitStack() as taking:
                before = round_before(info) if run_dir is None else run_dir
                run, attempt = _run(info.name, before, made, taking)
                here = replace(info, attempt=attempt)
                run.write_info(here)
            undo.push(made.pop_all())
    except AttachError:
        raise
    except LogError as error:
        raise AttachError(f"run_dir holds something else: {error}") from None
    except UsageError as error:   # no home
        return Place(_nowhere(info.name, run_dir), info, str(error))
    except OSError as error:
        where = run_dir if is_argument else error.filename or "a run directory"
        if is_argument and error.errno not in _NOBODYS:
            raise AttachError(f"cannot make {where}: {error.strerror}; {REMEDY}") from None
        why = f"cannot write to {where}: {error.strerror}; {REMEDY} to a directory that can be written"
        return Place(_nowhere(info.name, run_dir), info, why)
    return Place(run, here)


def named_only(info: RunInfo) -> Place:
    """Of a rank that will come where rank 0 records."""
    return Place(RunDir(Path(label(info.name))), info)


def _nowhere(name: str, run_dir: str | os.PathLike[str] | None) -> RunDir:
    """What the run is called where it has no directory."""
    with suppress(UsageError):
        return RunDir(Path(run_dir).expanduser().absolute() if run_dir is not None else runs_root() / label(name))
    return RunDir(Path(label(name)))


def launch_of(run_dir: str | Path | None) -> tuple[str | Path | None, Launch | None]:
    """Where whoever started this process wants the run, and what was asked of them; None where nobody did."""
    try:
        return run_dir, None if run_dir is None else RunDir(Path(run_dir)).read_launch()
    except LogError:
        return run_dir, None


@contextmanager
def _claiming(path: Path) -> Iterator[None]:
    """One process at a time looks whether a directory is taken and takes it: two at once would both find it free.

    The lock is the kernel's, on the directory itself: it leaves no file, and dies with its process.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # a file system that has no locks
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _run(
    name: str, run_dir: str | os.PathLike[str] | None, undo: ExitStack, taking: ExitStack
) -> tuple[RunDir, int]:
    """The run directory and the number of this attempt in it; `undo` removes what was not there before.

    `taking` is left when the directory says whose it is.
    """
    if run_dir is None:
        run = create_run(name)
        undo.callback(shutil.rmtree, run.path, ignore_errors=True)
        return run, 1
    run = RunDir(Path(run_dir).expanduser().absolute())
    is_new = not run.path.exists()
    make_folder(run.path.parent, parents=0o755, mode=0o755, follow=True)
    prepare_run(run)
    taking.enter_context(_claiming(run.path))
    before = run.read_info()
    if before is None:
        if is_new:  # and nobody else's by now
            undo.callback(shutil.rmtree, run.path, ignore_errors=True)
        return run, 1
    alive = is_alive(before.process)
    if alive is None:  # another machine's: it cannot be asked, but its log tells
        alive = not restarts() and status(run).is_live   # torchrun has ended those before it starts them again
    mine = bool(alive) and before.process.pid == os.getpid()
    if mine and is_recorded(run):
        gc.collect()  # a notebook's cell run again: the earlier model may be garbage that nobody has collected
    if is_recorded(run) if mine else alive:
        whose = "another monitor of this script" if mine else f"process {before.process.pid}"
        raise AttachError(f"run_dir is being written by {whose}: give each run a directory of its own")
    return run, before.attempt + 1
