"""A run of another machine as a run directory of this one, while somebody watches.

The process that keeps it is forked before anything heavy is loaded, and starts ssh first of all: what ssh and the other
machine need is time in which both can load what they need. It ends with whoever watches.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NoReturn

from tuimon.errors import UsageError
from tuimon.record.rundir import RunDir
from tuimon.remote.host import Target, Unreached, command, start

DEAF: Final = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


@contextlib.contextmanager
def reached(target: Target, *, control: bool, meanwhile: Callable[[], object] = lambda: None) -> Iterator[RunDir]:
    """The run, kept up to date while this lasts; Unreached where there is none. `meanwhile`: done while ssh logs in."""
    leash, held = os.pipe()
    hears, telling = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        os.close(held)
        os.close(hears)
        _keep(target, leash, telling, control=control)
    for fd in (leash, telling):
        os.close(fd)
    run: Path | None = None
    try:
        with open(hears, "rb") as told:
            meanwhile()
            what, word = _told(told.readline())
            if what == "usage":
                raise UsageError(word)
            if what != "opened":
                raise Unreached(word)
            run = Path(word)
            told.readline()   # that there is something to look at
        yield RunDir(run)
    finally:
        with contextlib.suppress(BrokenPipeError):   # a reader that was forked meanwhile holds that end open as well
            os.write(held, b"\0")
        os.close(held)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
        if run is not None:   # whoever kept it may have been killed
            shutil.rmtree(run.parent, ignore_errors=True)


def _told(line: bytes) -> tuple[str, str]:
    try:
        what, word = json.loads(line)
    except (ValueError, TypeError):
        return "gone", "the process that holds the link has ended"
    return str(what), str(word)


def _keep(target: Target, leash: int, telling: int, *, control: bool) -> NoReturn:
    """The other process."""
    status, parent = 1, os.getppid()
    try:
        for number in DEAF:   # nothing is done, but ssh heeds it; were it ignored, ssh would, too
            signal.signal(number, lambda *_: None)
        sink = os.dup(2) if os.isatty(2) else None
        nothing = os.open(os.devnull, os.O_RDWR)
        for fd in range(3):
            os.dup2(nothing, fd)   # whoever reads what is printed need not wait for this process
        _serve(target, leash, telling, sink, parent, control=control)
        status = 0
    finally:
        os._exit(status)


def _serve(target: Target, leash: int, telling: int, sink: int | None, parent: int, *, control: bool) -> None:
    def tell(*what: str) -> None:
        with contextlib.suppress(OSError):
            os.write(telling, json.dumps(what).encode() + b"\n")

    folder: Path | None = None
    try:
        process = start(command(target), alone=False)
        from tuimon.record.far import KEPT
        from tuimon.record.locks import hold
        from tuimon.remote.keeping import Keeper
        from tuimon.remote.link import Left, reach
        from tuimon.remote.mirror import Mirror, make_folder
        from tuimon.remote.steps import Steps

        steps = Steps(target.label, sink)
        try:
            line = reach(target, control=control, leash=leash, steps=steps, process=process)
        except BaseException as error:
            steps.done()
            if isinstance(error, Left):
                return
            raise
        steps.go("picture")
        folder = make_folder(owner=parent)
        mirror = Mirror(folder, str(line.opened.get("run")), target.label, control=control)
        hold(mirror.run.path / KEPT)   # to the end of this process
        mirror.say()
        mirror.heard(time.time(), line.opened.get("time"))
        tell("opened", str(mirror.run.path))

        def ready() -> None:
            steps.done()
            tell("ready")

        Keeper(line, target, mirror, leash, sink).run(ready)
    except UsageError as error:
        tell("usage", str(error))
    except (OSError, Unreached) as error:
        tell("unreached", str(error))
    finally:
        if folder is not None and select.select([leash], [], [], 0)[0]:   # else it is still looked at
            shutil.rmtree(folder, ignore_errors=True)
