"""What tuimon changes in an optimizer step while a rescue is in force: a learning rate multiplier and a norm limit.

The multiplier is applied before the step and undone after it, so that the scheduler always finds the learning rate
it wrote: a plain edit of group["lr"] is overwritten by LambdaLR, OneCycle and all of Hugging Face's schedules. With
nothing in force nothing is touched: not one operation more, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from tuimon.errors import UsageError

_CLIP_EPS: Final = 1e-6
"""As torch.nn.utils.clip_grad_norm_ has it, so that our clipping is theirs to the bit."""


@dataclass(frozen=True, slots=True)
class InForce:
    """The overrides at one moment."""

    lr_scale: float = 1.0
    clip: float | None = None
    warmup_from: int | None = None
    """Last completed step when the re-warm-up began."""
    warmup_steps: int = 0


class Overrides:
    """The overrides of one attached run. Used on the training thread only."""

    def __init__(self) -> None:
        self._now = InForce()
        self._scheduled: dict[int, list[Any]] = {}
        self.script_clip: float | None = None
        """Norm limit that the script itself last asked for; None while it has not clipped."""

    @property
    def lr_scale(self) -> float:
        """What the scheduled learning rate is multiplied by once the warm-up is over; 1.0 when nothing is changed."""
        return self._now.lr_scale

    @property
    def clip(self) -> float | None:
        """Norm limit in force; None when nothing is changed. Where the script clips harder, the script's holds."""
        return self._now.clip

    @property
    def in_force(self) -> InForce:
        """All of it."""
        return self._now

    def set(
        self, *, lr_scale: float = 1.0, clip: float | None = None, warmup_from: int | None = None, warmup_steps: int = 0
    ) -> None:
        """Put exactly these in force; UsageError where one is not a positive finite number."""
        if not (math.isfinite(lr_scale) and lr_scale > 0):
            raise UsageError(f"lr_scale must be a finite number above 0, not {lr_scale!r}")
        if clip is not None and not (math.isfinite(clip) and clip > 0):
            raise UsageError(f"clip must be a finite number above 0, or None, not {clip!r}")
        if warmup_steps < 0:
            raise UsageError(f"warmup_steps must be 0 or more, not {warmup_steps!r}")
        self._now = InForce(lr_scale, clip, warmup_from, warmup_steps)

    def undo(self) -> None:
        """Back to what the script asks for."""
        self._now = InForce()

    def factor(self, step: int) -> float:
        """What the scheduled learning rate is multiplied by at `step`.

        lr_scale, ramped linearly from the first step after `warmup_from` (1/n of it) to the n-th (all of it).
        """
        now = self._now
        if now.warmup_from is None or now.warmup_steps <= 0:
            return now.lr_scale
        done = step - now.warmup_from
        return now.lr_scale * min(1.0, max(1, done) / now.warmup_steps)

    def limit(self, asked: float | None) -> float | None:
        """The norm limit at a place where the script asks for `asked` (None: it does not clip): never looser."""
        clip = self._now.clip
        if clip is None or asked is None:
            return asked if clip is None else clip
        return min(asked, clip)

    def scale_lr(self, key: int, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Before the step of the optimizer known as `key`: multiply, remembering what the schedule says."""
        self.restore_lr(key, optimizer)  # the step before raised half-way
        factor = self.factor(step)
        if factor == 1.0:
            return
        scheduled: list[Any] = []
        for group in optimizer.param_groups:
            lr = group.get("lr")
            if isinstance(lr, Tensor):
                scheduled.append(lr.clone())
                lr.mul_(factor)  # in place: compiled and captured steps hold this very tensor
            else:
                scheduled.append(lr)
                if lr is not None:
                    group["lr"] = lr * factor
        self._scheduled[key] = scheduled

    def restore_lr(self, key: int, optimizer: torch.optim.Optimizer) -> None:
        """After the step: exactly what the schedule wrote. Nothing to do where nothing was scaled."""
        scheduled = self._scheduled.pop(key, None)
        if scheduled is None:
            return
        for group, before in zip(optimizer.param_groups, scheduled, strict=False):
            if isinstance(before, Tensor):
                group["lr"].copy_(before)
            elif before is not None:
                group["lr"] = before

    def scheduled_lr(self, key: int, optimizer: torch.optim.Optimizer) -> Any:
        """What the schedule says for the first group, also while a step is under way."""
        scheduled = self._scheduled.get(key)
        return scheduled[0] if scheduled else optimizer.param_groups[0].get("lr")

    def state(self) -> dict[str, Any]:
        """For checkpoints: plain values."""
        now = self._now
        return {"lr_scale": now.lr_scale, "clip": now.clip, "warmup_from": now.warmup_from,
                "warmup_steps": now.warmup_steps}

    def load(self, state: Mapping[str, Any]) -> None:
        """Put in force what `state` gave."""
        self.set(lr_scale=float(state["lr_scale"]), clip=state["clip"], warmup_from=state["warmup_from"],
                 warmup_steps=int(state["warmup_steps"]))


def clip_coefficient(norm: Tensor, limit: float) -> Tensor:
    """min(1, limit / norm) on the norm's device, as clip_grad_norm_ computes it; never read on the host."""
    return torch.clamp(limit / (norm + _CLIP_EPS), max=1.0)


def scale_gradients(grads: Iterable[Tensor], coefficient: Tensor) -> None:
    """Multiply in place by a number that never leaves the device."""
    for grad in grads:
        grad.mul_(coefficient.to(grad.device, non_blocking=True))
