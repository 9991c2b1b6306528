"""The norm limit of a rescue, where gradients meet it: one L2 norm over everything that the attached optimizers hold.

Where the script clips all of that by its L2 norm, its own limit is lowered and nothing else changes. Anywhere else (no
clipping, by value, part by part, by another norm) gradients are clipped just before the first optimizer of an update
steps, as if the script had called clip_grad_norm_ on all of them there: by one coefficient that never leaves the
device. A gradient that is not finite stays so and does not count: it must not spoil the others, and an optimizer that
GradScaler is about to skip must not zero those of one that steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from tuimon.instrument.overrides import Overrides
from tuimon.instrument.sheet import Sheet
from tuimon.instrument.step import Step
from tuimon.instrument.tracked import Tracked, local

_EPS: Final = 1e-6
"""As torch.nn.utils.clip_grad_norm_ has it, so that our clipping is theirs to the bit."""


class Clipping:
    """The limit in force, applied once per update."""

    def __init__(self, overrides: Overrides) -> None:
        self._overrides = overrides
        self._norms: Tensor | None = None
        self.is_done = False
        """Whether gradients of this update are clipped; to be set back when they change, and when it is over."""
        self.scalers: dict[int, Any] = {}
        """Per optimizer, the GradScaler that last stepped it."""

    def lowered(self, tracked: Tracked, ids: set[int], max_norm: Any, asked: float | None, order: float | None) -> Any:
        """The limit for a clipping by the script: never looser than its `max_norm`, which the host knows as `asked`.

        ids: of the tensors that it clips. order: of the norm it clips by; None where it computed one itself.
        """
        limit = self._overrides.clip
        if limit is None or order not in (2, None):
            return max_norm
        if any(id(p) not in ids for p in tracked.params if p.grad is not None):
            return max_norm
        self.is_done = True
        return tighter(max_norm, asked, limit)

    def clip(self, k: int, now: Step, sheet: Sheet, optimizers: Sequence[Any], *, inside: bool) -> None:
        """As the k-th optimizer is about to step: what this update has yet to use, measured first.

        inside: within backward, where the gradients of other optimizers are not there yet: each has a norm of its own.
        """
        limit = self._overrides.clip
        if limit is None or self.is_done:
            return
        self.is_done = not inside
        left = [j for j, stepped in enumerate(now.stepped) if j == k or not (stepped or inside)]
        tracked = sheet.tracked
        norms = self._zeros(tracked)
        for j in left:
            if not now.measured[j]:
                sheet.measure(now, j)
            first, last = tracked.spans[j]
            if first < last:
                tracked.grad_norms(first, last, norms[first:last])
            scale = scale_of(optimizers[j], steps=j == k, scaler=self.scalers.get(j, self.scalers.get(k)))
            if scale is not None:
                norms[first:last].div_(scale.to(norms.device, non_blocking=True))
        scale_down(_gradients(tracked, [tracked.spans[j] for j in left]), norms, limit)
        now.limit = limit if now.limit is None else min(now.limit, limit)

    def _zeros(self, tracked: Tracked) -> Tensor:
        if self._norms is None or len(self._norms) != len(tracked):
            self._norms = torch.empty(len(tracked), dtype=torch.float32, device=tracked.device)
        return self._norms.zero_()


def tighter(max_norm: Any, asked: float | None, limit: float) -> Any:
    """The smaller of a script's `max_norm`, which the host knows as `asked` or not at all, and a limit in force."""
    if asked is None:
        return torch.clamp(max_norm, max=limit) if isinstance(max_norm, Tensor) else limit
    return limit if asked > limit else max_norm


def scale_down(gradients: Iterable[Tensor], norms: Tensor, limit: float) -> None:
    """Multiply gradients by what brings the norm of `norms` down to the limit."""
    finite = torch.where(torch.isfinite(norms), norms, 0.0)
    coefficient = torch.clamp(limit / (torch.linalg.vector_norm(finite) + _EPS), max=1.0)
    for gradient in gradients:
        gradient.mul_(coefficient.to(gradient.device, non_blocking=True))


def _gradients(tracked: Tracked, stretches: Sequence[tuple[int, int]]) -> Iterable[Tensor]:
    for first, last in stretches:
        for parameter in tracked.params[first:last]:
            if parameter.grad is not None:
                yield local(parameter.grad)


def scale_of(optimizer: Any, *, steps: bool, scaler: Any) -> Tensor | None:
    """What its gradients are still multiplied by: where it steps itself (a fused one divides), or waits its turn."""
    if steps:
        found = getattr(optimizer, "grad_scale", None)
    else:
        found = None if scaler is None or is_unscaled(scaler, optimizer) else scaler._scale  # noqa: SLF001  # get_scale() would read it on the host
    return found if isinstance(found, Tensor) else None


def is_unscaled(scaler: Any, optimizer: Any) -> bool:
    """Whether unscale_ has been called for it since the last update; read without creating the scaler's entry."""
    state = dict.get(scaler._per_optimizer_states, id(optimizer)) or {}  # noqa: SLF001  # there is no public word for it
    return getattr(state.get("stage"), "name", "") == "UNSCALED"
