"""What a comparison is made of: what to compare, and the runs as they are drawn. Frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, get_args

from tuimon.diagnosis.model import RunContext
from tuimon.record.chunk import Chunk
from tuimon.record.history import Thin
from tuimon.viewer.charts.picture import Role
from tuimon.viewer.lines import Tone
from tuimon.viewer.places.compare.facts import Difference

MOST: Final = 8
"""Runs that can be told apart."""
METRICS: Final = ("loss", "val_loss", "grad_norm", "update_ratio", "lr")
"""What is compared, in the order of the charts."""
LINES: Final[tuple[Role, ...]] = (
    "data", "data-2", "data-3", "data-4", "data-5", "data-6", "data-7", "data-8",
)
"""Role of each run's lines, by its place in the comparison."""
LETTERS: Final = "abcdefgh"
"""What stands at the end of each run's line, and before it in the list."""

Across = Literal["step", "time", "tokens"]
ACROSS: Final[tuple[Across, ...]] = get_args(Across)
"""What the x axis counts: optimizer steps, seconds since the run's first step, tokens seen."""
SMOOTH: Final = (0.0, 0.01, 0.04, 0.1)
"""Shares of a run that its line is averaged over; the first is none."""


@dataclass(frozen=True, slots=True, eq=False)
class Log:
    """A file that was read beforehand."""

    chunks: tuple[Chunk, ...]
    context: RunContext
    kind: str
    verdict: str
    """As RunStatus.verdict."""
    headline: str = ""
    since: int | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """One side of the comparison: a run directory, or a file."""

    name: str
    run: Path | None = None
    log: Log | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """What this person wants compared, and along what."""

    sources: tuple[Source, ...] = ()
    across: Across = "step"
    smooth: int = 1
    """Index into SMOOTH."""


@dataclass(frozen=True, slots=True)
class Side:
    """One run as it is shown."""

    letter: str
    role: Role
    name: str
    state: str
    """As RunStatus.state; "" for a file."""
    verdict: str
    tone: Tone
    step: int
    values: Mapping[str, float] = field(default_factory=dict)
    """Last measured, by metric."""
    best_val: float | None = None
    columns: Mapping[str, Thin] = field(default_factory=dict, compare=False)
    """metric -> what is drawn, its steps in what the x axis counts."""
    revision: int = 0
    """Another one: the columns are others."""


@dataclass(frozen=True, slots=True)
class CompareView:
    """The comparison as far as the runs have been read."""

    sides: tuple[Side, ...] = ()
    differences: tuple[Difference, ...] = ()
    across: Across = "step"
    known: tuple[Across, ...] = ("step",)
    """What the x axis can count for all of them."""
    end: float = 1.0
    """Where the longest one ends, in what the x axis counts."""
    smooth: int = 0
    """Index into SMOOTH: what the columns are averaged over."""
    reading: bool = False
    """Whether some of it has not been read yet."""


NOTHING: Final = CompareView()
