"""A real terminal for the real program: a pty, a screen read by pyte, and keys. Waits for conditions, never for time."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence

import pyte

OURS = re.compile(r"this viewer cannot read on|cannot be shown: ")
"""What the panel says of a fault of its own; it goes by in a moment where the next look succeeds."""


class Terminal:
    """One program on one pty. No fault of the program's own may come into sight, whatever a test waits for."""

    def __init__(self, argv: Sequence[str], columns: int, rows: int, env: Mapping[str, str],
                 cwd: str | os.PathLike[str] | None = None) -> None:
        self.started = time.monotonic()
        self.raw = bytearray()
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        clean = {k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "SSH_CONNECTION", "COLUMNS", "LINES"}}
        self.process = subprocess.Popen(
            argv, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, close_fds=True, cwd=cwd,
            env={**clean, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8", **env},
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  # no threads here
        )
        os.close(slave)

    def __enter__(self) -> Terminal:  # noqa: PYI034  # Self is not in 3.10
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self._master >= 0:
            os.close(self._master)

    def pump(self, seconds: float) -> bool:
        """Take what the program writes within `seconds`; False when it has closed the terminal."""
        ready, _, _ = select.select([self._master], [], [], seconds)
        if not ready:
            return True
        try:
            data = os.read(self._master, 1 << 16)
        except OSError:
            return False
        if not data:
            return False
        self.take(data)
        return True

    def take(self, data: bytes) -> None:
        """Show what the program wrote, and answer what it asks."""
        self.raw += data
        if b"\x1b[?2026$p" in data:
            os.write(self._master, b"\x1b[?2026;2$y")
        self._stream.feed(re.sub(rb"\x1b\[[<>=?][0-9;]*[a-zA-Z$]+[a-z]?", _known_to_pyte, data))
        assert not OURS.search(self.text), self.text

    @property
    def text(self) -> str:
        """The screen as lines of text."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def wait_for(self, what: str | Callable[[str], bool], seconds: float = 60.0) -> str:
        """Pump until the text is on the screen (or the condition holds); the screen then."""
        holds = what if callable(what) else lambda text: what in text
        deadline = time.monotonic() + seconds
        while not holds(self.text):
            open_ = self.pump(0.1)
            if holds(self.text):
                break
            if not open_ or time.monotonic() > deadline:
                raise AssertionError(f"never came: {what!r}\nexit {self.process.poll()}\n{self.text}")
        return self.text

    @property
    def echoes(self) -> bool:
        """Whether the terminal shows what is typed, as it does before and after a program has it."""
        return bool(termios.tcgetattr(self._master)[3] & termios.ECHO)

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._master, keys.encode())

    def resize(self, columns: int, rows: int) -> None:
        """Change the terminal's size."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    def hang_up(self) -> None:
        """Close the terminal, as a window is closed; only `wait_for_end` makes sense after it."""
        os.close(self._master)
        self._master = -1

    def wait_for_end(self, seconds: float = 20.0) -> int:
        """The exit status, with nobody reading."""
        return self.process.wait(seconds)

    def wait_for_exit(self, seconds: float = 20.0) -> int:
        """The exit status, with everything it wrote until then taken."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"still running\n{self.text}")
            self.pump(0.05)
        while self.pump(0.0) and select.select([self._master], [], [], 0.05)[0]:
            pass
        return self.process.returncode


def _known_to_pyte(match: re.Match[bytes]) -> bytes:
    """Drop what pyte would print: the private sequences that it does not know; keep the ones that set modes."""
    return match.group() if match.group()[2:3] == b"?" and match.group()[-1:] in b"hl" else b""


def leaves_a_clean_terminal(raw: bytes) -> bool:
    """Whether alternate screen, mouse, focus and paste modes that were switched on are off again."""
    state: dict[bytes, bytes] = {}
    for modes, switch in re.findall(rb"\x1b\[\?([0-9;]+)([hl])", raw):
        for mode in modes.split(b";"):
            state[mode] = switch
    watched = (b"1049", b"1000", b"1002", b"1003", b"1004", b"1006", b"1015", b"2004", b"2026", b"2048")
    return all(state.get(mode, b"l") == b"l" for mode in watched) and state.get(b"25", b"h") == b"h"
