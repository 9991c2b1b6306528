"""Keeps the child that asks the driver, and never waits for it. Starts and ends a process; time is an argument.

A question that is not answered in PATIENCE seconds is told as such, the child killed and started again, at first after
a second, then ever later. A child that even a kill does not end (it hangs inside the kernel) gets no successor.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tuimon.viewer.machine.model import Gpu, Gpus
from tuimon.viewer.text import clean

PATIENCE: Final = 3.0
"""Seconds after which a question counts as not answered."""
PATIENCE_AT_START: Final = 12.0
"""The same for a child that is new: a driver that wakes its GPUs up takes some seconds."""
LATEST: Final = 60.0
"""Seconds between two starts at most."""
TRUSTED: Final = 5
"""Answers after which a child is as good as one that never failed."""
LONGEST: Final = 1 << 20
"""Bytes of an answer at most."""
MODULE: Final = "tuimon.viewer.machine.gpu"
_HOME: Final = str(Path(__file__).resolve().parents[3])
_SIGNS: Final = ("/dev/nvidiactl", "/proc/driver/nvidia/version", "/dev/dxg")


def is_present(signs: Sequence[str] = _SIGNS) -> bool:
    """Whether this machine seems to have an NVIDIA GPU: its device files, or the driver's own tool."""
    return any(os.path.exists(sign) for sign in signs) or shutil.which("nvidia-smi") is not None


def has_package() -> bool:
    """Whether nvidia-ml-py is installed."""
    return importlib.util.find_spec("pynvml") is not None


class GpuWatch:
    """What the driver says, as far as it says something."""

    def __init__(self, *, present: Callable[[], bool] = is_present, package: Callable[[], bool] = has_package,
                 command: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> None:
        """`command`: what to start in place of this Python's own child, for tests."""
        self._command = tuple(command or (sys.executable, "-m", MODULE))
        self._environment = environment
        absent: Gpus | None = None
        if not present():
            absent = Gpus("none")
        elif not package():
            absent = Gpus("no-package")
        self._ends = absent
        """What there is to say for good."""
        self._child: subprocess.Popen[bytes] | None = None
        self._dying: subprocess.Popen[bytes] | None = None
        self._heard = b""
        self._asked: float | None = None
        self._next = -math.inf
        self._wait = 1.0
        self._answers = 0
        self._silent_since: float | None = None
        self._said = Gpus("starting")
        self.starts = 0
        """Children so far."""

    def poll(self, mono: float) -> Gpus:
        """What is known now; asks the next question where the last one was answered. Never waits."""
        if self._ends is not None:
            return self._ends
        if self._child is None:
            self._start(mono)
        elif not self._listen(mono):
            self._end(mono)
        return self._ends or self._told(mono)

    def close(self) -> None:
        """End the child."""
        for child in (self._child, self._dying):
            if child is not None:
                child.kill()
                self._drop(child)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(0.2)
        self._child = self._dying = None

    def _told(self, mono: float) -> Gpus:
        since = self._silent_since
        if since is None and self._asked is not None and mono - self._asked > PATIENCE:
            since = self._asked
        if since is None:
            return self._said
        return Gpus("silent", self._said.gpus, self._said.why, int(mono - since))

    def _start(self, mono: float) -> None:
        if self._dying is not None:
            if self._dying.poll() is None:
                return
            self._dying = None
        if mono < self._next:
            return
        try:
            self._child = subprocess.Popen(  # noqa: S603  # our own interpreter
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env=None if self._environment is None else dict(self._environment), cwd=_HOME, close_fds=True,
                start_new_session=True)
        except OSError as error:
            self._ends = Gpus("no-driver", why=clean(str(error), 80))
            return
        assert self._child.stdout is not None
        os.set_blocking(self._child.stdout.fileno(), False)
        self.starts += 1
        self._heard, self._answers = b"", 0
        self._ask(mono)

    def _ask(self, mono: float) -> None:
        child = self._child
        assert child is not None
        assert child.stdin is not None
        self._asked = mono
        try:
            child.stdin.write(b"\n")
            child.stdin.flush()
        except OSError:
            pass   # it has ended: what it said last is still to be read

    def _listen(self, mono: float) -> bool:
        """Take in what was answered; False where the child is to be ended."""
        child = self._child
        assert child is not None
        assert child.stdout is not None
        ended = False
        while len(self._heard) <= LONGEST:
            try:
                piece = os.read(child.stdout.fileno(), 1 << 16)
            except BlockingIOError:
                break
            except OSError:
                piece = b""
            if not piece:
                ended = True
                break
            self._heard += piece
        *lines, self._heard = self._heard.split(b"\n")
        for line in lines:
            if not self._take(line):
                return False
        if ended or self._ends is not None or len(self._heard) > LONGEST:
            return False
        if lines:
            self._ask(mono)
        patience = PATIENCE if self._answers else PATIENCE_AT_START
        return self._asked is None or mono - self._asked <= patience

    def _take(self, line: bytes) -> bool:
        """One answer; False where it is none."""
        try:
            said = json.loads(line)
            if "absent" in said:
                why = clean(str(said.get("why", "")), 80)
                self._ends = Gpus("no-package" if said["absent"] == "package" else "no-driver", why=why)
                return True
            self._said = Gpus("ok", tuple(gpu_of(one) for one in said["gpus"]))
        except (ValueError, TypeError, KeyError, AttributeError):
            return False
        self._answers += 1
        self._silent_since = None
        if self._answers >= TRUSTED:
            self._wait = 1.0
        if not self._said.gpus:
            self._ends = Gpus("none")
        return True

    def _end(self, mono: float) -> None:
        child = self._child
        assert child is not None
        if self._silent_since is None:
            self._silent_since = self._asked if self._asked is not None else mono
        self._asked, self._child = None, None
        child.kill()
        self._drop(child)
        self._dying = None if child.poll() is not None else child
        self._next, self._wait = mono + self._wait, min(LATEST, 2 * self._wait)

    @staticmethod
    def _drop(child: subprocess.Popen[bytes]) -> None:
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def gpu_of(said: Mapping[str, Any]) -> Gpu:
    """One GPU of an answer. TypeError, ValueError or KeyError where it is none."""
    known = {name: _number(said.get(name)) for name in
             ("busy", "power", "power_limit", "temperature", "clock", "clock_most")}
    memory, used = _number(said.get("memory")), _number(said.get("memory_used"))
    return Gpu(
        int(said["index"]), clean(str(said.get("name") or "GPU"), 40), **known,
        memory=None if memory is None else int(memory), memory_used=None if used is None else int(used),
        slowed=tuple(clean(str(word), 40) for word in said.get("slowed") or ()),
        processes=tuple((int(pid), None if size is None else int(size)) for pid, size in said.get("processes") or ()),
        lost=clean(str(said.get("lost") or ""), 80))


def _number(value: Any) -> float | None:
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    return number if math.isfinite(number) else None
