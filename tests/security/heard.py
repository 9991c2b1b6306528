"""What a program and all that it starts do to files and sockets, as the interpreter's own audit tells it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

SITE = """
import json, os, sys
_log = os.open(os.environ["AUDIT_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
_pid = os.getpid
def _hear(event, args):
    if event == "open":
        path, _, flags = args
        if not isinstance(path, (str, bytes)) or not isinstance(flags, int) or not flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
            return
        told = [os.path.abspath(os.fsdecode(path)), flags]
    elif event == "os.mkdir":
        told = [os.path.abspath(os.fsdecode(args[0])), 0]
    elif event == "socket.__new__":
        told = [int(args[1]), int(args[2])]
    elif event.startswith(("socket.", "tempfile.")):
        told = [str(args)[:200], 0]
    else:
        return
    os.write(_log, json.dumps([event, *told]).encode() + b"\\n")
sys.addaudithook(_hear)
"""


def audited(folder: Path) -> dict[str, str]:
    """The environment in which every Python program writes its audit to `folder`."""
    (folder / "site").mkdir(parents=True)
    (folder / "site" / "sitecustomize.py").write_text(SITE)
    here = str(Path(__file__).resolve().parents[2])
    return {"PYTHONPATH": os.pathsep.join([str(folder / "site"), here]), "AUDIT_LOG": str(folder / "audit.log")}


def heard(folder: Path) -> list[tuple[str, object, int]]:
    """What was heard."""
    return [tuple(json.loads(line)) for line in (folder / "audit.log").read_text().splitlines()]


def traced(log: Path) -> list[str]:
    """A prefix for a command that has the kernel tell of its sockets, too; empty where strace is not to be had."""
    strace = shutil.which("strace")
    calls = "trace=socket,socketpair,connect,bind,listen,sendto,sendmsg"
    return [strace, "-f", "-qq", "--seccomp-bpf", "-e", calls, "-e", "signal=none", "-o", str(log)] if strace else []
