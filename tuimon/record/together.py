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
from tuimon.record.sketch import Validation
from tuimon.record.worlds import segments_of

LOOKED_AT: Final = 512
"""Ranks of which the end is read; of more, the run's loss is not told in a list."""
WALKED: Final = 64
"""Ranks whose validation losses are looked for; of more, the best is not told in a list."""
SKETCHED: Final = 16
"""Ranks of which a sketch of the losses is made, evenly chosen."""
_TAIL: Final = 1 << 14
_MOST: Final = 1 << 16
"""Validation losses that are remembered of each rank: the newest."""


def sketched(world: int) -> list[int]:
    """The ranks of a sketch."""
    return sorted({rank * world // SKETCHED for rank in range(SKETCHED)}) if world > SKETCHED else list(range(world))


def last_of(metrics: Path, world: int) -> tuple[int | None, float | None]:
    """The step to which all have come that are not silent, and the loss where all of them had one last."""
    if world > LOOKED_AT:
        return None, None
    segments = segments_of(metrics)
    signs: dict[int, float] = {}
    ends: dict[int, int] = {}
    losses: list[dict[int, float]] = []
    for rank in range(world):
        if not (paths := segments.get(rank)):
            continue
        signs[rank], blocks = _end_of(paths[-1])
        if blocks:
            ends[rank] = int(blocks[-1].steps[-1])
            with_loss = [block for block in blocks if "loss" in block.columns]
            if with_loss:
                losses.append({int(step): float(loss) for block in with_loss for step, loss, there in zip(
                    block.steps, block.columns["loss"], block.present["loss"], strict=True) if there})
    newest = max(signs.values(), default=0.0)
    there = [end for rank, end in ends.items() if newest - signs[rank] <= SILENT]
    if len(ends) < world or not losses:
        return min(there, default=None), None
    common = set.intersection(*map(set, losses))
    if not common:
        return min(there, default=None), None
    return min(there, default=None), sum(each[max(common)] for each in losses) / len(losses)


def _end_of(path: Path) -> tuple[float, list[log.RowBlock]]:
    """When a segment was written, and its last rows."""
    try:
        with os.fdopen(open_to_read(path), "rb") as file:
            status = os.fstat(file.fileno())
            data = os.pread(file.fileno(), _TAIL, max(0, status.st_size - _TAIL))
    except OSError:
        return 0.0, []
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

    def _begin(self, head: dict[str, object]) -> None:
        super()._begin(head)
        after = head.get("from_step")
        if isinstance(after, int):
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
