"""A viewer on a terminal of its own, which reads what is drawn, or does not, and can be closed. Starts a process."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

TERMINAL: Final = {"TERM": "xterm-256color", "LANG": "C.UTF-8"}
ROWS, COLUMNS = 40, 120


class Viewer:
    """The program and the far end of its terminal."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], *, reads: bool = True) -> None:
        self._master, self._slave = pty.openpty()
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        # the first terminal that the leader of a session opens is the one whose closing it is told of
        self.process = subprocess.Popen(  # noqa: S603  # our own program
            ["/bin/sh", "-c", 'exec "$@" <"$0" >"$0" 2>&1', os.ttyname(self._slave), *command], start_new_session=True,
            stdin=subprocess.DEVNULL, env={**environment, **TERMINAL},
        )
        self.drawn = 0
        """Bytes that the terminal has taken."""
        self._reads = threading.Event()
        if reads:
            self._reads.set()
        self._reader = threading.Thread(target=self._read, name="terminal", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while self._master >= 0:
            try:
                if self._reads.wait(0.05) and select.select([self._master], [], [], 0.05)[0]:
                    self.drawn += len(os.read(self._master, 1 << 16))
            except (OSError, ValueError):
                return

    def stall(self) -> None:
        """The terminal takes nothing any more, and is there."""
        self._reads.clear()

    def hang_up(self) -> None:
        """The terminal is closed, as a window is."""
        ends, self._master, self._slave = (self._master, self._slave), -1, -1
        self._reader.join()
        for end in ends:
            with suppress(OSError):
                os.close(end)

    def kill(self) -> None:
        """End it, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.hang_up()
