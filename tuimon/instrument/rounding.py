"""Which weights are watched for updates that round away: it is counted how many of their elements a step changes.

In float32 a step changes nearly all, so only bfloat16 and float16 are counted. Of those, what torch's own optimizers
step: they round to the nearest number and forget the rest, while others may keep it (float32 masters, a compensation)
or round by chance, and then few changed elements mean nothing. Not embeddings, whose unused rows stand still, unless
the output layer shares them. Reads no tensor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tuimon.instrument.state import unwrapped
from tuimon.instrument.transfer import on_host

HALF: Final = (torch.bfloat16, torch.float16)


def may_round_away(model: nn.Module, optimizers: Sequence[Optimizer], held: Sequence[Sequence[Tensor]]) -> list[int]:
    """Indices of those to be counted, among all tensors that the optimizers hold (`held`, per optimizer)."""
    found: list[int] = []
    looked_up: set[int] | None = None
    at = 0
    for optimizer, group in zip(optimizers, held, strict=True):
        if type(optimizer).step.__module__.startswith("torch.optim.") and any(p.dtype in HALF for p in group):
            looked_up = only_looked_up(model) if looked_up is None else looked_up
            found += [at + i for i, p in enumerate(group) if p.dtype in HALF and id(p) not in looked_up]
        at += len(group)
    return found


def only_looked_up(model: nn.Module) -> set[int]:
    """The ids of the embeddings that no other kind of module shares."""
    tables: set[int] = set()
    others: set[int] = set()
    for module in unwrapped(model).modules():
        mine = tables if isinstance(module, nn.Embedding | nn.EmbeddingBag) else others
        mine.update(id(p) for p in module.parameters(recurse=False))
    return tables - others


def resting(optimizer: Optimizer) -> set[int]:
    """The ids of the parameters that it leaves where they are, because the learning rate of their group is zero."""
    groups = optimizer.param_groups
    return {id(p) for group in groups if on_host(group.get("lr")) == 0 for p in group["params"]}
