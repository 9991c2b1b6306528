"""How the overview divides a terminal. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from tuimon.viewer.choice import Kind

FULL_COLUMNS = 100
FULL_ROWS = 32
WIDE_COLUMNS = 160
WIDE_ROWS = 44
LEAST = (40, 10)


@dataclass(frozen=True, slots=True)
class Division:
    """Rows given to each part; 0 hides it. The charts take what is left."""

    kind: Kind
    gap: int = 0
    """Blank rows between badges and verdict."""
    verdict: int = 3
    sparks: int = 0
    heat: int = 0
    heat_columns: int = 1
    events: int = 1
    charts: int = 0
    columns: int = 1
    """Charts side by side."""


def kind_of(width: int, height: int) -> Kind:
    """Which layout such a terminal gets."""
    if width < LEAST[0] or height < LEAST[1]:
        return "tiny"
    if width < FULL_COLUMNS or height < FULL_ROWS:
        return "compact"
    return "wide" if width >= WIDE_COLUMNS and height >= WIDE_ROWS else "full"


@lru_cache(maxsize=16)   # asked in every frame
def divide(width: int, height: int, layers: int, charts: int = 4, *, heated: bool = True,
           alone: bool = False) -> Division:
    """The division of a terminal for a model with so many layers, with so many charts, and the heat strip if wanted.

    `alone`: one chart has been made large; on a small screen it takes the strips' rows, too.
    """
    kind = kind_of(width, height)
    if kind == "tiny":
        return Division("tiny")
    if kind != "compact":
        events = 2 if height >= 44 else 1
        verdict = 5 if height >= 36 else 4   # headline, evidence of two rows, what to do, and its keys
        most = height // 4 if kind == "wide" else height // 5
        heat = max(3, min(layers or 6, most)) + 2 if heated else 0
        if not charts:
            heat = height - 4 - verdict - events if heated else 0
        columns = min(max(1, charts), 3 if kind == "wide" else 2)
        rows = max(1, -(-charts // columns))
        fixed = 1 + 1 + 1 + verdict + heat + events + 1
        spare = (height - fixed) % rows   # rows of charts of equal height
        more = min(spare, 2 - events)
        return Division(kind, 1, verdict + spare - more, 0, heat, 1, events + more,
                        height - fixed - spare if charts else 0, columns)
    sparks = 4 if height >= 16 and not alone else 0
    two = width >= 70
    rows = (layers + 1) // 2 if two else layers
    heat = min(max(rows, 1), max(3, height // 8)) if height >= 22 and not alone else 0
    gap, verdict = (1 if height >= 20 else 0), (4 if height >= 22 else 3)
    fixed = 1 + 1 + gap + verdict + sparks + heat + 1 + 1
    charts = height - fixed
    if charts < 4:   # a chart of three rows says nothing that a sparkline does not say
        verdict, charts = verdict + max(0, charts), 0
    return Division("compact", gap, verdict, sparks, heat, 2 if two else 1, 1, charts)


@dataclass(frozen=True, slots=True)
class Shelves:
    """How the incidents divide a terminal, by its size only: nothing moves while they are looked at."""

    kind: Literal["beside", "below", "tiny"]
    """Where the curve stands, seen from the words."""
    listed: int = 0
    """Rows of the list, its box or heading included."""
    curve: int = 0
    numbers: int = 0
    """Rows of the box of numbers; 0: they stand among the words."""


def shelve(width: int, height: int) -> Shelves:
    """The division of a terminal of that size."""
    if width < LEAST[0] or height < LEAST[1]:
        return Shelves("tiny")
    if width >= FULL_COLUMNS and height >= 28:
        listed = max(7, height // 4)
        numbers = 7
        return Shelves("beside", listed, height - 2 - listed - numbers, numbers)
    listed = 5 if height >= 20 else 3
    return Shelves("below", listed, 8 if height >= 22 else 0)
