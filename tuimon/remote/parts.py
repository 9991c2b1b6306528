"""What is told over one line: the list of a host's runs and the runs that are open, each by its number.

Hands on what viewers wish of them (see `record.hosts`). Touches the disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from typing import Any, Final

from tuimon.control.commands import MAX_BYTES
from tuimon.record.far import LOOK
from tuimon.record.files import open_to_read
from tuimon.record.hosts import answer, digest, is_asked, ordered
from tuimon.record.text import clean
from tuimon.remote.far.wire import WireError
from tuimon.remote.host import listing
from tuimon.remote.link import Line
from tuimon.remote.linked import Linked
from tuimon.remote.listed import NUMBER, Listed
from tuimon.remote.mirror import Mirror

EVERY: Final = 0.2
"""Seconds between two looks at what is wished for."""
MOST: Final = 12
"""Runs that are open at once."""
OLD: Final = "the tuimon there is too old to list its runs"


class Parts:
    """Whom each message is for."""

    def __init__(self, listed: Listed, mirror: Mirror | None = None) -> None:
        """`mirror`: of the run that the line itself is for; without one it is for the list."""
        self.listed, self._mirror = listed, mirror
        self.control = listed.far.control
        self._mirrors: dict[int, Mirror] = {} if mirror is None else {0: mirror}
        self._numbers: dict[str, int] = {} if mirror is None else {mirror.run.path.parent.name: 0}
        """Number by the folder of each run that is open."""
        self._keys: dict[int, str] = {}
        """What those are called that are open besides."""
        self._next = 1
        self._wished: dict[int, int] = {}
        self._looked = 0.0
        self._is_on = self._is_asked = mirror is None
        """Whether the list is told now, and whether it ever was asked for over this line."""

    @property
    def first(self) -> Linked:
        """What the line was made for."""
        return self.listed if self._mirror is None else self._mirror

    @property
    def all(self) -> list[Linked]:
        """All of them."""
        return [self.listed, *self._mirrors.values()]

    def again(self, line: Line) -> None:
        """Another line: what was open besides is asked for anew, and so is what was looked at closely."""
        self._wished = {}
        self._is_on = self._is_asked = self._mirror is None
        for number in list(self._keys):
            if self._asks_list(line):
                self._ask(line, number)
            else:
                self._close(number)

    def take(self, line: Line, found: list[tuple[dict[str, Any], bytes]]) -> None:
        """What has come; it is answered, each by its number."""
        wall = time.time()
        counts: dict[int, int] = {}
        for head, body in found:
            number = head.get("c", 0)
            if not isinstance(number, int):
                raise WireError("a message for nobody")
            counts[number] = counts.get(number, 0) + 1
            part = self.listed if number == NUMBER else self._mirrors.get(number)
            if part is not self.listed:
                self.listed.heard(wall)
            if part is None:
                continue
            part.heard(wall, head.get("time"))
            if head["k"] == "error":
                part.say(why=clean(str(head.get("text")), 160))
            else:
                part.take(head, body)
        for number, count in counts.items():
            _say(line, number, {"k": "ack", "n": count})

    def attend(self, line: Line) -> None:
        """Hand on what is wished for by now."""
        for number, mirror in self._mirrors.items():
            self._look_closely(line, number, mirror)
            if mirror.far.control:
                _hand_on(line, number, mirror)
        now = time.monotonic()
        if now - self._looked < EVERY:
            return
        self._looked = now
        self._tell_list(line)
        wall = time.time()
        for name, number in list(self._numbers.items()):
            if number and not is_asked(self.listed.run.path / name, wall):
                self._close(number)
                _say(line, number, {"k": "close"})
        for name in os.listdir(self.listed.run.path):
            if name in self.listed.by_digest and name not in self._numbers and len(self._mirrors) < MOST \
                    and is_asked(self.listed.run.path / name, wall):
                self._open(line, self.listed.by_digest[name])
        for body in ordered(self.listed.run.path):
            self._order(line, body)

    def _tell_list(self, line: Line) -> None:
        is_on = is_asked(self.listed.run.path)
        if is_on == self._is_on:
            return
        if self._is_asked:
            self._is_on = is_on
            line.say({"k": "list", "c": NUMBER, "on": is_on})
        else:
            self._asks_list(line)

    def _asks_list(self, line: Line) -> bool:
        """Ask for the list, once a line; whether it is told: only whoever tells it opens other runs, too."""
        if not self._is_asked and line.hello.get("lists"):
            self._is_asked = self._is_on = True
            line.say(self.listed.question)
            if line.is_sent:
                line.say({"k": "code"}, listing())
        elif not self._is_asked and self.listed.far.why != OLD:
            self.listed.say(why=OLD)
        return self._is_asked

    def _open(self, line: Line, key: str) -> None:
        if not self._asks_list(line):
            return
        number, self._next = self._next, self._next + 1
        folder = self.listed.run.path / digest(key)
        mirror = Mirror(folder, key, self.listed.far.host, control=self.control)
        self._mirrors[number], self._numbers[folder.name], self._keys[number] = mirror, number, key
        mirror.say(skew=self.listed.far.skew)
        self._ask(line, number)

    def _ask(self, line: Line, number: int) -> None:
        path = os.path.join(self.listed.root, self._keys[number])
        _say(line, number, {"k": "open", "run": path, "control": self.control})

    def _close(self, number: int) -> None:
        mirror = self._mirrors.pop(number)
        del self._keys[number]
        self._numbers.pop(mirror.run.path.parent.name, None)
        mirror.close()
        shutil.rmtree(mirror.run.path, ignore_errors=True)

    def _look_closely(self, line: Line, number: int, mirror: Mirror) -> None:
        """Steps that the panel looks at closely."""
        path = mirror.run.path / LOOK
        try:
            sign = os.stat(path).st_mtime_ns
            if sign == self._wished.get(number):
                return
            self._wished[number] = sign
            wish = json.loads(path.read_bytes()[:1000])
        except (OSError, ValueError):
            return
        first, last = wish if isinstance(wish, list) and len(wish) == 2 else (None, None)
        _say(line, number, {"k": "look", "first": first, "last": last})

    def _order(self, line: Line, body: dict[str, Any]) -> None:
        serial, kind, key = body.get("serial"), body.get("kind"), body.get("run")
        if not isinstance(serial, int) or kind not in ("label", "delete"):
            return
        if not self.control:
            answer(self.listed.run.path, serial, "this link only looks; --control lets it order")
            return
        words = json.dumps({name: str(body.get(name, "")) for name in ("name", "note")}).encode()
        line.say({"k": kind, "c": NUMBER, "serial": serial, "run": key}, words)


def _say(line: Line, number: int, head: dict[str, Any], body: bytes = b"") -> None:
    line.say({**head, "c": number} if number else head, body)


def _hand_on(line: Line, number: int, mirror: Mirror) -> None:
    """Commands that the panel put into the mirror's spool."""
    spool = mirror.run.commands / "new"
    for name in sorted(os.listdir(spool))[:16]:
        with os.fdopen(open_to_read(spool / name), "rb") as file:
            age, raw = time.time() - os.fstat(file.fileno()).st_mtime, file.read(MAX_BYTES)
        (spool / name).unlink()
        with contextlib.suppress(ValueError):
            _say(line, number, {"k": "command"}, json.dumps({**json.loads(raw), "age": age}).encode())
