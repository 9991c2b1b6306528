"""How many of the weights a step changes: counted where updates round away, and told."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import training_loops as loops
from test_cost_guards import ALL, NORMS, Loop, ops_of
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer
from training_loops import Net

import tuimon
from tuimon.diagnosis.judging import judge
from tuimon.diagnosis.model import Diagnosis
from tuimon.formats.read import read

pytestmark = pytest.mark.usefixtures("one_thread")

BF16, F16 = torch.bfloat16, torch.float16
LOSS: Callable[[nn.Module, Tensor], Tensor] = loops.loss_of


def step_all(model: nn.Module, opts: Sequence[Optimizer], i: int, loss_of: Callable[[nn.Module, Tensor], Tensor] = LOSS) -> None:
    for opt in opts:
        opt.zero_grad()
    loss_of(model, loops.batch(i)).backward()
    for opt in opts:
        opt.step()


def by_hand(
    model: nn.Module, opts: Sequence[Optimizer], names: str, run_dir: Path, steps: int = 4, **settings: Any
) -> tuple[dict[int, float], list[float]]:
    """What was logged per step, and the share that was seen to change of the parameters whose name matches."""
    mine = [p for n, p in model.named_parameters() if re.match(names, n)]
    true = []
    with tuimon.attach(model, *opts, run_dir=run_dir, detail="full"):
        for i in range(steps):
            before = [p.detach().clone() for p in mine]
            step_all(model, opts, i, **settings)
            moved = sum(int((a != b).sum()) for a, b in zip(before, mine, strict=True))
            true.append(moved / sum(p.numel() for p in mine))
    return loops.read(run_dir).columns.get("changed", {}), true


def one(model: nn.Module) -> list[Optimizer]:
    return [AdamW(model.parameters(), lr=2e-4, eps=1e-6)]


def two(model: nn.Module) -> list[Optimizer]:
    assert isinstance(model, Net)
    rest = [p for p in model.parameters() if p is not model.head.weight]
    return [SGD(rest, lr=1e-2, momentum=0.9), AdamW([model.head.weight], lr=2e-4, eps=1e-6)]


def fused(model: nn.Module) -> list[Optimizer]:
    return [AdamW(model.parameters(), lr=2e-4, eps=1e-6, fused=True)]


def one_by_one(model: nn.Module) -> list[Optimizer]:
    return [AdamW(model.parameters(), lr=2e-4, eps=1e-6, foreach=False)]


@pytest.mark.parametrize("dtype", [BF16, F16])
@pytest.mark.parametrize("optimizers", [one, two, fused, one_by_one])
def test_the_share_is_that_of_the_elements_that_differ_after_the_step_without_the_embedding(
    optimizers: Callable[[nn.Module], list[Optimizer]], dtype: torch.dtype, tmp_path: Path
) -> None:
    model = Net().to(dtype)
    logged, true = by_hand(model, optimizers(model), "blocks|head", tmp_path / "run")
    assert [logged[n] for n in (1, 2, 3, 4)] == pytest.approx(true, rel=1e-6)
    assert 0 < min(true) < 0.9, "otherwise nothing is shown"


def test_an_embedding_that_the_output_layer_shares_counts_as_all_its_rows_have_gradients(tmp_path: Path) -> None:
    model = Net(tied=True).to(BF16)
    logged, true = by_hand(model, one(model), "", tmp_path / "run")
    assert [logged[n] for n in (1, 2, 3, 4)] == pytest.approx(true, rel=1e-6)


def test_of_a_model_of_both_widths_only_what_is_in_half_precision_counts(tmp_path: Path) -> None:
    model = Net()
    model.blocks.to(BF16)

    def loss_of(model: nn.Module, tokens: Tensor) -> Tensor:
        assert isinstance(model, Net)
        x = model.embed(tokens)
        for block in model.blocks:
            x = x + block(x.to(BF16)).float()
        return nn.functional.cross_entropy(model.head(x).flatten(0, 1), tokens.flatten())

    logged, true = by_hand(model, one(model), "blocks", tmp_path / "run", loss_of=loss_of)
    assert [logged[n] for n in (1, 2, 3, 4)] == pytest.approx(true, rel=1e-6)


def test_what_has_no_gradient_or_no_learning_rate_is_not_expected_to_change(tmp_path: Path) -> None:
    model = Net().to(BF16)
    first, second = model.blocks[0].parameters(), list(model.blocks[1].parameters())
    opt = SGD([{"params": first}, {"params": second, "lr": 0.0}, {"params": model.head.parameters()}], lr=1e-2)
    model.head.weight.requires_grad_(False)
    logged, true = by_hand(model, [opt], "blocks.0", tmp_path / "run")
    assert [logged[n] for n in (1, 2, 3, 4)] == pytest.approx(true, rel=1e-6)
    assert 0 < min(true) < 1


class Kahan(SGD):
    """Adds to each weight what was lost of the updates before."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        assert closure is None
        for p in self.param_groups[0]["params"]:
            lost = self.state[p].setdefault("lost", torch.zeros_like(p))
            if p.grad is not None:
                lost.sub_(self.param_groups[0]["lr"] * p.grad)
                before = p.clone()
                p.add_(lost)
                lost.sub_(p - before)


