"""How one person looks at the layers: which rows, in which order, under which cursor. Pure.

The cursor holds on to a layer and a step, not to a cell: what is measured meanwhile moves cells, never the choice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Final

import numpy as np

from tuimon.diagnosis.axes import XAxis, columns_of
from tuimon.diagnosis.heat import grouped
from tuimon.record.chunk import Ints
from tuimon.viewer.places.layers.model import LayersView

TALL: Final = 8
"""Lines that a row takes at most, where there are few layers."""


@dataclass(frozen=True, slots=True)
class Look:
    """What is chosen."""

    layer: str | None = None
    """Under the cursor; of a row of several, one of them. None: nothing chosen yet."""
    at: int | None = None
    """Step under the cursor; None: the newest."""
    filter: str = ""
    """Words that a layer's name must all contain."""
    worst: tuple[str, ...] | None = None
    """The layers, worst first, as of the moment in which that was asked for: rows do not jump. None: model order."""
    folded: bool = True
    """Whether neighbours share a row where there are more layers than rows."""
    top: int = 0
    """First row shown, where not all fit."""

    def sorted(self, view: LayersView) -> Look:
        """Worst first, or the order of the model again."""
        if self.worst is not None:
            return replace(self, worst=None, top=0)
        names = tuple(view.layers[i] for i in worst_first(view).tolist())
        return replace(self, worst=names, top=0, layer=names[0] if names else None)

    def filtered(self, words: str) -> Look:
        """Only the layers whose names contain these words."""
        return replace(self, filter=words, top=0)

    def unfolded(self, layer: str | None = None) -> Look:
        """One row per layer, or as many as fit in one picture again."""
        return replace(self, folded=not self.folded, layer=layer or self.layer, top=0)


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """Which layers stand in which row."""

    order: Ints
    """(n,) the layers that are left, as indices into the view's."""
    rows: tuple[tuple[int, int], ...]
    """Row -> first and end within `order`."""
    top: int
    """First row on screen."""
    height: int
    row: int | None
    """The row of the cursor."""
    tall: int
    """Lines that each row takes."""

    @property
    def is_folded(self) -> bool:
        """Whether rows stand for several layers."""
        return len(self.rows) < len(self.order)

    @property
    def visible(self) -> tuple[tuple[int, int], ...]:
        """The rows on screen."""
        return self.rows[self.top:self.top + self.height]

    def members(self, row: int) -> Ints:
        """The layers of a row."""
        first, end = self.rows[row]
        return self.order[first:end]


def worst_first(view: LayersView) -> Ints:
    """The layers by the worst shade that they have in view, then by the newest, then by how far they are off."""
    if not len(view.grid):
        return np.arange(len(view.layers))
    with np.errstate(all="ignore"):
        apart = np.abs(np.log10(view.grid.last[-1] / view.usual_at(None)))
    apart = np.where(np.isnan(apart), 0.0, apart)
    return np.lexsort((-apart, -view.ranks[-1].astype(np.int64), -view.ranks.max(0).astype(np.int64)))


@lru_cache(4)
def left_over(names: tuple[str, ...], worst: tuple[str, ...] | None, words: str) -> Ints:
    """The layers that the filter leaves, in the chosen order; not written to."""
    if worst is None:
        order = range(len(names))
    else:
        known = {name: i for i, name in enumerate(names)}
        kept = dict.fromkeys(known[name] for name in worst if name in known)
        order = [*kept, *(i for i in range(len(names)) if i not in kept)]   # type: ignore[assignment]  # any sequence
    wanted = words.lower().split()
    return np.array([i for i in order if all(word in names[i].lower() for word in wanted)], np.int64)


@lru_cache(8)
def _divided(count: int, height: int, folded: bool) -> tuple[tuple[int, int], ...]:
    """Row -> first and end."""
    return tuple(grouped(count, height) if folded else pairwise(range(count + 1)))


def shown(view: LayersView, look: Look, height: int) -> Shown:
    """What stands in `height` rows: all layers, folded where asked and needed, else as far as they fit."""
    order = left_over(view.layers, look.worst, look.filter)
    count = len(order)
    rows = _divided(count, height, count > height and look.folded and look.worst is None)
    row = None
    if look.layer in view.layers:
        at = np.flatnonzero(order == view.layers.index(look.layer or ""))
        if len(at):
            row = next(i for i, (_, end) in enumerate(rows) if at[0] < end)
    top = max(0, min(look.top, len(rows) - height))
    if row is not None:
        top = min(row, max(top, row - height + 1))
    return Shown(order, rows, top, height, row, row_height(height, len(rows)))


def row_height(height: int, count: int) -> int:
    """Lines that each of `count` rows takes of `height`."""
    return max(1, min(TALL, height // max(1, count)))


def moved(view: LayersView, look: Look, by: int, height: int) -> Look:
    """The cursor so many rows further down, or up."""
    now = shown(view, look, height)
    if not now.rows:
        return look
    row = now.top if now.row is None else min(len(now.rows) - 1, max(0, now.row + by))
    chosen = view.layers[int(now.members(row)[0])]
    top = min(row, max(now.top, row - height + 1))
    return replace(look, layer=chosen, top=top)


def timed(view: LayersView, look: Look, by: int, x: XAxis, width: int) -> Look:
    """The cursor so many measured cells further on, or back; beyond the last one it is at the newest again."""
    steps = view.grid.steps
    at = columns_of(steps.astype(np.float64), x.first, x.last, width)
    inside = np.flatnonzero((at >= 0) & (at < width))
    if not len(inside):
        return look
    ends = inside[np.append(np.diff(at[inside]) > 0, True)]   # the newest column of each cell
    now = len(ends) - 1 if look.at is None else int(np.searchsorted(steps[ends], look.at, "left"))
    then = now + by
    if then >= len(ends) - 1:
        return replace(look, at=None)
    return replace(look, at=int(steps[ends[max(0, then)]]))


def worst_of(view: LayersView, members: Ints, at: int | None) -> int:
    """Of several layers the one that is furthest off at a step, or now."""
    steps = view.grid.steps
    column = len(steps) - 1 if at is None else int(np.searchsorted(steps, at, "right")) - 1
    if len(members) == 1 or column < 0:
        return int(members[0])
    ranks = view.ranks[column, members].astype(np.float64)
    with np.errstate(all="ignore"):
        apart = np.abs(np.log10(view.grid.last[column, members] / view.usual_at(at)[members]))
    score = ranks * 100 + np.minimum(np.where(np.isnan(apart), 0.0, apart), 99)
    return int(members[int(np.argmax(score))])
