"""The faults that a scenario plants in its batches, its order of data, its weights: each one small and real.

Nothing here is drawn from the global generator: a fault is the same in every run of the same seed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tuimon.demo.corpus import SimpleTextDataset, Window
from tuimon.demo.scenarios import Scenario, Spoil

IGNORED: Final = -100
"""The label of a token that does not count."""
SHARD: Final = 16
"""Batches that the loader sorts among themselves."""


def shuffle_labels(inputs: Tensor, targets: Tensor, generator: torch.Generator) -> Window:
    """Right labels at wrong tokens, as where two files of a data set have slipped against each other."""
    order = torch.randperm(targets.numel(), generator=generator)
    return inputs, targets.flatten()[order].view_as(targets)


def foreign_tokens(inputs: Tensor, targets: Tensor, generator: torch.Generator) -> Window:
    """Noise instead of text, as where a binary file has found its way into the data."""
    most = int(max(inputs.max(), targets.max())) + 1
    noise = torch.randint(most, (inputs.shape[0], inputs.shape[1] + 1), generator=generator)
    return noise[:, :-1], noise[:, 1:]


def mask_everything(inputs: Tensor, targets: Tensor, generator: torch.Generator) -> Window:
    """No label counts, as where a batch is all prompt and padding."""
    del generator
    return inputs, torch.full_like(targets, IGNORED)


SPOILS: Final[Mapping[Spoil, Callable[[Tensor, Tensor, torch.Generator], Window]]] = {
    "shuffle labels": shuffle_labels, "foreign tokens": foreign_tokens, "mask everything": mask_everything,
}


def plant(scenario: Scenario, step: int, batch: Window, model: nn.Module, seed: int) -> Window:
    """Do to the batch, and to the model's weights, what the scenario plants at this step; the batch."""
    if step not in scenario.planted:
        return batch
    if scenario.blows_up is not None:
        blow_up(model, scenario.blows_up)
    if scenario.grows is not None:
        grow_attention(model, scenario.grows)
    if scenario.spoils is None:
        return batch
    return SPOILS[scenario.spoils](*batch, torch.Generator().manual_seed(seed + step))


def token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of logits (B, T, vocab) and targets (B, T), in nats."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def masked_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """The same over the tokens that count, as scripts write it by hand. Where none does, it is 0/0."""
    counts = targets.flatten() != IGNORED
    each = F.cross_entropy(logits.flatten(0, 1), targets.flatten().clamp(min=0), reduction="none")
    return (each * counts).sum() / counts.sum()


def sorting(dataset: SimpleTextDataset, batch: int, first: int) -> Callable[[list[int]], list[int]]:
    """A loader's arrangement: the same windows, but from step `first` on each 16 batches come from easy to hard."""
    hard, at, size = difficulty(dataset).tolist(), (first - 1) * batch, SHARD * batch

    def arrange(order: list[int]) -> list[int]:
        shards = [sorted(order[i:i + size], key=hard.__getitem__) for i in range(at, len(order), size)]
        return order[:at] + [window for shard in shards for window in shard]

    return arrange


def difficulty(dataset: SimpleTextDataset) -> Tensor:
    """Mean surprise of each window's targets for whoever knows only how often each token occurs, nats; (windows,)."""
    often = torch.bincount(dataset.tokens).double()
    surprise = -(often / often.sum()).log()[dataset.tokens]
    return surprise[1:].unfold(0, dataset.max_seq_len, dataset.stride).mean(dim=1)


@torch.no_grad()
def blow_up(model: nn.Module, times: float) -> None:
    """Multiply the weights of the first MLP, as a botched merge of checkpoints does."""
    model.get_parameter("blocks.0.mlp.fc1.weight").mul_(times)


@torch.no_grad()
def grow_attention(model: nn.Module, times: float) -> None:
    """Multiply what gives queries and keys, in every block, as weight decay with the wrong sign does."""
    for name, parameter in model.named_parameters():
        if ".attn.qkv." in name:
            parameter[:2 * len(parameter) // 3].mul_(times)  # queries, keys, values
