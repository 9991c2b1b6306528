"""How far a step moves the weights: a copy before it, a difference after it, in buffers that are kept.

[A clone per step costs 4 % at 85M parameters, Adam's formula 6 %, kept buffers 1.6 % of the steps that measure, and
their size in memory.] Where the buffers would take too much memory, each measurement covers one block of tensors in
turn; the norm over all of them is then not measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from tuimon.instrument.tracked import Tracked, local

HOST_SHARE: Final = 0.25
DEVICE_SHARE: Final = 0.10
"""Of the memory that is free when first needed: a training job's own peak comes first."""

UNKNOWN: Final = 256 << 20
"""Bytes, where nobody can say what is free."""


def memory_for_buffers(device: torch.device) -> int:
    """Bytes that the buffers may take."""
    if device.type == "cpu":
        import psutil

        try:
            return int(HOST_SHARE * psutil.virtual_memory().available)
        except OSError:   # a sandbox without /proc
            return UNKNOWN
    module = torch.get_device_module(device)
    if not hasattr(module, "mem_get_info"):
        return 0
    free, _ = module.mem_get_info(device)
    return int(DEVICE_SHARE * free)


def blocks_of(sizes: Sequence[int], limit: int) -> list[tuple[int, int]]:
    """Consecutive stretches of at most `limit` bytes; a tensor that alone exceeds it is in none."""
    blocks: list[tuple[int, int]] = []
    start, used = 0, 0
    for i, size in enumerate(sizes):
        if size > limit or used + size > limit:
            if i > start:
                blocks.append((start, i))
            start, used = (i + 1, 0) if size > limit else (i, size)
        else:
            used += size
    if start < len(sizes):
        blocks.append((start, len(sizes)))
    return blocks


class Updates:
    """The buffers of one attached run; allocated when first used."""

    def __init__(self, tracked: Tracked, limit: int | None = None) -> None:
        self._tracked, self._limit = tracked, limit
        self._blocks: list[tuple[int, int]] | None = None
        self._turn = 0
        self._buffers: list[Tensor] = []
        self._block = (0, 0)

    @property
    def covers_all(self) -> bool:
        """Whether one measurement covers every tensor."""
        return self._block == (0, len(self._tracked))

    def begin(self) -> None:
        """Choose the block for the coming step and make its buffers."""
        tracked = self._tracked
        if self._blocks is None:
            sizes = [local(p).numel() * p.element_size() for p in tracked.params]
            limit = memory_for_buffers(tracked.device) if self._limit is None else self._limit
            self._blocks = blocks_of(sizes, limit) or [(0, 0)]
        block = self._blocks[self._turn % len(self._blocks)]
        self._turn += 1
        if block != self._block:
            self._buffers = []  # give them back before the next are made
            self._buffers = [torch.empty_like(local(p)) for p in tracked.params[block[0]:block[1]]]
            self._block = block

    def _pairs(self, start: int, stop: int) -> tuple[list[Tensor], list[Tensor], int, int]:
        """Buffers and tensors of a stretch, as far as the block covers it."""
        first, last = max(start, self._block[0]), min(stop, self._block[1])
        if first >= last:
            return [], [], first, first
        params = self._tracked.params[first:last]
        if not self._tracked.plain:
            params = [local(p) for p in params]
        offset = self._block[0]
        return self._buffers[first - offset:last - offset], params, first, last

    def before(self, start: int, stop: int) -> None:
        """Remember a stretch as it is."""
        buffers, params, _, _ = self._pairs(start, stop)
        if buffers:
            torch._foreach_copy_(buffers, params)  # one launch for all

    def after(self, start: int, stop: int, norms: Tensor, counts: Tensor) -> tuple[int, int] | None:
        """Write the norms of what was added since to `norms` (P,), and what is counted of it to `counts` (Q,).

        Both are for all tensors; which of the stretch the block covers is returned, None where none.
        """
        buffers, params, first, last = self._pairs(start, stop)
        if not buffers:
            return None
        torch._foreach_sub_(buffers, params)
        self._tracked.norms_of(buffers, norms[first:last])
        self._tracked.count(buffers, first, counts)
        return first, last
