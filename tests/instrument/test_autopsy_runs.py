"""A real run that comes out non-finite names the first bad module, or what else it was."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
import training_loops as loops
from autopsy_parts import BAD, Attention, Exponential, Net, Root, StdNorm, autopsies, going_wrong, train
from torch import Tensor, nn
from torch.utils.data import DataLoader

import tuimon

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(("make", "place", "phase"), [
    (Exponential, "code", "forward"), (StdNorm, "norm", "forward"), (Attention, "attention", "forward"),
    (Root, "code", "backward"),
])
def test_the_module_that_makes_it_is_named_with_what_went_in_and_what_came_out(make: Any, place: str, phase: str, tmp_path: Path) -> None:
    middle = make()
    (found,) = train(Net(middle), tmp_path / "run", before=going_wrong(middle))
    assert (found.step, found.found_by, found.place, found.phase) == (BAD, "replay", place, phase)
    assert (found.module, found.kind) == ("middle", make.__name__)
    assert found.weights_step is not None
    assert found.weights_step < BAD
    assert found.went_in is not None
    assert found.went_in.is_finite
    assert found.came_out is not None
    assert found.came_out.bad > 0
    assert [s.module for s in found.chain if s.module in ("embed", "middle", "memory")] in (
        ["embed", "middle", "memory"], ["memory", "middle", "embed"])


def nothing_counts(model: nn.Module, tokens: Tensor, i: int) -> Tensor:
    each = nn.functional.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten(), reduction="none")
    counts = torch.full((each.numel(),), float(i != BAD))
    return (each * counts).sum() / counts.sum()


def norm_of_nothing(model: nn.Module, tokens: Tensor, i: int) -> Tensor:
    loss = loops.loss_of(model, tokens)
    return loss + (model(tokens) * 0).abs().sqrt().sum() if i == BAD else loss


@pytest.mark.parametrize(("loss_of", "phase"), [(nothing_counts, "forward"), (norm_of_nothing, "backward")])
def test_where_the_model_is_innocent_it_is_the_loss(loss_of: Any, phase: str, tmp_path: Path) -> None:
    (found,) = train(Net(nn.Identity()), tmp_path / "run", loss_of=loss_of)
    assert (found.step, found.place, found.phase, found.module) == (BAD, "loss", phase, "")


class WithLoss(nn.Module):
    """Takes labels and gives its own loss beside its output, as Hugging Face's models do, or nanoGPT."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net(nn.Identity())

    def forward(self, tokens: Tensor, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
        assert labels is not None
        logits = self.net(tokens)
        return logits, nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())


def test_labels_of_which_none_counts_are_named(tmp_path: Path) -> None:
    def loss_of(model: nn.Module, tokens: Tensor, i: int) -> Tensor:
        return model(tokens, labels=torch.full_like(tokens, -100) if i == BAD else tokens)[1]

    (found,) = train(WithLoss(), tmp_path / "run", loss_of=loss_of)
    assert (found.place, found.module) == ("labels", "labels")


def test_labels_that_only_the_loader_knows_are_looked_at_too(tmp_path: Path) -> None:
    samples = [(loops.batch(i)[0], loops.batch(i)[0] if i // 3 != BAD - 1 else torch.full((loops.LENGTH,), -100))
               for i in range(3 * BAD + 6)]
    model = Net(nn.Identity())
    opt = torch.optim.AdamW(model.parameters())
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run")
    for tokens, labels in DataLoader(samples, batch_size=3):
        loss = nn.functional.cross_entropy(model(tokens).flatten(0, 1), labels.flatten())
        loss.backward()
        opt.step()
        opt.zero_grad()
    monitor.close()
    (found,) = autopsies(monitor.run_dir)
    assert (found.step, found.place, found.module) == (BAD, "labels", "argument 1[1]")
    body = torch.load(monitor.run_dir / found.batch, weights_only=True)
    assert bool((body["loaded"][0][1] == -100).all())


def test_a_batch_that_holds_a_nan_is_named_by_its_argument_and_saved_for_its_owner_alone(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    kept = {}

    def loss_of(model: nn.Module, tokens: Tensor, i: int) -> Tensor:
        x = torch.randn(5, 4, generator=torch.Generator().manual_seed(i))
        if i == BAD:
            x[2, 1] = torch.nan
            kept["x"] = x
        return model(x).square().mean()

    (found,) = train(model, tmp_path / "run", loss_of=loss_of)
    assert (found.place, found.module) == ("batch", "argument 1")
    assert found.went_in is not None
    assert found.went_in.bad == 1
    path = tmp_path / "run" / found.batch
    body = torch.load(path, weights_only=True)
    assert torch.equal(body["args"][0], kept["x"]) is False  # NaN differs from itself
    assert torch.equal(body["args"][0].nan_to_num(9.0), kept["x"].nan_to_num(9.0))
    assert (body["step"], body["training"]) == (BAD, True)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(path.parent).st_mode) == 0o700


def test_of_several_forward_passes_the_bad_one_is_found(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))

    def loss_of(model: nn.Module, tokens: Tensor, i: int) -> Tensor:
        for part in range(3):
            x = torch.ones(5, 4)
            if (i, part) == (BAD, 1):
                x[0] = torch.inf
            loss = model(x).square().mean() / 4
            loss.backward()
        return model(torch.ones(5, 4)).square().mean() / 4

    (found,) = train(model, tmp_path / "run", loss_of=loss_of)
    assert (found.place, found.micro, found.micros) == ("batch", 2, 4)


