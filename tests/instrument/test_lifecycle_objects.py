"""What scripts do with their objects while attached: copies, files, loading, moving, replacing. Numbers stay true."""

from __future__ import annotations

import copy
import io
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
import training_loops as loops
from torch import nn
from training_loops import Book, Net, pair

import tuimon

pytestmark = pytest.mark.usefixtures("one_thread")

Between = Callable[[Net, torch.optim.Optimizer], None]


def check(run_dir: Path, book: Book, rel: float = 2e-5) -> None:
    recorded = loops.read(run_dir)
    assert recorded.steps == list(range(1, len(book.steps) + 1))
    for number, true in enumerate(book.steps, start=1):
        row = recorded.row(number)
        for name in {"loss", "grad_norm", "param_norm", "update_norm"} & true.keys():
            assert row[name] == pytest.approx(true[name], rel=rel), (number, name)


def pickled(model: Net, opt: torch.optim.Optimizer) -> None:
    pickle.loads(pickle.dumps(opt))
    copy.deepcopy(opt).step()


def own_checkpoint(model: Net, opt: torch.optim.Optimizer) -> None:
    """As scripts resume: save, load, go on."""
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "opt": opt.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    model.load_state_dict(saved["model"])
    opt.load_state_dict(saved["opt"])


def refilled(model: Net, opt: torch.optim.Optimizer) -> None:
    opt.param_groups.clear()
    opt.add_param_group({"params": list(model.head.parameters())})
    opt.add_param_group({"params": [*model.embed.parameters(), *model.blocks.parameters()], "lr": 1e-3})


def to_double(model: Net, opt: torch.optim.Optimizer) -> None:
    model.double()
    opt.state.clear()


def to_half(model: Net, opt: torch.optim.Optimizer) -> None:
    model.to(torch.bfloat16)
    opt.state.clear()


def assigned(model: Net, opt: torch.optim.Optimizer) -> None:
    """New parameters in the model, and the optimizer told of them: seen at its step, so that one loss stays unknown."""
    model.load_state_dict({k: v.clone() for k, v in model.state_dict().items()}, assign=True)
    opt.state.clear()
    opt.param_groups[0]["params"] = list(model.parameters())


@pytest.mark.parametrize("between", [pickled, own_checkpoint, refilled, to_double, to_half, assigned])
def test_whatever_a_script_does_to_its_objects_between_two_steps_the_numbers_stay_true(
    between: Between, tmp_path: Path
) -> None:
    model, opt = pair()
    book = Book([opt])
    with tuimon.attach(model, opt, run_dir=tmp_path / "run", detail="full") as monitor:
        loops.plain(model, [opt], book, 3)
        between(model, opt)
        loops.plain(model, [opt], book, 3)
    if between is assigned:
        assert "loss" not in loops.read(monitor.run_dir).row(4)
        del book.steps[3]["loss"]
    check(monitor.run_dir, book, rel=2e-2 if between is to_half else 2e-5)


