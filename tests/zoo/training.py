"""One training of the zoo: what a kind may change, and the loop as a user writes it. The only tuimon line is in `go`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, IterableDataset

import tuimon
from tests.zoo.data import Batch, Draw, Task
from tuimon.record.chunk import Chunk

Optimize = Callable[[nn.Module], list[Optimizer]]
Schedule = Callable[[int], float]
"""The learning rate at a step, counted from 1, as a multiple of the base rate."""
GIVE_UP = 40
"""Losses in a row that are no numbers, after which a user stops the run."""


def cosine(total: int, warmup: int = 40, floor: float = 0.1) -> Schedule:
    """Linear warm-up, then a cosine down to `floor`."""

    def factor(step: int) -> float:
        done = min(1.0, max(0, step - warmup) / max(1, total - warmup))
        return min(1.0, step / max(1, warmup)) * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * done)))

    return factor


def flat(warmup: int = 40) -> Schedule:
    """Linear warm-up, then one rate."""
    return lambda step: min(1.0, step / max(1, warmup))


@dataclass(slots=True)
class Training:
    """All that is to be trained, and how. A kind begins with a sound one and changes what it is about."""

    seed: int
    """Chooses among what a kind varies."""
    model_name: str
    model: nn.Module
    task: Task
    optimizer_name: str
    optimize: Optimize
    steps: int
    schedule: Schedule
    batch_size: int = 12
    clip: float | None = None
    accumulate: int = 1
    autocast: torch.dtype | None = None
    scaler: torch.amp.GradScaler | None = None
    validate_every: int | None = None
    sees: Callable[[int, Draw, torch.Generator, int], Batch] = lambda _step, draw, generator, size: draw(generator, size)
    """(step, draw, generator, size) -> the batch of that step, where the data are not simply drawn."""
    loss: Callable[[int, nn.Module, Batch], Tensor] | None = None
    """(step, model, batch) -> loss, where it is not the task's."""
    before: Callable[[int, Training], None] = lambda _step, _training: None
    """What happens at the beginning of a step."""
    after_backward: Callable[[int, Training], None] = lambda _step, _training: None
    """What is done to the gradients before they are clipped."""
    after: Callable[[int, Training, Any], None] = lambda _step, _training, _monitor: None
    """What happens at the end of a step; the third is the monitor."""
    interrupted: int | None = None
    """The step after which the process ends, to go on from a checkpoint."""
    onset: int | None = None
    """The first faulty step, where it is planted."""
    begins: Callable[[Sequence[Chunk]], int] | None = None
    """Reads it from the log, where the fault comes by itself."""
    layer: str | None = None
    clock: float = 1.0
    """Seconds that each second counts as in the recording: what takes minutes to be told is over here in seconds."""
    vocabulary: int | None = None
    optimizers: list[Optimizer] = field(default_factory=list)
    """Those in use; made when the training begins."""


class Stream(IterableDataset[Batch]):
    """The batches of a run from a step on."""

    def __init__(self, training: Training, first: int) -> None:
        self.training, self.first = training, first

    def __iter__(self) -> Iterator[Batch]:
        t = self.training
        generator = torch.Generator().manual_seed(torch.initial_seed() + self.first)
        for step in range(self.first, t.steps + 1):
            for _ in range(t.accumulate):
                yield t.sees(step, t.task.draw, generator, t.batch_size)


@torch.no_grad()
def validate(training: Training) -> Tensor:
    """Mean loss over the same held-out batches each time."""
    generator = torch.Generator().manual_seed(77)
    training.model.eval()
    losses = [training.task.loss(training.model, training.task.held_out(generator, 48)) for _ in range(4)]
    training.model.train()
    return torch.stack(losses).mean()


def go(training: Training, run_dir: Path, resumed: Any = None, *, checkpoints: str = "off") -> list[float]:
    """Train to the end, or to where it is interrupted; the losses."""
    t = training
    if not t.optimizers:
        t.optimizers = t.optimize(t.model)
    first = resumed.step + 1 if resumed else 1
    schedulers = [LambdaLR(o, lambda done: t.schedule(done + 1)) for o in t.optimizers]
    with tuimon.attach(t.model, *t.optimizers, scheduler=schedulers, scaler=t.scaler, run_dir=run_dir, resumed=resumed,
                       total_steps=t.steps, vocab_size=t.vocabulary, checkpoints=checkpoints, controls=False) as monitor:
        return loop(t, first, schedulers, monitor)


def loop(t: Training, first: int, schedulers: Sequence[LambdaLR], monitor: Any) -> list[float]:
    """The steps from `first` on; the loss of each."""
    losses: list[float] = []
    batches = iter(DataLoader(Stream(t, first), batch_size=None))
    for step in range(first, (t.interrupted or t.steps) + 1):
        t.before(step, t)
        total = 0.0
        for _ in range(t.accumulate):
            batch = next(batches)
            with torch.autocast("cpu", t.autocast) if t.autocast else nullcontext():
                loss = t.loss(step, t.model, batch) if t.loss else t.task.loss(t.model, batch)
            loss = loss / t.accumulate
            (t.scaler.scale(loss) if t.scaler else loss).backward()
            total += loss.item()
        if t.scaler:
            for optimizer in t.optimizers:
                t.scaler.unscale_(optimizer)
        t.after_backward(step, t)
        if t.clip is not None:
            nn.utils.clip_grad_norm_(t.model.parameters(), t.clip)
        for optimizer, scheduler in zip(t.optimizers, schedulers, strict=True):
            t.scaler.step(optimizer) if t.scaler else optimizer.step()
            scheduler.step()
            optimizer.zero_grad()
        if t.scaler:
            t.scaler.update()
        losses.append(total)
        if t.validate_every and step % t.validate_every == 0:
            monitor.log(val_loss=validate(t))
        if t.interrupted is not None and step == t.interrupted - 1:
            monitor.checkpoint()
        t.after(step, t, monitor)
        if len(losses) >= GIVE_UP and not any(map(math.isfinite, losses[-GIVE_UP:])):
            break
    return losses
