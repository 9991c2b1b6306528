"""The instrument of one rank of several: as that of a run of one, with shares of norms and the time of its own work.

Every hook is the one rank's alone: what is added here reads clocks and placements, and never meets another rank.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import Any

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tuimon.instrument.labels import TOGETHER
from tuimon.instrument.measure import Probe
from tuimon.instrument.outbox import as_logged
from tuimon.instrument.ranks.checksums import Checksums
from tuimon.instrument.ranks.own import DeviceTime, HostTime
from tuimon.instrument.ranks.shares import Part


class RankProbe(Probe):
    """One rank's."""

    def __init__(self, model: nn.Module, *args: Any, part: Part, **options: Any) -> None:
        self.part, self._clips_all, self._is_sure = part, False, False
        super().__init__(model, *args, **options)
        meets = _meets(model)
        self._own = HostTime(meets=meets) if self._device.type == "cpu" else DeviceTime(self._device, meets=meets)
        if part.world.rank or not part.shares.is_whole:
            self.outbox.batches.clear()  # an autopsy is one rank's, and wants to know all that went into the step

    def _track(self) -> None:
        super()._track()
        self.tracked.shares = self.part.look(self.model, self.tracked.params)
        places = list(map(int, self.tracked.place))
        self._checksums = Checksums(self.model, self.tracked.params, places, self.optimizers)

    def saw_input(self, tokens: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A forward pass with gradients begins."""
        if self.thread == get_ident():
            self._own.forward_begins()
        super().saw_input(tokens, args, kwargs)

    def saw_batch(self, seconds: float, batch: Any) -> None:
        """A loader has given a batch."""
        self._own.loaded(seconds)
        super().saw_batch(seconds, batch)

    def backward_begins(self, tensors: Any, grads: Any, unscale: Callable[[Tensor], Tensor]) -> None:
        """Before torch.autograd.backward."""
        if not self._is_sure:   # the last moment at which it is seen before it is counted
            self._is_sure = True
            if self.part.shares.is_alone:
                self.tracked.shares = self.part.look(self.model, self.tracked.params)
            if self.part.shares.is_alone and self.part.shares.is_known:
                self.labels.state(TOGETHER)
        self._own.backward_begins()
        super().backward_begins(tensors, grads, unscale)

    def backward_ended(self, *, raised: bool) -> bool:
        """After it."""
        self._own.backward_ended()
        return super().backward_ended(raised=raised)

    def clip(self, parameters: list[Tensor], max_norm: Any, total: Tensor, norm_type: float | None) -> Any:
        """Before clip_grad_norm_ changes gradients."""
        if not self.part.shares.is_whole and norm_type in (2, None):
            ids = set(map(id, parameters))
            self._clips_all = all(id(p) in ids for p in self.tracked.params if p.grad is not None)
        return super().clip(parameters, max_norm, total, norm_type)

    def _clip(self, k: int) -> None:
        """Not by the norm of a part: each rank would use another."""
        if self.part.shares.is_whole:
            super()._clip(k)

    def give_up(self, error: Exception) -> None:
        """Switch measuring off."""
        super().give_up(error)
        if self.unmeasured is not None:
            self.unmeasured.knows_norm = self.part.shares.is_whole

    def _finish(self) -> None:
        self.part.clips_all, self._clips_all = self._clips_all, False
        own = self._own.taken()
        if own is not None and self.thread == get_ident():
            self._now.logged.setdefault("own_time", own)
        if self.part.meets:
            for name, value in self._checksums.of(self._step + 1).items():
                self._now.logged.setdefault(name, as_logged(value))
        super()._finish()

    def resumed(self, held: float) -> None:
        """What the boundary did belongs to no step."""
        super().resumed(held)
        self._own.resumed()


def _meets(model: nn.Module) -> bool:
    """Whether a forward pass waits for other ranks."""
    return any(hasattr(p, "device_mesh") for p in model.parameters()) or any(
        isinstance(m, DistributedDataParallel) and m.broadcast_buffers and any(True for _ in m.module.buffers())
        for m in model.modules())
