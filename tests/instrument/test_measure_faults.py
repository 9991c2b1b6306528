"""When measuring has switched itself off, the brake still works: steps are counted, commands obeyed, overrides hold."""

from __future__ import annotations

import copy
import json
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import odd_loops as odd
import pytest
import torch
import training_loops as loops
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader
from training_loops import Book, Net

import tuimon
from tuimon.control.commands import Command
from tuimon.control.spool import new_id, submit

pytestmark = pytest.mark.usefixtures("one_thread")
LR = 0.25


class Stubborn(Tensor):
    """A loss of a class of one's own that refuses what measuring does with it, and can be trained on."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.detach:
            raise TypeError("this tensor cannot be detached")
        return super().__torch_function__(func, types, args, kwargs or {})


def at_backward(model: Net, opts: Sequence[Optimizer]) -> None:
    torch.autograd.backward(loops.loss_of(model, loops.batch(0)).as_subclass(Stubborn))
    finish(opts)


def at_step(model: Net, opts: Sequence[Optimizer]) -> None:
    """A vocabulary that grows in the middle of a run: the buffers for its changes do not fit any more."""
    model.embed.weight.data = torch.cat([model.embed.weight.data, torch.zeros(2, 8)])
    train(model, opts)


def train(model: nn.Module, opts: Sequence[Optimizer], i: int = 0) -> None:
    loops.loss_of(model, loops.batch(i)).backward()
    finish(opts)


def finish(opts: Sequence[Optimizer]) -> None:
    for opt in opts:
        opt.step()
        opt.zero_grad()


def one(model: Net) -> list[Optimizer]:
    return [torch.optim.SGD(model.parameters(), lr=LR)]


def fused(model: Net) -> list[Optimizer]:
    return [torch.optim.SGD(model.parameters(), lr=LR, fused=True)]


def several(model: Net) -> list[Optimizer]:
    return [torch.optim.SGD(part.parameters(), lr=LR) for part in (model.embed, model.blocks, model.head)]


def broken(tmp_path: Path, fault: Callable[..., None], make: Callable[..., list[Optimizer]] = one, **options: Any) -> tuple[tuimon.Monitor, Net, list[Optimizer]]:
    """A run whose measuring failed in its third step."""
    model = Net()
    opts = make(model)
    monitor = tuimon.attach(model, *opts, run_dir=tmp_path / "run", detail="full", **options)
    train(model, opts)
    train(model, opts)
    with pytest.warns(RuntimeWarning, match="tuimon has switched off its measure part, training goes on"):
        fault(model, opts)
    return monitor, model, opts


def events(run_dir: Path, kind: str) -> list[dict[str, Any]]:
    whole, _, _ = (run_dir / "events.jsonl").read_text().rpartition("\n")  # the last line may be half written
    found = [json.loads(line) for line in whole.splitlines()]
    return [event for event in found if event["kind"] == kind]


def obeyed(monitor: tuimon.Monitor, once: Callable[[], None], verb: str, **args: Any) -> dict[str, Any]:
    """Ask for something and train until it is answered."""
    command = Command(new_id(), verb, args, issued=time.time())  # type: ignore[arg-type]
    submit(monitor.run_dir / "commands", command)
    until = time.monotonic() + 30
    while True:
        once()
        for event in events(monitor.run_dir, "command"):
            if event["id"] == command.id and event["outcome"] in ("applied", "refused"):
                return event
        assert time.monotonic() < until


def moved_by(model: Net, step: Callable[[], None]) -> tuple[float, float]:
    """How far a step moves the weights, and how long the gradient is that it starts from."""
    twin = copy.deepcopy(model)
    loops.loss_of(twin, loops.batch(0)).backward()
    norm = torch.cat([p.grad.flatten() for p in twin.parameters()]).norm().item()
    step()
    apart = torch.cat([(a - b).flatten() for a, b in zip(model.parameters(), twin.parameters(), strict=True)])
    return apart.detach().norm().item(), norm


@pytest.mark.parametrize("make", [one, several])
@pytest.mark.parametrize("fault", [at_backward, at_step])
def test_every_step_is_still_counted_and_the_reason_is_recorded(fault: Any, make: Any, tmp_path: Path) -> None:
    monitor, model, opts = broken(tmp_path, fault, make)
    assert monitor.probe.step == 3
    for i in range(4):
        train(model, opts, i)
    assert monitor.probe.step == 7
    monitor.close()
    assert [e["part"] for e in events(monitor.run_dir, "fault")] == ["measure"]
    assert loops.read(monitor.run_dir).steps == [1, 2]
    assert not model._forward_pre_hooks
    assert not opts[0]._optimizer_step_pre_hooks


def test_steps_within_backward_are_one_boundary_each_measured_or_not(tmp_path: Path) -> None:
    model = Net()
    opts = odd.each_its_own(model)
    monitor = tuimon.attach(model, *opts, run_dir=tmp_path / "run")
    odd.within_backward(model, opts, Book(opts), 2)
    assert monitor.probe.step == 2
    with pytest.warns(RuntimeWarning, match="measure"):
        at_backward(model, opts)
    odd.within_backward(model, opts, Book(opts), 2)
    assert monitor.probe.step == 5
    monitor._recorder.order("stop", "test")
    with pytest.raises(tuimon.TrainingStopped):
        odd.within_backward(model, opts, Book(opts), 9)
    monitor.close()


@pytest.mark.parametrize("fault", [at_backward, at_step])
def test_commands_are_obeyed_and_what_they_change_is_exact(fault: Any, tmp_path: Path) -> None:
    monitor, model, opts = broken(tmp_path, fault)

    def step() -> None:
        train(model, opts)

    answer = obeyed(monitor, step, "set-lr-scale", scale=0.5)
    assert answer["outcome"] == "applied"
    assert 3 < answer["step"] <= monitor.probe.step
    moved, norm = moved_by(model, step)
    assert moved == pytest.approx(0.5 * LR * norm, rel=1e-4)
    assert opts[0].param_groups[0]["lr"] == LR
    assert obeyed(monitor, step, "set-clip", max_norm=0.01)["outcome"] == "applied"
    moved, _ = moved_by(model, step)
    assert moved == pytest.approx(0.5 * LR * 0.01, rel=1e-3)
    assert obeyed(monitor, step, "undo-overrides")["outcome"] == "applied"
    moved, norm = moved_by(model, step)
    assert moved == pytest.approx(LR * norm, rel=1e-4)
    assert obeyed(monitor, step, "checkpoint")["outcome"] == "applied"
    monitor.close()
    assert [e["outcome"] for e in events(monitor.run_dir, "checkpoint")] == ["saved"]


def test_a_rollback_and_a_rescue_are_possible_still(tmp_path: Path) -> None:
    monitor, model, opts = broken(tmp_path, at_backward)
    initial = monitor._ref().steering._snapshots.steps[0]
    answer = obeyed(monitor, lambda: train(model, opts), "rescue", step=initial, warmup=0)
    assert answer["outcome"] == "applied", answer
    moved, norm = moved_by(model, lambda: train(model, opts))
    assert moved == pytest.approx(0.1 * LR * min(norm, 1.0), rel=1e-3)
    monitor.close()


def test_a_cut_that_was_in_force_holds_through_the_fault_and_closing_gives_the_rate_back(tmp_path: Path) -> None:
    model = Net()
    opts = one(model)
    monitor = tuimon.attach(model, *opts, run_dir=tmp_path / "run")
    train(model, opts)
    monitor.probe.overrides.set(lr_scale=0.1, clip=0.02)
    with pytest.warns(RuntimeWarning, match="measure"):
        moved, _ = moved_by(model, lambda: at_backward(model, opts))
    assert moved == pytest.approx(0.1 * LR * 0.02, rel=1e-3)
    moved, _ = moved_by(model, lambda: train(model, opts))
    assert moved == pytest.approx(0.1 * LR * 0.02, rel=1e-3)
    assert opts[0].param_groups[0]["lr"] == LR
    monitor.close()
    moved, norm = moved_by(model, lambda: train(model, opts))
    assert moved == pytest.approx(LR * norm, rel=1e-4)


def test_the_scripts_own_clipping_takes_the_smaller_limit(tmp_path: Path) -> None:
    monitor, model, opts = broken(tmp_path, at_backward)

    def clipped() -> None:
        loops.loss_of(model, loops.batch(0)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.05)
        finish(opts)

    assert moved_by(model, clipped)[0] == pytest.approx(LR * 0.05, rel=1e-3)
    monitor.probe.overrides.set(clip=0.01)
    assert moved_by(model, clipped)[0] == pytest.approx(LR * 0.01, rel=1e-3)
    monitor.close()


def test_a_closure_is_clipped_at_each_evaluation(tmp_path: Path) -> None:
    monitor, model, opts = broken(tmp_path, at_backward)
    monitor.probe.overrides.set(clip=0.01)

    def closed() -> None:
        def closure() -> Tensor:
            opts[0].zero_grad()
            loss = loops.loss_of(model, loops.batch(0))
            loss.backward()
            return loss

        opts[0].step(closure)

    assert moved_by(model, closed)[0] == pytest.approx(LR * 0.01, rel=1e-3)
    assert monitor.probe.step == 4
    monitor.close()


@pytest.mark.parametrize("make", [one, fused])
def test_steps_that_a_scaler_skips_are_boundaries_too(make: Any, tmp_path: Path) -> None:
    monitor, model, opts = broken(tmp_path, at_backward, make)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    monitor.probe.overrides.set(clip=0.01)
    for i, factor in enumerate((1.0, 1e38, 1.0)):
        def stepped(factor: float = factor) -> None:
            scaler.scale(loops.loss_of(model, loops.batch(0)) * torch.tensor(factor)).backward()
            scaler.step(opts[0])
            scaler.update()
            opts[0].zero_grad()

        moved = moved_by(model, stepped)[0]
        assert moved == pytest.approx(0.0 if factor > 1 else LR * 0.01, rel=1e-3)
        assert monitor.probe.step == 4 + i
    assert monitor.probe.scaler is scaler
    monitor.close()


def test_a_stop_ends_the_data_and_then_the_loop(tmp_path: Path) -> None:
    monitor, model, opts = broken(tmp_path, at_backward)
    data = iter(DataLoader(range(5)))
    next(data)
    monitor._recorder.order("stop", "test")
    train(model, opts)
    assert monitor.should_stop
    assert list(data) == []
    with pytest.raises(tuimon.TrainingStopped):  # noqa: PT012  # any of these may raise it
        for _ in range(4):
            train(model, opts)
    monitor.close()
    assert events(monitor.run_dir, "end")[-1]["state"] == "stopped"


def test_a_run_is_held_and_released(tmp_path: Path) -> None:
    monitor, model, opts = broken(tmp_path, at_backward)
    monitor._recorder.order("hold", "test")
    command = Command(new_id(), "resume", {}, issued=time.time())
    submit(monitor.run_dir / "commands", command)
    train(model, opts)
    monitor.close()
    assert [e["state"] for e in events(monitor.run_dir, "state")] == ["running", "held", "running"]


def test_training_goes_on_bit_for_bit(tmp_path: Path) -> None:
    ends = []
    for attached in (False, True):
        torch.manual_seed(3)
        model = Net()
        opts = one(model)
        monitor = tuimon.attach(model, *opts, run_dir=tmp_path / "run") if attached else None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            at_backward(model, opts)
        for i in range(5):
            train(model, opts, i)
        ends.append(copy.deepcopy(model.state_dict()))
        if monitor is not None:
            monitor.close()
    assert all(torch.equal(a, b) for a, b in zip(ends[0].values(), ends[1].values(), strict=True))
