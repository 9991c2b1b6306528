"""A run of another machine as a run directory of this one, while somebody watches; and the lists of several machines.

The process that keeps a link is forked before anything heavy is loaded, and starts ssh first of all: what ssh and the
other machine need is time in which both can load what they need. It ends with whoever watches. Each machine has its
own: one that hangs holds up nothing else.
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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NoReturn

from tuimon.errors import UsageError
from tuimon.record.hosts import digest, host_place
from tuimon.record.rundir import RunDir
from tuimon.remote.host import Target, Unreached, command, start
from tuimon.remote.linked import make_folder

DEAF: Final = (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


@contextlib.contextmanager
def reached(target: Target, *, control: bool, meanwhile: Callable[[], object] = lambda: None,
            place: Path | None = None) -> Iterator[RunDir]:
    """The run, kept up to date while this lasts; Unreached where there is none. `meanwhile`: done while ssh logs in.

    `place`: where it is put, see `record.hosts`; None: somewhere. It is gone afterwards.
    """
    place = make_folder() if place is None else place
    with _leashed(place) as leash:
        hears, telling = os.pipe()
        leash.keep(lambda end: _serve(target, end, telling, host_place(place, 0), control=control), hears)
        os.close(telling)
        with open(hears, "rb") as told:
            meanwhile()
            what, word = _told(told.readline())
            if what == "usage":
                raise UsageError(word)
            if what != "opened":
                raise Unreached(word)
            told.readline()   # that there is something to look at
        yield RunDir(Path(word))


@contextlib.contextmanager
def listed(targets: Sequence[Target], *, control: bool, place: Path | None = None) -> Iterator[Path]:
    """Where the runs of those machines are told, while this lasts (see `record.hosts`). Nobody is asked for a password.

    The run of a target is where the runs are, None for where that machine has them by itself.
    """
    place = make_folder() if place is None else place
    names = labels(targets)
    with _leashed(place) as leash:
        for i, target in enumerate(targets):
            leash.keep(lambda end, i=i, target=target: _list(  # type: ignore[misc]  # bound now
                target, end, host_place(place, i), names[i], control=control))
        yield place


def labels(targets: Sequence[Target]) -> list[str]:
    """What each is called: as short as tells them apart."""
    short, long = [one.label for one in targets], [one.host for one in targets]
    return [name if short.count(name) == 1 else long[i] if long.count(long[i]) == 1 else
            f"{long[i]}:{targets[i].run or ''}" for i, name in enumerate(short)]


class _Leash:
    """By which processes are held: they end when its other end is closed."""

    def __init__(self) -> None:
        self._end, self._held = os.pipe()
        self._pids: list[int] = []

    def keep(self, serve: Callable[[int], None], *closed: int) -> None:
        """Another process; `closed`: what it does not hold open."""
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            for fd in (self._held, *closed):
                os.close(fd)
            _apart(lambda: serve(self._end))
        self._pids.append(pid)

    def let_go(self) -> None:
        """End them."""
        with contextlib.suppress(BrokenPipeError):   # a reader that was forked meanwhile holds that end open as well
            os.write(self._held, b"\0")
        os.close(self._held)
        os.close(self._end)
        for pid in self._pids:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)


@contextlib.contextmanager
def _leashed(place: Path) -> Iterator[_Leash]:
    leash = _Leash()
    try:
        yield leash
    finally:
        leash.let_go()
        shutil.rmtree(place, ignore_errors=True)   # whoever kept it may have been killed


def _told(line: bytes) -> tuple[str, str]:
    try:
        what, word = json.loads(line)
    except (ValueError, TypeError):
        return "gone", "the process that holds the link has ended"
    return str(what), str(word)


def _apart(serve: Callable[[], None]) -> NoReturn:
    """The other process."""
    status = 1
    try:
        for number in DEAF:   # nothing is done, but ssh heeds it; were it ignored, ssh would, too
            signal.signal(number, lambda *_: None)
        serve()
        status = 0
    finally:
        os._exit(status)


def _detached() -> int | None:
    """Away from the terminal, whose output is returned where there is one: who reads what is printed need not wait."""
    sink = os.dup(2) if os.isatty(2) else None
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in range(3):
        os.dup2(nothing, fd)
    return sink


def _serve(target: Target, leash: int, telling: int, place: Path, *, control: bool) -> None:
    """Keep one run, and tell how it begins."""
    sink = _detached()

    def tell(*what: str) -> None:
        with contextlib.suppress(OSError):
            os.write(telling, json.dumps(what).encode() + b"\n")

    try:
        process = start(command(target), alone=False)
        from tuimon.private import make_folder
        from tuimon.record.far import KEPT
        from tuimon.record.locks import hold
        from tuimon.remote.keeping import Keeper
        from tuimon.remote.link import Left, reach
        from tuimon.remote.listed import Listed
        from tuimon.remote.mirror import Mirror
        from tuimon.remote.parts import Parts
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
        list_ = Listed(place, target.label, None, control=control)
        hold(list_.run.path / KEPT)   # to the end of this process
        name = str(line.opened.get("run"))
        folder = place / digest(name)
        make_folder(folder, fresh=True)
        mirror = Mirror(folder, name, target.label, control=control)
        for part in (list_, mirror):
            part.say()
            part.heard(time.time(), line.opened.get("time"))
        tell("opened", str(mirror.run.path))

        def ready() -> None:
            steps.done()
            tell("ready")

        Keeper(line, target, Parts(list_, mirror), leash, sink).run(ready)
    except UsageError as error:
        tell("usage", str(error))
    except (OSError, Unreached) as error:
        tell("unreached", str(error))
    finally:
        _tidy(place, leash)


def _list(target: Target, leash: int, place: Path, name: str, *, control: bool) -> None:
    """Keep the list of one machine's runs."""
    sink = _detached()
    from tuimon.record.far import KEPT
    from tuimon.record.locks import hold
    from tuimon.remote.keeping import Keeper
    from tuimon.remote.listed import Listed
    from tuimon.remote.parts import Parts

    try:
        told = Listed(place, name, target.run, control=control)
        hold(told.run.path / KEPT)
        Keeper(None, Target(target.host, None), Parts(told), leash, sink).run(lambda: None)
    finally:
        _tidy(place, leash)


def _tidy(place: Path, leash: int) -> None:
    if select.select([leash], [], [], 0)[0]:   # else it is still looked at
        shutil.rmtree(place, ignore_errors=True)
        with contextlib.suppress(OSError):
            place.parent.rmdir()
