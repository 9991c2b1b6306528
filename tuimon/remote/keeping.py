"""Keeps what is known of another machine up to date, for as long as somebody watches; begins anew after a lost link.

Nobody is asked anything for that. Where ssh would have to ask, it is left until the panel gives its terminal away.
"""

from __future__ import annotations

import contextlib
import select
import time
from collections.abc import Callable
from typing import Any, Final

from tuimon.errors import TuimonError
from tuimon.record.far import REFUSED, asked_login
from tuimon.record.text import clean
from tuimon.remote.far.wire import WireError
from tuimon.remote.host import Target, abreast, later
from tuimon.remote.link import Interrupted, Left, Line, Refused, Stopped, reach
from tuimon.remote.listed import NUMBER
from tuimon.remote.parts import Parts
from tuimon.remote.steps import Steps

PING: Final = 4.0
SILENT: Final = 15.0
"""Seconds without a word after which a link is given up."""
WAITS: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds before each new try."""
FIRST: Final = 20.0
"""That the panel waits for the first picture."""


class Keeper:
    """Keeps a link, and with it what is told over it."""

    def __init__(self, line: Line | None, target: Target, parts: Parts, leash: int, sink: int | None) -> None:
        """For as long as the other end of `leash` is open. `sink`: the terminal, where a person may log in again.

        `line`: None where it is to be made, without a question to anybody.
        """
        self._line, self._parts, self._link = line, parts, parts.listed
        is_list = parts.first is parts.listed
        self._question = parts.listed.question if is_list else None
        self._target = target if line is None or is_list else Target(target.host, str(line.opened.get("path")))
        self._leash, self._sink = leash, sink
        self._pinged = time.monotonic()
        self._tries, self._next_try = 0, 0.0

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
            if not told and (self._parts.first.is_ready or time.monotonic() - begun > FIRST):
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
            elif self._link.far.state == REFUSED or now < self._next_try:
                time.sleep(0.1)
                return
            else:
                line = reach(self._target, control=self._parts.control, leash=self._leash, steps=Steps(),
                             alone=True, stops=self._is_called, question=self._question)
            self._line, self._tries = line, 0
            self._parts.again(line)
        elif self._is_called():   # it came back by itself
            self._answered()
        self._take(line, line.waiting)
        line.waiting = []
        found = line.hear(0.05)
        if found is None:
            raise OSError(line.complaint())
        self._take(line, found)
        if now - self._pinged > PING:
            self._pinged = now
            line.say({"k": "ping"})
        if now - line.spoke > SILENT:
            raise OSError(f"no word for {SILENT:.0f} s")
        self._parts.attend(line)

    def _take(self, line: Line, found: list[tuple[dict[str, Any], bytes]]) -> None:
        for asks in [head.get("c") for head, _ in found if head["k"] == "need"]:
            for more in (later, abreast) if asks == NUMBER else (later,):
                if more not in line.given:
                    line.given.add(more)
                    line.say({"k": "code"}, more())
        self._parts.take(line, found)

    def _is_called(self) -> bool:
        """Whether a person wants to log in."""
        return asked_login(self._link.run) > self._link.far.login

    def _log_in(self) -> Line:
        """With the terminal, which the panel has left. What is asked there is up to ssh."""
        host, state = self._target.label, self._link.far.state
        steps = Steps(host, self._sink)
        steps.say(f"\rlogging in at {host} again (ssh); Ctrl+C goes back to the panel")
        try:
            line = reach(self._target, control=self._parts.control, leash=self._leash, steps=steps,
                         stops=lambda: not self._is_called(), question=self._question)
        except TuimonError as error:
            why = self._link.far.why if isinstance(error, Interrupted) else str(error)
            self._lose(why, for_good=isinstance(error, Refused) or state == REFUSED)
            raise Stopped from error   # it is told
        else:
            for part in self._parts.all:
                part.heard(time.time())
            return line
        finally:
            steps.done()
            self._answered()

    def _answered(self) -> None:
        for part in self._parts.all:
            with contextlib.suppress(OSError):
                part.say(login=asked_login(self._link.run))

    def _lose(self, why: str, *, for_good: bool = False) -> None:
        """`for_good`: until a person asks for it: ssh would be refused again, and an account may be locked for that."""
        if self._line is not None:
            self._line.close()
            self._line = None
        wait = WAITS[min(self._tries, len(WAITS) - 1)]
        self._tries, self._next_try = self._tries + 1, time.monotonic() + wait
        words = clean(why.removeprefix(f"{self._target.label}: "), 160)   # whoever shows it says where
        for part in self._parts.all:
            with contextlib.suppress(OSError):
                part.say(state=REFUSED if for_good else "reconnecting", why=words)
