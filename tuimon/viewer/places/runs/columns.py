"""How the list of runs divides its width: which columns there are, and how wide. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final


@dataclass(frozen=True, slots=True)
class Column:
    """One column."""

    name: str
    head: str
    least: int
    most: int
    weight: int = 0
    """Share of the room that is left; 0: none."""
    right: bool = False
    """Numbers stand at its right end."""
    from_width: int = 0
    """Width of the list from which it is shown."""


MACHINE: Final = Column("machine", "host", 8, 16, 1)
COLUMNS: Final = (
    Column("name", "name", 13, 36, 3),
    MACHINE,
    Column("state", "state", 10, 10),
    Column("age", "age", 6, 6, right=True),
    Column("steps", "steps", 8, 15, 1, right=True, from_width=44),
    Column("verdict", "verdict", 12, 44, 4),
    Column("loss", "loss", 6, 6, right=True),
    Column("val", "best val", 8, 8, right=True, from_width=72),
    Column("spark", "curve", 8, 24, 1, from_width=88),
    Column("lr", "lr", 7, 7, right=True, from_width=104),
    Column("size", "size", 9, 9, right=True, from_width=124),
    Column("model", "model", 20, 24, 1, from_width=150),
    Column("note", "note", 12, 60, 3, from_width=170),
)
LEAD: Final = 3
"""Cells for choice and mark."""
_FEWEST: Final = ("name", "state", "steps", "loss")
"""What is left of the list below WHOLE."""
WHOLE: Final = 64


@lru_cache(64)
def divide(width: int, *, hosts: bool = False) -> tuple[tuple[Column, int], ...]:
    """The columns of a list that is so wide, each with its cells; one cell lies between two.

    `hosts`: whether there are runs of several machines, and it is said of each where it is.
    """
    taken = MACHINE.least + 1 if hosts else 0
    shown = [c for c in COLUMNS if (hosts or c is not MACHINE) and (not c.from_width or width - taken >= c.from_width)
             and (width - taken >= WHOLE or c.name in _FEWEST)]
    cells = {c.name: c.least for c in shown}
    spare = width - LEAD - sum(cells.values()) - (len(shown) - 1)
    while spare > 0:
        growing = [c for c in shown if c.weight and cells[c.name] < c.most]
        if not growing:
            break
        for column in growing:
            take = min(column.weight, column.most - cells[column.name], spare)
            cells[column.name] += take
            spare -= take
    return tuple((c, cells[c.name]) for c in shown)
