"""What goes on where measuring has switched itself off: steps are counted, overrides stay in force. Training thread.

A run whose numbers are gone must still be held, stopped and rolled back, and a learning rate that was cut must not jump
up again. Methods are named as those of `measure.Probe` that they stand in for; nothing here raises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from tuimon.instrument.overrides import Overrides, clip_coefficient, scale_gradients
from tuimon.instrument.step import WatchedClosure, closure_in
from tuimon.instrument.tracked import local
from tuimon.instrument.transfer import on_host
from tuimon.instrument.weakly import Weak


class Unmeasured:
    """The rest of an attached run without its instrument."""

    def __init__(
        self, optimizers: Weak[Optimizer], overrides: Overrides, step: int, *, capturing: Callable[[], bool],
        on_fault: Callable[[str, Exception], None],
    ) -> None:
        self.step = step
        """Last completed step."""
        self.scaler: Any = None
        self._optimizers, self._overrides, self._on_fault = optimizers, overrides, on_fault
        self._capturing = capturing
        self._scaler_stepped, self._script_clips, self._forces = True, False, True
        self._depth, self._stepped_within = 0, False

    def backward_begins(self, *_: Any) -> None:
        """Before torch.autograd.backward."""
        self._depth += 1

    def backward_ended(self, *, raised: bool) -> bool:
        """After it; True where optimizers stepped within and that completes the step."""
        self._depth = max(0, self._depth - 1)
        if raised or self._depth or not self._stepped_within:
            return False
        self._stepped_within = False
        return self._complete(len(self._optimizers) - 1)

    def before_step(self, k: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The pre-hook of the k-th optimizer."""
        if self._capturing():
            return None
        self._scaler_stepped = True
        closure, replaced = closure_in(args, kwargs)
        if self._forces:
            try:
                self._overrides.scale_lr(k, self._optimizers[k], self.step + 1)
            except Exception as error:
                self._give_up(error)
        if closure is not None:
            return replaced(WatchedClosure(self, k, closure))
        self.evaluated(k)
        return None

    def evaluated(self, k: int) -> None:
        """The gradients that the k-th optimizer will use are there."""
        limit = self._overrides.clip
        if limit is None or self._script_clips or not self._forces:
            return
        optimizer = self._optimizers[k]
        try:
            with torch.no_grad():
                _clip(optimizer, limit)
        except Exception as error:
            self._give_up(error)

    def after_step(self, k: int) -> bool:
        """The post-hook of the k-th optimizer; True where this completes the step."""
        if self._capturing():
            return False
        self._restore(k)
        return self._complete(k)

    def clip(self, parameters: list[Tensor], max_norm: Any, _total: Tensor, _norm_type: float | None) -> Any:
        """Which limit clip_grad_norm_ is to use for `max_norm`."""
        living = [optimizer for _, optimizer in self._optimizers.living()]
        ids = {id(p) for optimizer in living for group in optimizer.param_groups for p in group["params"]}
        if ids.isdisjoint(map(id, parameters)):
            return max_norm
        asked = on_host(max_norm)
        self._script_clips, self._overrides.script_clip = True, asked
        limit = self._overrides.limit(asked) if self._forces else asked
        return max_norm if limit == asked else limit

    def scaler_begins(self, _k: int, scaler: Any, *, unscaled: bool) -> None:  # noqa: ARG002  # the Probe's signature
        """GradScaler.step begins."""
        self._scaler_stepped, self.scaler = False, scaler

    def scaler_ended(self, k: int) -> bool:
        """GradScaler.step has returned; True where it skipped the optimizer and that completes the step."""
        if self._scaler_stepped or self._capturing():
            return False
        self._scaler_stepped = True
        return self._complete(k)

    def manual_step(self) -> bool:
        """Monitor.step()."""
        return self._complete(len(self._optimizers) - 1)

    def _complete(self, k: int) -> bool:
        if k < len(self._optimizers) - 1:
            return False
        if self._depth:
            self._stepped_within = True
            return False
        self.step += 1
        self._script_clips = False
        return True

    def _restore(self, k: int) -> None:
        try:
            self._overrides.restore_lr(k, self._optimizers[k])
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """Force nothing any more, and say so; steps are still counted."""
        self._forces = False
        self._on_fault("overrides", error)


def _clip(optimizer: Optimizer, limit: float) -> None:
    """By the norm of this optimizer's gradients, as the measured way does; no number leaves the device."""
    grads = [local(p.grad) for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    if not grads:
        return
    dense = [g.coalesce().values() if g.layout == torch.sparse_coo else g for g in grads]
    device = dense[0].device
    norms = torch.stack([torch.linalg.vector_norm(g, dtype=torch.float32).to(device, non_blocking=True) for g in dense])
    norm, scale = torch.linalg.vector_norm(norms), getattr(optimizer, "grad_scale", None)
    coefficient = clip_coefficient(norm if scale is None else norm / scale, limit)
    scale_gradients(grads, coefficient)
