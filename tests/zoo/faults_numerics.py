"""Faults of arithmetic: values that are no numbers, too large or too small for their format."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.zoo.bases import adamw, base, one_of, onset
from tests.zoo.data import CLASSES, IGNORED, Batch
from tests.zoo.training import Training, flat


def by_hand(step: int, model: nn.Module, batch: Batch) -> Tensor:
    """A mean over the tokens that count, as scripts write it: 0/0 where none does."""
    del step
    counts = batch[1].flatten() != IGNORED
    each = F.cross_entropy(model(batch[0]).flatten(0, -2), batch[1].flatten().clamp(min=0), reduction="none")
    return (each * counts).sum() / counts.sum()


def nothing_counts(seed: int) -> Training:
    """A batch without a single label, and a hand-written mean."""
    t = one_of(seed, (("gpt", "AdamW"), ("encoder", "AdamW"), ("gpt-deep", "Adafactor"), ("lstm", "SGD")), clip=1.0)
    at = t.onset = onset(seed)
    t.steps, t.loss = at + 60, by_hand

    def sees(step: int, draw: object, generator: torch.Generator, size: int) -> Batch:
        inputs, targets = t.task.draw(generator, size)
        return inputs, torch.full_like(targets, IGNORED) if step == at else targets

    t.sees = sees
    return t


def log_of_zero(seed: int) -> Training:
    """A divergence between distributions, by hand: fine with soft labels, and 0 log 0 at the first hard one."""
    t = one_of(seed, (("vit", "AdamW"), ("vit", "SGD"), ("vit", "Adafactor")))
    at = t.onset = onset(seed)
    t.steps = at + 60

    def loss(step: int, model: nn.Module, batch: Batch) -> Tensor:
        soft = 0.9 * F.one_hot(batch[1], CLASSES) + 0.1 / CLASSES
        if step >= at:
            soft[0] = F.one_hot(batch[1][0], CLASSES)
        return (soft * (soft.log() - model(batch[0]).log_softmax(-1))).sum(-1).mean()

    t.loss = loss
    return t


def overflowing_half(seed: int) -> Training:
    """float16 with a GradScaler, and one layer's weights grow until each step overflows."""
    t = base(seed, "gpt", clip=1.0, n_layers=2)
    at = t.onset = onset(seed, 100, 60)
    t.steps, t.autocast, t.scaler = at + 80, torch.float16, torch.amp.GradScaler("cpu", init_scale=2.0**14)

    def before(step: int, training: Training) -> None:
        if step == at:  # a botched merge of checkpoints
            with torch.no_grad():
                training.model.get_parameter("blocks.0.mlp.fc1.weight").mul_(1e6)

    t.before, t.layer = before, None
    return t


def underflowing_half(seed: int) -> Training:
    """float16 without a GradScaler, and a loss that is divided by far too much: gradients vanish below the format."""
    t = base(seed, "gpt", n_layers=2)
    t.onset, t.steps, t.autocast = 1, 250, torch.float16
    t.loss = lambda _step, model, batch: t.task.loss(model, batch) / (4096.0, 16384.0)[seed % 2]
    return t


def no_slope_at_zero(seed: int) -> Training:
    """A penalty by hand whose slope at zero is infinite: from a step on the loss is finite, and no gradient is."""
    t = base(seed, "gpt", clip=(1.0, None)[seed % 2], n_layers=2)
    at = t.onset = onset(seed, 100, 60)
    t.steps, t.autocast, t.scaler = at + 80, torch.float16, torch.amp.GradScaler("cpu", init_scale=2.0**14)

    def loss(step: int, model: nn.Module, batch: Batch) -> Tensor:
        plain = t.task.loss(model, batch)
        bias = model.get_parameter("blocks.0.attn.qkv.bias")
        far = bias - bias.detach() if step >= at else bias + 1.0  # the distance from a copy that was taken just now
        return plain + 1e-4 * far.square().sum().sqrt()

    t.loss = loss
    return t


def rounding_away(seed: int) -> Training:
    """Weights in bfloat16, and steps that are mostly lost in rounding; in float32 the same rate trains well."""
    t = one_of(seed, (("vit", "AdamW"), ("gpt", "AdamW"), ("encoder", "AdamW")), optimize=adamw(lr=(3e-5, 5e-5)[seed // 3 % 2]))
    if t.model_name == "gpt":
        for p in t.model.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=p.shape[1] ** -0.5)
    t.model.bfloat16()
    sound = t.task
    t.loss = lambda _step, model, batch: sound.loss(
        model, (batch[0].bfloat16() if batch[0].is_floating_point() else batch[0], batch[1]))
    t.onset, t.schedule = 1, flat()
    return t
