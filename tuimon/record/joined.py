"""Rows of all ranks of a run put together into rows of the run. Pure.

Law: what needs every rank is measured only where every rank has it; nothing is guessed for one that is not there.
What a step says depends on the steps up to it alone, and so not on how the rows were read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from tuimon.record.chunk import Bools, Chunk, Floats, Ints, TensorRows, Vectors, WeightRows
from tuimon.record.log import RowBlock
from tuimon.record.metrics import METRICS
from tuimon.record.paces import Paces, medians

RANK0_LOSS: Final = "rank0_loss"
"""Rank 0's own loss, at steps at which some rank is missing: the run's `loss` is not known there, and no mean of those
that are left takes its name; but that a run still learns is not kept from who looks at it at night."""
_SQUARES: Final = {"grad_square": "grad_norm", "param_square": "param_norm", "update_square": "update_norm"}
_MEAN: Final = ("loss", "val_loss")
_MOST: Final = ("step_time", "data_time", "memory", "skipped")
_RATIOS: Final = {"update_ratio": ("update_norm", "param_norm"), "grad_param_ratio": ("grad_norm", "param_norm"),
                  "throughput": ("tokens", "step_time")}
_CHECKED: Final = ("checksum", "checked_tensor", "twin_of")
_OWN: Final = frozenset({*_SQUARES, *_SQUARES.values(), *_MEAN, *_MOST, *_RATIOS, *_CHECKED, "tokens", "own_time"})


@dataclass(slots=True)
class _Table:
    """One column of every rank."""

    values: Floats
    """(W, n)"""
    present: Bools
    """(W, n)"""


@dataclass(slots=True)
class Joiner:
    """Joins the rows of one attempt, stretch by stretch; remembers which rank has ever measured what."""

    world: int
    paces: Paces = field(init=False)
    _had: dict[str, Bools] = field(default_factory=dict)
    """name -> (W,)"""

    def __post_init__(self) -> None:
        self.paces = Paces(self.world)

    def join(self, blocks: Sequence[RowBlock]) -> RowBlock:
        """One block for each rank, of the same stretch of steps; empty ones of those that are not there."""
        steps, there, rows = _lined_up(blocks)
        n, names = len(steps), dict.fromkeys(name for block in blocks for name in block.columns)
        if not n:
            return RowBlock(steps, np.zeros(0), {}, {})
        whole: Bools = np.asarray(there.all(axis=0), np.bool_)
        columns: dict[str, Floats] = {}
        present: dict[str, Bools] = {}
        for name in names:
            table = _table(blocks, name, rows, n)
            had = np.logical_or.accumulate(table.present, axis=1) | self._before(name)[:, None]
            self._had[name] = had[:, -1]
            self._tell(name, table, had, whole, columns, present)
            if name == "own_time":
                self.paces.add(steps, table.values)
        if all(name in names for name in _CHECKED):
            _compare([_table(blocks, name, rows, n) for name in _CHECKED], columns, present)
        for name, (over, under) in _RATIOS.items():
            if over in columns and under in columns:
                with np.errstate(divide="ignore", invalid="ignore"):
                    columns[name] = columns[over] / columns[under]
                present[name] = present[over] & present[under]
        first = np.argmax(there, axis=0)
        times = _spread([block.times for block in blocks], rows, n)[first, np.arange(n)]
        kept = [name for name in columns if present[name].any()]
        return RowBlock(steps, times, {k: columns[k] for k in kept}, {k: present[k] for k in kept})

    @staticmethod
    def of(world: int, had: Mapping[str, Sequence[int]]) -> Joiner:
        """One that knows which ranks have measured what."""
        found = Joiner(world)
        for name, ranks in had.items():
            found._had[name] = np.isin(np.arange(world), ranks)
        return found

    @property
    def had(self) -> dict[str, list[int]]:
        """Which ranks have measured what."""
        return {name: np.flatnonzero(ranks).tolist() for name, ranks in self._had.items()}

    def again(self) -> Joiner:
        """Another one for stretches that were joined before; it knows which rank has measured what by now."""
        found = Joiner(self.world)
        found._had = dict(self._had)
        return found

    def _before(self, name: str) -> Bools:
        return self._had.get(name, np.zeros(self.world, np.bool_))

    def _tell(self, name: str, table: _Table, had: Bools, whole: Bools, columns: dict[str, Floats],
              present: dict[str, Bools]) -> None:
        """What one column of the ranks says of the run."""
        values = table.values
        all_of_them: Bools = np.asarray(table.present.all(axis=0), np.bool_)
        expected = whole & (table.present == had).all(axis=0) & table.present.any(axis=0)
        summed = np.where(table.present, values, 0.0)
        if name in _SQUARES:
            with np.errstate(invalid="ignore"):
                columns[_SQUARES[name]], present[_SQUARES[name]] = np.sqrt(summed.sum(axis=0)), all_of_them
        elif name in _MEAN:
            columns[name] = summed.sum(axis=0) / np.maximum(table.present.sum(axis=0), 1)
            present[name] = expected
            if name == "loss" and not whole.all():
                columns[RANK0_LOSS], present[RANK0_LOSS] = values[0], table.present[0] & ~whole
        elif name == "tokens":
            columns[name], present[name] = summed.sum(axis=0), expected
        elif name in _MOST:
            columns[name] = np.where(table.present, values, -np.inf).max(axis=0)
            present[name] = expected
        elif name == "own_time":
            columns["slowest_step_time"] = slowest = values.max(axis=0)
            columns["median_step_time"] = np.where(np.isnan(slowest), np.nan, medians(values))
            columns["slowest_rank"] = np.argmax(values, axis=0).astype(np.float64)
            present |= dict.fromkeys(("slowest_step_time", "median_step_time", "slowest_rank"), all_of_them)
        elif name not in _OWN:
            owner = np.argmax(had, axis=0) if name not in METRICS else np.zeros(had.shape[1], np.int64)
            at = np.arange(had.shape[1])
            columns[name], present[name] = values[owner, at], table.present[owner, at]


def _compare(tables: Sequence[_Table], columns: dict[str, Floats], present: dict[str, Bools]) -> None:
    """Which ranks hold other weights than those that should hold the same, where some were looked at."""
    there = tables[0].present & tables[1].present & tables[2].present
    several = there.sum(axis=0) > 1
    found = {name: np.full(there.shape[1], np.nan) for name in ("strays", "stray_rank", "checked_tensor")}
    low, high = (np.stack([getattr(np.where(there, t.values, fill), which)(axis=0) for t in tables])
                 for which, fill in (("min", np.inf), ("max", -np.inf)))
    alike = several & (low == high).all(axis=0)
    found["strays"][alike], found["checked_tensor"][alike] = 0.0, low[1][alike]
    for at in np.flatnonzero(several & ~alike).tolist():
        ranks = np.flatnonzero(there[:, at]).tolist()
        told = strays({rank: tuple(float(t.values[rank, at]) for t in tables) for rank in ranks})
        for name, value in told.items():
            found[name][at] = value
    for name, values in found.items():
        columns[name], present[name] = values, np.asarray(~np.isnan(values), np.bool_)


def strays(checks: Mapping[int, tuple[float, ...]]) -> dict[str, float]:
    """Of one step, by rank: its sum, of which tensor, and the lowest of the ranks that should have the same.

    Against what most of them have, or else the lowest of them; nothing where there are no two to compare.
    """
    groups: dict[tuple[float, ...], dict[int, float]] = {}
    for rank, (value, *of) in sorted(checks.items()):
        groups.setdefault(tuple(of), {})[rank] = value
    compared = {of: values for of, values in groups.items() if len(values) > 1}
    if not compared:
        return {}
    odd: dict[int, float] = {}
    for (tensor, _), values in compared.items():
        usual = Counter(values.values()).most_common(1)[0][0]
        odd |= {rank: tensor for rank, value in values.items() if value != usual}
    if not odd:
        return {"strays": 0.0, "checked_tensor": next(iter(compared))[0]}
    return {"strays": float(len(odd)), "stray_rank": float(min(odd)), "checked_tensor": odd[min(odd)]}


def _lined_up(blocks: Sequence[RowBlock]) -> tuple[Ints, Bools, list[Ints] | None]:
    """All steps (n,), which rank has which (W, n), and where each rank's rows lie; None where all have the same."""
    first = blocks[0].steps
    if all(len(b.steps) == len(first) and (b.steps == first).all() for b in blocks):
        return first, np.ones((len(blocks), len(first)), np.bool_), None
    steps = np.unique(np.concatenate([b.steps for b in blocks]))
    rows = [np.searchsorted(steps, b.steps) for b in blocks]
    there = np.zeros((len(blocks), len(steps)), np.bool_)
    for rank, at in enumerate(rows):
        there[rank, at] = True
    return steps, there, rows


