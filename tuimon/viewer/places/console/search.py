"""Searching a console while it grows: which lines hold it, found a stretch at a time. Reads through a ConsoleReader."""

from __future__ import annotations

import re
import time
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from typing import Final

from tuimon.record.console import ConsoleReader
from tuimon.viewer.places.console.line import shown, without_colours
from tuimon.viewer.places.console.model import Found, Jump, compiled
from tuimon.viewer.places.console.steep import steepness

BUDGET_S: Final = 0.08
"""Time given to a search between two frames."""
MOST: Final = 1 << 20
"""Lines that are remembered."""
_ODD: Final = re.compile(r"[^\n -~][^\n]*")
"""From the first character of a line that may look otherwise than it is written, to its end."""
_LOOKS_AROUND: Final = re.compile(r"\(\?|\\[AZ]")


class Search:
    """One pattern over one console."""

    def __init__(self, pattern: str, reader: ConsoleReader) -> None:
        self.pattern, self.generation = pattern, reader.generation
        self._reader = reader
        self._compiled = compiled(pattern)
        flags = self._compiled.flags | re.MULTILINE
        steep = steepness(self._compiled.pattern)
        self._reach = steep.reach
        around = steep.across or _LOOKS_AROUND.search(self._compiled.pattern) is not None
        self._anywhere = None if around else re.compile(self._compiled.pattern, flags)
        """Finds in a stretch of lines all that the search finds in one, and what goes over their ends besides."""
        self._lines = array("q")
        self._next = 0
        self._taking: Iterator[int] = iter(())
        self._answered = Found(pattern, 0, 0, complete=False)

    def advance(self, clock: Callable[[], float] = time.perf_counter, budget: float = BUDGET_S) -> bool:
        """Look further, for about so long; whether there is more to look at."""
        until = clock() + budget
        while not self.is_complete:
            if next(self._taking, None) is None:
                self._taking = self._take(self._reader.segment_of(self._next))
                next(self._taking, None)
            if clock() >= until:
                break
        return not self.is_complete

    @property
    def is_complete(self) -> bool:
        """Whether every line that has ended was looked at."""
        return self._next >= self._reader.complete or len(self._lines) >= MOST

    def _take(self, index: int) -> Iterator[int]:
        """Look at a stretch; the number of each line where it may be left for a while."""
        first, count, body = self._reader.segment(index)
        text = without_colours(body.decode("utf-8", "replace"))
        lines = text.split("\n") if self._anywhere is None or self._reach < len(text) else []
        if self._anywhere is None or max(map(len, lines), default=0) > self._reach:
            found = []
            for number, line in enumerate(lines, first):
                if self._holds(line):
                    found.append(number)
                yield number
        else:
            found = sorted([*self._plain(text, first, self._anywhere), *self._odd(text, first)])
        self._lines.extend(number for number in found if number >= self._next)
        self._next = max(self._next + 1, first + count)
        yield self._next

    def _plain(self, text: str, first: int, anywhere: re.Pattern[str]) -> Iterator[int]:
        """Lines that look as they are written. From one that was found on, the search goes on in the next."""
        at, number, counted = 0, first, 0
        while (found := anywhere.search(text, at)) is not None:
            start, end, line = _line_at(text, found.start())
            number, counted = number + text.count("\n", counted, start), start
            if _ODD.search(line) is None and self._holds(line):
                yield number
            at = end + 1
            if at > len(text):
                return

    def _odd(self, text: str, first: int) -> Iterator[int]:
        """Lines that have to be acted out."""
        number, counted = first, 0
        for odd in _ODD.finditer(text):
            start, _, line = _line_at(text, odd.start())
            number, counted = number + text.count("\n", counted, start), start
            if self._holds(line):
                yield number

    def _holds(self, line: str) -> bool:
        return self._compiled.search(shown(line)[:self._reach]) is not None

    def found(self, jump: Jump | None, mark: int | None) -> Found:
        """How it stands; a jump that could not be answered yet is answered as soon as it can be."""
        lines, complete = self._lines, self.is_complete
        last = self._last()
        known = len(lines) + (last is not None)
        before = self._answered
        serial, line, wrapped = before.serial, before.line, before.wrapped
        if jump is not None and jump.serial != serial:
            answer = self._leads(jump, complete=complete, last=last)
            if answer is not None:
                serial, (line, wrapped) = jump.serial, answer
        rank = None
        if mark is not None:
            at = bisect_left(lines, mark)
            rank = at + 1 if at < len(lines) and lines[at] == mark else known if mark == last else None
        self._answered = Found(self.pattern, known, self._next, complete, rank, serial, line, wrapped)
        return self._answered

    def _last(self) -> int | None:
        """The unfinished line, where it holds it now."""
        reader = self._reader
        if reader.lines == reader.complete or not self.is_complete:
            return None
        body = reader.read(reader.complete, 1)
        return reader.complete if body and self._holds(body[0][0].decode("utf-8", "replace")) else None

    def _leads(self, jump: Jump, *, complete: bool, last: int | None) -> tuple[int | None, bool] | None:
        """The line a jump leads to, and whether round the end; None while that cannot be told."""
        lines = self._lines
        if jump.way == 1:
            at = bisect_right(lines, jump.after)
            if at < len(lines):
                return lines[at], False
            if last is not None and last > jump.after:
                return last, False
            return ((lines[0] if lines else last), True) if complete else None
        if jump.after > self._next and not complete:
            return None
        at = bisect_left(lines, jump.after)
        if at > 0:
            return lines[at - 1], False
        if not complete:
            return None
        return (last if last is not None else lines[-1] if lines else None), True


def _line_at(text: str, at: int) -> tuple[int, int, str]:
    """Where the line around a character begins and ends, and the line."""
    start, end = text.rfind("\n", 0, at) + 1, text.find("\n", at)
    end = len(text) if end < 0 else end
    return start, end, text[start:end]
