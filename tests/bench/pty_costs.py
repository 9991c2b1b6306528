"""What a terminal program costs, seen from its terminal: when something shows, CPU time of all its processes, memory."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import statistics
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

BRAILLE = re.compile(rb"\xe2[\xa0-\xa3][\x80-\xbf]")
ANSWERS = {b"\x1b[?2026$p": b"\x1b[?2026;2$y", b"\x1b[c": b"\x1b[?62;22c",
           b"\x1b]11;?": b"\x1b]11;rgb:1010/1010/1010\x07", b"\x1b[6n": b"\x1b[1;1R"}
"""What a terminal of today says when it is asked."""


class Screen:
    """A program on a pty of its own that answers as a terminal does. Nothing is drawn: bytes are counted."""

    def __init__(self, argv: Sequence[str], size: tuple[int, int], env: Mapping[str, str], cwd: Path | None = None) -> None:
        self.raw = bytearray()
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        kept = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "SSH_CONNECTION", "PYTHONDONTWRITEBYTECODE"}}
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, cwd=cwd,
            env={**kept, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", **env},
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  # no threads here
        )
        os.close(slave)

    def pump(self, seconds: float) -> bool:
        """Take what is written within `seconds`; whether something was."""
        if not select.select([self._master], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:
            return False
        self.raw += data
        for question, answer in sorted(ANSWERS.items(), key=lambda item: data.find(item[0])):   # in the order asked
            if question in data:
                os.write(self._master, answer)
        return bool(data)

    def until(self, holds: Callable[[bytearray], bool], seconds: float = 60.0) -> tuple[float, float]:
        """Seconds since exec until `holds(everything written)`, and CPU seconds by then."""
        deadline = time.monotonic() + seconds
        while not holds(self.raw):
            assert time.monotonic() < deadline, bytes(self.raw[-2000:])
            self.pump(0.05)
        return time.monotonic() - self.started, self.cpu

    def until_still(self, seconds: float, longest: float = 120.0) -> tuple[float, float]:
        """The same, until the last thing was written before `seconds` of silence."""
        last = time.monotonic(), self.cpu
        deadline = last[0] + longest
        while time.monotonic() - last[0] < seconds and time.monotonic() < deadline:
            if self.pump(0.05):
                last = time.monotonic(), self.cpu
        return last[0] - self.started, last[1]

    def _tree(self) -> list[psutil.Process]:
        with contextlib.suppress(psutil.Error):
            first = psutil.Process(self.process.pid)
            return [first, *first.children(recursive=True)]
        return []

    @property
    def cpu(self) -> float:
        """CPU seconds of the program and what it has started, so far. To the nanosecond where Linux tells."""
        total = 0.0
        for process in self._tree():
            try:
                tasks = os.listdir(f"/proc/{process.pid}/task")
                total += sum(_ran(process.pid, task) for task in tasks)
            except OSError:
                with contextlib.suppress(psutil.Error):
                    total += sum(process.cpu_times()[:2])
        return total

    @property
    def memory(self) -> float:
        """Resident bytes of all of them."""
        found = 0.0
        for process in self._tree():
            with contextlib.suppress(psutil.Error):
                found += process.memory_info().rss
        return found

    def __enter__(self) -> Screen:  # noqa: PYI034  # Self is not in 3.10
        return self

    def __exit__(self, *_: object) -> None:
        tree = self._tree()
        self.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 5.0
        while self.process.poll() is None and time.monotonic() < deadline:
            self.pump(0.05)
        for process in tree:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.process.wait()
        os.close(self._master)


def _ran(pid: int, task: str) -> float:
    with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0]) / 1e9


def has_curves(raw: bytearray) -> bool:
    """Whether a chart has been drawn: braille, more than a logo or a spinner has."""
    return len(BRAILLE.findall(raw)) > 60


def table(title: str, head: Sequence[str], rows: Mapping[str, Sequence[Sequence[float]]], form: str = "9.3f") -> None:
    """A row per name; each cell is the median of that column over the tries."""
    print(f"\n{title}\n{'':44}" + "".join(f"{word:>14}" for word in head))
    for name, tries in rows.items():
        middle = [statistics.median(column) for column in zip(*tries, strict=True)]
        print(f"{name:44}" + "".join(f"{format(value, form):>14}" for value in middle))