class Autocast(Net):
    """Weights in float32, arithmetic in bfloat16."""

    def forward(self, tokens: Tensor) -> Tensor:
        with torch.autocast("cpu", BF16):
            return super().forward(tokens)


@pytest.mark.parametrize(("model", "optimizer"), [
    (Net(), AdamW), (Net().double(), AdamW), (Autocast(), AdamW), (Net().to(BF16), Kahan),
])
def test_nothing_is_counted_in_float32_nor_where_the_optimizer_may_keep_what_is_lost(
    model: nn.Module, optimizer: type[Optimizer], tmp_path: Path
) -> None:
    logged, _ = by_hand(model, [optimizer(model.parameters(), lr=1e-4)], "", tmp_path / "run")  # type: ignore[call-arg]
    assert logged == {}
    assert {"update_norm", "param_norm"} <= loops.read(tmp_path / "run").row(2).keys()


@pytest.mark.parametrize("on_device", [False, True])
def test_a_skipped_step_changes_nothing_by_intention_and_is_not_counted(on_device: bool, tmp_path: Path) -> None:
    """A fused optimizer skips by itself, on the device; else the GradScaler does not call it."""
    model = Net().to(BF16)
    opt, scaler = Adam(model.parameters(), lr=1e-3, fused=on_device), torch.amp.GradScaler("cpu", init_scale=8.0)
    with tuimon.attach(model, opt, run_dir=tmp_path / "run", detail="full"):
        for i in range(4):
            opt.zero_grad()
            scaler.scale(loops.loss_of(model, loops.batch(i))).backward()
            if i == 2:
                model.head.weight.grad[0, 0] = torch.inf
            scaler.step(opt)
            scaler.update()
    columns = loops.read(tmp_path / "run").columns
    assert columns["skipped"] == {1: 0.0, 2: 0.0, 3: 1.0, 4: 0.0}
    assert set(columns["changed"]) == {1, 2, 4}


def test_a_share_of_some_of_the_optimizers_is_none_of_the_model(tmp_path: Path) -> None:
    model = Net().to(BF16)
    first, second = two(model)
    with tuimon.attach(model, first, second, run_dir=tmp_path / "run", detail="full"):
        for i in range(6):
            step_all(model, [first, second] if i % 2 else [second], i)
    columns = loops.read(tmp_path / "run").columns
    assert columns["changed"].keys() == columns["update_norm"].keys()


@pytest.mark.parametrize("optimizers", [one, fused])
def test_counting_changes_no_loss_and_no_weight_by_a_bit(
    optimizers: Callable[[nn.Module], list[Optimizer]], tmp_path: Path
) -> None:
    ends = []
    for watched in (False, True):
        torch.manual_seed(3)
        model = Net().to(BF16)
        (opt,) = optimizers(model)
        monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run", detail="full") if watched else None
        losses = loops.train(model, opt, 12)
        if monitor is not None:
            monitor.close()
        ends.append((losses, [p.detach().clone() for p in model.parameters()]))
    assert ends[0][0] == ends[1][0]
    assert all(torch.equal(a, b) for a, b in zip(ends[0][1], ends[1][1], strict=True))
    assert len(loops.read(tmp_path / "run").columns["changed"]) == 12


class HalfLoop(Loop):
    def __init__(self, layers: int = 2) -> None:
        super().__init__(layers)
        self.model.to(BF16)
        self.opt = AdamW(self.model.parameters(), lr=1e-3)


def test_counting_adds_one_kernel_and_one_norm_and_reads_nothing_back(tmp_path: Path) -> None:
    bare, full = ops_of(HalfLoop, 2, None, ""), ops_of(HalfLoop, 2, tmp_path / "full", "full")
    for b, ops in zip(bare, full, strict=True):
        assert ops.kernels - b.kernels == ALL + Counter(NORMS) + Counter({"_foreach_sign_": 1})
        assert ops.reads == b.reads


def told_of(lr: float, dtype: torch.dtype, run_dir: Path) -> Diagnosis:
    model = Net().to(dtype)
    opt = AdamW(model.parameters(), lr=lr, eps=1e-6)
    with tuimon.attach(model, opt, run_dir=run_dir, detail="full"):
        loops.train(model, opt, 20)
    reading = read(run_dir)
    return judge(reading.chunks, reading.context)


def test_a_training_in_bfloat16_whose_steps_round_away_is_told_so_first(tmp_path: Path) -> None:
    leading = told_of(1e-5, BF16, tmp_path / "run").leading
    assert leading is not None
    assert (leading.rule, leading.severity, leading.onset_step) == ("low-precision-stagnation", "critical", 1)
    assert leading.evidence[0].metric == "changed"
    assert 0 < leading.evidence[0].value < 0.02


def test_neither_a_rate_that_bfloat16_resolves_nor_one_in_float32_is_told_of(tmp_path: Path) -> None:
    fit, wide = told_of(1e-3, BF16, tmp_path / "fit"), told_of(1e-5, torch.float32, tmp_path / "wide")
    assert not fit.incidents
    assert not wide.incidents
    needs = {n.rule: n.needs for n in wide.not_evaluated}
    assert needs["low-precision-stagnation"] == ("weights in bfloat16 or float16",)
    assert "low-precision-stagnation" not in {n.rule for n in fit.not_evaluated}