def _spread(parts: Sequence[Floats], rows: list[Ints] | None, n: int) -> Floats:
    if rows is None:
        return np.stack(parts)
    table = np.full((len(parts), n), np.nan)
    for rank, (part, at) in enumerate(zip(parts, rows, strict=True)):
        table[rank, at] = part
    return table


def _table(blocks: Sequence[RowBlock], name: str, rows: list[Ints] | None, n: int) -> _Table:
    values, present = np.full((len(blocks), n), np.nan), np.zeros((len(blocks), n), np.bool_)
    for rank, block in enumerate(blocks):
        if name in block.columns:
            at = slice(None) if rows is None else rows[rank]
            values[rank, at], present[rank, at] = block.columns[name], block.present[name]
    return _Table(values, present)


def joined_vectors(parts: Sequence[TensorRows]) -> TensorRows:
    """Norms of tensors that are spread over ranks, at those steps that all parts have; one part is as it is.

    What a tensor changed by is told relative to its own part, which does not add up: of several it is not measured.
    """
    if len(parts) < 2:
        return parts[0] if parts else TensorRows.empty()
    if len({part.grad.shape[1] for part in parts}) > 1:
        return TensorRows.empty()   # of other tensors: stages of a pipeline
    steps = parts[0].steps
    for part in parts[1:]:
        steps = np.intersect1d(steps, part.steps)
    at = [np.searchsorted(part.steps, steps) for part in parts]
    grad, seen = _whole_norms([(part.grad[rows], part.grad_seen[rows]) for part, rows in zip(parts, at, strict=True)])
    return TensorRows(steps, grad, np.full(grad.shape, np.nan, np.float32), seen)


