"""Healthy trainings that look scary: nothing in them is wrong, and whoever warns about them is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from tests.zoo.bases import adamw, base, one_of, onset, sgd
from tests.zoo.data import LETTERS, Batch, Draw, gratings
from tests.zoo.training import Training, flat


def plain(*bases: tuple[str, str], clip: float | None = None) -> Callable[[int], Training]:
    """As most trainings are."""
    return lambda seed: one_of(seed, bases, clip=clip)


def warm_restarts(seed: int) -> Training:
    """A cosine that begins again and again."""
    t = one_of(seed, (("gpt", "AdamW"), ("gpt-deep", "AdamW"), ("vit", "SGD"), ("lstm", "AdamW")), steps=800)
    cycle = (200, 160)[seed % 2]
    t.schedule = lambda step: min(1.0, step / 20) * (
        0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * ((step - 1) % cycle) / cycle)))
    return t


def large_batch_edge(seed: int) -> Training:
    """Full-batch gradient descent: it lives at the edge of stability, and the loss falls all the same."""
    t = base(seed, "vit", "SGD", optimize=sgd(lr=(0.05, 0.1)[seed % 2], momentum=0.0), steps=400)
    fixed = t.task.draw(torch.Generator().manual_seed(seed), 96)
    t.sees, t.schedule = lambda *_: fixed, flat(warmup=0)
    return t


def sharp_decay(seed: int) -> Training:
    """Warm-up, stable, decay: within a tenth of the run the rate falls to nothing, and the loss with it."""
    t = one_of(seed, (("gpt", "AdamW"), ("gpt-deep", "AdamW"), ("gpt-wide", "Adafactor"), ("lstm", "SGD")), steps=700)
    t.schedule = lambda step: min(1.0, step / 40) * min(1.0, max(0.0, (t.steps + 1 - step) / 100))
    return t


def longer_windows(seed: int) -> Training:
    """A curriculum: short windows first, long ones later."""
    from tests.zoo import data

    t = one_of(seed, (("gpt", "AdamW"), ("gpt-deep", "AdamW"), ("lstm", "AdamW")))
    start = onset(seed)
    make = data.text if t.model_name == "gpt" else data.language
    short, long = make(12).draw, make(48).draw
    t.sees = lambda step, _draw, generator, size: long(generator, size) if step >= start else short(generator, 2 * size)
    return t


def harder_data(seed: int) -> Training:
    """A curriculum: the pictures become noisier as the model learns."""
    t = one_of(seed, (("vit", "AdamW"), ("vit", "SGD")))
    t.sees = lambda step, _draw, generator, size: gratings(generator, size, 0.3 + 0.4 * min(1.0, step / 450))
    return t


def larger_batch(seed: int) -> Training:
    """The batch grows fourfold in the middle of the run."""
    t = one_of(seed, (("gpt", "AdamW"), ("vit", "SGD"), ("lstm", "AdamW")))
    start = onset(seed)
    t.sees = lambda step, draw, generator, size: draw(generator, size if step >= start else size // 4)
    return t


def pretrained(t: Training, steps: int = 250) -> None:
    """Train the model a little, unseen: what a checkpoint is."""
    generator = torch.Generator().manual_seed(t.seed + 500)
    optimizer = AdamW(t.model.parameters(), lr=3e-3)
    for _ in range(steps):
        t.task.loss(t.model, t.task.draw(generator, t.batch_size)).backward()
        optimizer.step()
        optimizer.zero_grad()


def fine_tuning(seed: int) -> Training:
    """A trained model, at a tiny rate."""
    t = one_of(seed, (("gpt", "AdamW"), ("lstm", "AdamW"), ("gpt-wide", "AdamW")), steps=400,
               optimize=adamw(lr=(5e-5, 1e-4)[seed % 2]))
    pretrained(t)
    return t


class Adapter(nn.Module):
    """A frozen linear layer and a low-rank correction that begins at zero."""

    def __init__(self, inner: nn.Linear, rank: int = 4) -> None:
        super().__init__()
        self.base = inner.requires_grad_(False)
        self.lora_A = nn.Parameter(torch.randn(rank, inner.in_features) / inner.in_features**0.5)
        self.lora_B = nn.Parameter(torch.zeros(inner.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.base(x) + 2.0 * (x @ self.lora_A.T) @ self.lora_B.T


def low_rank(seed: int) -> Training:
    """LoRA: a trained model is taught the same language in another alphabet; the base is frozen, B begins at zero."""
    t = base(seed, "gpt-deep", steps=400)
    pretrained(t)
    t.model.requires_grad_(False)
    for layer in t.model.layers:
        for part, name in ((layer.self_attn, "q_proj"), (layer.self_attn, "v_proj"), (layer.mlp, "up_proj"),
                           (layer.mlp, "down_proj")):
            setattr(part, name, Adapter(getattr(part, name)))
    t.optimize = lambda model: [AdamW([p for p in model.parameters() if p.requires_grad], lr=(3e-3, 5e-3)[seed % 2])]

    def sees(_step: int, draw: Draw, generator: torch.Generator, size: int) -> Batch:
        inputs, targets = draw(generator, size)
        return (torch.where(inputs < LETTERS, (inputs + 1) % LETTERS, inputs),
                torch.where(targets < LETTERS, (targets + 1) % LETTERS, targets))

    t.sees = sees
    return t


def idle_experts(seed: int) -> Training:
    """Experts of which some get no tokens for a long time."""
    t = base(seed, "gpt-deep", mlp="experts", layers=2, experts=(8, 12)[seed % 2])
    if seed % 2:
        t.optimize = adamw(weight_decay=0.0)
    return t


def searching_scale(seed: int) -> Training:
    """float16 with a GradScaler that begins far too high: it skips steps until it has found its scale."""
    t = base(seed, "gpt", clip=(1.0, None)[seed % 2], n_layers=2, steps=350)
    t.autocast = torch.float16
    t.scaler = torch.amp.GradScaler("cpu", init_scale=2.0 ** (24, 20, 16)[seed % 3], growth_interval=150)
    return t


def bfloat_accumulated(seed: int) -> Training:
    """bfloat16 by autocast, over several micro-batches."""
    t = base(seed, ("gpt", "encoder")[seed % 2], clip=1.0, steps=350)
    t.autocast, t.accumulate, t.batch_size = torch.bfloat16, 3, 4
    return t


def tiny_batches(seed: int) -> Training:
    """Batches of one or two samples: noise all over."""
    t = one_of(seed, (("gpt", "AdamW"), ("lstm", "AdamW"), ("encoder", "AdamW"), ("vit", "AdamW")), steps=800,
               optimize=adamw(lr=1e-3))
    t.batch_size = 1 if t.model_name != "vit" else 2
    return t


def resumed(seed: int) -> Training:
    """The process ended in the middle, and another one went on from a checkpoint."""
    t = one_of(seed, (("gpt", "AdamW"), ("vit", "SGD"), ("gpt-wide", "AdamW")))
    t.interrupted = onset(seed)
    return t


def frozen(seed: int) -> Training:
    """A trained model of which only the last part is trained on."""
    t = one_of(seed, (("gpt", "AdamW"), ("vit", "AdamW")), steps=400)
    pretrained(t, 150)
    t.model.blocks[:2].requires_grad_(False)
    t.optimize = lambda model: [AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)]
    return t


def zero_init(seed: int) -> Training:
    """Heads and the ends of branches begin at zero: at first nothing but the head has a gradient."""
    t = base(seed, ("gpt", "gpt-deep")[seed % 2])
    for name, p in t.model.named_parameters():
        if name.endswith(("proj.weight", "fc2.weight", "o_proj.weight", "down_proj.weight", "head.weight")) and not \
                name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight", "gate_proj.weight", "up_proj.weight")):
            nn.init.zeros_(p)
    return t


def heavy_dropout(seed: int) -> Training:
    """So much dropout that the validation loss is the lower one."""
    t = base(seed, ("vit", "gpt", "lstm")[seed % 3], dropout=0.3)
    t.validate_every = 25
    return t


def noise_floor(seed: int) -> Training:
    """Easy data, learned early: a long calm at what noise leaves."""
    t = one_of(seed, (("vit", "AdamW"), ("mlp", "AdamW")), steps=1200, optimize=adamw(lr=1e-3))
    if t.model_name == "vit":
        t.sees = lambda _step, _draw, generator, size: gratings(generator, size, 0.3)
    return t


def small_losses(seed: int) -> Training:
    """A regression: the loss begins small and falls by decades."""
    t = base(seed, "mlp", ("AdamW", "SGD")[seed % 2], steps=1000)
    return t


def pauses(seed: int) -> Training:
    """Long evaluations between steps."""
    t = one_of(seed, (("lstm", "AdamW"), ("vit", "SGD")), steps=500)
    t.validate_every = 100

    def after(step: int, training: Training, monitor: Any) -> None:
        if step % 100 == 0:
            import time
            time.sleep(0.3)

    t.after = after
    return t


def rounded_losses(seed: int) -> Training:
    """A script that logs its loss in bfloat16: three digits."""
    t = one_of(seed, (("gpt", "AdamW"), ("vit", "AdamW"), ("lstm", "AdamW")))
    seen: list[Tensor] = []

    def loss(step: int, model: nn.Module, batch: Batch) -> Tensor:
        seen[:] = [t.task.loss(model, batch)]
        return seen[0]

    t.loss = loss
    t.after = lambda _step, _training, monitor: monitor.log(loss=seen[0].detach().bfloat16())
    return t


def fresh_optimizer(seed: int) -> Training:
    """A resume that restores the weights and not the optimizer: Adam begins anew, and the loss does not mind."""
    t = one_of(seed, (("gpt", "AdamW"), ("gpt-deep", "AdamW"), ("gpt-wide", "AdamW")))
    at = onset(seed)

    def before(step: int, training: Training) -> None:
        if step == at:
            for optimizer in training.optimizers:
                optimizer.state.clear()

    t.before = before
    return t
