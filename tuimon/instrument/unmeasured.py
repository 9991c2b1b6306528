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

from tuimon.instrument.clipping import scale_down, scale_of, tighter
from tuimon.instrument.overrides import Overrides
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
        self.knows_norm = True
        """Whether all gradients are here: a limit is not put in force by the norm of a part."""
        self._optimizers, self._overrides, self._on_fault = optimizers, overrides, on_fault
        self._capturing = capturing
        self._scaler_stepped, self._is_clipped, self._forces = True, False, True
        self._scalers: dict[int, Any] = {}
        self._stepped: set[int] = set()
        self._depth, self._stepped_within = 0, False

    def backward_begins(self, *_: Any) -> None:
        """Before torch.autograd.backward."""
        self._depth += 1

    def backward_ended(self, *, raised: bool) -> bool:
        """After it; True where optimizers stepped within and that completes the step."""
        self._depth = max(0, self._depth - 1)
        self._is_clipped = False
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
        if closure is not None:
            self._force(k, clips=False)
            return replaced(WatchedClosure(self, k, closure))
        self.evaluated(k)
        return None

    def evaluating(self, k: int) -> None:
        """The closure of the k-th optimizer is about to run."""
        self._is_clipped = False
        self._restore(k)

    def evaluated(self, k: int) -> None:
        """The gradients that the k-th optimizer will use are there."""
        self._force(k, clips=True)

    def _force(self, k: int, *, clips: bool) -> None:
        if not self._forces:
            return
        try:
            with torch.no_grad():
                self._overrides.scale_lr(k, self._optimizers[k], self.step + 1)
                limit = self._overrides.clip if clips and self.knows_norm and not self._is_clipped else None
                if limit is not None:
                    self._clip(k, limit)
        except Exception as error:
            self._give_up(error)

    def _clip(self, k: int, limit: float) -> None:
        """By one norm over all that this update has yet to use, as the measured way does; no number leaves the device.

        Within backward that is the k-th optimizer's alone.
        """
        within = self._depth > 0
        self._is_clipped = not within
        found: list[tuple[Tensor, Tensor | None]] = []
        for j, optimizer in enumerate(self._optimizers):
            if j == k or not (within or j in self._stepped):
                scale = scale_of(optimizer, steps=j == k, scaler=self._scalers.get(j, self.scaler))
                found += [(local(p.grad), scale) for group in optimizer.param_groups for p in group["params"]
                          if p.grad is not None]
        if found:
            device = found[0][0].device
            scale_down([g for g, _ in found], torch.stack([_norm(g, scale, device) for g, scale in found]), limit)

    def after_step(self, k: int) -> bool:
        """The post-hook of the k-th optimizer; True where this completes the step."""
        if self._capturing():
            return False
        self._restore(k)
        return self._complete(k)

    def clip(self, parameters: list[Tensor], max_norm: Any, _total: Tensor, norm_type: float | None) -> Any:
        """Which limit clip_grad_norm_ is to use for `max_norm`."""
        living = [optimizer for _, optimizer in self._optimizers.living()]
        ids = {id(p) for optimizer in living for group in optimizer.param_groups for p in group["params"]}
        if ids.isdisjoint(map(id, parameters)):
            return max_norm
        asked, limit = on_host(max_norm), self._overrides.clip
        self._overrides.script_clip = asked
        if limit is None or not self._forces or norm_type not in (2, None) or not ids.issubset(map(id, parameters)):
            return max_norm
        self._is_clipped = True
        return tighter(max_norm, asked, limit)

    def scaler_begins(self, k: int, scaler: Any, *, unscaled: bool) -> None:  # noqa: ARG002  # the Probe's signature
        """GradScaler.step begins."""
        self._scaler_stepped, self.scaler, self._scalers[k] = False, scaler, scaler

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
        self._stepped.add(k)
        if k < len(self._optimizers) - 1:
            return False
        if self._depth:
            self._stepped_within = True
            return False
        self.step += 1
        self._is_clipped = False
        self._stepped.clear()
        return True

    def _restore(self, k: int) -> None:
        try:
            self._overrides.restore_lr(k)
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        """Force nothing any more, and say so; steps are still counted."""
        self._forces = False
        self._on_fault("overrides", error)


def _norm(grad: Tensor, scale: Tensor | None, device: torch.device) -> Tensor:
    values = grad.coalesce().values() if grad.layout == torch.sparse_coo else grad
    norm: Tensor = torch.linalg.vector_norm(values, dtype=torch.float32)
    return (norm if scale is None else norm / scale).to(device, non_blocking=True)
