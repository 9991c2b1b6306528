"""Training loops as people write them, each keeping its own book of what is true, computed by hand."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_ as clipped_early
from torch.optim import Optimizer

from tuimon.record.chunk import TensorRows
from tuimon.record.segments import LogReader

VOCABULARY, BATCH, LENGTH = 17, 3, 5


class Net(nn.Module):
    """Tokens (B, T) -> logits (B, T, vocabulary)."""

    def __init__(self, *, sparse: bool = False, tied: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 8, sparse=sparse)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(8, 12), nn.GELU(), nn.Linear(12, 8)) for _ in range(2))
        self.head = nn.Linear(8, VOCABULARY, bias=False)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


def pair() -> tuple[Net, Optimizer]:
    """A model and what steps it."""
    model = Net()
    return model, torch.optim.AdamW(model.parameters(), lr=1e-2)


def batch(i: int) -> Tensor:
    return torch.randint(0, VOCABULARY, (BATCH, LENGTH), generator=torch.Generator().manual_seed(i))


def loss_of(model: nn.Module, tokens: Tensor) -> Tensor:
    return nn.functional.cross_entropy(model(tokens).flatten(0, 1).float(), tokens.flatten())


def train(model: nn.Module, opt: Optimizer, steps: int, first: int = 0) -> list[float]:
    """A few plain steps on batches from `first` on; their losses."""
    losses = []
    for i in range(first, first + steps):
        loss = loss_of(model, batch(i))
        loss.backward()
        opt.step()
        opt.zero_grad()
        losses.append(loss.item())
    return losses


@dataclass
class Book:
    """What is true of each step, by plain arithmetic on everything that the optimizers hold."""

    optimizers: Sequence[Optimizer]
    steps: list[dict[str, float | None]] = field(default_factory=list)
    """None: not measured."""
    now: dict[str, float] = field(default_factory=dict)
    before: list[Tensor] = field(default_factory=list)

    def params(self) -> list[Tensor]:
        found = {id(p): p for o in self.optimizers for g in o.param_groups for p in g["params"]}
        return list(found.values())

    def gradients(self, scale: float = 1.0) -> None:
        """Now is when the gradients are final and not yet clipped."""
        squares = [p.grad.detach().to_dense().double().div(scale).square().sum().item()
                   for p in self.params() if p.grad is not None]
        self.now["grad_norm"] = math.sqrt(sum(squares))

    def weights(self) -> None:
        """Now is before the weights move."""
        self.before = [p.detach().clone() for p in self.params()]

    def stepped(self, **known: float | None) -> None:
        """The update is done."""
        after = self.params()
        self.now["param_norm"] = math.sqrt(sum(p.detach().double().square().sum().item() for p in after))
        if self.before:
            moved = [(a.detach() - b).double().square().sum().item() for a, b in zip(after, self.before, strict=True)]
            self.now["update_norm"] = math.sqrt(sum(moved))
        self.steps.append({**self.now, **known})
        self.now, self.before = {}, []


@dataclass
class Recorded:
    """A run's log."""

    columns: dict[str, dict[int, float]]
    tensors: TensorRows

    def row(self, step: int) -> dict[str, float]:
        return {name: column[step] for name, column in self.columns.items() if step in column}

    @property
    def steps(self) -> list[int]:
        return sorted({step for column in self.columns.values() for step in column})


def read(run_dir: Path) -> Recorded:
    columns: dict[str, dict[int, float]] = {}
    reader, tensors = LogReader(run_dir / "metrics"), []
    while chunks := reader.poll():
        for chunk in chunks:
            tensors.append(chunk.tensors)
            for name in chunk.columns:
                steps, values = chunk.measured(name)
                columns.setdefault(name, {}).update(zip(steps.tolist(), values.tolist(), strict=True))
    import numpy as np

    rows = [t for t in tensors if len(t)]
    joined = TensorRows.empty() if not rows else TensorRows(
        np.concatenate([t.steps for t in rows]), np.concatenate([t.grad for t in rows]),
        np.concatenate([t.update for t in rows]), np.concatenate([t.grad_seen for t in rows]))
    return Recorded(columns, joined)


Loop = Callable[[nn.Module, Sequence[Optimizer], Book, int], None]


def plain(model: nn.Module, opts: Sequence[Optimizer], book: Book, steps: int) -> None:
    for i in range(steps):
        loss = loss_of(model, batch(i))
        loss.backward()
        book.gradients()
        book.weights()
        for opt in opts:
            opt.step()
        book.stepped(loss=loss.item(), lr=float(opts[0].param_groups[0]["lr"]), tokens=BATCH * LENGTH)
        for opt in opts:
            opt.zero_grad()