def test_an_optimizer_left_with_parameters_that_the_model_has_not_any_more_is_said(tmp_path: Path) -> None:
    model, opt = pair()
    with tuimon.attach(model, opt, run_dir=tmp_path / "run"):
        loops.plain(model, [opt], Book([opt]), 2)
        model.load_state_dict({k: v.clone() for k, v in model.state_dict().items()}, assign=True)
        loops.loss_of(model, loops.batch(0)).backward()
        opt.step()
        with pytest.warns(RuntimeWarning, match=r"Net has other parameters .*load_state_dict\(assign=True\)"):
            opt.step()
        opt.step()  # where warnings are errors: it is said once
    assert "does not change the model" in (tmp_path / "run" / "events.jsonl").read_text()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_copy_counts_nothing_and_can_be_attached_itself(when: str, tmp_path: Path) -> None:
    model, opt = pair()
    ema = copy.deepcopy(model) if when == "before" else None
    with tuimon.attach(model, opt, run_dir=tmp_path / "run", detail="full") as monitor:
        ema = ema or copy.deepcopy(model)
        own = torch.optim.SGD(ema.parameters(), lr=0.1)
        mine, others = Book([opt]), Book([own])
        with tuimon.attach(ema, own, run_dir=tmp_path / "ema", detail="full"):
            for i in range(3):
                for net, optimizer, book in ((model, opt, mine), (ema, own, others)):
                    loops.plain(net, [optimizer], book, 1)
                with torch.no_grad():
                    for slow, fast in zip(ema.parameters(), model.parameters(), strict=True):
                        slow.lerp_(fast, 0.1 * i)
    check(monitor.run_dir, mine)
    assert loops.read(monitor.run_dir).columns["tokens"] == dict.fromkeys((1, 2, 3), 15.0)
    recorded = loops.read(tmp_path / "ema")
    assert recorded.columns["tokens"] == dict.fromkeys((1, 2, 3), 15.0)
    assert [recorded.columns["loss"][n] for n in (1, 2, 3)] == pytest.approx([s["loss"] for s in others.steps])


def test_a_saved_model_and_optimizer_load_where_tuimon_is_not_installed(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))
    opt = torch.optim.AdamW(model.parameters())
    with tuimon.attach(model, opt, run_dir=tmp_path / "run"):
        model(torch.ones(2, 3)).sum().backward()
        opt.step()
        torch.save({"model": model, "opt": opt, "ema": copy.deepcopy(model)}, tmp_path / "all.pt")
    code = """
import sys
sys.modules["tuimon"] = None
import torch
torch.set_num_threads(1)
found = torch.load(sys.argv[1], weights_only=False)
for model in (found["model"], found["ema"]):
    model(torch.ones(2, 3)).sum().backward()
found["opt"].step()
print("trained")
"""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-I", "-c", code, str(tmp_path / "all.pt")], env=env, cwd=tmp_path,
                          capture_output=True, text=True, timeout=100, check=False)
    assert done.stdout == "trained\n", done.stderr


def test_an_error_in_a_hook_of_the_scripts_own_passes_and_costs_one_row_at_most(tmp_path: Path) -> None:
    model, opt = pair()
    angry = [False]

    def hook(*_: Any) -> None:
        if angry[0]:
            raise ValueError("mine")

    handles = [opt.register_step_pre_hook(hook)]
    with tuimon.attach(model, opt, run_dir=tmp_path / "run"):
        handles += [opt.register_step_pre_hook(hook), opt.register_step_post_hook(hook),
                    model.register_forward_hook(hook), model.head.weight.register_hook(hook)]
        for i in range(8):
            angry[0] = i in (2, 5)
            with pytest.raises(ValueError, match="mine") if angry[0] else nullcontext():
                loops.loss_of(model, loops.batch(i)).backward()
                opt.step()
            opt.zero_grad()
    recorded = loops.read(tmp_path / "run")
    assert recorded.steps == [1, 2, 3, 4, 5, 6]
    assert "fault" not in (tmp_path / "run" / "events.jsonl").read_text()


def test_closing_within_a_hook_of_the_optimizer_raises_nothing(tmp_path: Path) -> None:
    model, opt = pair()
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run")
    for _ in range(2):  # a second one, so that torch has not come to the end of them
        opt.register_step_post_hook(lambda *_: monitor.close())
    loops.plain(model, [opt], Book([opt]), 3)
    assert loops.read(tmp_path / "run").steps == [1]


def test_ctrl_c_while_closing_still_ends_the_run(tmp_path: Path) -> None:
    model, opt = pair()
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run")
    loops.plain(model, [opt], Book([opt]), 3)
    attached = monitor._ref()

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    attached.probe.outbox.flush = interrupt  # Ctrl+C arrives at that moment
    with pytest.raises(KeyboardInterrupt):
        monitor.close()
    monitor.close()
    assert (tmp_path / "run" / "events.jsonl").read_text().count('"kind": "end"') == 1
    assert not opt._optimizer_step_pre_hooks
