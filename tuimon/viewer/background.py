"""Is the terminal's background light or dark? Asked before the screen starts. Touches the terminal; `Sieve` is pure.

The question (OSC 11) is followed by one that every terminal answers (DA1), so one that does not know its background
costs one round trip, and one that answers nothing costs `PATIENCE`. What is typed meanwhile is handed on. An answer
that comes later still, over a slow link, would be keys to whoever reads next, and its first letter, r, is one that
rescues: the sieve stays in place.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import termios
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tuimon.viewer.palettes.colours import Triple, is_dark, write

PATIENCE: Final = 0.15
"""Seconds that are waited for an answer."""
QUESTION: Final = b"\x1b]11;?\x07\x1b[c"
MUTE: Final = frozenset({"", "dumb", "linux", "vt100", "vt220", "cons25", "eterm", "eterm-color"})
"""Values of TERM whose terminals have no answer, and some of which would print the question."""
_LONGEST: Final = 128
"""Characters of an answer that does not end: what is longer is dropped."""
_ANSWER: Final = re.compile(r"\x1b\]11;([^\x07\x1b]*)(?:\x07|\x1b\\)|(\x1b\[\?[0-9;]*c)")
_BEGUN: Final = re.compile(r"\x1b(?:\](?:1(?:1(?:;[^\x07\x1b]*\x1b?)?)?)?|\[(?:\?[0-9;]*)?)?\Z")
_BEGUN_LATE: Final = re.compile(r"\x1b\](?:1(?:1(?:;[^\x07\x1b]*\x1b?)?)?)?\Z")
"""As above, once only colours may still come: escape itself is never held back then."""
_COLOUR: Final = re.compile(
    r"rgba?:([0-9a-f]{1,4})/([0-9a-f]{1,4})/([0-9a-f]{1,4})(?:/[0-9a-f]{1,4})?\Z|#([0-9a-f]{6})\Z", re.IGNORECASE)


def colour_of(answer: str) -> Triple | None:
    """"rgb:ffff/fbfb/f7f7" or "#fffbf7" as red, green, blue in 0..1."""
    found = _COLOUR.match(answer)
    if found is None:
        return None
    if found[4]:
        return int(found[4][:2], 16) / 255, int(found[4][2:4], 16) / 255, int(found[4][4:], 16) / 255
    red, green, blue = (int(part, 16) / (16 ** len(part) - 1) for part in found.group(1, 2, 3))
    return red, green, blue


class Sieve:
    """Takes the terminal's answers out of what is typed, in whatever order they come (a multiplexer answers some)."""

    def __init__(self) -> None:
        self.dark: bool | None = None
        """What was found; None: nothing yet, or no colour."""
        self.is_done = False
        """Whether the answer has come that every terminal has: only colours are still taken out."""
        self._held = ""
        self._passed = False
        """Whether an escape was handed on last, which may have been the beginning of an answer."""

    def feed(self, data: str) -> str:
        """What of `data` was typed. The beginning of an answer is held back until it shows what it is."""
        passed, self._passed = self._passed, False
        data, self._held = ("\x1b" if passed else "") + self._held + data, ""
        typed, at = [], int(passed)
        for found in _ANSWER.finditer(data):
            if found[2] is not None and self.is_done:
                continue   # somebody else's question
            typed.append(data[at:found.start()])
            at = found.end()
            if found[2] is not None:
                self.is_done = True
            elif (colour := colour_of(found[1])) is not None:
                self.dark = is_dark(write(colour))
        begun = (_BEGUN_LATE if self.is_done else _BEGUN).search(data, 0 if at == passed else at)
        typed.append(data[at:begun.start() if begun else len(data)])
        if begun:
            self._held = begun[0][passed and not begun.start():] if len(begun[0]) <= _LONGEST else "\x1b]11;"
            self._passed = passed and not begun.start()
        elif self.is_done:
            self._passed = data.endswith("\x1b")
        return "".join(typed)

    def flush(self) -> str:
        """An escape that was held back and that nothing followed: somebody pressed that key."""
        self._passed = False
        if self._held in ("\x1b", "\x1b[", "\x1b]", "]"):
            typed, self._held = self._held, ""
            return typed
        return ""


