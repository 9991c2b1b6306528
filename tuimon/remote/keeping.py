"""Keeps the mirror of a run up to date, for as long as somebody watches; begins anew where the link is lost.

Nobody is asked anything for that. Where ssh would have to ask, it is left until the panel gives its terminal away.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import time
from collections.abc import Callable
from typing import Any, Final

from tuimon.control.commands import MAX_BYTES
from tuimon.errors import TuimonError
from tuimon.record.far import LOOK, REFUSED, asked_login
from tuimon.record.files import open_to_read
from tuimon.record.text import clean
from tuimon.remote.far.wire import WireError
from tuimon.remote.host import Target, later
from tuimon.remote.link import Interrupted, Left, Line, Refused, Stopped, reach
from tuimon.remote.mirror import Mirror
from tuimon.remote.steps import Steps

PING: Final = 4.0
SILENT: Final = 15.0
"""Seconds without a word after which a link is given up."""
WAITS: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds before each new try."""
FIRST: Final = 20.0
"""That the panel waits for the first picture."""


class Keeper:
    """Keeps a mirror up to date."""

    def __init__(self, line: Line, target: Target, mirror: Mirror, leash: int, sink: int | None) -> None:
        """For as long as the other end of `leash` is open. `sink`: the terminal, where a person may log in again."""
        self._line: Line | None = line
        self._target = Target(target.host, str(line.opened.get("path")))
        self._mirror, self._leash, self._sink = mirror, leash, sink
        self._pinged = time.monotonic()
        self._tries, self._next_try, self._wished = 0, 0.0, 0

    def run(self, ready: Callable[[], object]) -> None:
        """Until whoever watches leaves. Says once that there is something to look at, or will not be for a while."""
        begun, told = time.monotonic(), False
        while not select.select([self._leash], [], [], 0)[0]:
            try:
                self._turn()
            except Stopped:
                continue
            except Left:
                break
            except (OSError, WireError, TuimonError) as error:
                self._lose(str(error), for_good=isinstance(error, Refused))
            if not told and (self._mirror.is_ready or time.monotonic() - begun > FIRST):
                told = True
                ready()
            if not told and self._line is not None:
                self._line.steps.tick()
        if self._line is not None:
            self._line.close()

    def _turn(self) -> None:
        now = time.monotonic()
        line = self._line
        if line is None:
            if self._is_called():
                line = self._log_in()
            elif self._mirror.far.state == REFUSED or now < self._next_try:
                time.sleep(0.1)
                return
            else:
                line = reach(self._target, control=self._mirror.far.control, leash=self._leash, steps=Steps(),
                             alone=True, stops=self._is_called)
            self._line, self._wished, self._tries = line, 0, 0   # what is looked at closely is asked for anew
        elif self._is_called():   # it came back by itself
            self._answered()
        self._take(line.waiting)
        line.waiting = []
        found = line.hear(0.05)
        if found is None:
            raise OSError(line.complaint())
        self._take(found)
        if now - self._pinged > PING:
            self._pinged = now
            line.say({"k": "ping"})
        if now - line.spoke > SILENT:
            raise OSError(f"no word for {SILENT:.0f} s")
        self._wish(line)
        if self._mirror.far.control:
            self._hand_on(line)

    def _take(self, found: list[tuple[dict[str, Any], bytes]]) -> None:
        if not found or self._line is None:
            return
        wall = time.time()
        for head, body in found:
            self._mirror.heard(wall, head.get("time"))
            if head["k"] == "need" and not self._line.is_whole:
                self._line.is_whole = True
                self._line.say({"k": "code"}, later())
            self._mirror.take(head, body)
        self._line.say({"k": "ack", "n": len(found)})

    def _is_called(self) -> bool:
        """Whether a person wants to log in."""
        return asked_login(self._mirror.run) > self._mirror.far.login

    def _log_in(self) -> Line:
        """With the terminal, which the panel has left. What is asked there is up to ssh."""
        host, state = self._target.label, self._mirror.far.state
        steps = Steps(host, self._sink)
        steps.say(f"\rlogging in at {host} again (ssh); Ctrl+C goes back to the panel")
        try:
            line = reach(self._target, control=self._mirror.far.control, leash=self._leash, steps=steps,
                         stops=lambda: not self._is_called())
        except TuimonError as error:
            why = self._mirror.far.why if isinstance(error, Interrupted) else str(error)
            self._lose(why, for_good=isinstance(error, Refused) or state == REFUSED)
            raise Stopped from error   # it is told
        else:
            self._mirror.heard(time.time())
            return line
        finally:
            steps.done()
            self._answered()

    def _answered(self) -> None:
        with contextlib.suppress(OSError):
            self._mirror.say(login=asked_login(self._mirror.run))

    def _lose(self, why: str, *, for_good: bool = False) -> None:
        """`for_good`: until a person asks for it: ssh would be refused again, and an account may be locked for that."""
        if self._line is not None:
            self._line.close()
            self._line = None
        wait = WAITS[min(self._tries, len(WAITS) - 1)]
        self._tries, self._next_try = self._tries + 1, time.monotonic() + wait
        with contextlib.suppress(OSError):
            words = why.removeprefix(f"{self._target.label}: ")   # whoever shows it says where
            self._mirror.say(state=REFUSED if for_good else "reconnecting", why=clean(words, 160))

    def _wish(self, line: Line) -> None:
        """Steps that the panel looks at closely."""
        path = self._mirror.run.path / LOOK
        try:
            sign = os.stat(path).st_mtime_ns
            if sign == self._wished:
                return
            self._wished = sign
            wish = json.loads(path.read_bytes()[:1000])
        except (OSError, ValueError):
            return
        first, last = wish if isinstance(wish, list) and len(wish) == 2 else (None, None)
        line.say({"k": "look", "first": first, "last": last})

    def _hand_on(self, line: Line) -> None:
        """Commands that the panel put into the mirror's spool."""
        spool = self._mirror.run.commands / "new"
        for name in sorted(os.listdir(spool))[:16]:
            with os.fdopen(open_to_read(spool / name), "rb") as file:
                age, raw = time.time() - os.fstat(file.fileno()).st_mtime, file.read(MAX_BYTES)
            (spool / name).unlink()
            with contextlib.suppress(ValueError):
                line.say({"k": "command"}, json.dumps({**json.loads(raw), "age": age}).encode())
