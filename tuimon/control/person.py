"""Who asks: the person and the process behind a command, as the audit has them. Touches the process table.

Reads no terminal and opens no socket: it is also asked by a process that has neither.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import socket

from tuimon.control.commands import Who


def this_person(origin: str, *, host: str | None = None) -> Who:
    """Whoever runs this process. `origin`: what asks, such as "viewer"; over SSH the client stands beside it."""
    user = str(os.getuid())   # what a container without a table of users has
    with contextlib.suppress(KeyError, OSError, ImportError):
        user = getpass.getuser()
    client = os.environ.get("SSH_CONNECTION", "").split(" ")[0]
    here = socket.gethostname() if host is None else host
    return Who(user, os.getuid(), here, os.getpid(), origin, terminal(), client)


def terminal() -> str:
    """The controlling terminal, as `ps` has it: "pts/3"; "" where there is none, or a system that does not tell."""
    try:
        with open("/proc/self/stat", encoding="ascii", errors="replace") as file:
            number = int(file.read().rpartition(")")[2].split()[4])
    except (OSError, ValueError, IndexError):
        return ""
    major, minor = number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00
    if 136 <= major <= 143:
        return f"pts/{(major - 136) * 256 + minor}"
    return f"tty{minor}" if major == 4 else f"{major}:{minor}" if number else ""
