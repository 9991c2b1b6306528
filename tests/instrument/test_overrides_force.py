"""Overrides change exactly what they say, on every step, and are undone to the bit."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import training_loops as loops
from torch.optim import Optimizer
from torch.optim import lr_scheduler as schedules
from training_loops import Net

import tuimon
from tuimon.errors import UsageError
from tuimon.instrument.overrides import Overrides

pytestmark = pytest.mark.usefixtures("one_thread")


class Manual:
    """nanoGPT's way: writes every group's lr at every step."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer, self.n = optimizer, 0

    def step(self) -> None:
        self.n += 1
        for group in self.optimizer.param_groups:
            group["lr"] = 1e-2 / (1 + self.n)


SCHEDULES: dict[str, Callable[[Optimizer], Any]] = {
    "none": lambda o: None,
    "manual": Manual,
    "lambda": lambda o: schedules.LambdaLR(o, lambda n: 1 / (1 + n)),
    "one cycle": lambda o: schedules.OneCycleLR(o, 1e-2, total_steps=20, cycle_momentum=False),
    "cosine": lambda o: schedules.CosineAnnealingLR(o, 20),
    "restarts": lambda o: schedules.CosineAnnealingWarmRestarts(o, 4),
    "step": lambda o: schedules.StepLR(o, 2),
    "sequential": lambda o: schedules.SequentialLR(
        o, [schedules.LinearLR(o, 0.1, total_iters=3), schedules.ExponentialLR(o, 0.9)], [3]),
}


def run(schedule: str, tmp_path: Path, *, tensor: bool, act: Callable[[int, Any], None]) -> tuple[Any, list[float]]:
    """12 steps; `act` is called before each with the overrides in hand."""
    model = Net()
    opt = torch.optim.SGD(model.parameters(), lr=torch.tensor(1e-2) if tensor else 1e-2)
    scheduler = SCHEDULES[schedule](opt)
    seen = []
    with tuimon.attach(model, opt, run_dir=tmp_path / f"{schedule}{tensor}{act.__name__}") as monitor:
        for i in range(12):
            act(i, monitor.probe.overrides)
            seen.append(float(opt.param_groups[0]["lr"]))
            loops.loss_of(model, loops.batch(i)).backward()
            opt.step()
            if scheduler is not None:
                scheduler.step()
            opt.zero_grad()
    return loops.read(monitor.run_dir), seen


@pytest.mark.parametrize("tensor", [False, True])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_cut_holds_on_every_step_and_the_schedule_never_knows(schedule: str, tensor: bool, tmp_path: Path) -> None:
    def nothing(i: int, overrides: Overrides) -> None:
        pass

    def cut(i: int, overrides: Overrides) -> None:
        if i == 3:
            overrides.set(lr_scale=0.1)
        if i == 9:
            overrides.undo()

    bare, schedule_alone = run(schedule, tmp_path, tensor=tensor, act=nothing)
    recorded, seen = run(schedule, tmp_path, tensor=tensor, act=cut)
    assert seen == schedule_alone
    for step in range(1, 13):
        scale = 0.1 if 4 <= step <= 9 else 1.0
        assert recorded.columns["lr_scheduled"][step] == seen[step - 1]
        assert recorded.columns["lr"][step] == pytest.approx(scale * seen[step - 1], rel=1e-6)
    assert bare.columns["lr"] == bare.columns["lr_scheduled"]


def test_the_weights_move_by_the_cut_rate(tmp_path: Path) -> None:
    model = Net()
    opt = torch.optim.SGD(model.parameters(), lr=0.5)
    with tuimon.attach(model, opt, run_dir=tmp_path / "run") as monitor:
        monitor.probe.overrides.set(lr_scale=0.25)
        before = model.head.weight.detach().clone()
        loops.loss_of(model, loops.batch(0)).backward()
        opt.step()
        assert torch.equal(model.head.weight.detach(), before - 0.125 * model.head.weight.grad)
        assert opt.param_groups[0]["lr"] == 0.5


def test_a_warm_up_rises_linearly_from_its_first_step_to_all_of_it() -> None:
    overrides = Overrides()
    overrides.set(lr_scale=0.5, warmup_from=100, warmup_steps=4)
    assert [overrides.factor(n) for n in range(99, 107)] == pytest.approx(
        [0.125, 0.125, 0.125, 0.25, 0.375, 0.5, 0.5, 0.5])


