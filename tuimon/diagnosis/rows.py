"""The rows of one stretch as plain numbers, and the reasons for which a row may matter. Pure values."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

import numpy as np

from tuimon.diagnosis.turns import FIFTH
from tuimon.record.chunk import Bools, Chunk

WATCHED: Final = (
    "loss", "val_loss", "grad_norm", "update_ratio", "lr", "param_norm", "update_norm", "loss_scale", "skipped",
    "clipped", "changed", "step_time", "data_time", "tokens", "throughput", "memory", "slowest_step_time",
    "median_step_time", "slowest_rank", "strays", "stray_rank", "checked_tensor",
)
"""Columns that are unrolled for the rules."""
LEARNABLE: Final = 1e100
"""Beyond this a value is an overflow in the making and teaches a baseline nothing."""
LEARNED: Final = (
    ("loss", -LEARNABLE), ("grad_norm", 0.0), ("update_ratio", -5e-324), ("step_time", 0.0), ("throughput", 0.0),
    ("lr", 0.0),
)
"""Columns that baselines and paces are learned from, and above which number."""
MUST_BE_FINITE: Final = ("loss", "grad_norm", "param_norm", "update_norm")

ROW, STIR, EARLY_ROW, BLOCK, WINDOW_FULL, UPDATE, VALIDATION, LR, SCALE, CHANGED, STEEP = (1 << i for i in range(11))
PACE, MEMORY, RANKS = (1 << i for i in range(11, 14))
"""Why a row may matter to a rule, as bits:

ROW every row; STIR something is out of the ordinary, or was in the row before (so that streaks end): a value that is
not finite, a skipped step, a loss beyond 2.5 sigma, a gradient beyond twice its usual; EARLY_ROW one of the first 100
losses; BLOCK, WINDOW_FULL sixteen, 128 more losses are in; UPDATE, VALIDATION update_ratio, val_loss was measured;
LR the learning rate moved by more than a fifth within one step, or is no positive number; SCALE the GradScaler's scale
moved; CHANGED a step changed less than a tenth of the weights, or did when that was last measured; STEEP a step changed
the weights by more than 2 % of their size, or one of the last three that were measured did; PACE sixteen more rows were
timed; MEMORY, RANKS memory, slowest_step_time or strays was measured.
"""
RARE: Final = {"memory": MEMORY, "slowest_step_time": RANKS, "strays": RANKS}
"""What is measured now and then, and the bit that says so."""

Numbers = list[float | None]


class Rows:
    """The watched columns of a stretch; None where nothing was measured."""

    def __init__(self, chunk: Chunk) -> None:
        self.chunk = chunk
        self._none: Numbers = [None] * len(chunk)
        self._columns: dict[str, Numbers] = {}
        self.loss, self.grad, self.ratio, self.lr, self.validation, self.took, self.scale, self.changed = (
            self.column(name)
            for name in ("loss", "grad_norm", "update_ratio", "lr", "val_loss", "step_time", "loss_scale",
                         "changed")
        )
        self.waited, self.tokens, self.speed = map(self.column, ("data_time", "tokens", "throughput"))
        wakes = np.full(len(chunk), ROW)
        for name, bit in RARE.items():
            if name in chunk.columns:
                wakes |= chunk.present[name] * bit
        self.wakes: list[int] = wakes.tolist()
        """Per row, why it may matter, as far as that is only a question of what was measured."""
        turns = np.zeros(len(chunk), np.bool_)
        for name, by in (("lr", FIFTH), ("tokens", 1.0)):
            if name in chunk.columns:
                turns |= _moved(chunk, name, by)
        self.turns: list[bool] = turns.tolist()
        """Per row, whether learning rate or tokens may just have turned: see `turns`."""
        strange = np.zeros(len(chunk), np.bool_)
        for name in MUST_BE_FINITE:
            if name in chunk.columns:
                strange |= chunk.present[name] & ~np.isfinite(chunk.columns[name])
        if "skipped" in chunk.columns:
            strange |= chunk.present["skipped"] & (chunk.columns["skipped"] == 1)
        self._odd: list[int] | None = None
        self.strange: list[bool] = strange.tolist()
        """Per row, whether something is not finite or the step was skipped."""

    def next_odd(self, at: int) -> int:
        """The first row from `at` on with a value that no baseline learns from; how many rows there are, if none."""
        if self._odd is None:
            self._odd = _odd(self.chunk, self.strange)
        i = bisect_left(self._odd, at)
        return self._odd[i] if i < len(self._odd) else len(self.chunk)

    def column(self, name: str) -> Numbers:
        """All values of one of WATCHED."""
        found = self._columns.get(name)
        if found is None:
            watched = name in WATCHED and name in self.chunk.columns
            found = self._columns[name] = _listed(self.chunk, name) if watched else self._none
        return found


def _moved(chunk: Chunk, name: str, by: float) -> Bools:
    """Rows at which a column differs by more than a factor from the row before that has it, and the next one.

    Of a stretch the first two, as what was before is not known here.
    """
    at = np.flatnonzero(chunk.present[name])
    values = chunk.columns[name][at]
    odd = ~((values[1:] <= by * values[:-1]) & (values[:-1] <= by * values[1:]))
    found = np.zeros(len(chunk), np.bool_)
    found[at[:2]] = True
    found[at[1:][odd]] = found[at[2:][odd[:-1]]] = True
    return found


def _listed(chunk: Chunk, name: str) -> Numbers:
    values: Numbers = chunk.columns[name].tolist()
    for i in (~chunk.present[name]).nonzero()[0].tolist():
        values[i] = None
    return values


def _odd(chunk: Chunk, strange: Sequence[bool]) -> list[int]:
    """Rows with anything that is strange, or beyond what a baseline learns from, or a learning rate of nothing."""
    odd = np.array(strange, np.bool_)
    for name, least in LEARNED:
        if name in chunk.columns:
            values = chunk.columns[name]
            odd |= chunk.present[name] & ~((values > least) & (values < LEARNABLE))
    return [int(i) for i in np.flatnonzero(odd)]
