"""What the place shows of the ranks: arrays with a row for each, so that thousands are a matter of slices. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from tuimon.record.chunk import Floats, Ints
from tuimon.record.roster import LOST, Ranks
from tuimon.viewer.lines import Tone

Bytes = NDArray[np.uint8]
Order = Literal["number", "worst"]

STATES: Final = ("live", "silent", "missing", "ended", "died", "crashed")
FIGURES: Final = ("own_time", "step_time", "data_time", "memory")
LEVELS: Final = 8
UNKNOWN: Final = 9
"""The shade of what was not measured."""
BOUNDS: Final = (0.5, 0.65, 0.77, 0.87, 1.15, 1.3, 1.6, 2.0)
"""Times the median at which a stretch takes the next of nine shades; the fifth is usual."""
USUAL: Final = 4
_POINTS: Final = 32


@dataclass(frozen=True, slots=True)
class RanksView:
    """All ranks as of one look; equal where the look is."""

    number: int = 0
    world: int = 0
    """0: nothing is known yet."""
    now: float = field(default=0.0, compare=False)
    steps: Ints = field(default_factory=lambda: np.zeros(0, np.int64), compare=False)
    """(W,) last step of each; -1 before the first."""
    states: Bytes = field(default_factory=lambda: np.zeros(0, np.uint8), compare=False)
    """(W,) index into STATES."""
    since: Floats = field(default_factory=lambda: np.zeros(0), compare=False)
    """(W,) wall clock of the last sign of life."""
    figures: Floats = field(default_factory=lambda: np.zeros((0, len(FIGURES))), compare=False)
    """(W, FIGURES) the newest; NaN where one was not measured."""
    sparks: Bytes = field(default_factory=lambda: np.zeros((0, _POINTS), np.uint8), compare=False)
    """(W, points) levels 0 to 7, by one measure for all, of own times; LEVELS where there is none."""
    strip: Bytes = field(default_factory=lambda: np.zeros((0, 0), np.uint8), compare=False)
    """(m, W) shades of stretches of steps."""
    stretches: Ints = field(default_factory=lambda: np.zeros(0, np.int64), compare=False)
    """(m,) first step of each."""
    hosts: tuple[str, ...] = field(default=(), compare=False)
    devices: tuple[str, ...] = field(default=(), compare=False)
    verdict: tuple[tuple[str, Tone], ...] = field(default=(), compare=False)
    """Who is not there, and who holds the others up: a sentence each."""
    slow: tuple[int, ...] = field(default=(), compare=False)

    def rows(self, order: Order) -> Ints:
        """The ranks in that order: by number, or those that are lost first, then the slowest."""
        if order == "number" or not self.world:
            return np.arange(self.world)
        lost = np.isin(self.states, [i for i, state in enumerate(STATES) if state in LOST])
        slow = np.isin(np.arange(self.world), self.slow)
        own = np.nan_to_num(self.figures[:, 0], nan=-1.0)
        return np.asarray(np.lexsort((np.arange(self.world), -own, ~slow, ~lost)), np.int64)


@dataclass(frozen=True, slots=True)
class Look:
    """How one person looks at it."""

    order: Order = "number"
    first: int = 0
    """Ranks above those that are shown."""


def levels(recent: list[tuple[float, ...]]) -> Bytes:
    """(W, points) the last own times of each rank as heights, up to twice the usual of all."""
    table = np.full((len(recent), _POINTS), np.nan)
    for row, values in zip(table, recent, strict=True):
        if values:
            row[-len(values):] = values[-_POINTS:]
    known = table[np.isfinite(table)]
    if not len(known):
        return np.full(table.shape, LEVELS, np.uint8)
    top = max(2 * float(np.median(known)), 1e-12)
    heights = np.clip(np.nan_to_num(table / top, nan=0.0, posinf=1.0, neginf=0.0) * LEVELS, 0, LEVELS - 1)
    return np.where(np.isnan(table), LEVELS, heights.astype(np.uint8)).astype(np.uint8)


def shades(ratios: Floats) -> Bytes:
    """Times the median as shades 0 to 8; UNKNOWN where nothing was measured."""
    found = np.searchsorted(BOUNDS, np.nan_to_num(ratios, nan=1.0), "right")
    return np.where(np.isnan(ratios), UNKNOWN, found).astype(np.uint8)


def worst(shaded: Bytes) -> Bytes:
    """Of shades (k, ...) those farthest above the usual, or else below it, or the usual; (...)."""
    order = np.array([4, 5, 6, 7, 0, 8, 9, 10, 11, -1], np.int8)   # shade -> how bad; what is unknown says least
    order[:USUAL] = [3, 2, 1, 0]
    order[USUAL] = 0
    back = np.argmax(order[shaded], axis=0)
    return np.asarray(np.take_along_axis(shaded, back[None], axis=0)[0], np.uint8)


def view_of(number: int, ranks: Ranks, strip: tuple[Ints, Floats], now: float,
            verdict: tuple[tuple[str, Tone], ...]) -> RanksView:
    """All that is known of them."""
    each = ranks.ranks
    figures = np.array([[rank.last.get(name, np.nan) for name in FIGURES] for rank in each], np.float64)
    recent = [rank.own_time or rank.step_times for rank in each]
    return RanksView(
        number, ranks.world, now, np.array([rank.step for rank in each], np.int64),
        np.array([STATES.index(rank.state) for rank in each], np.uint8), np.array([rank.since for rank in each]),
        figures.reshape(len(each), len(FIGURES)), levels(recent), shades(strip[1]), strip[0],
        tuple(rank.host for rank in each), tuple(rank.device for rank in each),
        verdict,
        tuple(one.rank for one in ranks.slow))
