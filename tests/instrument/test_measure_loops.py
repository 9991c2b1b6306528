"""What is recorded is what is true, for training loops that know nothing of tuimon."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import training_loops as loops
from torch import nn
from torch.nn.utils import clip_grad_norm_ as clipped_early
from torch.optim import Optimizer
from training_loops import Book, Loop, Net

import tuimon

Make = Callable[[nn.Module], Sequence[Optimizer]]


pytestmark = pytest.mark.usefixtures("one_thread")


def adamw(model: nn.Module) -> Sequence[Optimizer]:
    return [torch.optim.AdamW(model.parameters(), lr=1e-2)]


def using(kind: Any, **options: Any) -> Make:
    return lambda model: [kind(model.parameters(), **options)]


def two(model: nn.Module) -> Sequence[Optimizer]:
    head = list(model.head.parameters())
    return [torch.optim.SGD([p for p in model.parameters() if p is not head[0]], lr=0.1),
            torch.optim.AdamW(head, lr=1e-2)]


def groups(model: nn.Module) -> Sequence[Optimizer]:
    return [torch.optim.AdamW([{"params": [p], "lr": 10.0 ** -(2 + i % 3)} for i, p in enumerate(model.parameters())])]


def muon(model: nn.Module) -> Sequence[Optimizer]:
    inner = [p for p in model.blocks.parameters() if p.dim() == 2]
    rest = [p for p in model.parameters() if not any(p is q for q in inner)]
    return [torch.optim.Muon(inner, lr=1e-2), torch.optim.AdamW(rest, lr=1e-2)]


def sparse_pair(model: nn.Module) -> Sequence[Optimizer]:
    return [torch.optim.SparseAdam(list(model.embed.parameters()), lr=1e-2),
            torch.optim.AdamW([*model.blocks.parameters(), *model.head.parameters()], lr=1e-2)]


def thirds(model: nn.Module) -> None:
    """One call per part, as some do: each part has its own norm, the global one is over all."""
    for part in (model.embed, model.blocks, model.head):
        nn.utils.clip_grad_norm_(part.parameters(), 0.05)


PLAIN = loops.plain
CASES: dict[str, tuple[Make, Loop]] = {
    "plain": (adamw, PLAIN),
    "for-loop": (using(torch.optim.Adam, lr=1e-2, foreach=False), PLAIN),
    "foreach": (using(torch.optim.Adam, lr=1e-2, foreach=True), PLAIN),
    "fused": (using(torch.optim.AdamW, lr=1e-2, fused=True), PLAIN),
    "tensor lr": (lambda m: [torch.optim.AdamW(m.parameters(), lr=torch.tensor(1e-2))], PLAIN),
    "sgd momentum": (using(torch.optim.SGD, lr=0.1, momentum=0.9), PLAIN),
    "rmsprop": (using(torch.optim.RMSprop, lr=1e-3), PLAIN),
    "adafactor": (using(torch.optim.Adafactor, lr=1e-2), PLAIN),
    "muon and adamw": (muon, PLAIN),
    "two optimizers": (two, PLAIN),
    "a group per tensor": (groups, PLAIN),
    "sparse embedding": (sparse_pair, PLAIN),
    "zeroed in place": (adamw, loops.zeroing_in_place),
    "accumulate 4, divided": (adamw, loops.accumulating(divided=True)),
    "accumulate 4, summed": (adamw, loops.accumulating(divided=False)),
    "accumulate and clip": (adamw, loops.accumulating(divided=True, clip=True)),
    "clip, imported early": (adamw, loops.clipping(lambda m: clipped_early(m.parameters(), 0.05), clipped=0.05)),
    "clip, by attribute": (
        adamw, loops.clipping(lambda m: nn.utils.clip_grad_norm_(m.parameters(), 0.05), clipped=0.05)),
    "clip, for-loop": (
        adamw, loops.clipping(lambda m: clipped_early(m.parameters(), 0.05, foreach=False), clipped=0.05)),
    "clip, maximum norm": (
        adamw, loops.clipping(lambda m: clipped_early(m.parameters(), 0.05, norm_type=math.inf), clipped=0.05)),
    "clip, part by part": (adamw, loops.clipping(thirds, clipped=0.05)),
    "clip, two optimizers": (two, loops.clipping(lambda m: clipped_early(m.parameters(), 0.05), clipped=0.05)),
    "clip by value": (adamw, loops.by_value),
    "bf16 autocast": (adamw, loops.on_autocast),
    "scaler": (adamw, loops.scaled()),
    "scaler, scaled then divided": (adamw, loops.scaled(divided=True)),
    "scaler, unscaled and clipped": (adamw, loops.scaled(unscale=True, clip=0.05)),
    "scaler, overflow": (adamw, loops.scaled(overflow_at=1)),
    "scaler, fused": (using(torch.optim.AdamW, lr=1e-2, fused=True), loops.scaled()),
    "scaler, fused, clipped": (using(torch.optim.AdamW, lr=1e-2, fused=True), loops.scaled(unscale=True, clip=0.05)),
    "scaler, fused, overflow": (using(torch.optim.AdamW, lr=1e-2, fused=True), loops.scaled(overflow_at=1)),
    "scaler, two optimizers": (two, loops.scaled()),
    "sgd with closure": (using(torch.optim.SGD, lr=0.1), loops.with_closure),
    "lbfgs": (using(torch.optim.LBFGS, lr=0.5, max_iter=3), loops.with_closure),
    "an averaged copy": (adamw, loops.averaged),
}


def check(recorded: loops.Recorded, book: Book) -> None:
    """Every number that the book knows is in the log, and is that."""
    assert recorded.steps == list(range(1, len(book.steps) + 1))
    for step, true in enumerate(book.steps, start=1):
        row = recorded.row(step)
        for name, value in true.items():
            assert row.get(name) == pytest.approx(value, rel=2e-5, abs=1e-9), f"{name} at step {step}"


@pytest.mark.parametrize("detail", ["full", "light"])
@pytest.mark.parametrize("case", CASES)
def test_each_loop_is_recorded_as_it_was(case: str, detail: str, tmp_path: Path) -> None:
    make, loop = CASES[case]
    model = Net(sparse=case == "sparse embedding")
    opts = make(model)
    book = Book(opts)
    with tuimon.attach(model, *opts, run_dir=tmp_path / "run", detail=detail) as monitor:
        loop(model, opts, book, 4)
    if detail == "light":  # measures weights at the first step only
        book.steps = [s if i == 0 else {k: v for k, v in s.items() if k not in ("param_norm", "update_norm")}
                      for i, s in enumerate(book.steps)]
    check(loops.read(monitor.run_dir), book)


@pytest.mark.parametrize("case", [name for name in CASES if name != "an averaged copy"])
def test_training_is_bit_for_bit_what_it_is_without(case: str, tmp_path: Path) -> None:
    make, loop = CASES[case]
    ends = []
    for attached in (False, True):
        torch.manual_seed(7)
        model = Net(sparse=case == "sparse embedding")
        opts = make(model)
        book = Book(opts)
        monitor = tuimon.attach(model, *opts, run_dir=tmp_path / "run", detail="full") if attached else None
        loop(model, opts, book, 4)
        if monitor is not None:
            monitor.close()
        ends.append((book.steps, [p.detach().clone() for p in model.parameters()], torch.random.get_rng_state()))
    (bare, weights, chance), (watched, same, still) = ends
    assert repr(bare) == repr(watched)
    assert all(torch.equal(a, b) for a, b in zip(weights, same, strict=True))
    assert torch.equal(chance, still)
