"""Starting the helper from a training process, and giving it a moment at the end. Starts a process; called by `attach`.

It becomes nobody's child and nobody's group: a script that waits for its children does not wait for it, and Ctrl+C
does not reach it. What it is to do goes through a pipe: no secret stands in a command line, an environment or a file.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tuimon.config.file import config_path, load
from tuimon.notify.wishes import VARIABLE, Wishes, wish
from tuimon.record.rundir import RunDir

HERE: Final = str(Path(__file__).resolve().parents[2])
"""Where this tuimon is imported from."""
FAREWELL_S: Final = 5.0
"""At the end of a training process, for the last message: in a container everything ends with it."""
_ORPHAN: Final = 'exec 3<&0; "$@" <&3 3<&- &'
"""A shell that has gone when the helper begins: two milliseconds, however long Python takes to start."""


@dataclass(frozen=True, slots=True)
class _Helper:
    """Both ends of what ties a helper to its training process."""

    pid: int
    """Of the training process: a forked child is another one."""
    lifeline: int
    """Ends when it is closed here: then the helper looks at once."""
    done: int
    """Ends when the helper has ended."""


_helpers: Final[list[_Helper]] = []


def wanted(argument: object) -> tuple[Wishes, tuple[str, ...]]:
    """What is wanted of this process, and what was left out. UsageError for the argument. Reads config.toml."""
    kept, unread = load(config_path(os.environ))
    try:
        folder = os.getcwd()
    except OSError:   # it has been removed
        folder = ""
    wishes, problems = wish(argument, os.environ, kept, folder)
    return wishes, (*unread, *problems)


def begin(run: RunDir, attempt: int, wishes: Wishes) -> None:
    """Start the helper of an attempt. OSError where that cannot be."""
    _sweep()
    if not sys.executable:
        raise OSError(0, "this Python does not know its own path")
    others = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    path = os.pathsep.join([HERE, *map(os.path.abspath, others)])
    env = {**{k: v for k, v in os.environ.items() if k != VARIABLE}, "PYTHONPATH": path}
    asked, lifeline = os.pipe()
    done, ending = os.pipe()
    try:
        child = subprocess.Popen(  # noqa: S603  # our own interpreter
            ["/bin/sh", "-c", _ORPHAN, "sh", sys.executable, "-m", "tuimon.notify", str(run.path), str(attempt)],
            stdin=asked, stdout=ending, stderr=subprocess.DEVNULL, env=env, start_new_session=True,
            cwd=run.path)   # where no file of the script's has the name of a module
        child.wait()
        os.write(lifeline, wishes.encode())   # into the pipe: nobody need be reading yet
    except OSError:
        os.close(lifeline)
        os.close(done)
        raise
    finally:
        os.close(asked)
        os.close(ending)
    _helpers.append(_Helper(os.getpid(), lifeline, done))


def farewell(seconds: float = FAREWELL_S) -> None:
    """Let go of every helper of this process, and wait for their last messages, at most so long. Called at its end."""
    mine, until = [h for h in _helpers if h.pid == os.getpid()], time.monotonic() + seconds
    _helpers.clear()
    for helper in mine:
        os.close(helper.lifeline)
    for helper in mine:
        _has_ended(helper, max(0.0, until - time.monotonic()))
        os.close(helper.done)


def _sweep() -> None:
    """Give back what was kept for helpers that have ended: a sweep attaches a hundred times."""
    for helper in list(_helpers):
        if helper.pid == os.getpid() and _has_ended(helper, 0.0):
            os.close(helper.lifeline)
            os.close(helper.done)
            _helpers.remove(helper)


def _has_ended(helper: _Helper, seconds: float) -> bool:
    """Whether it has, or does within these seconds."""
    ends = select.poll()   # descriptors of a training process may be too many for select
    ends.register(helper.done, select.POLLIN)
    return bool(ends.poll(1000 * seconds))
