"""A cut learning rate is exact on every step under every schedule, and undoing it is exact to the bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import training_loops as loops
from control_parts import Viewer
from torch import Tensor
from torch.optim import Optimizer
from torch.optim import lr_scheduler as schedules
from training_loops import Net

import tuimon

pytestmark = pytest.mark.usefixtures("one_thread")
STEPS = 13


class Manual:
    """A schedule by hand: what each group's rate becomes, from what it is."""

    def __init__(self, optimizer: Optimizer, becomes: Callable[[Any, int], Any]) -> None:
        self.optimizer, self.becomes, self.n = optimizer, becomes, 0

    def step(self) -> None:
        self.n += 1
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].copy_(torch.as_tensor(self.becomes(group["lr"], self.n)))
            else:
                group["lr"] = self.becomes(group["lr"], self.n)


def warm_then_cosine(n: int) -> float:
    """What transformers' get_cosine_schedule_with_warmup gives LambdaLR."""
    import math

    return n / 3 if n < 3 else max(0.0, 0.5 * (1.0 + math.cos(math.pi * (n - 3) / (STEPS - 3))))


SCHEDULES: dict[str, Callable[[Optimizer], Any]] = {
    "none": lambda o: None,
    "written by hand": lambda o: Manual(o, lambda lr, n: 1e-2 / (1 + n)),
    "read and multiplied by hand": lambda o: Manual(o, lambda lr, n: lr * 0.9),
    "lambda": lambda o: schedules.LambdaLR(o, [lambda n: 1 / (1 + n), lambda n: 0.5 ** n]),
    "warm-up and cosine of transformers": lambda o: schedules.LambdaLR(o, warm_then_cosine),
    "multiplicative": lambda o: schedules.MultiplicativeLR(o, lambda n: 0.95),
    "one cycle": lambda o: schedules.OneCycleLR(o, [1e-2, 3e-3], total_steps=30),
    "cyclic": lambda o: schedules.CyclicLR(o, 1e-3, 1e-2, step_size_up=3),
    "restarts": lambda o: schedules.CosineAnnealingWarmRestarts(o, 4),
    "plateau": lambda o: schedules.ReduceLROnPlateau(o, factor=0.5, patience=1),
    "step": lambda o: schedules.StepLR(o, 2),
    "multi-step": lambda o: schedules.MultiStepLR(o, [3, 8]),
    "cosine": lambda o: schedules.CosineAnnealingLR(o, 20),
    "exponential": lambda o: schedules.ExponentialLR(o, 0.9),
    "polynomial": lambda o: schedules.PolynomialLR(o, 20),
    "sequential": lambda o: schedules.SequentialLR(
        o, [schedules.LinearLR(o, 0.1, total_iters=3), schedules.ExponentialLR(o, 0.9)], [3]),
    "chained": lambda o: schedules.ChainedScheduler([schedules.ConstantLR(o, 0.5, 4), schedules.ExponentialLR(o, 0.9)]),
}


