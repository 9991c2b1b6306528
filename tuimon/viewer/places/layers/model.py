"""What is asked of the layers and what is shown of them: frozen values. Arrays stand behind `revision`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tuimon.viewer.places.layers.quantities import QUANTITY, Name, Quantity

if TYPE_CHECKING:
    from tuimon.diagnosis.heat import Ranks
    from tuimon.record.chunk import Bools, Ints, Vectors
    from tuimon.record.history import Thin


@dataclass(frozen=True, slots=True)
class Ask:
    """What one person wants to see of the layers."""

    quantity: Name = "gradient"
    layer: str | None = None
    """The layer that is open."""
    tensors: bool = False
    """Whether the table of all parameters is open."""


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """One layer's values, only where it was measured; (c,) each."""

    steps: Ints
    value: Vectors
    """As the log has it at that step, NaN and inf included."""
    low: Vectors
    """Least and greatest finite value among the rows that the column stands for; NaN where there is none."""
    high: Vectors


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """L layers over g columns of one or more rows each, in the order of steps."""

    steps: Ints
    """(g,) the last row of each."""
    low: Vectors
    """(g, L) least finite value; NaN where there is none."""
    high: Vectors
    last: Vectors
    """(g, L) the value of the last row in which the layer was measured; meaningless where none was."""
    seen: Bools
    """(g, L) whether it was measured at all."""
    bad: Bools
    """(g, L) whether a value was NaN or infinite."""

    def __len__(self) -> int:
        return len(self.steps)

    def column(self, layer: int) -> Column:
        """One layer."""
        there = self.seen[:, layer]
        return Column(self.steps[there], self.last[there, layer], self.low[there, layer], self.high[there, layer])

    def after(self, column: int) -> Grid:
        """The columns from this one on."""
        cut = slice(column, None)
        return Grid(self.steps[cut], self.low[cut], self.high[cut], self.last[cut], self.seen[cut], self.bad[cut])

    @staticmethod
    def empty(layers: int = 0) -> Grid:
        """Nothing measured."""
        none, no = np.zeros((0, layers), np.float32), np.zeros((0, layers), np.bool_)
        return Grid(np.zeros(0, np.int64), none, none, none, no, no)


@dataclass(frozen=True, slots=True, eq=False)
class Tensors:
    """The parameters of a model, or of one layer of it, with what was last measured of each; (P,) each."""

    names: tuple[str, ...]
    shapes: tuple[str, ...]
    """"64 x 64"; "scalar"."""
    dtypes: tuple[str, ...]
    elements: Ints
    trained: Bools
    grad: Vectors
    """L2 norm of the gradient when it was last looked at; NaN where the tensor had none, or it was NaN: see `seen`."""
    seen: Bools
    """Whether it had a gradient then."""
    usual: Vectors
    """Median of its gradient norms while nothing was wrong; NaN where unknown."""
    update: Vectors
    """Update ratio when it was last measured; NaN where it never was."""
    weight: Vectors
    """L2 norm of the tensor itself when it was last logged; NaN where it never was, or it was NaN: see `weighed`."""
    weighed: Bools
    """Whether it was logged then."""
    step: int
    """Step of the newest row; 0 where there is none."""

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True)
class Page:
    """One layer, opened."""

    layer: str
    index: int
    """Where it stands in the model."""
    revision: int
    history: Thin = field(compare=False, repr=False)
    """The chosen quantity over the steps of the window."""
    tensors: Tensors = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Usual:
    """What is usual of each layer from a step on."""

    since: int
    of: Vectors
    """(L,) medians; NaN where unknown."""


@dataclass(frozen=True, slots=True)
class LayersView:
    """All that the place shows."""

    revision: int
    """Grows with every change of the arrays."""
    quantity: Name
    """What was asked for; where the run does not have it, `awaited` says why."""
    offered: tuple[Name, ...]
    """Those that the run has."""
    layers: tuple[str, ...]
    """(L) names, clean, in model order."""
    first: float
    """The steps that are spanned."""
    last: float
    before: int | None
    """The first onset: what was usual up to there is learned from the steps before."""
    grid: Grid = field(compare=False, repr=False)
    ranks: Ranks = field(compare=False, repr=False)
    """(g, L) how far from what it should be: see `shades`."""
    usual: Vectors = field(compare=False, repr=False)
    """(L,) each layer's own median in the first calm stretch; NaN where unknown."""
    page: Page | None = None
    tensors: Tensors | None = field(default=None, compare=False, repr=False)
    awaited: str = ""
    """What an empty map waits for."""
    again: tuple[Usual, ...] = field(default=(), compare=False, repr=False)
    """What is usual since something was over, oldest first."""

    def usual_at(self, step: int | None) -> Vectors:
        """(L,) what is usual at a step, or now."""
        return next((u.of for u in reversed(self.again) if step is None or u.since <= step), self.usual)

    @property
    def about(self) -> Quantity:
        """The quantity that is shown."""
        return QUANTITY[self.quantity]
