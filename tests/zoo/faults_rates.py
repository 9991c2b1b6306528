"""Faults of rates and optimizers: steps that are too large, too small, or set to nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from torch import nn
from torch.optim import AdamW, Optimizer

from tests.zoo.bases import adamw, base, one_of, onset, sgd
from tests.zoo.training import Schedule, Training, cosine, flat

LANGUAGE_MODELS: Final = (("gpt", "AdamW"), ("gpt-wide", "AdamW"), ("gpt-deep", "AdamW"), ("gpt", "Muon"))


def jumping(times: float, at: int, sound: Schedule) -> Schedule:
    """The sound schedule, from a step on multiplied."""
    return lambda step: sound(step) * (times if step >= at else 1.0)


def vanishing_of(schedule: Schedule, steps: int) -> int:
    """The first step after its peak at which the rate is below a hundredth of it, whether or not it is zero yet."""
    rates = [schedule(step) for step in range(1, steps + 1)]
    peak = rates.index(max(rates))
    return next(step for step, rate in enumerate(rates, 1) if step > peak and rate < 0.01 * rates[peak])


def lr_jump(times: float) -> Callable[[int], Training]:
    """A factor is applied twice, from a step on."""

    def build(seed: int) -> Training:
        t = one_of(seed, LANGUAGE_MODELS)
        if times > 100 and t.optimizer_name == "AdamW":  # PyTorch's own betas, under which Adam does not forget it
            t.optimize = adamw(betas=(0.9, 0.999), weight_decay=0.0)
        t.onset = onset(seed)
        t.steps, t.schedule = t.onset + 200, jumping(times, t.onset, flat())
        return t

    return build


def lr_runaway(seed: int) -> Training:
    """The sign of an exponential decay is wrong: from a step on the rate grows by 5 % a step."""
    t = one_of(seed, (("gpt", "AdamW"), ("encoder", "AdamW"), ("gpt-wide", "AdamW"), ("vit", "AdamW")))
    start = t.onset = onset(seed)
    t.steps, t.schedule = start + 200, lambda step: flat()(step) * 1.05 ** min(140, max(0, step - start + 1))
    return t


def no_warmup_high_lr(seed: int) -> Training:
    """Adam at a rate some hundred times too high from the first step."""
    t = one_of(seed, (("gpt", "AdamW"), ("encoder", "AdamW"), ("gpt-wide", "AdamW")),
               optimize=adamw(lr=(1.0, 3.0)[seed // 3 % 2], betas=(0.9, 0.999), weight_decay=0.0))
    t.onset, t.steps, t.schedule = 1, 300, flat(warmup=0)
    return t


def sgd_lr_too_high(seed: int) -> Training:
    """SGD at thirty times the rate that it bears."""
    t = base(seed, ("gpt", "encoder", "vit")[seed % 3], "SGD", optimize=sgd(lr=(10.0, 8.0, 5.0)[seed % 3]))
    t.onset, t.steps = 1, 300
    return t


def lr_too_high(seed: int) -> Training:
    """Some fifty times too high: it trains, and much worse than it could."""
    t = one_of(seed, (("gpt", "AdamW"), ("gpt-deep", "AdamW"), ("gpt-wide", "AdamW")),
               optimize=adamw(lr=(0.1, 0.2)[seed // 3 % 2]))
    t.onset, t.steps, t.schedule = 1, 500, flat(warmup=100)
    return t


def lr_too_low(seed: int) -> Training:
    """A thousandth of the right rate."""
    t = one_of(seed, (("gpt", "AdamW"), ("gpt-deep", "AdamW"), ("lstm", "AdamW"), ("gpt-wide", "AdamW")),
               optimize=adamw(lr=(3e-6, 1e-5)[seed % 2]))
    t.onset = 1
    return t


def epsilon_too_large(seed: int) -> Training:
    """Adam's epsilon far above the gradients: what is left is SGD at a tiny rate."""
    t = one_of(seed, (("gpt", "AdamW"), ("gpt-wide", "AdamW")), optimize=adamw(eps=(1.0, 3.0)[seed % 2]))
    t.onset = 1
    return t


