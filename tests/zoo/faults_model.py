"""Faults of the model: weights drawn wrongly, gradients that do not arrive, activations that die or grow."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from tests.zoo.bases import adamw, base, onset
from tests.zoo.models import PlainMLP
from tests.zoo.training import Training, flat


def wide_init(seed: int) -> Training:
    """All weights drawn at a standard deviation of 1, or half of it."""
    t = base(seed, ("gpt", "gpt-deep")[seed % 2], steps=400)
    std = (1.0, 0.6)[seed // 2 % 2]
    for p in t.model.parameters():
        if p.dim() > 1:
            nn.init.normal_(p, std=std)
    t.onset = 1
    return t


def wide_tied_init(seed: int) -> Training:
    """The embedding keeps PyTorch's deviation of 1, and the output layer is tied to it."""
    t = base(seed, "gpt-wide", steps=400, embed_std=1.0, n_layers=(2, 3)[seed % 2])
    t.onset = 1
    return t


def vanishing(seed: int) -> Training:
    """Sigmoids, no residuals, no norms: little of the gradient reaches the first blocks."""
    t = base(seed, "gpt", steps=400, n_layers=(8, 6)[seed % 2], init_std=0.1, residual=False, normalize=False,
             activation="sigmoid")
    t.onset, t.layer = 1, None
    return t


def detached(seed: int) -> Training:
    """A detach() between two blocks: what is before it never learns."""
    at = 1 + seed % 2
    t = base(seed, "gpt", steps=400, detach_at=at, n_layers=4)
    t.onset, t.layer = 1, f"blocks.{at - 1}"
    return t


def detached_encoder(seed: int) -> Training:
    """The features are computed under no_grad, as if they were a finished backbone's."""
    t = base(seed, "vit", steps=400)
    cut = seed % 2
    t.model.blocks[cut].register_forward_hook(lambda _module, _args, out: out.detach())
    t.onset, t.layer = 1, f"blocks.{cut}"
    return t


def hot_attention(seed: int) -> Training:
    """The rate of the query and key projections is meant in other units: attention ends up on single tokens."""

    def made(model: nn.Module) -> list[Optimizer]:
        hot = [p for n, p in model.named_parameters() if "q_proj" in n or "k_proj" in n]
        rest = [p for n, p in model.named_parameters() if not ("q_proj" in n or "k_proj" in n)]
        return [AdamW([{"params": rest}, {"params": hot, "lr": (0.3, 0.2)[seed % 2], "weight_decay": 0.0}], lr=3e-3)]

    t = base(seed, "gpt-deep", optimize=made)
    t.onset, t.schedule = 1, flat()
    return t


def dying_units(seed: int) -> Training:
    """From a step on a penalty with the wrong sign drives the biases of ReLUs down: units die, layer by layer."""
    t = base(seed, "gpt-deep", mlp="relu")
    start = t.onset = onset(seed)
    t.schedule = flat()

    def after_backward(step: int, training: Training) -> None:
        if step >= start:
            for module in training.model.modules():
                if isinstance(module, PlainMLP) and module.fc1.bias.grad is not None:
                    module.fc1.bias.grad.add_(0.02)

    t.after_backward = after_backward
    return t


def drifting_logits(seed: int) -> Training:
    """Nothing holds the logits: a head with a bias, at a high rate, pulled up by a penalty of the wrong sign."""
    t = base(seed, ("gpt-deep", "gpt")[seed % 2], optimize=adamw(weight_decay=0.0))
    start = t.onset = onset(seed)
    t.schedule = flat()

    def loss(step: int, model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        logits = model(batch[0])
        plain = nn.functional.cross_entropy(logits.flatten(0, 1), batch[1].flatten())
        return plain - 1e-3 * logits.logsumexp(-1).square().mean() if step >= start else plain

    t.loss = loss
    return t
