"""`tuimon run`: what can be refused before a script starts, and the process in which it then runs as it would anyway.

Python itself runs the script: `python train.py ...` in the same directory, with the same environment but for what
`on_path/sitecustomize.py` takes out again before the script's first line. So everything is as without tuimon: sys.argv
and sys.path, `__main__` and what pickles through it, tracebacks, exit status, signals. Only the console is a file, and
it is written unbuffered.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path
from typing import Final, TextIO

from tuimon.errors import UsageError
from tuimon.launch.headless import Ended, Following, attend, last_line, print_json, reaches
from tuimon.launch.options import RunOptions
from tuimon.launch.process import Started, check_python, create, start
from tuimon.record import claim
from tuimon.record.printing import mention
from tuimon.record.rundir import Launch
from tuimon.record.status import ENDED
from tuimon.record.status import status as run_status

ON_PATH: Final = str(Path(__file__).resolve().parent / "on_path")
"""A folder with a `sitecustomize`, which Python imports before it runs a script."""
LEAVING: Final = 10.0
"""Seconds that a process gets to leave after its run has ended, before its status is not waited for."""
RESTORED: Final = "TUIMON_BOOT"
"""Carries what the environment held before, as JSON."""


def launch(options: RunOptions, clock: Callable[[], float] = time.time) -> Started:
    """Create the run directory and start the script. UsageError where that cannot be, in one line."""
    check_python()
    check(options)
    run = create(options.label)
    said = Launch(
        name=options.label, scenario="", statement=options.words, total_steps=options.total_steps, seed=0,
        started=clock(), script=options.words, detail=options.detail, on_critical=options.on_critical,
    )
    env = environment(os.environ, str(run.path))
    started = start(run, said, options.command, env, stdin=_stdin(options))
    started.tell_when_it_ends()
    return started


def _stdin(options: RunOptions) -> int:
    """A pipe is passed on where no screen reads the terminal; a terminal is not: another session cannot read it."""
    if options.headless and not sys.stdin.isatty():
        try:
            return sys.stdin.fileno()
        except (OSError, ValueError):  # closed, or replaced by something that is no file
            return subprocess.DEVNULL
    return subprocess.DEVNULL


def environment(env: Mapping[str, str], run_dir: str) -> dict[str, str]:
    """The environment of a script's Python: our folder on its path, its output unbuffered, its run directory."""
    path = os.pathsep.join([ON_PATH, *([env["PYTHONPATH"]] if env.get("PYTHONPATH") else [])])
    ours = {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    before = json.dumps({name: env.get(name) for name in ours})
    return {**env, **ours, claim.VARIABLE: run_dir, RESTORED: before}


def check(options: RunOptions) -> None:
    """UsageError for what is known to fail before anything runs."""
    if options.module:
        _check_module(options.module)
    else:
        _check_script(options.script)
    if find_spec("torch") is None:
        raise UsageError("tuimon watches PyTorch, which this Python does not have: pip install torch")


def _check_script(script: str) -> None:
    if os.path.isdir(script):
        raise UsageError(f"{script} is a directory; run wants a script, or -m and a module")
    try:
        with open(script, "rb") as file:
            source = file.read()
    except OSError as error:
        raise UsageError(f"cannot read {script}: {error.strerror}") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the script's own Python will give them
            compile(source, script, "exec", dont_inherit=True)
    except SyntaxError as error:  # null bytes are one as well, since Python 3.12 or so
        where = f" line {error.lineno}" if error.lineno else ""
        raise UsageError(f"{script}{where}: {error.msg}") from None
    except ValueError as error:
        raise UsageError(f"{script}: {error}") from None


def _check_module(module: str) -> None:
    """Look for it without importing anything of it: that is for the script's own process."""
    places: list[str] | None = [os.getcwd(), *sys.path]
    for i, part in enumerate(names := module.split(".")):
        name = ".".join(names[:i + 1])
        spec = PathFinder.find_spec(name, places)
        if spec is None and i == 0 and part and find_spec(part) is not None:
            return  # an import hook knows it (an editable install): so will the script's Python
        if spec is None:
            raise UsageError(f"no module named {name!r} here; run -m takes what python -m takes")
        places = None if spec.submodule_search_locations is None else list(spec.submodule_search_locations)
        if places is None and name != module:
            raise UsageError(f"{name!r} is no package, so there is no {module!r} in it")


def run(options: RunOptions, out: TextIO | None = None, err: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic) -> int:
    """Run a script without a screen, to its end; print one JSON object.

    Exit status: 3 where an open incident reaches --fail-on, whatever the script made of it; else the script's own (128
    and the signal that killed it). Ctrl+C, SIGTERM and SIGHUP end the script: 130, 143, 129.
    """
    out, err = out or sys.stdout, err or sys.stderr
    started = launch(options)
    following = Following(started.run, options.rules)
    ended = attend(started, following, err, clock)
    for line in closing_words(started, ended.status, trained=following.steps > 0):
        mention(line, err)
    print_json({**following.result(), "exit_status": ended.status}, out)
    return exit_status(ended, failed=reaches(following.diagnosis, options.fail_on))


def exit_status(ended: Ended, *, failed: bool) -> int:
    """What a shell is told."""
    if ended.interrupted:
        return ended.interrupted
    return 3 if failed else shell_status(ended.status)


def shell_status(status: int) -> int:
    """An exit status as a shell says it: 128 and the signal, where one killed the process."""
    return status if status >= 0 else 128 - status


def left(started: Started) -> int:
    """After a viewer: the script's status where it has ended by itself; 0 where it goes on, or ended as it was told."""
    if not started.has_ended(LEAVING if run_status(started.run).state in ENDED else 0.0):
        return 0
    status, found = started.tell(), run_status(started.run)
    if found.state == "stopped":
        return 0
    for line in closing_words(started, status, trained=found.step > 0):
        mention(line)
    return shell_status(status)


def closing_words(started: Started, status: int, *, trained: bool) -> list[str]:
    """What a person should know about a script that ended otherwise than by training to its end."""
    if status == 0 and trained:
        return []
    when = "" if trained else " before any training step"
    words = last_line(started.run)
    last = f"; its last words: {words}" if words else ""
    return [f"the script ended with status {status}{when}{last}", f"all that it printed: {started.run.console}"]
