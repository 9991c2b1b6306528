"""What is recorded is what is true, for training loops that know nothing of tuimon."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import odd_loops as odd
import pytest
import torch
import training_loops as loops
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_ as clipped_early
from torch.optim import Optimizer
from training_loops import Book, Loop, Net

import tuimon

Make = Callable[[nn.Module], Sequence[Optimizer]]


pytestmark = pytest.mark.usefixtures("one_thread")
TORCHS_OWN = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The .grad attribute")
"""Compiling loads parts of torch that warn about other parts of torch."""


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


@dataclass(frozen=True)
class Row:
    """One way to train: the optimizers, the loop, the model."""

    make: Make
    loop: Loop | None
    model: Callable[[], nn.Module] = Net
    prepare: Callable[[nn.Module, Sequence[Optimizer]], odd.Prepared] | None = None
    """What the script makes besides, before which or after which attach may stand; it gives the loop."""
    wraps: bool = False
    """Whether it makes a wrapper of the model, which may be attached instead."""
    update: float = 2e-5
    """Relative precision of update_norm: differences of short numbers are rounded."""

    @property
    def orders(self) -> Sequence[str]:
        """Where attach can stand."""
        return () if self.prepare is None else ("before", "after", "to the wrapper") if self.wraps else ("before", "after")


PLAIN = loops.plain
FUSED = using(torch.optim.AdamW, lr=1e-2, fused=True)
SGD = using(torch.optim.SGD, lr=0.1)


def trained(model: nn.Module) -> Sequence[Optimizer]:
    return [torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)]


ROWS: dict[str, Row] = {
    # optimizers
    "plain": Row(adamw, PLAIN),
    "for-loop": Row(using(torch.optim.Adam, lr=1e-2, foreach=False), PLAIN),
    "foreach": Row(using(torch.optim.Adam, lr=1e-2, foreach=True), PLAIN),
    "fused": Row(FUSED, PLAIN),
    "tensor lr": Row(lambda m: [torch.optim.AdamW(m.parameters(), lr=torch.tensor(1e-2))], PLAIN),
    "sgd momentum": Row(using(torch.optim.SGD, lr=0.1, momentum=0.9), PLAIN),
    "rmsprop": Row(using(torch.optim.RMSprop, lr=1e-3), PLAIN),
    "adafactor": Row(using(torch.optim.Adafactor, lr=1e-2), PLAIN),
    "muon and adamw": Row(muon, PLAIN),
    "maximizing": Row(using(torch.optim.SGD, lr=0.01, maximize=True, weight_decay=0.1), PLAIN),
    "one's own optimizer": Row(lambda m: [odd.Sign(m.parameters(), lr=1e-3)], PLAIN),
    "two optimizers": Row(two, PLAIN),
    "a group per tensor": Row(groups, PLAIN),
    "sgd with closure": Row(SGD, loops.with_closure),
    "adam with closure": Row(adamw, loops.with_closure),
    "lbfgs": Row(using(torch.optim.LBFGS, lr=0.5, max_iter=3), loops.with_closure),
    "clip within a closure": Row(adamw, odd.clipped_in_closure),
    "sharpness-aware": Row(lambda m: [odd.Sharpness(m.parameters())], odd.sharpened),
    "steps within backward": Row(odd.each_its_own, odd.within_backward),
    # models
    "sparse embedding": Row(sparse_pair, PLAIN, lambda: Net(sparse=True)),
    "tied weights": Row(adamw, PLAIN, lambda: Net(tied=True)),
    "low-rank adapters": Row(trained, PLAIN, odd.adapted),
    "a frozen layer": Row(adamw, PLAIN, odd.frozen("embed")),
    "a layer thawed later": Row(adamw, odd.thawing, odd.frozen("embed")),
    "a group added later": Row(trained, odd.growing, odd.frozen("head")),
    "bf16 weights": Row(SGD, PLAIN, lambda: Net().bfloat16(), update=5e-3),
    "float64 weights": Row(adamw, PLAIN, lambda: Net().double()),
    "float64 by default": Row(adamw, odd.in_float64(PLAIN), lambda: Net().double()),
    "buffers and dropout": Row(adamw, PLAIN, odd.Stateful),
    "parametrized weights": Row(adamw, PLAIN, odd.normed),
    "checkpointed, reentrant": Row(adamw, PLAIN, lambda: odd.Checkpointed(reentrant=True)),
    "checkpointed": Row(adamw, PLAIN, lambda: odd.Checkpointed(reentrant=False)),
    "an averaged copy": Row(adamw, loops.averaged),
    # zeroing and accumulating
    "zeroed in place": Row(adamw, loops.zeroing_in_place),
    "zeroed between forward and backward": Row(adamw, odd.zeroed_late),
    "accumulate 4, divided": Row(adamw, loops.accumulating(divided=True)),
    "accumulate 4, summed": Row(adamw, loops.accumulating(divided=False)),
    "accumulate, the last group short": Row(adamw, odd.unevenly),
    "accumulate and clip": Row(adamw, loops.accumulating(divided=True, clip=True)),
    # clipping
    "clip, imported early": Row(adamw, loops.clipping(lambda m: clipped_early(m.parameters(), 0.05), clipped=0.05)),
    "clip, by attribute": Row(
        adamw, loops.clipping(lambda m: nn.utils.clip_grad_norm_(m.parameters(), 0.05), clipped=0.05)),
    "clip, for-loop": Row(
        adamw, loops.clipping(lambda m: clipped_early(m.parameters(), 0.05, foreach=False), clipped=0.05)),
    "clip, maximum norm": Row(
        adamw, loops.clipping(lambda m: clipped_early(m.parameters(), 0.05, norm_type=math.inf), clipped=0.05)),
    "clip, part by part": Row(adamw, loops.clipping(thirds, clipped=0.05)),
    "clip, two optimizers": Row(two, loops.clipping(lambda m: clipped_early(m.parameters(), 0.05), clipped=0.05)),
    "clip by value": Row(adamw, loops.by_value),
    # mixed precision
    "bf16 autocast": Row(adamw, loops.on_autocast),
    "scaler": Row(adamw, loops.scaled()),
    "scaler, scaled then divided": Row(adamw, loops.scaled(divided=True)),
    "scaler, unscaled": Row(adamw, loops.scaled(unscale=True)),
    "scaler, unscaled and clipped": Row(adamw, loops.scaled(unscale=True, clip=0.05)),
    "scaler, overflow": Row(adamw, loops.scaled(overflow_at=1)),
    "scaler, unscaled and clipped, overflow": Row(adamw, loops.scaled(unscale=True, clip=0.05, overflow_at=1)),
    "scaler, accumulated and clipped, overflow": Row(adamw, odd.accumulated_and_scaled),
    "scaler, fused": Row(FUSED, loops.scaled()),
    "scaler, fused, clipped": Row(FUSED, loops.scaled(unscale=True, clip=0.05)),
    "scaler, fused, overflow": Row(FUSED, loops.scaled(overflow_at=1)),
    "scaler, fused, accumulated and clipped, overflow": Row(FUSED, odd.accumulated_and_scaled),
    "scaler, two optimizers": Row(two, loops.scaled()),
    "scaler, two optimizers, overflow": Row(two, loops.scaled(overflow_at=1)),
    "scaler switched off": Row(adamw, odd.disabled_scaler),
    "a scaler per optimizer": Row(two, odd.double_scaler),
    # roots
    "loss in float64": Row(adamw, odd.in_double),
    "backward twice through one graph": Row(adamw, odd.twice_backward),
    "several roots at once": Row(adamw, odd.several_roots),
    "a backward per task": Row(adamw, odd.several_tasks),
    "autograd.grad": Row(adamw, odd.with_autograd_grad),
    "functional gradients": Row(adamw, odd.functional_gradients),
    "functional forward": Row(adamw, odd.functional_forward),
    "a backward for something else between": Row(adamw, odd.adversarial),
    "evaluation between": Row(adamw, odd.validating),
    "hooks that change gradients": Row(adamw, odd.with_hooks),
    "two steps per backward": Row(adamw, odd.stepping_twice),
    "steps without a backward": Row(adamw, odd.without_backward),
    # where attach stands
    "a scheduler": Row(adamw, None, prepare=odd.scheduled),
    "a scaler": Row(adamw, None, prepare=odd.scaled_from_outside),
    "another group": Row(trained, None, odd.frozen("head"), prepare=odd.grown_beforehand),
    "a loaded checkpoint": Row(adamw, None, prepare=odd.loaded),
    "DataParallel": Row(adamw, None, prepare=odd.parallel, wraps=True),
    "a compiled model": Row(adamw, None, prepare=odd.compiled_model, wraps=True),
    "a compiled optimizer step": Row(adamw, None, prepare=odd.compiled_step),
    "a step compiled whole": Row(adamw, None, prepare=odd.compiled_whole),
}
PLACES = [pytest.param(name, order, id=" / ".join(filter(None, (name, order))))
          for name, row in ROWS.items() for order in row.orders or ("",)]


def check(recorded: loops.Recorded, book: Book, update: float = 2e-5) -> None:
    """Every number that the book knows is in the log, and is that; what it says was not measured is not there."""
    assert recorded.steps == list(range(1, len(book.steps) + 1))
    for step, true in enumerate(book.steps, start=1):
        row = recorded.row(step)
        for name, value in true.items():
            precision = update if name == "update_norm" else 2e-5
            wanted = None if value is None else pytest.approx(value, rel=precision, abs=1e-9, nan_ok=True)
            assert row.get(name) == wanted, f"{name} at step {step}"


def trained_once(row: Row, order: str | None, folder: Path, detail: str = "full") -> tuple[Book, list[Any], Path]:
    """A run of a row, watched unless `order` is None: its book, everything it left, where it was recorded."""
    torch.manual_seed(7)
    model = row.model()
    opts = row.make(model)
    book = Book(opts)
    monitor, called, loop = None, model, row.loop
    if order in ("before", ""):
        monitor = tuimon.attach(model, *opts, run_dir=folder, detail=detail)
    if row.prepare is not None:
        called, loop = row.prepare(model, opts)
    if order in ("after", "to the wrapper"):
        monitor = tuimon.attach(model if order == "after" else called, *opts, run_dir=folder, detail=detail)
    assert loop is not None
    loop(called, opts, book, 4)
    left = [t.clone() for t in model.state_dict().values()]
    left += [v for o in opts for s in o.state.values() for v in s.values() if isinstance(v, Tensor)]
    if monitor is not None:
        assert monitor.probe.unmeasured is None, "measuring failed"
        monitor.close()
    return book, [*left, torch.random.get_rng_state()], folder


@TORCHS_OWN
@pytest.mark.parametrize(("name", "order"), PLACES)
def test_each_loop_is_recorded_as_it_was_and_trains_bit_for_bit_as_it_does_alone(name: str, order: str, tmp_path: Path) -> None:
    row = ROWS[name]
    bare, weights, _ = trained_once(row, None, tmp_path)
    book, same, folder = trained_once(row, order, tmp_path / "run")
    assert repr(bare.steps) == repr(book.steps)
    assert len(weights) == len(same)
    assert all(torch.equal(a, b) for a, b in zip(weights, same, strict=True))
    check(loops.read(folder), book, row.update)


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row.prepare is None])
def test_where_little_is_measured_that_is_as_right(name: str, tmp_path: Path) -> None:
    """Norms that clipping computes are used as they are then, and weights are measured at the first step only."""
    book, _, folder = trained_once(ROWS[name], "", tmp_path / "run", detail="light")
    book.steps = [s if i == 0 else {k: v for k, v in s.items() if k not in ("param_norm", "update_norm")}
                  for i, s in enumerate(book.steps)]
    check(loops.read(folder), book, ROWS[name].update)
