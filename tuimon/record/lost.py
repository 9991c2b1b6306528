"""Which ranks of a run are not there, in words. Pure, and light: whoever only waits for it to happen loads no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_NAMED: Final = 6
"""Ranks that are named one by one."""
_ORDER: Final = ("died", "crashed", "silent", "missing")


def lost_words(lost: Sequence[tuple[int, str]]) -> str:
    """Which ranks are not there: number and state of each."""
    parts = []
    for state in _ORDER:
        found = [rank for rank, which in lost if which == state]
        if found:
            parts.append(f"{_those(found)} {state}")
    return ", ".join(parts)


def _those(ranks: Sequence[int]) -> str:
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    named = ", ".join(map(str, ranks[:_NAMED]))
    return f"{len(ranks)} ranks ({named}{', ...' if len(ranks) > _NAMED else ''})"
