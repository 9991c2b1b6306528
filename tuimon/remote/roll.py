"""A file that names machines: one [user@]host[:root] a line, # for comments. Touches the disk."""

from __future__ import annotations

import os
import re
from typing import Final

from tuimon.errors import UsageError
from tuimon.remote.host import Target, parse

MOST: Final = 64
"""Machines: each is a process and an ssh."""
_LONGEST: Final = 1 << 16
_COMMENT: Final = re.compile(r"(?:^|\s)#.*")


def read_roll(path: str) -> list[Target]:
    """The machines, each with where its runs are, or None; UsageError names the line that is none."""
    try:
        with open(path, "rb") as file:
            raw = file.read(_LONGEST + 1)
    except OSError as error:
        raise UsageError(f"{path!r:.200}: {error.strerror}") from None
    try:
        if len(raw) > _LONGEST:
            raise ValueError
        lines = raw.decode().splitlines()
    except ValueError:
        raise UsageError(f"{path!r:.200} is no list of hosts: it is no text, or longer than any") from None
    return roll_of(lines, os.path.basename(path))


def roll_of(lines: list[str], name: str) -> list[Target]:
    """The machines of these lines of a file called so."""
    found: dict[Target, int] = {}
    for number, line in enumerate(lines, 1):
        words = _COMMENT.sub("", line).strip()
        if not words:
            continue
        try:
            target = parse(words)
        except UsageError as error:
            raise UsageError(f"{name}, line {number}: {str(error).replace('[run]', '[root]')}") from None
        if target in found:
            raise UsageError(f"{name}, line {number}: {words!r:.80} stands in line {found[target]} already")
        found[target] = number
    if not found:
        raise UsageError(f"{name} names no host: wanted is one [user@]host[:root] a line")
    if len(found) > MOST:
        raise UsageError(f"{name} names {len(found)} hosts, and {MOST} are reached at most")
    return list(found)