@dataclass(frozen=True, slots=True)
class Background:
    """What is known when the screen starts."""

    dark: bool | None = None
    typed: str = ""
    """Keys that were pressed meanwhile."""
    sieve: Sieve = field(default_factory=Sieve, compare=False)
    """Through which input has to go."""


def guess(env: Mapping[str, str]) -> bool | None:
    """Whether COLORFGBG ("15;0": foreground, background, as ANSI colours) speaks of a dark background."""
    last = env.get("COLORFGBG", "").rpartition(";")[2]
    return None if not last.isdecimal() or int(last) > 15 else int(last) in {0, 1, 2, 3, 4, 5, 6, 8}


class Question:
    """Asked on a terminal that is ours, which does not show what comes back until `close`."""

    def __init__(self, source: int, sink: int) -> None:
        self._source = source
        self._before: list[Any] = termios.tcgetattr(source)
        quiet = termios.tcgetattr(source)
        quiet[0] &= ~termios.ICRNL   # enter is what it will be on the screen
        quiet[3] &= ~(termios.ECHO | termios.ICANON)
        quiet[6][termios.VMIN], quiet[6][termios.VTIME] = 1, 0
        termios.tcsetattr(source, termios.TCSANOW, quiet)   # not FLUSH: what was typed ahead stays
        self._open = True
        try:
            os.write(sink, QUESTION)
        except BaseException:
            self.close()
            raise

    def answer(self, patience: float = PATIENCE) -> Background:
        """Wait for it, at most so many seconds from now."""
        sieve, typed, raw = Sieve(), "", b""
        until = time.monotonic() + patience
        while not sieve.is_done:
            ready, _, _ = select.select([self._source], [], [], max(0.0, until - time.monotonic()))
            data = b""
            with contextlib.suppress(OSError):   # the terminal is gone: the screen will notice
                data = os.read(self._source, 1024) if ready else b""
            if not data:
                break
            whole, raw = _whole(raw + data)
            typed += sieve.feed(whole)
        typed += sieve.flush() + raw.decode("utf-8", "replace")
        if sieve.is_done:
            self.close()
        return Background(sieve.dark, typed, sieve)

    def close(self) -> None:
        """Give the terminal back as it was."""
        if self._open:
            self._open = False
            with contextlib.suppress(termios.error):
                termios.tcsetattr(self._source, termios.TCSANOW, self._before)


def _whole(data: bytes) -> tuple[str, bytes]:
    """The characters that are complete, and the bytes of one that is not."""
    for cut in range(min(3, len(data)) + 1):
        try:
            return data[:len(data) - cut].decode("utf-8"), data[len(data) - cut:]
        except UnicodeDecodeError:
            continue
    return data.decode("utf-8", "replace"), b""


class Unasked:
    """Where there is nobody to ask."""

    def answer(self, patience: float = PATIENCE) -> Background:
        """Nothing is known, and nothing is awaited."""
        del patience
        sieve = Sieve()
        sieve.is_done = True
        return Background(sieve=sieve)


@contextlib.contextmanager
def asking(env: Mapping[str, str], source: int = 0, sink: int = 2) -> Iterator[Question | Unasked]:
    """Ask now; whatever is done before `answer` is called is time the terminal has. Given back at the end at latest.

    Nothing is asked of a terminal that is none, that is mute, or that belongs to somebody else (a background job).
    """
    question: Question | Unasked = Unasked()
    if env.get("TERM", "") not in MUTE:
        with contextlib.suppress(OSError, termios.error):
            if os.isatty(source) and os.isatty(sink) and os.tcgetpgrp(source) == os.getpgrp():
                question = Question(source, sink)
    try:
        yield question
    finally:
        if isinstance(question, Question):
            question.close()
