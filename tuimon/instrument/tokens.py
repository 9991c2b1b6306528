"""How many tokens a batch has, as far as its tensors tell. Looks at shapes and types only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

_INTEGERS: Final = (torch.int64, torch.int32)


def tokens_in(named: Any, *candidates: Any) -> int:
    """Elements of what is named input_ids, else of the first integer tensor of two dimensions or more; 0 without one.

    One-dimensional ones are labels, or the time steps of a diffusion; a batch of pixels or features has no tokens.
    """
    if isinstance(named, Tensor):
        return named.numel()
    first = next((value for value in candidates if isinstance(value, Tensor)), None)
    if first is not None and first.is_floating_point():
        return 0  # what the model reads are no tokens: later integers are labels, masks or edges
    return next((v.numel() for v in candidates if isinstance(v, Tensor) and v.dtype in _INTEGERS and v.dim() >= 2), 0)


def tokens_of_batch(batch: Any) -> int:
    """The same for what a loader gave; of a dict its "input_ids" if it has them."""
    if isinstance(batch, Tensor):
        return tokens_in(None, batch)
    if isinstance(batch, Mapping):
        return tokens_in(batch.get("input_ids"), *batch.values())
    return tokens_in(None, *batch) if isinstance(batch, list | tuple) else 0