def schedule_per_micro_batch(seed: int) -> Training:
    """Stepped at each of four micro-batches: it ends after a quarter of the run."""
    t = one_of(seed, (("gpt", "AdamW"), ("vit", "SGD"), ("lstm", "AdamW")))
    part = (3, 4)[seed % 2]
    t.schedule = lambda step: cosine(t.steps, warmup=40 * part, floor=0.0)(step * part)
    t.onset = vanishing_of(t.schedule, t.steps)
    return t


def ends_too_early(seed: int) -> Training:
    """The schedule was made for a shorter run: a linear decay reaches zero in the middle."""
    t = one_of(seed, (("gpt-deep", "AdamW"), ("encoder", "AdamW"), ("gpt", "SGD")))
    end = onset(seed)
    t.schedule = lambda step: min(1.0, step / 40) * max(0.0, 1 - step / end)
    t.onset = vanishing_of(t.schedule, t.steps)
    return t


def group_without_rate(seed: int) -> Training:
    """A rule for the rates of layers knows not of one of them, and gives it a rate of zero."""
    prefix, model = (("embed", "gpt"), ("lm_head", "gpt-deep"), ("embed_tokens", "gpt-deep"))[seed % 3]

    def made(model: nn.Module) -> list[Optimizer]:
        still = [p for n, p in model.named_parameters() if n.startswith(prefix + ".")]
        rest = [p for n, p in model.named_parameters() if not n.startswith(prefix + ".")]
        return [AdamW([{"params": rest}, {"params": still, "lr": 0.0, "weight_decay": 0.0}], lr=3e-3)]

    t = base(seed, model, optimize=made)
    t.onset, t.layer, t.steps = 1, prefix, 400
    return t


def missing_from_optimizer(seed: int) -> Training:
    """The output layer was made anew, for another number of classes, after the optimizer had been made."""
    model, head, shape = (
        ("gpt", "head", False), ("gpt-deep", "lm_head", False), ("encoder", "decoder", True))[seed % 3]

    def made(model: nn.Module) -> list[Optimizer]:
        optimizers: list[Optimizer] = [AdamW(model.parameters(), lr=3e-3)]
        old = getattr(model, head)
        setattr(model, head, nn.Linear(old.in_features, old.out_features, bias=shape))
        return optimizers

    t = base(seed, model, optimize=made)
    t.onset, t.steps = 1, 400
    return t


def clip_far_too_small(seed: int) -> Training:
    """SGD whose gradients are cut to a hundredth: the limit, not the gradient, sets the steps."""
    t = one_of(seed, (("gpt", "SGD"), ("vit", "SGD"), ("encoder", "SGD")), clip=0.01)
    t.onset = 1
    return t


def sum_not_averaged(seed: int) -> Training:
    """From a step on the gradients of eight micro-batches are summed, where they were averaged."""
    t = one_of(seed, (("gpt", "SGD"), ("vit", "SGD"), ("encoder", "SGD")))
    start = t.onset = onset(seed)
    t.steps, t.schedule = start + 250, flat()

    def scale(step: int, training: Training) -> None:
        if step >= start:
            for p in training.model.parameters():
                if p.grad is not None:
                    p.grad.mul_(8.0)

    t.after_backward = scale
    return t


def sum_reduction(seed: int) -> Training:
    """From a step on the loss is a sum over the batch instead of its mean, and SGD takes the gradient as it comes."""
    t = one_of(seed, (("gpt", "SGD"), ("encoder", "SGD"), ("lstm", "SGD")))
    start = t.onset = onset(seed)
    t.steps, t.schedule = start + 150, flat()
    t.loss = lambda step, model, batch: t.task.loss(model, batch) * (
        float((batch[1] >= 0).sum()) if step >= start else 1.0)
    return t
