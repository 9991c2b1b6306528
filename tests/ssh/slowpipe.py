"""A bad link, as ssh's ProxyCommand: slowpipe.py HOST PORT DELAY RATE DIRECTORY. Standard library only, no privileges.

DELAY is seconds each way, RATE bytes a second each way (0: as fast as it goes). What is written faster than RATE waits in
the link, as it does in modems: the link takes more while it holds less than HOLDS.

Files in DIRECTORY are what happens to the link, looked at fifty times a second:
    frozen    nothing goes through either way, and neither end hears of anything: a closed laptop, a dead radio
    cut       both ends are closed
    refused   new connections are refused; those that are open go on
and `bytes.PID` says what it has carried: bytes to the far side, bytes back, connection by connection.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sys
import time
from collections import deque

HOLDS = 256 * 1024
PIECE = 256
"""Bytes that a link of finite rate carries at once."""
LOOK = 0.02


class Way:
    """One direction: reads `source` into the link, writes to `sink` what has come through it."""

    def __init__(self, source: int, sink: int, delay: float, rate: float) -> None:
        self.source, self.sink, self.delay, self.rate = source, sink, delay, rate
        self.carried = self.held = 0
        self.is_ended = False
        """Nothing more will be read."""
        self._free = 0.0
        """When the link will have carried all that it holds."""
        self._arriving: deque[tuple[float, bytes]] = deque()

    @property
    def is_done(self) -> bool:
        """Whether all has come through and nothing more will."""
        return self.is_ended and not self._arriving

    @property
    def takes(self) -> bool:
        """Whether there is room for more."""
        return not self.is_ended and self.held < HOLDS

    def take(self, now: float) -> None:
        """Read what is there."""
        try:
            data = os.read(self.source, 1 << 15)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        self.is_ended = not data
        size = PIECE if self.rate else len(data)
        for i in range(0, len(data), size or 1):
            piece = data[i:i + size]
            self._free = max(self._free, now) + (len(piece) / self.rate if self.rate else 0.0)
            self._arriving.append((self._free + self.delay, piece))
        self.held += len(data)

    def hand_on(self, now: float) -> None:
        """Write what has come through by now, as far as the sink takes it."""
        while self._arriving and self._arriving[0][0] <= now:
            due, piece = self._arriving.popleft()
            try:
                done = os.write(self.sink, piece)
            except (BlockingIOError, InterruptedError):
                done = 0
            except OSError:   # nobody reads any more
                self._arriving.clear()
                self.is_ended = True
                return
            self.carried += done
            self.held -= done
            if done < len(piece):
                self._arriving.appendleft((due, piece[done:]))
                return

    def sleep(self, now: float) -> float:
        """Seconds until the next bytes have come through."""
        return max(0.0, self._arriving[0][0] - now) if self._arriving else LOOK


class Pipe:
    """One connection through the link."""

    def __init__(self, far: socket.socket, delay: float, rate: float, place: str) -> None:
        self.place = place
        for fd in (0, 1, far.fileno()):
            os.set_blocking(fd, False)
        self.up = Way(0, far.fileno(), delay, rate)
        self.down = Way(far.fileno(), 1, delay, rate)
        self._said = (-1, -1)
        self._file = os.open(os.path.join(place, f"bytes.{os.getpid()}"), os.O_CREAT | os.O_WRONLY, 0o600)

    def has(self, name: str) -> bool:
        """Whether that was asked of the link."""
        return os.path.exists(os.path.join(self.place, name))

    def say(self) -> None:
        """Note what was carried."""
        carried = (self.up.carried, self.down.carried)
        if carried != self._said:
            self._said = carried
            os.pwrite(self._file, b"%20d %20d\n" % carried, 0)

    def carry(self) -> None:
        """Until one end is closed and what it had sent has come through, or the link is cut."""
        self.say()
        while not self.has("cut"):
            if self.has("frozen"):   # an end that is closed now is not noticed either
                time.sleep(LOOK)
                continue
            now = time.monotonic()
            with selectors.DefaultSelector() as ready:
                for way in (self.up, self.down):
                    if way.takes:
                        ready.register(way.source, selectors.EVENT_READ, way)
                found = ready.select(min(LOOK, self.up.sleep(now), self.down.sleep(now)))
            if self.has("frozen"):   # between the look and the reading
                continue
            now = time.monotonic()
            for key, _ in found:
                key.data.take(now)
            for way in (self.up, self.down):
                way.hand_on(now)
            self.say()
            if self.up.is_done or self.down.is_done:
                return


def main() -> int:
    """Carry one connection."""
    host, port, delay, rate, place = sys.argv[1:]
    signal.signal(signal.SIGHUP, signal.SIG_IGN)   # ssh sends it at its end; the link hears of that by what is closed
    if os.path.exists(os.path.join(place, "refused")):
        print("slowpipe: no route to host", file=sys.stderr)
        return 1
    with socket.create_connection((host, int(port))) as far:
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        Pipe(far, float(delay), float(rate), place).carry()
    return 0


if __name__ == "__main__":
    sys.exit(main())