class Run:
    """Some steps with two groups; what each group's rate was before, in and after the step."""

    def __init__(self, schedule: str, *, tensor: bool, first: bool = False, kind: str = "sgd") -> None:
        torch.manual_seed(3)
        self.model = Net()
        head = list(self.model.head.parameters())
        rest = [p for p in self.model.parameters() if p is not head[0]]
        rate: Callable[[float], Any] = torch.tensor if tensor else float
        groups = [{"params": rest, "lr": rate(1e-2)}, {"params": head, "lr": rate(3e-3)}]
        self.opt = torch.optim.SGD(groups, lr=1e-2, momentum=0.9) if kind == "sgd" else torch.optim.AdamW(
            groups, lr=rate(1e-2))
        self.schedule, self.first = SCHEDULES[schedule](self.opt), first
        self.written: list[list[float]] = []
        self.used: list[list[float]] = []

    def watch(self) -> None:
        """From here on, note what each step really uses; hooks run in the order they were registered."""
        self.opt.register_step_pre_hook(lambda *_: self.used.append(self.rates()))

    def rates(self) -> list[float]:
        return [float(g["lr"]) for g in self.opt.param_groups]

    def momenta(self) -> list[Any]:
        return [g.get("momentum", g.get("betas")) for g in self.opt.param_groups]

    def tick(self, i: int) -> None:
        if self.schedule is not None:
            plateau = isinstance(self.schedule, schedules.ReduceLROnPlateau)
            self.schedule.step(*([1.0 + i // 3] if plateau else []))

    def step(self, i: int) -> None:
        loops.loss_of(self.model, loops.batch(i)).backward()
        if self.first and i:
            self.tick(i)
        self.written.append(self.rates() + self.momenta())
        self.opt.step()
        assert self.rates() + self.momenta() == self.written[-1]
        if not self.first:
            self.tick(i)
        self.opt.zero_grad()


def factor(step: int) -> float:
    """Rescued after step 3 with a warm-up of three steps, 0.5 after step 7, undone after step 10."""
    if step <= 3 or step > 10:
        return 1.0
    return 0.1 * min(1.0, (step - 3) / 3) if step <= 7 else 0.5


@pytest.mark.filterwarnings("ignore:Detected call of:UserWarning")
@pytest.mark.parametrize(("first", "kind"), [(False, "sgd"), (True, "adamw, tensor")])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_rescue_cuts_every_step_under_every_schedule_and_is_undone_to_the_bit(
    schedule: str, first: bool, kind: str, tmp_path: Path
) -> None:
    options = {"tensor": kind != "sgd", "first": first, "kind": kind}
    alone, cut = Run(schedule, **options), Run(schedule, **options)
    for i in range(STEPS):
        alone.step(i)
    with tuimon.attach(cut.model, cut.opt, run_dir=tmp_path / "run") as monitor:
        cut.watch()
        viewer = Viewer(monitor)
        for i in range(STEPS):
            if i == 2:
                viewer.ask("rescue", warmup=3)
            if i == 6:
                viewer.ask("set-lr-scale", scale=0.5)
            if i == 9:
                viewer.ask("undo-overrides")
            cut.step(i)
    assert cut.written == alone.written
    single = [torch.tensor(w[:2]) * factor(n) for n, w in enumerate(cut.written, start=1)]
    exact = [[lr * factor(n) for lr in w[:2]] for n, w in enumerate(cut.written, start=1)]
    assert cut.used == ([t.tolist() for t in single] if kind != "sgd" else exact)
    recorded = loops.read(monitor.run_dir)
    assert [recorded.columns["lr"][n] for n in range(1, STEPS + 1)] == pytest.approx([u[0] for u in cut.used], rel=1e-6)
    assert [recorded.columns["lr_scheduled"][n] for n in range(1, STEPS + 1)] == [w[0] for w in cut.written]


def attached(model: Net, opt: Optimizer, tmp_path: Path, scale: float = 0.25) -> tuimon.Monitor:
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run")
    monitor.probe.overrides.set(lr_scale=scale)
    return monitor


def test_groups_that_share_one_tensor_are_cut_once(tmp_path: Path) -> None:
    model, lr = Net(), torch.tensor(0.5)
    opt = torch.optim.SGD([{"params": [p], "lr": lr} for p in model.parameters()], lr=0.5)
    for group in opt.param_groups:
        group["lr"] = lr
    with attached(model, opt, tmp_path):
        before = model.head.weight.detach().clone()
        loops.loss_of(model, loops.batch(0)).backward()
        opt.step()
        assert torch.equal(model.head.weight.detach(), before - 0.125 * model.head.weight.grad)
        assert lr.item() == 0.5


@pytest.mark.parametrize("tensor", [False, True])
@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_a_schedule_inside_the_training_closure_is_cut_as_well_and_kept(kind: str, tensor: bool, tmp_path: Path) -> None:
    model = Net()
    lr: Any = torch.tensor(0.5) if tensor else 0.5
    opt = (torch.optim.SGD if kind == "sgd" else torch.optim.Adam)(model.parameters(), lr=lr)
    decay = schedules.ExponentialLR(opt, 0.5)
    used = []
    with attached(model, opt, tmp_path) as monitor:
        for i in range(3):
            def closure(i: int = i) -> Tensor:
                opt.zero_grad()
                loss = loops.loss_of(model, loops.batch(i))
                loss.backward()
                if i:
                    decay.step()
                assert float(opt.param_groups[0]["lr"]) == 0.5 ** (1 + i)
                return loss

            before = model.head.weight.detach().clone()
            opt.step(closure)
            used.append((before - model.head.weight.detach(), model.head.weight.grad.clone()))
            assert float(opt.param_groups[0]["lr"]) == 0.5 ** (1 + i)
        monitor.probe.overrides.undo()
    if kind == "sgd":
        for i, (moved, grad) in enumerate(used):
            assert torch.allclose(moved, 0.25 * 0.5 ** (1 + i) * grad, rtol=1e-3, atol=1e-6)


def test_lbfgs_takes_the_cut_rate_and_gets_its_own_back(tmp_path: Path) -> None:
    ends = []
    for scale in (1.0, 0.25):
        torch.manual_seed(0)
        model = Net()
        opt = torch.optim.LBFGS(model.parameters(), lr=0.4 if scale == 1.0 else 1.6, max_iter=3)
        with tuimon.attach(model, opt, run_dir=tmp_path / f"{scale}") as monitor:
            monitor.probe.overrides.set(lr_scale=scale)
            for i in range(3):
                def closure(i: int = i, model: Net = model, opt: Optimizer = opt) -> Tensor:
                    opt.zero_grad()
                    loss = loops.loss_of(model, loops.batch(i))
                    loss.backward()
                    return loss

                opt.step(closure)
            assert opt.param_groups[0]["lr"] == (0.4 if scale == 1.0 else 1.6)
        ends.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(*ends)


@pytest.mark.parametrize("tensor", [False, True])
def test_what_is_written_while_a_step_is_under_way_stands(tensor: bool, tmp_path: Path) -> None:
    """Some step their schedule in a hook of the optimizer, registered before tuimon's."""
    model = Net()
    opt = torch.optim.SGD(model.parameters(), lr=torch.tensor(1e-2) if tensor else 1e-2)
    schedule = schedules.LambdaLR(opt, lambda n: 1 / (1 + n))
    opt.register_step_post_hook(lambda *_: schedule.step())
    with attached(model, opt, tmp_path):
        for i in range(4):
            loops.loss_of(model, loops.batch(i)).backward()
            opt.step()
            opt.zero_grad()
            assert float(opt.param_groups[0]["lr"]) == pytest.approx(1e-2 / (2 + i))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("compiled", ["step", "whole"])
def test_a_compiled_step_takes_the_cut_rate(compiled: str, tmp_path: Path) -> None:
    torch._dynamo.reset()
    model = Net()
    opt = torch.optim.SGD(model.parameters(), lr=0.5, foreach=False)
    with attached(model, opt, tmp_path) as monitor:
        def whole(i: int) -> None:
            loops.loss_of(model, loops.batch(i)).backward()
            opt.step()

        step = torch.compile(opt.step, backend="eager")
        update = torch.compile(whole, backend="eager")
        for i, scale in enumerate([0.25, 0.125, 1.0]):
            monitor.probe.overrides.set(lr_scale=scale)
            before = model.head.weight.detach().clone()
            opt.zero_grad()
            if compiled == "whole":
                update(i)
            else:
                loops.loss_of(model, loops.batch(i)).backward()
                step()
            assert torch.allclose(before - model.head.weight.detach(), 0.5 * scale * model.head.weight.grad,
                                  rtol=1e-3, atol=1e-7)
            assert opt.param_groups[0]["lr"] == 0.5
    torch._dynamo.reset()
