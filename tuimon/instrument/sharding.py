"""Gradients where fully_shard keeps them: the shard that an optimizer sees, and what waits for it to be sent.

FSDP adds to a shard behind the back of its DTensor, whose own version does not move, and with gradient synchronisation
off it keeps whole gradients aside until the last micro-batch. torch has no public word for either. Reads only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, nn


def kept_aside(model: nn.Module) -> list[Any]:
    """What FSDP knows of each parameter that it shards; nothing where its insides are others than those known."""
    found: list[Any] = []
    for module in model.modules():
        if callable(state := getattr(module, "_get_fsdp_state", None)):
            state = state()
            groups = getattr(state, "_fsdp_param_groups", None) or [getattr(state, "_fsdp_param_group", None)]
            found += [parameter for group in groups for parameter in getattr(group, "fsdp_params", ())]
    return found


def waiting(aside: Iterable[Any]) -> list[Tensor]:
    """The whole gradients that wait."""
    found = []
    for parameter in aside:
        grad = getattr(parameter, "unsharded_accumulated_grad", None)
        if grad is None:
            grad = getattr(getattr(parameter, "_unsharded_param", None), "grad", None)
        if grad is not None:
            found.append(grad)
    return found


def marks(params: Sequence[Tensor], aside: Iterable[Any]) -> list[int]:
    """As `Tracked.grad_marks`, and after those one for all that waits."""
    found = [-1 if (g := p.grad) is None else id(g) + getattr(g, "_local_tensor", g)._version for p in params]  # noqa: SLF001  # the only counter there is
    return [*found, sum(id(g) + g._version for g in waiting(aside))]  # noqa: SLF001
