"""Rows of all ranks as rows of the run, as `joined`, `paces` and `patience` of `record`; tests hold them equal. Pure.

Law: what needs every rank is measured only where every rank has it.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from typing import Any, Callable, Collection, Dict, Sequence

from tuimon.remote.far.rows import Rows

RANK0_LOSS = "rank0_loss"
SQUARES = {"grad_square": "grad_norm", "param_square": "param_norm", "update_square": "update_norm"}
MEAN = ("loss", "val_loss")
GREATEST = ("step_time", "data_time", "memory", "skipped")
RATIOS = {"update_ratio": ("update_norm", "param_norm"), "grad_param_ratio": ("grad_norm", "param_norm"),
          "throughput": ("tokens", "step_time")}
CHECKED = ("checksum", "checked_tensor", "twin_of")
OWN = frozenset([*SQUARES, *SQUARES.values(), *MEAN, *GREATEST, *RATIOS, *CHECKED, "tokens", "own_time"])
SIZE, SLOW, CALM, LASTS = 16, 1.3, 1.15, 2
SILENT, AFAR, MOST, STEADY = 4.0, 15.0, 60.0, 2.0
TIMES, FEWEST, KEPT = 2.0, 3, 7

Values = Dict[int, float]
"""Rank -> value."""


class Joiner:
    """Joins the rows of one attempt, stretch by stretch."""

    def __init__(self, world: int, metrics: Collection[str]) -> None:
        """`metrics`: the names that every run may have."""
        self.world, self._metrics = world, frozenset(metrics)
        self._had: dict[str, set[int]] = {}
        self.paces = Paces(world)

    def again(self) -> Joiner:
        """Another one for stretches that were joined before."""
        found = Joiner(self.world, self._metrics)
        found._had = {name: set(ranks) for name, ranks in self._had.items()}
        return found

    def join(self, parts: Sequence[Sequence[Rows]]) -> Rows:
        """The rows of each rank, of the same stretch of steps."""
        table: dict[int, dict[str, Values]] = {}
        times: dict[int, float] = {}
        for rank, blocks in enumerate(parts):
            for block in blocks:
                for i, step in enumerate(block.steps):
                    row = table.setdefault(step, {})
                    row.setdefault("", {})[rank] = 0.0
                    times.setdefault(step, block.times[i])
                    for name, values, mask in zip(block.names, block.values, block.present):
                        if mask is None or mask[i]:
                            row.setdefault(name, {})[rank] = values[i]
        steps = sorted(table)
        told = [self._step(step, table[step]) for step in steps]
        names = tuple(dict.fromkeys(name for row in told for name in row))
        present = [bytes(name in row for row in told) for name in names]
        return Rows(names, array("q", steps), array("d", [times[step] for step in steps]),
                    [array("d", [row.get(name, math.nan) for row in told]) for name in names],
                    [None if all(mask) else mask for mask in present])

    def _step(self, step: int, row: dict[str, Values]) -> dict[str, float]:
        """What one step of the ranks says of the run."""
        whole = len(row.pop("")) == self.world
        told: dict[str, float] = {}
        for name in [*row, *(name for name in self._had if name not in row)]:
            values = row.get(name, {})
            had = self._had.setdefault(name, set())
            had.update(values)
            everyone, expected = len(values) == self.world, whole and bool(values) and len(values) == len(had)
            if name in SQUARES:
                if everyone:
                    told[SQUARES[name]] = _root(sum(values.values()))
            elif name in MEAN:
                if expected:
                    told[name] = sum(values.values()) / len(values)
                elif name == "loss" and not whole and 0 in values:
                    told[RANK0_LOSS] = values[0]
            elif name == "tokens":
                if expected:
                    told[name] = sum(values.values())
            elif name in GREATEST:
                if expected:
                    told[name] = _greatest(values.values())
            elif name == "own_time":
                self.paces.add(step, values)
                if everyone:
                    told.update(_slowest(values))
            elif name not in OWN:
                owner = 0 if name in self._metrics else min(had)
                if owner in values:
                    told[name] = values[owner]
        told.update(_strays(*(row.get(name, {}) for name in CHECKED)))
        for name, (over, under) in RATIOS.items():
            if over in told and under in told:
                told[name] = _ratio(told[over], told[under])
        return told


class Paces:
    """How long each rank works itself, beside the median of all."""

    def __init__(self, world: int) -> None:
        self._world, self._most = world, max(8, min(128, 4096 // world))
        self._window, self._first, self._last = -1, -1, -1
        self._sums: Values = {}
        self._counts: dict[int, int] = {}
        self._begun: dict[int, int] = {}
        self._lasted: dict[int, int] = {}
        self._newest: Values = {}
        self._each = 1
        self._strip: list[tuple[int, int, Values]] = []
        """First step, of how many stretches, the means."""

    def add(self, step: int, values: Values) -> None:
        """Own times of one step."""
        if step // SIZE != self._window:
            self._close()
            self._window, self._first = step // SIZE, step
        self._last = step
        middle = _median(sorted(v for v in values.values() if not math.isnan(v)))
        for rank, value in values.items():
            ratio = _ratio(value, middle)
            if math.isfinite(ratio):
                self._sums[rank] = self._sums.get(rank, 0.0) + ratio
                self._counts[rank] = self._counts.get(rank, 0) + 1

    def _close(self) -> None:
        if self._counts:
            means = {rank: self._sums[rank] / count for rank, count in self._counts.items()}
            for rank in range(self._world):
                limit = CALM if self._lasted.get(rank, 0) >= LASTS else SLOW
                if means.get(rank, 0.0) >= limit:
                    if not self._lasted.get(rank):
                        self._begun[rank] = self._first
                    self._lasted[rank] = self._lasted.get(rank, 0) + 1
                else:
                    self._lasted[rank] = 0
            self._newest = means
            self._keep(self._first, 1, means)
            if len(self._strip) > self._most:
                before, self._strip, self._each = self._strip, [], 2 * self._each
                for row in before:
                    self._keep(*row)
        self._sums, self._counts = {}, {}

    def _keep(self, first: int, held: int, means: Values) -> None:
        if self._strip and self._strip[-1][1] + held <= self._each:
            begun, of, one = self._strip[-1]
            mean = {rank: (of * one[rank] + held * means[rank]) / (of + held) if rank in one and rank in means
                    else one.get(rank, means.get(rank, 0.0)) for rank in {**one, **means}}
            self._strip[-1] = begun, of + held, mean
        else:
            self._strip.append((first, held, means))

    @property
    def slow(self) -> list[list[Any]]:
        """Rank, times the median, since which step; the slowest first."""
        found = [rank for rank, lasted in self._lasted.items() if lasted >= LASTS]
        return [[rank, round(self._newest[rank], 3), self._begun[rank]]
                for rank in sorted(found, key=lambda rank: -self._newest[rank])]

    @property
    def strip(self) -> list[list[Any]]:
        """First steps of stretches, each with the means of all ranks; None where one was not measured."""
        return [[first, [round(means[rank], 2) if rank in means else None for rank in range(self._world)]]
                for first, _, means in self._strip]


class Patience:
    """How long one rank may be quiet."""

    def __init__(self) -> None:
        self._sign = self._looked = 0.0
        self._pauses: list[float] = []

    def saw(self, sign: float, now: float) -> None:
        """A look: when it gave its last sign, and what time it is here."""
        if sign > self._sign:
            if self._sign and now - self._looked <= STEADY:
                self._pauses = [*self._pauses, now - self._sign][-KEPT:]
            self._sign = sign
        self._looked = now

    def is_over(self, age: float, freshest: Callable[[], float]) -> bool:
        """Whether a last sign of that age is too old; freshest: the age of the newest of the ranks on its machine."""
        if age <= SILENT:
            return False
        if len(self._pauses) >= FEWEST:
            middle = sorted(self._pauses)
            usual = (middle[len(middle) // 2] + middle[(len(middle) - 1) // 2]) / 2
            return age > min(MOST, max(SILENT, TIMES * usual))
        return age > AFAR or age - freshest() > SILENT


def _strays(sums: Values, tensors: Values, twins: Values) -> dict[str, float]:
    """Which ranks hold other weights than those that should hold the same."""
    groups: dict[tuple[float, float], Values] = {}
    for rank in sorted(sums):
        if rank in tensors and rank in twins:
            groups.setdefault((tensors[rank], twins[rank]), {})[rank] = sums[rank]
    compared = {of: values for of, values in groups.items() if len(values) > 1}
    if not compared:
        return {}
    odd: Values = {}
    for (tensor, _), values in compared.items():
        usual = Counter(values.values()).most_common(1)[0][0]
        odd.update((rank, tensor) for rank, value in values.items() if value != usual)
    if not odd:
        return {"strays": 0.0, "checked_tensor": next(iter(compared))[0]}
    return {"strays": float(len(odd)), "stray_rank": float(min(odd)), "checked_tensor": odd[min(odd)]}


def _root(value: float) -> float:
    return math.sqrt(value) if value >= 0 or math.isnan(value) else math.nan


def _ratio(over: float, under: float) -> float:
    try:
        return over / under
    except ZeroDivisionError:
        return math.copysign(math.inf, over) if over and not math.isnan(over) else math.nan


def _greatest(values: Collection[float]) -> float:
    return math.nan if any(map(math.isnan, values)) else max(values)


def _slowest(values: Values) -> dict[str, float]:
    odd = next((rank for rank in sorted(values) if math.isnan(values[rank])), None)
    which = max(sorted(values), key=lambda rank: values[rank]) if odd is None else odd
    middle = math.nan if odd is not None else _median(sorted(values.values()))
    return {"slowest_step_time": values[which], "median_step_time": middle, "slowest_rank": float(which)}


def _median(ordered: Sequence[float]) -> float:
    """Of an even number the lower of the two in the middle."""
    return ordered[(len(ordered) - 1) // 2] if ordered else math.nan
