"""An autopsy is made once, and where it cannot be made the run says why and the gradients tell."""

from __future__ import annotations

import copy
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import training_loops as loops
from autopsy_parts import BAD, Between, Exponential, Net, autopsies, train
from torch import Tensor, nn

import tuimon
from tuimon.instrument import batches, inquest

pytestmark = pytest.mark.usefixtures("one_thread")


def test_it_is_done_once_and_again_only_after_the_run_was_finite(tmp_path: Path) -> None:
    model = Net(nn.Identity())
    clean = copy.deepcopy(model.state_dict())
    opt = torch.optim.SGD(model.parameters(), lr=1e-3)
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run")
    for i in range(1, 41):
        if i in (8, 18, 28, 38):
            model.load_state_dict(clean)
        (loops.loss_of(model, loops.batch(i)) * (torch.nan if i in (5, 15, 25, 35) else 1.0)).backward()
        opt.step()
        opt.zero_grad()
    monitor.close()
    assert [a.step for a in autopsies(monitor.run_dir)] == [5, 15, 25], "three are enough for one run"


def test_a_script_that_ends_at_the_first_nan_is_looked_into_at_its_end(tmp_path: Path) -> None:
    model = Net(nn.Identity())
    opt = torch.optim.AdamW(model.parameters())

    def script() -> None:
        with tuimon.attach(model, opt, run_dir=tmp_path / "run"):
            for i in range(1, BAD + 1):
                loss = loops.loss_of(model, loops.batch(i)) * (torch.nan if i == BAD else 1.0)
                loss.backward()
                opt.step()
                opt.zero_grad()
                if not torch.isfinite(loss):
                    raise ValueError("the loss is not finite")

    with pytest.raises(ValueError, match="not finite"):
        script()
    (found,) = autopsies(tmp_path / "run")
    assert (found.step, found.place) == (BAD, "loss")


@pytest.mark.parametrize("is_wrong", [True, False])
def test_a_script_that_leaves_before_backward_is_looked_into_and_only_a_culprit_is_told(is_wrong: bool, tmp_path: Path) -> None:
    middle = Exponential()
    model = Net(middle)
    opt = torch.optim.AdamW(model.parameters())

    def script() -> None:
        with tuimon.attach(model, opt, run_dir=tmp_path / "run"):
            for i in range(1, BAD + 1):
                middle.is_wrong = is_wrong and i == BAD
                loss = loops.loss_of(model, loops.batch(i))
                if i == BAD:
                    sys.exit("the loss is not finite")
                loss.backward()
                opt.step()
                opt.zero_grad()

    with pytest.raises(SystemExit):
        script()
    found = autopsies(tmp_path / "run")
    assert [(a.step, a.module, a.weights_step) for a in found] == ([(BAD, "middle", BAD - 1)] if is_wrong else [])


def test_gradients_that_are_finite_near_the_output_speak_against_the_loss(tmp_path: Path) -> None:
    """What breaks here leaves no trace that a replay could find: the script has put it right again."""
    model = Net(Between())

    def loss_of(model: nn.Module, tokens: Tensor, i: int) -> Tensor:
        loss = loops.loss_of(model, tokens)
        if i == BAD:
            model.embed.weight.register_hook(lambda g: g * torch.nan)
        return loss

    (found,) = train(model, tmp_path / "run", loss_of=loss_of, steps=BAD + 1)
    assert (found.found_by, found.module) == ("backward order", "embed.weight")
    assert found.notes == ("in a replay with the weights of step 20 that batch is finite",)


def test_a_buffer_that_the_script_reuses_is_not_taken_for_the_batch(tmp_path: Path) -> None:
    model, buffer = Net(nn.Identity()), torch.zeros(loops.BATCH, loops.LENGTH, dtype=torch.long)

    def loss_of(model: nn.Module, tokens: Tensor, i: int) -> Tensor:
        buffer.copy_(tokens)
        return loops.loss_of(model, buffer) * (torch.nan if i == BAD else 1.0)

    (found,) = train(model, tmp_path / "run", loss_of=loss_of)
    assert found.found_by == "backward order"
    assert found.notes[0] == "no replay: the script has written over that batch since"
    assert found.module == "head.bias"


@pytest.mark.parametrize(("limit", "value", "says"), [
    ("batches.LIMIT", 8, "at most 0 MB are kept"),
    ("inquest.SHARE", 0.0, "it takes the weights once more"),
])
def test_what_does_not_fit_is_not_replayed_and_says_so(limit: str, value: Any, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name = limit.split(".")
    monkeypatch.setattr({"batches": batches, "inquest": inquest}[module], name, value)
    (found,) = train(Net(nn.Identity()), tmp_path / "run", loss_of=lambda m, t, i: loops.loss_of(m, t) * (torch.nan if i == BAD else 1.0))
    assert (found.found_by, found.place) == ("backward order", "unknown")
    assert says in found.notes[0]


def test_a_model_that_cannot_be_run_again_is_told_by_its_gradients(tmp_path: Path) -> None:
    class Once(Between):
        def forward(self, x: Tensor) -> Tensor:
            if not torch.is_grad_enabled():
                raise ValueError("not twice")
            return self.inner(x)

    (found,) = train(Net(Once()), tmp_path / "run", loss_of=lambda m, t, i: loops.loss_of(m, t) * (torch.nan if i == BAD else 1.0))
    assert found.place == "unknown"
    assert any("middle raised ValueError: not twice" in note for note in found.notes)


def test_without_checkpoints_nothing_of_the_data_is_written(tmp_path: Path) -> None:
    model = Net(nn.Identity())
    opt = torch.optim.SGD(model.parameters(), lr=0.0)
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run", checkpoints="off")
    for i in range(4):
        (loops.loss_of(model, loops.batch(i)) * (torch.nan if i == 2 else 1.0)).backward()
        opt.zero_grad()
        opt.step()
    monitor.close()
    (found,) = autopsies(monitor.run_dir)
    assert (found.place, found.batch) == ("loss", "")
    assert not (monitor.run_dir / "autopsy").exists()


def test_no_batch_is_kept_longer_than_until_its_row_has_arrived(tmp_path: Path) -> None:
    model = Net(nn.Identity())
    opt = torch.optim.AdamW(model.parameters())
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run")
    held = []
    for i in range(20):
        loops.loss_of(model, loops.batch(i)).backward()
        opt.step()
        opt.zero_grad()
        held.append(len(monitor.probe.outbox.batches._entered))
    assert max(held) <= 2
    last = monitor.probe.outbox.batches
    monitor.close()
    assert not last._entered
