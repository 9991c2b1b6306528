"""Whether ranks that should hold the same weights do: a small sum over some elements of one tensor, now and then.

Of integers, so that neither the order of adding nor the device matters: equal weights have equal sums, always. Which
tensor and which elements depends on the step alone. On a device it is queued like all else and read when it is there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn

from tuimon.instrument.ranks.shares import twins_of
from tuimon.instrument.tracked import local

EVERY: Final = 8
"""Steps from one to the next."""
SAMPLE: Final = 256
"""Elements."""
_WIDTH: Final = (1 << 48) - 1
"""A sum is below it: a double carries it exactly."""
_BITS: Final = {torch.float32: torch.int32, torch.float64: torch.int64, torch.float16: torch.int16,
                torch.bfloat16: torch.int16}
_APART: Final = frozenset({"PostLocalSGDOptimizer"})
"""Optimizers that let replicas differ on purpose."""


class Checksums:
    """Of the tensors that one rank tracks."""

    def __init__(
        self, model: nn.Module, params: Sequence[Tensor], places: Sequence[int], optimizers: Sequence[Any]
    ) -> None:
        """places: of each in the table of tensors; -1 where it has none."""
        twins = twins_of(model, params)
        self.twins = next((ranks for ranks, _ in Counter(t for t in twins if t).most_common(1)), ())
        """The ranks that hold the same as this one; none where nothing is to be compared."""
        is_apart = any(type(o).__name__ in _APART or getattr(o, "_overlap_with_ddp", False) for o in optimizers)
        self._params = [] if is_apart else [
            (place, p) for p, place, ranks in zip(params, places, twins, strict=True)
            if ranks and ranks == self.twins and place >= 0 and p.dtype in _BITS and local(p).is_contiguous()
            and local(p).numel()]
        self._factors: Tensor | None = None

    def of(self, step: int) -> dict[str, Any]:
        """What is due after that step: numbers, and the sum where the weights are. Waits for nothing."""
        if step % EVERY or not self._params:
            return {}
        turn, at = divmod(step // EVERY, len(self._params))
        place, parameter = self._params[at]
        return {"checksum": self._sum(parameter, turn), "checked_tensor": float(place),
                "twin_of": float(self.twins[0])}

    def _sum(self, parameter: Tensor, turn: int) -> Tensor:
        flat = local(parameter.detach()).view(-1)
        apart = max(1, len(flat) // SAMPLE)
        some = flat[turn % apart :: apart][:SAMPLE]
        if self._factors is None or self._factors.device != some.device:
            self._factors = torch.arange(SAMPLE, device=some.device) * 0x9E3779B1 | 1
        bits = torch.nan_to_num(some).view(_BITS[some.dtype])   # what is not a number has many faces
        total = (bits.to(torch.int64) * self._factors[: len(bits)]).sum()   # modulo 2^64, as everywhere
        return (total & _WIDTH).to(torch.float64)