def test_weights_that_overflow_float16_are_found_with_those_of_now_since_the_step_was_skipped(tmp_path: Path) -> None:
    model = loops.Net()
    opt, scaler = torch.optim.AdamW(model.parameters()), torch.amp.GradScaler("cpu", init_scale=2.0**8)
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run")
    for i in range(1, BAD + 4):
        if i == BAD:
            with torch.no_grad():
                model.head.weight.mul_(1e7)
        with torch.autocast("cpu", torch.float16):
            loss = loops.loss_of(model, loops.batch(i))
        scaler.scale(loss).backward()
        scaler.step(opt)
        scaler.update()
        opt.zero_grad()
    monitor.close()
    (found,) = autopsies(monitor.run_dir)
    assert (found.place, found.module, found.phase) == ("linear", "head", "forward")
    assert found.weights_step == BAD + 1
    assert found.came_out is not None
    assert found.came_out.dtype == "float16"
    assert any("float16 ends at 65,504" in note for note in found.notes)


def test_where_the_weights_are_exactly_those_of_the_step_no_older_ones_are_asked(tmp_path: Path) -> None:
    model = loops.Net()
    opt, scaler = torch.optim.AdamW(model.parameters()), torch.amp.GradScaler("cpu", init_scale=2.0**8)
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run")
    for i in range(1, BAD + 4):
        scaler.scale(loops.loss_of(model, loops.batch(i)) * (torch.nan if i == BAD else 1.0)).backward()
        scaler.step(opt)
        scaler.update()
        opt.zero_grad()
    monitor.close()
    (found,) = autopsies(monitor.run_dir)
    assert (found.place, found.weights_step) == ("loss", BAD + 1)


def test_a_scaler_that_looks_for_its_scale_is_no_case(tmp_path: Path) -> None:
    model = Net(nn.Identity())
    opt, scaler = torch.optim.AdamW(model.parameters()), torch.amp.GradScaler("cpu")
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run")
    for i in range(6):
        scaler.scale(loops.loss_of(model, loops.batch(i)) * (1e38 if i == 3 else 1.0)).backward()
        scaler.step(opt)
        scaler.update()
        opt.zero_grad()
    monitor.close()
    assert not autopsies(monitor.run_dir)


def test_weights_that_went_wrong_gradually_are_not_blamed_on_the_batch(tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 1))
    opt = torch.optim.SGD(model.parameters(), lr=1.0)
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run")
    for i in range(60):
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(i))
        loss = (model(x) - x.sum(1, keepdim=True)).square().mean() * 10
        loss.backward()
        opt.step()
        opt.zero_grad()
    monitor.close()
    (found,) = autopsies(monitor.run_dir)
    assert found.place == "weights"
    assert any("backward order" in note for note in found.notes)


def test_a_compiled_model_is_examined_as_it_was_written_and_stays_compiled(tmp_path: Path) -> None:
    middle = Exponential()
    model = Net(middle)
    model.memory = nn.Identity()  # type: ignore[assignment]  # an LSTM breaks the graph
    run = torch.compile(model, backend="eager")
    opt = torch.optim.AdamW(model.parameters())
    monitor = tuimon.attach(run, opt, run_dir=tmp_path / "run")
    graphs = []
    for i in range(1, 9):
        middle.is_wrong = i >= 4
        run(loops.batch(i)).square().mean().backward()
        opt.step()
        opt.zero_grad()
        graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    monitor.close()
    (found,) = autopsies(monitor.run_dir)
    assert (found.step, found.module, found.kind) == (4, "middle", "Exponential")
    assert graphs[3] == graphs[-1], "looking into it has compiled nothing anew"