def joined_weights(parts: Sequence[WeightRows]) -> WeightRows:
    """The same for the norms of the tensors themselves."""
    if len(parts) < 2:
        return parts[0] if parts else WeightRows.empty()
    if len({part.values.shape[1] for part in parts}) > 1:
        return WeightRows.empty()
    steps = parts[0].steps
    for part in parts[1:]:
        steps = np.intersect1d(steps, part.steps)
    at = [np.searchsorted(part.steps, steps) for part in parts]
    return WeightRows(steps, *_whole_norms(
        [(part.values[rows], part.seen[rows]) for part, rows in zip(parts, at, strict=True)]))


def _whole_norms(parts: Sequence[tuple[Vectors, Bools]]) -> tuple[Vectors, Bools]:
    """Of what each of several holds a part of; and whether any has seen it."""
    seen = np.stack([seen for _, seen in parts])
    norms = np.where(seen, np.stack([values for values, _ in parts]), 0)
    total = np.sqrt(np.square(norms, dtype=np.float64).sum(axis=0))
    there = np.asarray(seen.any(axis=0), np.bool_)
    return np.where(there, total, np.nan).astype(np.float32), there


def stacked(parts: Sequence[RowBlock | Chunk]) -> RowBlock:
    """Rows that follow each other, as one block."""
    if len(parts) == 1:
        return RowBlock(parts[0].steps, parts[0].times, dict(parts[0].columns), dict(parts[0].present))
    n = [len(part.steps) for part in parts]
    names = dict.fromkeys(name for part in parts for name in part.columns)

    def column(name: str) -> Floats:
        return np.concatenate([p.columns.get(name, np.full(k, np.nan)) for p, k in zip(parts, n, strict=True)])

    return RowBlock(
        np.concatenate([np.zeros(0, np.int64), *(p.steps for p in parts)]),
        np.concatenate([np.zeros(0), *(p.times for p in parts)]), {name: column(name) for name in names},
        {name: np.concatenate([p.present.get(name, np.zeros(k, np.bool_)) for p, k in zip(parts, n, strict=True)])
         for name in names})
