"""What Accelerate prepared is attached as it is: wrapped optimizer and schedule, autocast model, sharded loader."""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

if not importlib.util.find_spec("accelerate"):
    pytest.skip("accelerate is not installed", allow_module_level=True)

import framework_parts as parts
import torch
import training_loops as loops
from training_loops import Book, Net

import tuimon

ACCUMULATE, STEPS, CLIP = 3, 5, 0.05


@pytest.fixture
def accelerate() -> Any:
    """Loaded when a test runs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import accelerate
    return accelerate


def made() -> tuple[Any, Any, Any, Any]:
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 1 / (1 + n))
    data = [loops.batch(i)[0] for i in range(4 * ACCUMULATE * STEPS)]
    loader = torch.utils.data.DataLoader(data, loops.BATCH)  # type: ignore[arg-type]  # a list is a dataset
    return model, optimizer, schedule, loader


def forever(loader: Any) -> Iterator[torch.Tensor]:
    while True:
        yield from loader


def train(accelerator: Any, run: Path | None, *, overflow_at: int = -1, early: bool = False) -> tuple[Book, Any]:
    """A loop as Accelerate's documentation has it, with a book of what is true; `early`: attached before prepare."""
    parts_of_it, monitor = made(), None
    if run is not None and early:
        monitor = tuimon.attach(*parts_of_it[:2], run_dir=run, detail="full")
    model, optimizer, schedule, loader = accelerator.prepare(*parts_of_it)
    if run is not None and not early:
        monitor = tuimon.attach(model, optimizer, scheduler=schedule, dataloader=loader, run_dir=run, detail="full")
    book = Book([optimizer])
    total = 0.0
    for tokens in forever(loader):
        with accelerator.accumulate(model):
            done = len(book.steps)
            loss = loops.loss_of(model, tokens)
            if done == overflow_at:
                loss = loss * torch.tensor(1e38)
            accelerator.backward(loss)
            total += loss.item() / ACCUMULATE
            if accelerator.sync_gradients:
                scale = accelerator.scaler.get_scale() if accelerator.scaler else 1.0
                book.gradients(scale)
                if done == overflow_at:
                    book.now.clear()
                accelerator.clip_grad_norm_(model.parameters(), CLIP)
                if done != overflow_at:
                    book.weights()
            lr = optimizer.param_groups[0]["lr"]
            optimizer.step()
            if accelerator.sync_gradients:
                known = {"loss_scale": scale, "skipped": float(done == overflow_at)} if accelerator.scaler else {}
                book.stepped(loss=total, lr=lr, clipped=CLIP, tokens=ACCUMULATE * loops.BATCH * loops.LENGTH, **known)
                total = 0.0
            schedule.step()
            optimizer.zero_grad()
        if len(book.steps) == STEPS:
            break
    if monitor is not None:
        monitor.close()
    return book, model


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("precision", ["no", "bf16", "scaled"])
def test_a_prepared_loop_is_recorded_as_it_was_and_not_changed(accelerate: Any, precision: str, early: bool, tmp_path: Path) -> None:
    """scaled: Accelerate has no fp16 on a CPU; its own path through a GradScaler is run in full precision."""
    ends = []
    for run in (None, tmp_path / "run"):
        accelerator = accelerate.Accelerator(
            cpu=True, gradient_accumulation_steps=ACCUMULATE, mixed_precision="no" if precision == "scaled" else precision)
        if precision == "scaled":
            accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
        book, model = train(accelerator, run, overflow_at=2 if precision == "scaled" else -1, early=early)
        ends.append((repr(book.steps), parts.weights(model)))
    recorded = loops.read(tmp_path / "run")
    assert recorded.steps == list(range(1, STEPS + 1))
    for step, true in enumerate(book.steps, start=1):
        for name, value in true.items():
            assert recorded.row(step).get(name) == pytest.approx(value, rel=2e-5), f"{name} at {step}"
    assert not math.isnan(recorded.row(STEPS)["update_norm"])
    assert ends[0][0] == ends[1][0]
    assert parts.same(ends[0][1], ends[1][1])


def test_a_checkpoint_knows_that_a_wrapped_schedule_is_still_to_move(accelerate: Any, tmp_path: Path) -> None:
    """At the boundary the loop has not come to schedule.step(): who resumes there must make that call."""
    accelerator = accelerate.Accelerator(cpu=True)
    model, optimizer, schedule, _ = accelerator.prepare(*made())
    with tuimon.attach(model, optimizer, scheduler=schedule, run_dir=tmp_path / "run") as monitor:
        for i in range(4):
            if i == 3:
                parts.tell(monitor, "checkpoint")
            accelerator.backward(loops.loss_of(model, loops.batch(i)))
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
    saved = next(e for e in parts.events(tmp_path / "run", "checkpoint"))
    body = torch.load(tmp_path / "run" / "checkpoints" / saved["id"] / "state.pt", weights_only=True)
    assert (saved["snapshot_step"], body["plain"]["due"]) == (4, [1])
