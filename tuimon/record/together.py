"""A run of several ranks at a glance, for lists: where it stands, and its best validation loss. Touches the disk.

Little is read of each rank's log. Law: as in `joined`: what is not known of every rank is not told.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np

from tuimon.record import log
from tuimon.record.files import open_to_read
from tuimon.record.patience import SILENT
from tuimon.record.sketch import ROWS, Validation
from tuimon.record.worlds import segments_of

LOOKED_AT: Final = 512
"""Ranks of which the end is read; of more, the run's loss is not told in a list."""
WALKED: Final = 64
"""Ranks whose validation losses are looked for; of more, the best is not told in a list."""
SKETCHED: Final = 16
"""Ranks of which a sketch of the losses is made, evenly chosen."""
_TAIL: Final = 1 << 14
"""Bytes that are looked at of each rank's end."""
_BACK: Final = 1 << 18
"""Where that holds no step of all, behind vectors or signs of life: there the last _FEW."""
_FEW: Final = 8
"""Frames of rows."""
_MOST: Final = 1 << 16
"""Validation losses that are remembered of each rank: the newest."""


def sketched(world: int) -> list[int]:
    """The ranks of a sketch."""
    return sorted({rank * world // SKETCHED for rank in range(SKETCHED)}) if world > SKETCHED else list(range(world))


def last_of(metrics: Path, world: int) -> tuple[int | None, float | None]:
    """The step to which all have come that are not silent, and the loss where all of them had one last."""
    if world > LOOKED_AT:
        return None, None
    paths = {rank: paths[-1] for rank, paths in segments_of(metrics).items() if rank < world}
    signs: dict[int, float] = {}
    for size in (_TAIL, _BACK):
        ends: dict[int, int] = {}
        losses: list[dict[int, float]] = []
        for rank, path in paths.items():
            signs[rank], blocks = _end_of(path, size)
            if blocks:
                ends[rank] = int(blocks[-1].steps[-1])
                with_loss = [block for block in blocks if "loss" in block.columns]
                if with_loss:
                    losses.append({int(step): float(loss) for block in with_loss for step, loss, there in zip(
                        block.steps, block.columns["loss"], block.present["loss"], strict=True) if there})
        common = set.intersection(*map(set, losses)) if losses else set()
        if common:
            break
    newest = max(signs.values(), default=0.0)
    step = min((end for rank, end in ends.items() if newest - signs[rank] <= SILENT), default=None)
    if len(ends) < world or not common:
        return step, None
    return step, sum(each[max(common)] for each in losses) / len(losses)


def _end_of(path: Path, size: int) -> tuple[float, list[log.RowBlock]]:
    """When a segment was written, and its last rows in so many bytes."""
    try:
        with os.fdopen(open_to_read(path), "rb") as file:
            status = os.fstat(file.fileno())
            data = os.pread(file.fileno(), size, max(0, status.st_size - size))
    except OSError:
        return 0.0, []
    if size == _BACK:
        begin = len(data)
        for _ in range(_FEW):
            begin = max(0, data.rfind(ROWS, 0, begin))
        data = data[begin:]
    found = []
    for frame in log.frames(data):
        if isinstance(frame, log.Frame) and frame.kind == log.ROWS:
            try:
                block = log.decode_rows(frame.payload)
            except ValueError:
                continue
            found += [block] if len(block.steps) else []
    return status.st_mtime, found


class _Walked(Validation):
    """All validation losses of one rank."""

    def __init__(self, metrics: Path, rank: int) -> None:
        super().__init__(metrics, rank)
        self.values: dict[int, float] = {}

    def _forget(self, after: int) -> None:
        self.values = {step: value for step, value in self.values.items() if step <= after}

    def _add(self, block: log.RowBlock) -> None:
        there = block.present["val_loss"]
        self.values |= zip(block.steps[there].tolist(), block.columns["val_loss"][there].tolist(), strict=True)
        while len(self.values) > _MOST:
            self.values.pop(next(iter(self.values)))


class Validations:
    """As `Validation`, of all ranks: the least mean over those that have any, at the steps at which all of these do."""

    def __init__(self, metrics: Path, world: int) -> None:
        self._walks = [_Walked(metrics, rank) for rank in range(world)] if world <= WALKED else []
        self.best: tuple[int, float] | None = None

    def advance(self, is_over: Callable[[], bool]) -> bool:
        """Read on until the end, or until `is_over()`; whether the end was reached. Never raises."""
        for walk in self._walks:
            if not walk.advance(is_over):
                return False
        known = [walk.values for walk in self._walks if walk.values]
        means = {step: float(np.mean([each[step] for each in known]))
                 for step in (set.intersection(*map(set, known)) if known else ())}
        finite = [(mean, step) for step, mean in means.items() if np.isfinite(mean)]
        self.best = min(finite)[::-1] if finite else None
        return True
