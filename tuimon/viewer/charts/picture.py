"""A picture is rows of runs of cells; a canvas is where one is painted. Pure values, no styles, no terminal."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

Role = Literal[
    "blank", "frame", "frame-focus", "axis", "label", "title", "text", "value", "note",
    "data", "data-dim", "data-2", "data-2-dim", "data-3", "data-4",
    "good", "info", "warning", "critical", "unknown", "mark", "cursor", "band-usual", "band-healthy",
    "heat-low-4", "heat-low-3", "heat-low-2", "heat-low-1", "heat-usual",
    "heat-high-1", "heat-high-2", "heat-high-3", "heat-high-4", "heat-bad",
]
"""What a cell says; the theme knows how that looks at each colour depth."""
Ground = Literal["none", "usual", "healthy"]
"""What lies behind a cell."""

ROLES: Final[tuple[Role, ...]] = get_args(Role)
GROUNDS: Final[tuple[Ground, ...]] = get_args(Ground)
_ROLE: Final = {role: i for i, role in enumerate(ROLES)}
_GROUND: Final = {ground: i for i, ground in enumerate(GROUNDS)}
_SPACE: Final = 0x20


class Run(NamedTuple):
    """Neighbouring cells that look alike."""

    text: str
    role: Role
    ground: Ground


Row = tuple[Run, ...]
"""One line of a picture, filling its width exactly. Equal rows look equal: a row is its own signature."""


@dataclass(frozen=True, slots=True)
class Picture:
    """What a widget shows."""

    width: int
    rows: tuple[Row, ...]

    @property
    def height(self) -> int:
        """Number of rows."""
        return len(self.rows)

    @property
    def lines(self) -> list[str]:
        """The bare text, one string per row: what tests and plain terminals read."""
        return ["".join(run.text for run in row) for row in self.rows]

    def changed(self, before: Picture) -> list[int]:
        """Rows that look different from `before`; all of them where the sizes differ."""
        if (before.width, before.height) != (self.width, self.height):
            return list(range(self.height))
        return [y for y, (old, new) in enumerate(zip(before.rows, self.rows, strict=True)) if old != new]


NOTHING: Final = Picture(0, ())
"""Before anything was drawn."""
