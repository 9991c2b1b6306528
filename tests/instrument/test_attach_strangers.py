"""What goes on beside an attached run is none of its business: other threads, odd batches, optimizers that rest."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
import training_loops as loops
from torch import nn
from training_loops import Net, pair, train

import tuimon


def test_a_thread_that_trains_something_else_is_not_counted_and_harms_nothing(tmp_path: Path) -> None:
    model, opt = pair()
    done = threading.Event()
    other = nn.Linear(4, 1)

    def elsewhere() -> None:
        while not done.is_set():
            other(torch.full((2, 4), 1e6)).sum().backward()
            other.zero_grad()

    with tuimon.attach(model, opt, run_dir=tmp_path / "run") as monitor:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        losses = train(model, opt, 150)
        done.set()
        thread.join()
        assert monitor.probe.step == 150
    column = loops.read(tmp_path / "run").columns["loss"]
    assert [column[n] for n in range(1, 151)] == pytest.approx(losses, rel=1e-5)


class Table:
    """As a DataFrame has them: values that are no method, and a get."""

    values = property(lambda self: [1, 2])

    def get(self, key: str, default: Any = None) -> Any:
        return default


def test_a_batch_of_any_kind_passes(tmp_path: Path) -> None:
    model, opt = pair()
    with tuimon.attach(model, opt, run_dir=tmp_path / "run"):
        loader = torch.utils.data.DataLoader(range(4), batch_size=2, collate_fn=lambda items: Table())
        assert [type(batch) for batch in loader] == [Table, Table]
        train(model, opt, 2)


class Reads(nn.Module):
    """Takes anything; its loss is of its own weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))

    def forward(self, *_: Any, **__: Any) -> torch.Tensor:
        return self.weight.square().sum()


@pytest.mark.parametrize(("args", "kwargs", "tokens"), [
    ((torch.zeros(2, 7, dtype=torch.int64),), {}, 14.0),
    ((), {"attention_mask": torch.ones(2, 9, dtype=torch.int64), "input_ids": torch.zeros(2, 9, dtype=torch.int64)}, 18.0),
    ((torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64)), {}, None),                     # a diffusion's time steps
    ((torch.zeros(5, 3), torch.zeros(2, 30, dtype=torch.int64)), {}, None),                 # a graph's edges
    ((), {"pixel_values": torch.zeros(2, 3), "labels": torch.zeros(2, 2, dtype=torch.int64)}, None),
], ids=["tokens", "named", "time steps", "edges", "pixels"])
def test_only_what_are_tokens_count_as_tokens(args: Any, kwargs: Any, tokens: float | None, tmp_path: Path) -> None:
    model = Reads()
    opt = torch.optim.SGD(model.parameters(), 0.1)
    with tuimon.attach(model, opt, run_dir=tmp_path / "run"):
        for _ in range(2):
            model(*args, **kwargs).backward()
            opt.step()
            opt.zero_grad()
    assert loops.read(tmp_path / "run").row(2).get("tokens") == tokens


def test_checkpointing_a_whole_model_counts_its_tokens_once(tmp_path: Path) -> None:
    from torch.utils.checkpoint import checkpoint

    model = Net()
    opt = torch.optim.SGD(model.parameters(), 0.1)
    with tuimon.attach(model, opt, run_dir=tmp_path / "run"):
        for i in range(2):
            tokens = loops.batch(i)
            logits = checkpoint(model, tokens, use_reentrant=False)
            nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten()).backward()
            opt.step()
            opt.zero_grad()
    assert loops.read(tmp_path / "run").row(2)["tokens"] == loops.BATCH * loops.LENGTH


def test_an_optimizer_that_never_steps_is_not_waited_for_and_one_that_begins_to_is(tmp_path: Path) -> None:
    model = nn.ModuleList([Net(), Net()])
    now, later = (torch.optim.SGD(part.parameters(), 0.1) for part in model)
    with tuimon.attach(model, now, later, run_dir=tmp_path / "run") as monitor:
        train(model[0], now, 30)
        counted = monitor.probe.step
        assert 20 <= counted < 30
        for i in range(5):
            (loops.loss_of(model[0], loops.batch(i)) + loops.loss_of(model[1], loops.batch(i))).backward()
            now.step()
            later.step()
            now.zero_grad()
            later.zero_grad()
        assert monitor.probe.step in (counted + 5, counted + 6)


def test_ctrl_c_within_a_backward_of_ours_does_not_end_the_counting(tmp_path: Path) -> None:
    model, opt = pair()
    with tuimon.attach(model, opt, run_dir=tmp_path / "run") as monitor:
        train(model, opt, 3)
        monitor.probe._window._depth += 1  # as an interrupt between the beginning and the end of one leaves it
        train(model, opt, 3, first=3)
        assert monitor.probe.step == 6
    assert set(loops.read(tmp_path / "run").columns["loss"]) == set(range(1, 7))


def test_a_rate_is_noted_before_it_is_cut_so_that_an_interrupt_cannot_leave_it_cut() -> None:
    from tuimon.instrument.overrides import Overrides

    class Interrupts(dict):
        def __setitem__(self, key: Any, value: Any) -> None:
            super().__setitem__(key, value)
            if key == "lr" and value == 0.1:
                raise KeyboardInterrupt

    parameter = nn.Parameter(torch.zeros(1))
    opt = torch.optim.SGD([parameter], lr=1.0)
    opt.param_groups[0] = Interrupts(opt.param_groups[0])
    overrides = Overrides()
    overrides.set(lr_scale=0.1)
    with pytest.raises(KeyboardInterrupt):
        overrides.scale_lr(0, opt, 1)
    overrides.restore_all()
    assert opt.param_groups[0]["lr"] == 1.0


def test_attach_works_where_warnings_are_errors_and_says_what_is_not_trained_in_the_run(tmp_path: Path) -> None:
    model = Net()
    opt = torch.optim.SGD(model.head.parameters(), 0.1)
    with tuimon.attach(model, opt, run_dir=tmp_path / "run") as monitor:
        train(model, opt, 1)
        assert monitor.probe.step == 1
    assert "held by no attached optimizer" in (tmp_path / "run" / "events.jsonl").read_text()


def test_a_cell_that_attaches_again_after_a_stop_goes_on(tmp_path: Path) -> None:
    model, opt = pair()
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "one")
    train(model, opt, 1)
    monitor._ref().steering._ladder.stop()
    assert monitor.should_stop
    with tuimon.attach(model, opt, run_dir=tmp_path / "two") as again:
        assert all(map(math.isfinite, train(model, opt, 5)))
        assert again.probe.step == 5
