"""What the place shows, and what it is asked for. Frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final, Literal

from tuimon.diagnosis.axes import XAxis
from tuimon.record.history import Thin
from tuimon.viewer.machine.model import NOTHING, Process, Sample, Tree
from tuimon.viewer.machine.ring import NO_TRACES, Traces
from tuimon.viewer.places.system.steps import StepTimes, Trend

Panel = Literal["cpu", "memory", "flow", "gpu", "step", "growth", "processes"]
PANELS: Final[tuple[Panel, ...]] = ("cpu", "memory", "flow", "gpu", "step", "growth", "processes")
"""In the order of their digits."""
Order = Literal["tree", "cpu", "memory"]
ORDERS: Final[tuple[Order, ...]] = ("tree", "cpu", "memory")
SILENT: Final = 4
"""Seconds without a new look, while one is due each second, after which the numbers are called old."""


@dataclass(frozen=True, slots=True)
class SystemView:
    """The machine and the run's own account of its time."""

    number: int = 0
    """Counts the looks at the machine: equal where the picture of it is."""
    revision: int = 0
    """Counts what was read anew of the run's own account."""
    late: int = 0
    """Seconds without an answer of the system, where that is too long; else 0."""
    sample: Sample = field(default=NOTHING, compare=False)
    traces: Traces = field(default=NO_TRACES, compare=False)
    times: StepTimes = field(default_factory=StepTimes, compare=False)
    trend: Trend = field(default_factory=Trend, compare=False)
    curve: Thin | None = field(default=None, compare=False)
    """Memory held over the steps of `x`; None where it was never logged."""
    x: XAxis = field(default_factory=XAxis, compare=False)
    ranks: int = field(default=1, compare=False)
    """How many train together."""
    ended: bool = field(default=False, compare=False)
    """Whether the run came to an end that it told of."""
    scrubbed: int | None = field(default=None, compare=False)
    """Step that the run's own account ends with; None: the newest."""


@dataclass(frozen=True, slots=True)
class Choice:
    """How the place is looked at: which panels are away, who comes first, how far down."""

    hidden: frozenset[Panel] = frozenset()
    order: Order = "tree"
    first: int = 0
    """Processes above those that are shown."""

    def turned(self, index: int) -> Choice:
        """The panel of a digit (0 is the first) away, or back; the last one stays."""
        if not 0 <= index < len(PANELS):
            return self
        hidden = self.hidden ^ {PANELS[index]}
        return self if len(hidden) == len(PANELS) else replace(self, hidden=hidden)

    def sorted_next(self) -> Choice:
        """The next order, from the top."""
        return replace(self, order=ORDERS[(ORDERS.index(self.order) + 1) % len(ORDERS)], first=0)

    def moved(self, by: int, count: int, room: int) -> Choice:
        """So many rows further down `count` processes, of which `room` are shown; never past the last."""
        return replace(self, first=max(0, min(self.first + by, count - room)))


def ordered(processes: tuple[Process, ...], order: Order) -> tuple[Process, ...]:
    """The processes in that order; those that are alike stay in the tree's."""
    if order == "cpu":
        return tuple(sorted(processes, key=lambda one: -(one.cores or 0.0)))
    if order == "memory":
        return tuple(sorted(processes, key=lambda one: -one.resident))
    return processes


def hidden_of(tree: Tree | None) -> list[str]:
    """What of the processes cannot be seen, a line each."""
    if tree is None:
        return []
    said = [f"{tree.denied} of another user: files and disk traffic are hidden"] if tree.denied else []
    return [*said, f"{tree.more} more are not looked at"] if tree.more else said
