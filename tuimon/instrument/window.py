"""The loss of a step without being told: the sum of the scalar roots whose backward reached the tracked tensors.

A window opens with the first backward that finds no gradient at all on them, else after the last step. Without a
scalar root the loss is not measured; it is never 0 by default. Roots scaled by a GradScaler count unscaled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor

from tuimon.instrument.tracked import Tracked, local

_NONE: Final = -1
"""The graph that autograd works on where it works on none."""


class Window:
    """The roots of the step under way."""

    def __init__(self, device: torch.device) -> None:
        self._sum = torch.zeros((), dtype=torch.float32, device=device)
        """Copied into at once: with CUDA graphs the loss itself is overwritten by the next replay."""
        self._depth = 0
        self._before: list[int] | None = None
        """The marks of the gradients before the backward under way; None where there was no gradient at all."""
        self._roots: list[Tensor] = []
        self.roots = 0
        """How many were added since the window opened."""

    def begin(self, tracked: Tracked, tensors: Any, grads: Any, unscale: Callable[[Tensor], Tensor]) -> None:
        """A backward starts; `unscale` gives the value that was meant by a root that came out of a GradScaler."""
        if self._depth and torch._C._current_graph_task_id() == _NONE:  # noqa: SLF001  # nobody else knows
            self._depth = 0  # Ctrl+C stood between the beginning and the end of one
        self._depth += 1
        if self._depth > 1:
            return  # re-entrant checkpointing runs backward inside backward
        self._before = tracked.grad_marks() if tracked.has_grads() else None
        self._roots = [_objective(root, grad, unscale) for root, grad in _scalars(tensors, grads)]

    @property
    def is_inside(self) -> bool:
        """Whether a backward is under way: optimizers may step in hooks that it calls."""
        return self._depth > 0 and torch._C._current_graph_task_id() != _NONE  # noqa: SLF001

    def abandon(self) -> None:
        """That backward raised."""
        self._depth = max(0, self._depth - 1)

    def end(self, tracked: Tracked, *, stepped: bool) -> bool:
        """It is over; whether it reached the tracked tensors, as a second network's loss does not.

        `stepped`: optimizers have stepped within it, and may have cleared the gradients that would show that.
        """
        self._depth = max(0, self._depth - 1)
        if self._depth:
            return False
        before, roots = self._before, self._roots
        self._before, self._roots = None, []
        moved = tracked.has_grads() if before is None else tracked.has_moved_from(before)
        if not moved and not stepped:
            return False
        if before is None:
            self.roots = 0
        for root in roots:
            if self.roots:
                self._sum.add_(root.to(self._sum.device, non_blocking=True))
            else:
                self._sum.copy_(root, non_blocking=True)
            self.roots += 1
        return True

    def forget(self) -> None:
        """What was added does not belong to any step."""
        self.roots = 0

    def close(self, out: Tensor) -> bool:
        """The step is over: write the loss to `out`, a 0-dim tensor; False where it was not measured."""
        if not self.roots:
            return False
        out.copy_(self._sum)
        self.roots = 0
        return True


def _scalars(tensors: Any, grads: Any) -> list[tuple[Tensor, Any]]:
    roots = [tensors] if isinstance(tensors, Tensor) else list(tensors) if isinstance(tensors, list | tuple) else []
    weights = [grads] * len(roots) if grads is None or isinstance(grads, Tensor) else list(grads)
    pairs = zip(roots, weights, strict=False)
    return [(r, w) for r, w in pairs if isinstance(r, Tensor) and r.numel() == 1 and r.is_floating_point()]


def _objective(root: Tensor, weight: Any, unscale: Callable[[Tensor], Tensor]) -> Tensor:
    """What was meant by it: unscaled, and weighted as backward was told."""
    value = local(unscale(root)).reshape(())
    return value if weight is None else value * local(weight.detach()).reshape(())
