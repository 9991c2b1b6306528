"""Where the numbers of a step are written on the device: the rows of the ring, by name. Reads nothing back."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from tuimon.instrument import rows
from tuimon.instrument.step import Step
from tuimon.instrument.tracked import Tracked, local
from tuimon.instrument.transfer import Ring, on_host
from tuimon.instrument.updates import Updates


class Sheet:
    """The rows of one set of tracked tensors."""

    def __init__(self, tracked: Tracked, device: torch.device) -> None:
        tensors = len(tracked)
        self.tracked, self._width = tracked, rows.HEAD + 3 * tensors + len(tracked.counts.at)
        self.ring = Ring(self._width, device)
        self.grads, self.weights, self.changes = (
            [row[rows.HEAD + i * tensors:rows.HEAD + (i + 1) * tensors] for row in self.ring.rows] for i in range(3)
        )
        """Per row, (P,) norms."""
        self.counts = [row[rows.HEAD + 3 * tensors:] for row in self.ring.rows]
        """Per row, (Q,) roots of how many elements changed, of the tensors that are counted."""
        self.heads = [list(row[:rows.HEAD].unbind()) for row in self.ring.rows]
        """Per row, 0-dim tensors."""

    def note_lr(self, now: Step, optimizer: Optimizer, scheduled: Any) -> None:
        """The learning rate in force, and the one that the schedule asked for; a device's tensors stay there."""
        lr = optimizer.param_groups[0].get("lr")
        now.lr, now.lr_scheduled = on_host(lr), on_host(scheduled)
        if isinstance(lr, Tensor) and now.lr is None:
            self.note(now, rows.LR, lr)
            self.note(now, rows.LR_SCHEDULED, scheduled)

    def note(self, now: Step, index: int, value: Tensor) -> None:
        """Write a number of the head."""
        self.heads[now.slot][index].copy_(local(value.detach()).reshape(()), non_blocking=True)
        now.head.add(index)

    def is_global_norm(self, now: Step, total: Tensor, parameters: Sequence[Tensor], ids: set[int]) -> bool:
        """Whether clipping `parameters`, of these ids, has just computed our number as `total`, at no cost of ours."""
        tracked = self.tracked
        return (
            not now.vectors and tracked.full_precision and not hasattr(total, "to_local")
            and tracked.ids <= ids and (tracked.shares is None or tracked.shares.alike is not None)
            and (len(ids) == len(tracked.ids) or all(p.grad is None for p in parameters if id(p) not in tracked.ids))
        )

    def measure(self, now: Step, k: int) -> None:
        """Write the gradient norms of the k-th optimizer's tensors, as they are now."""
        first, last = self.tracked.spans[k]
        if first < last:
            now.seen[first:last] = self.tracked.grad_norms(first, last, self.grads[now.slot][first:last])
        now.measured[k] = True
        now.head.discard(rows.TOTAL)

    def measure_some(self, now: Step, ids: Collection[int]) -> None:
        """The same for every optimizer that holds one of these parameters and has not been measured."""
        for k, (first, last) in enumerate(self.tracked.spans):
            if not now.measured[k] and any(id(p) in ids for p in self.tracked.params[first:last]):
                self.measure(now, k)

    def divide(self, now: Step, k: int, scale: Tensor) -> None:
        """Those norms were of gradients that are `scale` times too large."""
        first, last = self.tracked.spans[k]
        if rows.TOTAL in now.head:
            self.heads[now.slot][rows.TOTAL].div_(scale)
        else:
            self.grads[now.slot][first:last].div_(scale)

    def measure_moves(self, now: Step, k: int, optimizer: Optimizer, updates: Updates) -> None:
        """Write how far the k-th optimizer has moved its tensors, as far as that is measured at this step."""
        covered = updates.after(*self.tracked.spans[k], self.changes[now.slot], self.counts[now.slot])
        if covered is not None and covered not in now.moved:
            now.moved.append(covered)
        now.resting |= self.tracked.resting(optimizer)

    def send(self, now: Step) -> None:
        """Queue the row on its way to the host."""
        lean = rows.HEAD + (len(self.tracked) if any(now.seen) else 0)
        self.ring.send(now.slot, self._width if now.everything else lean)
