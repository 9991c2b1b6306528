"""What is usual for each layer, learned from a sample of its rows. Pure but for what it keeps."""

from __future__ import annotations

from typing import Final

import numpy as np

from tuimon.diagnosis.calm import FEWEST
from tuimon.record.chunk import Vectors
from tuimon.viewer.places.layers import shades
from tuimon.viewer.places.layers.sources import Rows

SAMPLES: Final = 256
"""Rows from which the usual is learned."""


class Learned:
    """What is usual for each layer: learned from a sample of rows, of which only the new ones are read."""

    def __init__(self, since: int = 0) -> None:
        """`since`: the step with which it begins."""
        self._since = since
        self.clear()

    def clear(self) -> None:
        """Start anew."""
        self._mark: tuple[int, int] = (0, -1)
        self._stride = 1
        self._sample: Vectors | None = None
        self._usual: Vectors | None = None

    def take(self, rows: Rows, before: int | None) -> Vectors:
        """(L,) medians of the rows before a step (an onset), or of all where fewer than three are before it."""
        first = int(np.searchsorted(rows.steps, self._since))
        end = len(rows.steps) if before is None else int(np.searchsorted(rows.steps, before))
        end = end if end >= first + FEWEST else len(rows.steps)
        stride = 1
        while end - first > SAMPLES * stride:
            stride *= 2
        known, step = self._mark
        kept = 0 if self._sample is None else len(self._sample)
        if known > len(rows.steps) or (known and rows.steps[known - 1] != step):
            self.clear()
            kept = 0
        self._mark = len(rows.steps), int(rows.steps[-1])
        if self._sample is not None and stride != self._stride:
            self._sample = self._sample[::stride // self._stride] if stride > self._stride else None
            kept = 0 if self._sample is None else len(self._sample)
            self._usual = None
        self._stride = stride
        wanted = np.arange(first, end, stride)
        if self._usual is not None and kept == len(wanted):
            return self._usual
        if kept > len(wanted) and self._sample is not None:
            self._sample = self._sample[:len(wanted)]
        elif kept < len(wanted):
            values, seen = rows.read(wanted[kept:])
            new = np.where(seen, values, np.float32(np.nan))
            self._sample = new if self._sample is None else np.concatenate((self._sample, new))
        assert self._sample is not None
        self._usual = shades.medians(self._sample)
        return self._usual
