"""What tuimon changes in an optimizer step while a rescue is in force: a learning rate multiplier and a norm limit.

The multiplier is applied before the step and undone after it, so that the scheduler always finds the learning rate
it wrote: a plain edit of group["lr"] is overwritten by LambdaLR, OneCycle and all of Hugging Face's schedules. While a
closure runs it is undone as well, for a schedule may live there; a rate that somebody wrote during the step stands.
With nothing in force nothing is touched: not one operation more, bit for bit. The norm limit is `clipping`'s.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tuimon.errors import UsageError


@dataclass(frozen=True, slots=True)
class InForce:
    """The overrides at one moment."""

    lr_scale: float = 1.0
    clip: float | None = None
    warmup_from: int | None = None
    """Last completed step when the re-warm-up began."""
    warmup_steps: int = 0


@dataclass(slots=True)
class Scaled:
    """A learning rate that is multiplied for the length of a step."""

    group: dict[str, Any]
    scheduled: Any
    """What the schedule wrote."""
    put: Any
    """What stands there meanwhile: a number of ours, or the schedule's own tensor."""
    version: int = 0
    """Of that tensor; changes when anybody writes to it."""

    def restore(self) -> None:
        """What the schedule wrote, to the bit, unless it has written again."""
        if self.group.get("lr") is not self.put:
            return
        if not isinstance(self.put, Tensor):
            self.group["lr"] = self.scheduled
        elif self.put._version == self.version:  # noqa: SLF001  # comparing values would synchronise
            self.put.copy_(self.scheduled)


class Overrides:
    """The overrides of one attached run. Used on the training thread only."""

    def __init__(self) -> None:
        self._now = InForce()
        self._scaled: dict[int, list[Scaled]] = {}
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
        if not isinstance(warmup_steps, int) or warmup_steps < 0:
            raise UsageError(f"warmup_steps must be a whole number, 0 or more, not {warmup_steps!r}")
        if not isinstance(warmup_from, int | None):
            raise UsageError(f"warmup_from must be a step, or None, not {warmup_from!r}")
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

    def scale_lr(self, key: int, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Before the step of the optimizer known as `key`: multiply, remembering what the schedule says."""
        self.restore_lr(key)  # the step before raised half-way
        factor = self.factor(step)
        if factor == 1.0:
            return
        scaled = self._scaled[key] = []
        tensors: set[int] = set()
        for group in optimizer.param_groups:
            lr = group.get("lr")
            if isinstance(lr, Tensor):
                if id(lr) in tensors:
                    continue  # groups may share one
                tensors.add(id(lr))
                scaled.append(Scaled(group, lr.clone(), lr, lr._version + 1))  # noqa: SLF001  # noted first, as below
                lr.mul_(factor)  # in place: compiled and captured steps hold this very tensor
            elif lr is not None:
                put = lr * factor
                scaled.append(Scaled(group, lr, put))  # before it is written: Ctrl+C may stand between the two
                group["lr"] = put

    def restore_lr(self, key: int) -> None:
        """After the step: exactly what the schedule wrote. Nothing to do where nothing was scaled."""
        for scaled in self._scaled.pop(key, ()):
            scaled.restore()

    def restore_all(self) -> None:
        """The same for every optimizer: a step that raised half-way may have left its rate behind."""
        for key in list(self._scaled):
            self.restore_lr(key)

    def scheduled_lr(self, key: int, optimizer: torch.optim.Optimizer) -> Any:
        """What the schedule says for the first group, also while a step is under way."""
        group = optimizer.param_groups[0]
        scaled = next((s for s in self._scaled.get(key, ()) if s.group is group), None)
        return group.get("lr") if scaled is None else scaled.scheduled

    def state(self) -> dict[str, Any]:
        """For checkpoints: plain values."""
        now = self._now
        return {"lr_scale": now.lr_scale, "clip": now.clip, "warmup_from": now.warmup_from,
                "warmup_steps": now.warmup_steps}

    def load(self, state: Mapping[str, Any]) -> None:
        """Put in force what `state` gave; what it lacks is as the script has it. UsageError where it cannot have."""
        try:
            self.set(**{name: state[name] for name in self.state() if name in state})
        except (TypeError, OverflowError):
            raise UsageError("overrides must be numbers, as `state` gives them") from None
