"""What a person wants of the console, what is shown of it, and how one looks at it. Pure values and folds."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal

from tuimon.viewer.places.console.line import Shown
from tuimon.viewer.places.console.steep import steepness

Direction = Literal[1, -1]
MARGIN: Final = 2
"""Screens of lines that are kept ready above and below what is seen, so that a key never waits for the disk."""


@dataclass(frozen=True, slots=True)
class Jump:
    """To the next line with what is searched."""

    serial: int
    """One more with each: an answer is to this question."""
    way: Direction
    after: int
    """The line to search from, itself left out."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What this person wants to see."""

    top: int | None = None
    """The first line on the screen; None: the newest."""
    rows: int = 50
    """Lines that a screen holds."""
    pattern: str = ""
    """What is searched; "" is nothing."""
    jump: Jump | None = None
    mark: int | None = None
    """The line that was jumped to: its rank among those found is wanted."""


@dataclass(frozen=True, slots=True)
class Found:
    """How a search stands."""

    pattern: str
    lines: int
    """Lines that hold it, so far."""
    searched: int
    """Lines looked at, from the first on."""
    complete: bool
    rank: int | None = None
    """Which of them the marked line is, counted from 1."""
    serial: int = 0
    """The newest jump that was answered."""
    line: int | None = None
    """Where it leads; None: nowhere."""
    wrapped: bool = False
    """Whether it went on from the other end."""


@dataclass(frozen=True, slots=True)
class ConsoleView:
    """What is shown of a console."""

    state: Literal["missing", "elsewhere", "reading", "ready"] = "missing"
    """No file yet; none will come, because tuimon did not start the process; being indexed; there."""
    total: int = 0
    """Lines, an unfinished last one included."""
    size: int = 0
    """Bytes read."""
    first: int = 0
    """Number of the first of `lines`, counted from 0."""
    lines: tuple[Shown, ...] = ()
    found: Found | None = None
    generation: int = 0
    """How often the file began anew: then the numbers of lines do too."""

    @property
    def after(self) -> int:
        """Number of the line after the last of `lines`."""
        return self.first + len(self.lines)


@lru_cache(64)
def compiled(pattern: str) -> re.Pattern[str]:
    """The search: a regular expression if it is one that finds something, and soon; else the plain text.

    Capitals matter only where there are any.
    """
    flags = 0 if any(c.isupper() for c in re.sub(r"\\.", "", pattern)) else re.IGNORECASE
    plain = re.compile(re.escape(pattern), flags)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")   # of what may mean something else one day; it would be printed over the screen
        try:
            found = re.compile(pattern, flags)
        except (re.error, RecursionError, OverflowError):
            return plain
    return plain if steepness(pattern).endless or found.search("") else found


def is_plain(pattern: str) -> bool:
    """Whether it is searched as plain text although it looks like more."""
    return compiled(pattern).pattern != pattern


@dataclass(frozen=True, slots=True)
class Look:
    """How one person looks at a console."""

    top: int | None = None
    """The first line on the screen; None: the newest are at the bottom, and followed."""
    row: int = 0
    """Rows of it that are above the screen, where lines are wrapped."""
    left: int = 0
    """Cells cut at the left, where they are not."""
    wrap: bool = True
    numbers: bool = False
    pattern: str = ""
    mark: int | None = None
    """The line that a search led to."""

    @property
    def follows(self) -> bool:
        """Whether the newest line is always seen."""
        return self.top is None

    def turned(self) -> Look:
        """Wrapped if cut, cut if wrapped."""
        return replace(self, wrap=not self.wrap, left=0, row=0)

    def shifted(self, by: int) -> Look:
        """Further to the right (left: negative); only where lines are cut."""
        return self if self.wrap else replace(self, left=max(0, self.left + by))

    def searching(self, pattern: str) -> Look:
        """With another search; nothing is marked."""
        return replace(self, pattern=pattern, mark=None)

    def at(self, line: int, above: int, *, mark: bool) -> Look:
        """With a line so far below the top of the screen."""
        return replace(self, top=max(0, line - above), row=0, mark=line if mark else self.mark)


def wish(look: Look, rows: int, jump: Jump | None, before: Ask | None) -> Ask:
    """What to ask of the feed: nothing new while what was asked last still holds the screen and one more either way."""
    top = look.top
    near = before is not None and before.top is not None and top is not None and abs(top - before.top) < before.rows
    if before is not None and near and before.rows == rows:
        top = before.top
    return Ask(top, rows, look.pattern, jump, look.mark)