def test_a_step_that_raises_leaves_no_cut_behind(tmp_path: Path) -> None:
    model = Net()
    opt = torch.optim.SGD(model.parameters(), lr=0.5)
    with tuimon.attach(model, opt, run_dir=tmp_path / "run") as monitor:
        monitor.probe.overrides.set(lr_scale=0.25)

        def broken() -> float:
            raise ValueError("the script's own")

        with pytest.raises(ValueError, match="the script's own"):
            opt.step(broken)
        loops.loss_of(model, loops.batch(0)).backward()
        opt.step()
        assert opt.param_groups[0]["lr"] == 0.5
    assert loops.read(monitor.run_dir).row(1)["lr"] == 0.125


def norm(model: Net) -> float:
    return math.sqrt(sum(p.grad.double().square().sum().item() for p in model.parameters()))


@pytest.mark.parametrize(("script", "override", "effective"), [(None, 0.05, 0.05), (1.0, 0.05, 0.05), (0.01, 0.05, 0.01)])
def test_the_tighter_of_the_scripts_limit_and_ours_holds(
    script: float | None, override: float, effective: float, tmp_path: Path
) -> None:
    model = Net()
    opt = torch.optim.SGD(model.parameters(), lr=0.5)
    with tuimon.attach(model, opt, run_dir=tmp_path / "run") as monitor:
        monitor.probe.overrides.set(clip=override)
        loops.loss_of(model, loops.batch(0)).backward()
        true = norm(model)
        if script is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), script)
        opt.step()
        assert norm(model) == pytest.approx(effective, rel=1e-3)
    row = loops.read(monitor.run_dir).row(1)
    assert row["grad_norm"] == pytest.approx(true, rel=1e-5)
    assert row["clipped"] == effective


def test_our_clipping_is_torchs_to_the_bit(tmp_path: Path) -> None:
    ends = []
    for ours in (False, True):
        torch.manual_seed(1)
        model = Net()
        opt = torch.optim.AdamW(model.parameters(), lr=1e-2)
        with tuimon.attach(model, opt, run_dir=tmp_path / str(ours)) as monitor:
            if ours:
                monitor.probe.overrides.set(clip=0.05)
            for i in range(3):
                loops.loss_of(model, loops.batch(i)).backward()
                if not ours:
                    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05)
                opt.step()
                opt.zero_grad()
        ends.append([p.detach().clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


@pytest.mark.parametrize("fused", [False, True])
def test_clipping_under_a_scaler_is_of_the_unscaled_gradients(fused: bool, tmp_path: Path) -> None:
    ends = []
    for ours in (False, True):
        torch.manual_seed(1)
        model = Net()
        opt = torch.optim.SGD(model.parameters(), lr=0.5, fused=fused)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        with tuimon.attach(model, opt, run_dir=tmp_path / f"{ours}") as monitor:
            if ours:
                monitor.probe.overrides.set(clip=0.05)
            for i in range(3):
                scaler.scale(loops.loss_of(model, loops.batch(i))).backward()
                if not ours:
                    scaler.unscale_(opt)
                    torch.nn.utils.clip_grad_norm_(model.parameters(), 0.05)
                scaler.step(opt)
                scaler.update()
                opt.zero_grad()
        ends.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.allclose(*ends, rtol=1e-5, atol=1e-7)


def test_clipping_a_closures_gradients_happens_at_every_evaluation(tmp_path: Path) -> None:
    model = Net()
    opt = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)
    norms = []
    with tuimon.attach(model, opt, run_dir=tmp_path / "run") as monitor:
        monitor.probe.overrides.set(clip=0.01)

        def closure() -> torch.Tensor:
            if norms or model.head.weight.grad is not None:
                norms.append(norm(model))
            opt.zero_grad()
            loss = loops.loss_of(model, loops.batch(0))
            loss.backward()
            return loss

        opt.step(closure)
        norms.append(norm(model))
    assert norms == pytest.approx([0.01] * len(norms), rel=1e-2)
    assert len(norms) >= 2


@pytest.mark.parametrize("wrong", [{"lr_scale": 0.0}, {"lr_scale": math.nan}, {"clip": -1.0}, {"clip": math.inf},
                                   {"warmup_steps": -1}])
def test_nonsense_is_refused_and_changes_nothing(wrong: dict[str, float]) -> None:
    overrides = Overrides()
    overrides.set(lr_scale=0.5, clip=2.0)
    with pytest.raises(UsageError):
        overrides.set(**wrong)  # type: ignore[arg-type]
    assert (overrides.lr_scale, overrides.clip) == (0.5, 2.0)


def test_what_is_in_force_survives_being_saved() -> None:
    overrides, other = Overrides(), Overrides()
    overrides.set(lr_scale=0.1, clip=1.0, warmup_from=40, warmup_steps=10)
    other.load(overrides.state())
    assert other.in_force == overrides.in_force
