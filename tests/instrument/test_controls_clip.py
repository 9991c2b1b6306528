"""A clip limit that is put in force holds for the L2 norm of everything the attached optimizers use, in every loop."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import training_loops as loops
from control_parts import Viewer
from test_measure_loops import ROWS, TORCHS_OWN, check, two
from torch import Tensor, nn
from torch.optim import Optimizer
from training_loops import Book, Net

import tuimon

pytestmark = pytest.mark.usefixtures("one_thread")
LIMIT = 0.01
ELSEWHERE = ("closure", "overflow", "lbfgs", "sharpness", "later", "copy", "short", "twice", "within", "two steps",
             "without", "switched off", "float64", "functional", "autograd", "hooks")
"""Rows with a test of their own below, or whose steps have no gradients of one backward."""
PLAIN = [name for name, row in ROWS.items() if row.prepare is None and not any(word in name for word in ELSEWHERE)]


class Used:
    """The gradients that each update really uses, unscaled: of all optimizers together."""

    def __init__(self, opts: Sequence[Optimizer]) -> None:
        self.last, self.found, self.squares = len(opts) - 1, [], 0.0
        for k, opt in enumerate(opts):
            opt.register_step_pre_hook(lambda o, *_, k=k: self.seen(o, k))

    def seen(self, opt: Any, k: int) -> None:
        scale = getattr(opt, "grad_scale", None)
        for group in opt.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    grad = p.grad.detach().to_dense().double() / (1.0 if scale is None else float(scale))
                    self.squares += grad.square().sum().item()
        if k == self.last:
            self.found.append(math.sqrt(self.squares))
            self.squares = 0.0


@contextmanager
def clipped(model: nn.Module, opts: Sequence[Optimizer], run_dir: Path, limit: float = LIMIT) -> Iterator[tuimon.Monitor]:
    """Attached, with a limit in force."""
    with tuimon.attach(model, *opts, run_dir=run_dir, detail="full") as monitor:
        monitor.probe.overrides.set(clip=limit)
        yield monitor


@TORCHS_OWN
@pytest.mark.parametrize("case", PLAIN)
def test_the_limit_holds_and_the_norm_before_it_is_still_recorded(case: str, tmp_path: Path) -> None:
    row = ROWS[case]
    assert row.loop is not None
    torch.manual_seed(7)
    model = row.model()
    opts, loop = row.make(model), row.loop
    book = Book(opts)
    with tuimon.attach(model, *opts, run_dir=tmp_path / "run", detail="full") as monitor:
        viewer = Viewer(monitor)
        viewer.ask("set-clip", max_norm=LIMIT)
        loop(model, opts, book, 1)
        used = Used(opts)
        loop(model, opts, book, 3)
    recorded = loops.read(monitor.run_dir)
    for known in book.steps:
        known.pop("clipped", None)
    check(recorded, book, row.update)
    precision = 2e-2 if "bf16 w" in case else 2e-3
    known = used.found[1:] if case == "a scaler per optimizer" else used.found  # each call of this loop makes new ones
    assert known == pytest.approx([LIMIT] * len(known), rel=precision)
    assert len(used.found) == 3
    assert [recorded.row(n)["clipped"] for n in range(2, 5)] == [LIMIT] * 3


def test_optimizers_that_step_within_backward_are_clipped_one_by_one(tmp_path: Path) -> None:
    row = ROWS["steps within backward"]
    model = Net()
    opts = row.make(model)
    with clipped(model, opts, tmp_path / "run"):
        norms: list[float] = []
        for opt in opts:
            opt.register_step_pre_hook(lambda o, *_: norms.append(o.param_groups[0]["params"][0].grad.norm().item()))
        assert row.loop is not None
        row.loop(model, opts, Book(opts), 2)
    assert len(norms) == 2 * len(opts)
    assert all(norm <= LIMIT * 1.001 for norm in norms)


@pytest.mark.parametrize("script", [None, math.inf, 1.0, 0.003])
@pytest.mark.parametrize("check_finite", [False, True])
def test_the_tighter_limit_holds_whatever_the_script_asks_for(
    script: float | None, check_finite: bool, tmp_path: Path
) -> None:
    model = Net()
    opts = two(model)
    with clipped(model, opts, tmp_path / "run") as monitor:
        used = Used(opts)
        for i in range(2):
            loops.loss_of(model, loops.batch(i)).backward()
            if script is not None:
                nn.utils.clip_grad_norm_(model.parameters(), script, error_if_nonfinite=check_finite)
            for opt in opts:
                opt.step()
                opt.zero_grad()
    effective = min(LIMIT, script or math.inf)
    assert used.found == pytest.approx([effective] * 2, rel=2e-3)
    assert loops.read(monitor.run_dir).row(2)["clipped"] == effective


def test_a_limit_that_the_script_keeps_as_a_tensor_is_lowered_never_raised(tmp_path: Path) -> None:
    for script in (1.0, 0.003):
        model = Net()
        opts = two(model)
        with clipped(model, opts, tmp_path / f"{script}"):
            used = Used(opts)
            loops.loss_of(model, loops.batch(0)).backward()
            nn.utils.clip_grad_norm_(model.parameters(), torch.tensor(script))
            for opt in opts:
                opt.step()
        assert used.found == pytest.approx([min(LIMIT, script)], rel=2e-3)


def test_a_script_that_checks_for_infinite_norms_still_gets_its_error(tmp_path: Path) -> None:
    model, opt = loops.pair()
    with clipped(model, [opt], tmp_path / "run"):
        (loops.loss_of(model, loops.batch(0)) * math.inf).backward()
        with pytest.raises(RuntimeError, match="non-finite"):
            nn.utils.clip_grad_norm_(model.parameters(), 1.0, error_if_nonfinite=True)


def test_one_norm_over_all_optimizers_is_what_a_script_would_clip_by(tmp_path: Path) -> None:
    ends = []
    for ours in (False, True):
        torch.manual_seed(1)
        model = Net()
        opts = two(model)
        with tuimon.attach(model, *opts, run_dir=tmp_path / str(ours)) as monitor:
            if ours:
                monitor.probe.overrides.set(clip=0.05)
            for i in range(3):
                loops.loss_of(model, loops.batch(i)).backward()
                if not ours:
                    nn.utils.clip_grad_norm_([p for o in opts for g in o.param_groups for p in g["params"]], 0.05)
                for opt in opts:
                    opt.step()
                    opt.zero_grad()
        ends.append([p.detach().clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_gradients_that_come_between_two_optimizers_are_clipped_as_well(tmp_path: Path) -> None:
    """Each part of a model with a loss of its own, one after the other."""
    model = Net()
    opts = two(model)
    with clipped(model, opts, tmp_path / "run"):
        loops.loss_of(model, loops.batch(0)).backward()
        opts[0].step()
        loops.loss_of(model, loops.batch(1)).backward()
        seen = []
        opts[1].register_step_pre_hook(lambda *_: seen.append(model.head.weight.grad.norm().item()))
        opts[1].step()
    assert seen[0] <= LIMIT * 1.001


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_an_optimizer_that_the_scaler_skips_does_not_spoil_the_one_that_steps(
    bad: float, fused: bool, tmp_path: Path
) -> None:
    model = Net()
    head = list(model.head.parameters())
    rest = [p for p in model.parameters() if p is not head[0]]
    opts = [torch.optim.SGD(rest, lr=0.1, fused=fused), torch.optim.SGD(head, lr=0.1, fused=fused)]
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with clipped(model, opts, tmp_path / "run"):
        scaler.scale(loops.loss_of(model, loops.batch(0))).backward()
        head[0].grad[0, 0] = bad
        before = [p.detach().clone() for p in rest], head[0].detach().clone()
        for opt in opts:
            scaler.step(opt)
        scaler.update()
    moved = math.sqrt(sum((p.detach() - b).double().square().sum().item() for p, b in zip(rest, before[0], strict=True)))
    assert moved == pytest.approx(0.1 * LIMIT, rel=1e-3)
    assert torch.equal(head[0].detach(), before[1])


@pytest.mark.parametrize("custom", [False, True])
def test_every_evaluation_of_a_closure_is_clipped(custom: bool, tmp_path: Path) -> None:
    model = Net()
    opt = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=4)
    norms: list[float] = []

    def norm() -> float:
        return math.sqrt(sum(p.grad.double().square().sum().item() for p in model.parameters()))

    def closure() -> Tensor:
        if model.head.weight.grad is not None:
            norms.append(norm())
        opt.zero_grad()
        loss = loops.loss_of(model, loops.batch(0))
        if custom:
            for p, g in zip(model.parameters(), torch.autograd.grad(loss, list(model.parameters())), strict=True):
                p.grad = g
        else:
            loss.backward()
        return loss

    with clipped(model, [opt], tmp_path / "run"):
        opt.step(closure)
        norms.append(norm())
    assert len(norms) >= 3
    assert norms == pytest.approx([LIMIT] * len(norms), rel=2e-3)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_limit_holds_for_a_compiled_model_and_step(tmp_path: Path) -> None:
    torch._dynamo.reset()
    net = Net()
    model = torch.compile(net, backend="aot_eager")
    opt = torch.optim.SGD(model.parameters(), lr=0.5, foreach=False)
    step = torch.compile(opt.step, backend="eager")
    with clipped(model, [opt], tmp_path / "run"):
        for i in range(3):
            before = [p.detach().clone() for p in net.parameters()]
            loops.loss_of(model, loops.batch(i)).backward()
            step()
            opt.zero_grad()
            moved = sum((p.detach() - b).double().square().sum().item() for p, b in zip(net.parameters(), before, strict=True))
            assert math.sqrt(moved) == pytest.approx(0.5 * LIMIT, rel=2e-3)
    torch._dynamo.reset()
