"""Is the process that wrote this still the same one, and alive? Asks the process table."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import psutil

START_SLACK: Final = 2.0
"""Seconds by which a start time may differ between two readings: it is derived from the wall clock's boot time."""
TICK: Final = 0.02
"""Seconds by which two readings of `since_boot` may differ."""


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process, distinguishable from another that reuses its number."""

    pid: int
    started: float
    """Wall clock of its start, seconds since the epoch; 0 where that cannot be asked: a sandbox without /proc."""
    boot_id: str
    host: str
    since_boot: float | None = None
    """Seconds from boot to its start: what no setting of the clock moves. None where the system does not tell."""


@lru_cache(maxsize=1)
def boot_id() -> str:
    """Something that changes with every boot."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        import psutil

        try:
            return f"boot-{round(psutil.boot_time() / 10)}"
        except OSError:   # no /proc at all
            return "boot"


def identity(pid: int | None = None) -> ProcessIdentity:
    """This process, or another live one of this machine (ProcessLookupError if there is none)."""
    import psutil

    number = os.getpid() if pid is None else pid
    try:
        started = psutil.Process(number).create_time()
    except psutil.NoSuchProcess:
        if pid is not None:
            raise ProcessLookupError(number) from None
        started = 0.0
    except (psutil.Error, OSError):
        started = 0.0
    return ProcessIdentity(number, float(started), boot_id(), socket.gethostname(), since_boot(number))


def since_boot(pid: int) -> float | None:
    """Seconds from boot to the start of a process; None where there is no such process or no way to know."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None


def has_started_as(found: psutil.Process, process: ProcessIdentity) -> bool:
    """Whether it is the one meant, and not another by the same number; psutil's errors where it cannot be asked.

    A clock that is set moves the wall clock of every start [boot time is now minus uptime], so that alone cannot tell.
    """
    begun = since_boot(process.pid)
    if begun is not None and process.since_boot is not None:
        return abs(begun - process.since_boot) < TICK
    return bool(abs(found.create_time() - process.started) <= START_SLACK)


def is_alive(process: ProcessIdentity) -> bool | None:
    """Whether it lives; None where it belongs to another machine and cannot be asked."""
    if process.host != socket.gethostname():
        return None
    if process.boot_id != boot_id():
        return False
    if not process.started:
        return _is_there(process.pid)
    import psutil

    try:
        found = psutil.Process(process.pid)
        if not has_started_as(found, process):
            return False
        return bool(found.status() != psutil.STATUS_ZOMBIE)
    except (psutil.NoSuchProcess, ValueError):   # or no number that a process can have
        return False
    except psutil.Error:
        return True


def _is_there(pid: int) -> bool:
    """Whether some process has that number."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError, ValueError):
        return False
    except OSError:
        return True   # somebody else's
    return True
