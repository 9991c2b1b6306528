"""Which machine is meant, and how it is reached: the user's own OpenSSH, with their configuration as it is. Starts it.

`$TUIMON_SSH` is another program, or the same with options: "ssh -F other_config".
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final

from tuimon.errors import TuimonError, UsageError
from tuimon.record.metrics import METRICS
from tuimon.remote.bare import bare
from tuimon.remote.far.wire import BOOT, FOUND


def said(mark: bytes) -> str:
    """As any shell says it."""
    return "printf '\\000" + mark.decode().strip("\0\n") + "\\n'"


_HOST: Final = re.compile(r"(?:[A-Za-z0-9._][A-Za-z0-9._+-]*@)?(?:[A-Za-z0-9._][A-Za-z0-9._-]*|\[[0-9A-Za-z:.%]+\])")
"""No host begins with a dash: ssh would take it for an option."""
MODULES: Final = ("wire", "rows", "thin", "pace", "news", "followed", "files", "agent")
"""Of `far`, in the order in which they need each other."""
LATER: Final = ("joining", "standing", "summed", "ranked")
"""What is sent only where a run has several ranks."""
ABREAST: Final = ("abreast",)
"""What is sent besides where such a run is listed."""
LISTING: Final = ("sketch", "glance", "listing", "hub")
"""What is sent only where the runs there are to be listed."""
_ALIVE: Final = ("-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3")
_ALONE: Final = ("-o", "BatchMode=yes", "-o", "ConnectTimeout=10")
"""Behind the panel nobody could answer a question."""
_SCRIPT: Final = ("import io,sys,zlib;i=io.BufferedReader(io.FileIO(0,closefd=False),1);"
                  "exec(zlib.decompress(i.read(int(i.readline()))))")
"""Reads what it is sent, and not a byte of what follows."""
_INSTALLED: Final = f"if command -v tuimon >/dev/null 2>&1; then {said(FOUND)}; exec tuimon agent; fi"
_SENT: Final = f"{said(BOOT)}; exec python3 -u -c {shlex.quote(_SCRIPT)}"


class Unreached(TuimonError):
    """The other machine, or the run there, was not reached."""


@dataclass(frozen=True, slots=True)
class Target:
    """A run on another machine."""

    host: str
    """As ssh takes it."""
    run: str | None
    """Name, beginning of a name, or path there; None: the latest live one."""

    @property
    def label(self) -> str:
        """What the machine is called on the screen."""
        return self.host.rpartition("@")[2]


def parse(words: str) -> Target:
    """`[user@]host:[run]`, or a bare `[user@]host`; UsageError for what could be no host."""
    bracket = words.find("]:")
    host, colon, run = (words[:bracket + 1], ":", words[bracket + 2:]) if bracket >= 0 else words.partition(":")
    if not _HOST.fullmatch(host):
        raise UsageError(f"{host!r:.80} is no host; wanted is [user@]host:[run]")
    if any(not c.isprintable() for c in run) or len(run) > 4096:
        raise UsageError("the name of a run is printable, and not longer than a path")
    return Target(host, run if colon and run else None)


def names_a_host(words: str) -> bool:
    """Whether these words can only mean another machine: there is a colon or an @ in them, and no path before."""
    head = re.split(r"[:@]", words, maxsplit=1)[0]
    return len(head) < len(words) and os.sep not in head and not os.path.exists(words)


def can_be_a_host(words: str) -> bool:
    """Whether ssh could be asked for it."""
    return _HOST.fullmatch(words) is not None


def command(target: Target, *, alone: bool = False, sent: bool = False,
            env: Mapping[str, str] | None = None) -> list[str]:
    """What is started. `alone`: nobody can answer questions. `sent`: whatever is installed there is passed over."""
    env = os.environ if env is None else env
    program = shlex.split(env.get("TUIMON_SSH", "")) or ["ssh"]
    script = _SENT if sent else f"{_INSTALLED}; {_SENT}"
    # One more shell, as the user's own may be of any kind.
    return [*program, "-T", *_ALIVE, *(_ALONE if alone else ()), "--", target.host,
            f"exec /bin/sh -c {shlex.quote(script)}"]


def start(words: list[str], *, alone: bool) -> subprocess.Popen[bytes]:
    """Start ssh. UsageError where there is none."""
    try:
        return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                start_new_session=alone, bufsize=0)
    except OSError as error:
        raise UsageError(f"{words[0]} cannot be started: {error.strerror}") from None


def bundle() -> bytes:
    """What is sent where nothing is installed: a length in a line of its own, and the far side, compressed."""
    parts = ["import sys, types", *(
        f"m = sys.modules[{name!r}] = types.ModuleType({name!r}); m.__path__ = []"
        for name in ("tuimon", "tuimon.remote", "tuimon.remote.far"))]
    parts += _modules(MODULES)
    parts.append(f"sys.exit(m.main({list(METRICS)!r}, 'sent'))")
    packed = zlib.compress("\n".join(parts).encode(), 9)
    return b"%d\n" % len(packed) + packed


def later() -> bytes:
    """The rest of the far side, for a program that has begun there; it is compressed on its way."""
    return "\n".join(_modules(LATER)).encode()


def abreast() -> bytes:
    """What tells of runs of several ranks in a list, which needs all of these."""
    return "\n".join(_modules(ABREAST)).encode()


def listing() -> bytes:
    """What lists the runs there, likewise."""
    return "\n".join(_modules(LISTING)).encode()


def _modules(names: Iterable[str]) -> list[str]:
    parts = []
    for name in names:
        source = bare(resources.files("tuimon.remote.far").joinpath(f"{name}.py").read_text("utf-8"))
        whole = f"tuimon.remote.far.{name}"
        parts.append(f"m = sys.modules[{whole!r}] = types.ModuleType({whole!r})")
        parts.append(f"setattr(sys.modules['tuimon.remote.far'], {name!r}, m)")
        parts.append(f"exec(compile({source!r}, {whole!r}, 'exec'), m.__dict__)")
    return parts