def zeroing_in_place(model: nn.Module, opts: Sequence[Optimizer], book: Book, steps: int) -> None:
    for i in range(steps):
        for opt in opts:
            opt.zero_grad(set_to_none=False)
        loss = loss_of(model, batch(i))
        loss.backward()
        book.gradients()
        book.weights()
        for opt in opts:
            opt.step()
        book.stepped(loss=loss.item())


def accumulating(divided: bool, clip: bool = False) -> Loop:
    def loop(model: nn.Module, opts: Sequence[Optimizer], book: Book, steps: int) -> None:
        for i in range(steps):
            opts[0].zero_grad()
            total = 0.0
            for j in range(4):
                loss = loss_of(model, batch(4 * i + j)) / (4 if divided else 1)
                loss.backward()
                total += loss.item()
            book.gradients()
            if clip:
                clipped_early(model.parameters(), 0.05)
            book.weights()
            opts[0].step()
            book.stepped(loss=total, tokens=4 * BATCH * LENGTH, **({"clipped": 0.05} if clip else {}))

    return loop


def clipping(clip: Callable[[nn.Module], Any], **known: float) -> Loop:
    def loop(model: nn.Module, opts: Sequence[Optimizer], book: Book, steps: int) -> None:
        for i in range(steps):
            loss = loss_of(model, batch(i))
            loss.backward()
            book.gradients()
            clip(model)
            book.weights()
            for opt in opts:
                opt.step()
            book.stepped(loss=loss.item(), **known)
            for opt in opts:
                opt.zero_grad()

    return loop


def by_value(model: nn.Module, opts: Sequence[Optimizer], book: Book, steps: int) -> None:
    """Clipping by value has no norm limit; the norm is that of before."""
    for i in range(steps):
        loss = loss_of(model, batch(i))
        loss.backward()
        book.gradients()
        nn.utils.clip_grad_value_(model.parameters(), 0.01)
        book.weights()
        opts[0].step()
        book.stepped(loss=loss.item())
        opts[0].zero_grad()


def scaled(*, unscale: bool = False, clip: float | None = None, overflow_at: int = -1, divided: bool = False) -> Loop:
    def loop(model: nn.Module, opts: Sequence[Optimizer], book: Book, steps: int) -> None:
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
        for i in range(steps):
            loss = loss_of(model, batch(i))
            if i == overflow_at:
                loss = loss * torch.tensor(1e38)
            if divided:
                (scaler.scale(loss) / 2).backward()
            else:
                scaler.scale(loss).backward()
            scale = scaler.get_scale()
            book.gradients(scale)
            for opt in opts:
                if unscale:
                    scaler.unscale_(opt)
            if clip is not None:
                clipped_early(model.parameters(), clip)
            if i != overflow_at:
                book.weights()
            for opt in opts:
                scaler.step(opt)
            scaler.update()
            known = {"clipped": clip} if clip is not None else {}
            if i == overflow_at:
                book.now.pop("grad_norm")
            book.stepped(loss=loss.item() / (2 if divided else 1), loss_scale=scale, skipped=float(i == overflow_at),
                         **known)
            for opt in opts:
                opt.zero_grad()

    return loop


def with_closure(model: nn.Module, opts: Sequence[Optimizer], book: Book, steps: int) -> None:
    """What counts is the first evaluation: before the weights moved."""
    for i in range(steps):
        first: list[float] = []

        def closure(i: int = i, first: list[float] = first) -> Tensor:
            opts[0].zero_grad()
            loss = loss_of(model, batch(i))
            loss.backward()
            if not first:
                book.gradients()
                first.append(loss.item())
            return loss

        book.weights()
        opts[0].step(closure)
        book.stepped(loss=first[0])


def on_autocast(model: nn.Module, opts: Sequence[Optimizer], book: Book, steps: int) -> None:
    for i in range(steps):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = loss_of(model, batch(i))
        loss.backward()
        book.gradients()
        book.weights()
        opts[0].step()
        book.stepped(loss=loss.item())
        opts[0].zero_grad()


def averaged(model: nn.Module, opts: Sequence[Optimizer], book: Book, steps: int) -> None:
    """An EMA copy that is run as well must not count."""
    ema = copy.deepcopy(model)
    for i in range(steps):
        loss = loss_of(model, batch(i))
        loss_of(ema, batch(i + 100))
        loss.backward()
        book.gradients()
        book.weights()
        opts[0].step()
        book.stepped(loss=loss.item(), tokens=BATCH * LENGTH)
        opts[0].zero_grad()
