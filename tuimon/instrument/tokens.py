"""How many tokens a batch has, as far as its tensors tell. Looks at shapes and types only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

_INTEGERS: Final = (torch.int64, torch.int32)


def tokens_in(*candidates: Any) -> int:
    """Elements of the first integer tensor; 0 where there is none: pixels and features are not tokens."""
    for value in candidates:
        if isinstance(value, Tensor) and value.dtype in _INTEGERS and value.dim() >= 1:
            return value.numel()
    return 0


def tokens_of_batch(batch: Any) -> int:
    """The same for what a loader gave; of a dict its "input_ids" if it has them. One-dimensional ones are labels."""
    if isinstance(batch, Tensor):
        batch = (batch,)
    elif isinstance(batch, Mapping):
        batch = (batch.get("input_ids"), *batch.values())
    if not isinstance(batch, list | tuple):
        return 0
    return tokens_in(*(value for value in batch if isinstance(value, Tensor) and value.dim() >= 2))
