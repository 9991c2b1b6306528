"""The memory that the training process holds, asked about once a second. Writer thread only.

The law of this file: a question that training does not notice. It waits for no device and allocates nothing there; the
answer goes into the newest row that is about to be written, before it is judged: log and judge see the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import torch

from tuimon.instrument.queueing import Item
from tuimon.record.log import Row

EVERY: Final = 1.0
"""Seconds from one question to the next."""


def reader_for(device: torch.device) -> Callable[[], float]:
    """How many bytes are allocated on the device; on the CPU, how many of the process are resident."""
    if device.type == "cuda":
        return lambda: float(torch.cuda.memory_allocated(device))  # the allocator's own count: the device is not asked
    if device.type == "mps":
        return lambda: float(torch.mps.current_allocated_memory())
    import psutil

    return lambda: float(psutil.Process().memory_info().rss)   # at each question: a sandbox may have no /proc to ask


class Memory:
    """Adds to the newest row what the process holds, when that is due."""

    def __init__(self, read: Callable[[], float] | None, every: float = EVERY) -> None:
        self._read, self._every = read, every
        self._next = 0.0

    def noted(self, items: list[Item], now: float) -> list[Item]:
        """The same items, the newest row with `memory` in it where it is due; a value that the script logged stays.

        Whatever asking raises; it is not asked again.
        """
        if self._read is None or now < self._next:
            return items
        newest = next((i for i in reversed(range(len(items))) if isinstance(items[i], Row)), None)
        if newest is None:
            return items
        self._next = now + self._every
        read, self._read = self._read, None
        held = read()
        self._read = read
        row = items[newest]
        assert isinstance(row, Row)
        # a new mapping: the one handed over is also what the run looked like last, for whoever asks
        return [*items[:newest], replace(row, values={"memory": held, **row.values}), *items[newest + 1:]]
