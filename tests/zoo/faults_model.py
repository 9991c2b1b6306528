"""Faults of the model: weights drawn wrongly, gradients that do not arrive, activations that die or grow."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim import AdamW, Optimizer

from tests.zoo.bases import adamw, base, onset
from tests.zoo.data import Batch
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
    at = 3 - seed % 2
    t = base(seed, "gpt", steps=400, detach_at=at, n_layers=4)
    t.onset, t.layer = 1, f"blocks.{at - 1}"
    return t


def no_grad_backbone(seed: int) -> Training:
    """The features are computed under no_grad, as if they were those of a finished backbone: the head alone learns."""
    layers = (3, 4)[seed % 2]
    t = base(seed, "vit", steps=400, layers=layers)
    t.model.blocks[layers - 1].register_forward_hook(lambda _module, _args, out: out.detach())
    t.onset, t.layer = 1, f"blocks.{layers - 1}"
    return t


def cut_off_later(seed: int) -> Training:
    """From a step on the first blocks run under no_grad: a switch for evaluation that was never switched back."""
    cut = (2, 4, 3)[seed % 3]
    t = base(seed, "gpt", n_layers=4) if cut < 4 else base(seed, "gpt-deep")
    start = t.onset = onset(seed)
    t.layer = f"{'layers' if cut == 4 else 'blocks'}.{cut}"
    on = [False]
    t.model.get_submodule(t.layer).register_forward_hook(lambda _module, _args, out: out.detach() if on[0] else out)

    def before(step: int, training: Training) -> None:
        on[0] = step >= start

    t.before = before
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
    """From a step on activations are to be sparse, and that penalty, which the script does not log, is far too large."""
    t = base(seed, "gpt-deep", mlp="relu", layers=(4, 6)[seed % 2])
    start = t.onset = onset(seed)
    t.schedule = flat()
    active: list[torch.Tensor] = []
    plain: list[torch.Tensor] = []
    for module in t.model.modules():
        if isinstance(module, PlainMLP):
            module.act.register_forward_hook(lambda _module, _args, out: active.append(out.mean()))

    def loss(step: int, model: nn.Module, batch: Batch) -> torch.Tensor:
        active.clear()
        plain[:] = [t.task.loss(model, batch)]
        return plain[0] + 100.0 * torch.stack(active).mean() if step >= start else plain[0]

    t.loss = loss
    t.after = lambda _step, _training, monitor: monitor.log(loss=plain[0].detach())
    return t


def drifting_logits(seed: int) -> Training:
    """The penalty that is to hold the logits has the wrong sign from a step on; the script logs the loss without it."""
    t = base(seed, ("gpt-deep", "gpt")[seed % 2], optimize=adamw(weight_decay=0.0))
    start = t.onset = onset(seed)
    t.steps, t.schedule = start + 250, flat()
    plain: list[torch.Tensor] = []

    def loss(step: int, model: nn.Module, batch: Batch) -> torch.Tensor:
        logits = model(batch[0])
        plain[:] = [nn.functional.cross_entropy(logits.float().flatten(0, 1), batch[1].flatten())]
        return plain[0] + (-3e-2 if step >= start else 1e-4) * logits.logsumexp(-1).square().mean()

    t.loss = loss
    t.after = lambda _step, _training, monitor: monitor.log(loss=plain[0].detach())
    return t
