"""Where the links to other machines put what they hear, and where a viewer says what it wishes of them.

    <place>/h0/far.json              how the link to the first host stands, see `far`
    <place>/h0/runs.jsonl            the runs there, as they change, see `merged`
    <place>/h0/asked                 touched while somebody looks at that list
    <place>/h0/orders/N.json         what is to be done with a run there, and, as N.done, what became of it
    <place>/h0/DIGEST/NAME/          a run that was opened, as a run directory
    <place>/h0/DIGEST/asked          touched while somebody looks at it

Touches the disk; loads next to nothing, as the process that keeps a link does.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from tuimon.private import make_folder, open_file
from tuimon.record.far import FILE, Far, read_far, write_far
from tuimon.record.files import open_to_read, write_atomically
from tuimon.record.rundir import RunDir, label

ASKED: Final = "asked"
LIST: Final = "runs.jsonl"
ORDERS: Final = "orders"
LEASE: Final = 20.0
"""Seconds for which what was asked for is kept up."""
REACHING: Final = "reaching"
_HOST: Final = re.compile(r"h\d{1,4}")
_MOST: Final = 1 << 14


def host_place(place: Path, number: int) -> Path:
    """Of one host."""
    return place / f"h{number}"


def hosts_in(place: Path) -> list[RunDir]:
    """The hosts' places, in their order; what a link says stands in them as it does in a run."""
    try:
        names = [name for name in os.listdir(place) if _HOST.fullmatch(name)]
    except OSError:
        return []
    return [RunDir(place / name) for name in sorted(names, key=lambda name: int(name[1:]))]


def nowhere(place: Path, name: str) -> RunDir:
    """A run that there is not, which a list is looked at from; `name`: of the machines."""
    run = RunDir(place / label(name))
    make_folder(run.metrics, parents=0o700, fresh=True)
    return run


def is_nowhere(run: RunDir) -> bool:
    """Whether it is such a one."""
    return os.path.isdir(host_place(run.path.parent, 0))


def digest(key: str) -> str:
    """A run's name as a folder, whatever is in it."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:20]


def run_place(host: Path, key: str) -> Path:
    """Where a run of that host is, once it is opened."""
    return host / digest(key) / label(key)


def host_of(run: RunDir) -> RunDir | None:
    """The host whose link brings that run; None for a run of this machine."""
    above = run.path.parent.parent
    return RunDir(above) if _HOST.fullmatch(above.name) and os.path.exists(above / FILE) else None


def ask(folder: Path) -> None:
    """Wish for what belongs there, for a while."""
    with suppress(OSError):
        make_folder(folder)
        path = folder / ASKED
        os.close(open_file(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC))
        os.utime(path)


def is_asked(folder: Path, now: float | None = None) -> bool:
    """Whether somebody wishes for it now."""
    try:
        return abs((time.time() if now is None else now) - os.lstat(folder / ASKED).st_mtime) < LEASE
    except OSError:
        return False


def look_at(run: RunDir) -> None:
    """Have a run of another machine kept up to date, if it is one: whoever reads it says so now and then."""
    host = host_of(run)
    if host is None:
        return
    ask(run.path.parent)
    if not os.path.exists(run.path):
        found = read_far(host)
        with suppress(OSError):
            make_folder(run.path, fresh=True)
            write_far(run, (found[0] if found else Far("")).changed(state=REACHING, why=""))


def order(host: Path, serial: int, body: Mapping[str, Any]) -> None:
    """Have something done with a run there; OSError where that cannot be handed over."""
    make_folder(host / ORDERS)
    write_atomically(str(host / ORDERS / f"{serial}.json"), json.dumps({**body, "serial": serial}).encode())


def ordered(host: Path) -> list[dict[str, Any]]:
    """What is to be done and was not taken yet; each once."""
    found = []
    with suppress(OSError):
        for name in sorted(os.listdir(host / ORDERS)):
            if name.endswith(".json"):
                body = _read(host / ORDERS / name)
                (host / ORDERS / name).unlink()
                found += [body] if isinstance(body, dict) else []
    return found


def answer(host: Path, serial: int, why: str) -> None:
    """An order was carried out, or why not."""
    with suppress(OSError):
        write_atomically(str(host / ORDERS / f"{serial}.done"), json.dumps(why).encode())


def answered(host: Path, serial: int) -> str | None:
    """Why it was not carried out; "": it was; None: nothing is known yet."""
    body = _read(host / ORDERS / f"{serial}.done")
    return body if isinstance(body, str) else None


def _read(path: Path) -> Any:
    try:
        with os.fdopen(open_to_read(path), "rb") as file:
            return json.loads(file.read(_MOST))
    except (OSError, ValueError, RecursionError):
        return None
