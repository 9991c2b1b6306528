"""What is known about the machine at one moment. Frozen values; None is always "not told", never 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from tuimon.record.liveness import ProcessIdentity

Where = Literal["here", "gone", "elsewhere", "unknown"]
"""The training process: on this machine; not any more; on another machine; not known yet."""


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to look at."""

    process: ProcessIdentity | None = None
    directory: str = ""
    """The run directory, whose disk is asked for room; "" for none."""


# ---------------------------------------------------------------------- counters


@dataclass(frozen=True, slots=True)
class ProcessCounts:
    """What the kernel has counted of one process since it began."""

    pid: int
    started: float
    """Wall clock, to tell it from another that reuses its number."""
    name: str
    """Already clean."""
    role: str
    """What it does for training, in a word or two: "training", "data worker", or its own name."""
    cpu: float
    """Seconds of CPU, user and system, all threads."""
    resident: int
    """Bytes."""
    shared: int
    """Of these: file and shared-memory pages, which other processes may hold, too."""
    threads: int
    switches: int | None
    """Context switches of its main thread: the kernel counts no sum for a process."""
    files: int | None
    """Open file descriptors; None where they may not be counted (another user's process)."""
    read: int | None
    """Bytes that reached it from a disk."""
    written: int | None
    """Bytes that it caused to be written to a disk."""
    state: str = ""
    """"running", "sleeping", "disk-sleep", ... as the process table says."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What training may use of the machine: the least of all control groups around it, and the CPUs it is bound to."""

    memory: int | None = None
    """Bytes; None: no limit, or not readable."""
    used: int | None = None
    """Bytes that count against it."""
    cpus: float | None = None


@dataclass(frozen=True, slots=True)
class HostCounts:
    """What the kernel has counted of the machine."""

    busy: tuple[float, ...]
    """Per core: seconds at work since boot."""
    total: tuple[float, ...]
    """Per core: seconds at work or idle since boot."""
    received: int | None
    """Bytes by all interfaces but the loopback."""
    sent: int | None
    load: tuple[float, float, float] | None
    memory: int
    memory_used: int
    swap: int | None
    swap_used: int | None
    disk: int | None
    """Bytes of the file system that holds the run directory."""
    disk_free: int | None


# ---------------------------------------------------------------------- rates


@dataclass(frozen=True, slots=True)
class Process:
    """One process over the last second or so."""

    pid: int
    role: str
    name: str
    cores: float | None
    """CPUs that it kept busy: 1.0 is one core."""
    resident: int
    threads: int
    files: int | None
    switches: float | None
    """Per second, of the main thread."""
    read: float | None
    """Bytes per second."""
    written: float | None
    state: str = ""


@dataclass(frozen=True, slots=True)
class Tree:
    """The training process and all that it has started."""

    processes: tuple[Process, ...]
    """The training process first, then by number."""
    cores: float | None
    resident: int
    """Bytes, each process's shared pages left out but for those of the one that has most: never more than it is."""
    resident_sum: int
    """Bytes, as the process table adds up: pages that two share count twice."""
    threads: int
    files: int | None
    switches: float | None
    read: float | None
    written: float | None
    more: int = 0
    """Processes beyond those that are looked at."""
    denied: int = 0
    """Processes whose disk traffic and files may not be seen."""


@dataclass(frozen=True, slots=True)
class Host:
    """The machine over the last second or so."""

    busy: tuple[float, ...] | None
    """Per core: share of the time at work, 0 to 1."""
    received: float | None
    """Bytes per second."""
    sent: float | None
    load: tuple[float, float, float] | None
    memory: int
    memory_used: int
    swap: int | None
    swap_used: int | None
    disk: int | None
    disk_free: int | None
    cores: int = 1

    @property
    def cpu(self) -> float | None:
        """Share of all cores at work, 0 to 1."""
        return sum(self.busy) / len(self.busy) if self.busy else None


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; what the driver does not tell is None."""

    index: int
    name: str
    busy: float | None = None
    """Share of the last second in which any kernel ran, 0 to 1."""
    memory: int | None = None
    memory_used: int | None = None
    power: float | None = None
    """Watts."""
    power_limit: float | None = None
    temperature: float | None = None
    """Degrees Celsius."""
    clock: float | None = None
    """MHz of the multiprocessors."""
    clock_most: float | None = None
    slowed: tuple[str, ...] = ()
    """Why it runs slower than it could, in words."""
    processes: tuple[tuple[int, int | None], ...] = ()
    """(pid, bytes) of who computes on it."""
    lost: str = ""
    """What the driver says where it cannot be asked."""


GpuState = Literal["none", "no-package", "no-driver", "starting", "ok", "silent"]
"""No GPU; a GPU, and nothing to ask it with; a GPU, and a driver that refuses; asked; answered; not answering."""


@dataclass(frozen=True, slots=True)
class Gpus:
    """What is known about the GPUs."""

    state: GpuState = "none"
    gpus: tuple[Gpu, ...] = ()
    """The newest answer; of state "silent" the last one there was."""
    why: str = ""
    """What the driver said, where it refused."""
    waited: int = 0
    """Whole seconds since the question that is not answered."""


@dataclass(frozen=True, slots=True)
class Sample:
    """All of it at one moment."""

    mono: float
    where: Where
    host_name: str = ""
    """Where training runs."""
    pid: int | None = None
    tree: Tree | None = None
    host: Host | None = None
    """None where the machine is not the one that trains."""
    limits: Limits = Limits()
    gpus: Gpus = Gpus()


NOTHING: Final = Sample(0.0, "unknown")
"""Before the first look."""
