"""attach says at once, in one line, what cannot work; and what it makes of what can."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import training_loops as loops
from torch import nn
from training_loops import Net

import tuimon
from tuimon.instrument.describe import count, summary
from tuimon.instrument.resume import ResumeInfo
from tuimon.record.events import EventReader
from tuimon.record.liveness import identity
from tuimon.record.rundir import RunDir


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1)


def refused(*given: Any, **options: Any) -> str:
    with pytest.raises(tuimon.AttachError) as caught:
        tuimon.attach(*given, **options)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_what_is_no_model_or_no_optimizer_is_named(tmp_path: Path) -> None:
    model = Net()
    assert "nn.Module, not a dict" in refused({}, sgd(model))
    assert "at least one optimizer" in refused(model)
    assert "not a float" in refused(model, 0.1)
    assert "not None" in refused(model, None)
    assert "no parameters" in refused(nn.ReLU(), sgd(model))


def test_an_optimizer_of_another_model_is_refused() -> None:
    assert "SGD holds no parameter of Net" in refused(Net(), sgd(Net()))


def test_weights_that_are_not_there_yet_are_refused() -> None:
    with torch.device("meta"):
        meta = Net()
    lazy = nn.Sequential(nn.LazyLinear(3))
    assert "embed.weight is on the meta device" in refused(meta, sgd(meta))
    assert "0.weight is lazy" in refused(lazy, torch.optim.SGD([torch.zeros(1, requires_grad=True)]))


def test_one_optimizer_is_attached_once_at_a_time(tmp_path: Path) -> None:
    model = Net()
    opt = sgd(model)
    assert "the same SGD was given twice" in refused(model, opt, opt)
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "a")
    assert "attached already" in refused(model, opt, run_dir=tmp_path / "b")
    monitor.close()
    tuimon.attach(model, opt, run_dir=tmp_path / "c").close()


@pytest.mark.parametrize("wrong", [
    {"on_critical": "panic"}, {"detail": "most"}, {"checkpoints": "sometimes"}, {"total_steps": 0},
    {"tokens_per_step": 1.5}, {"vocab_size": True}, {"resumed": 3},
])
def test_an_unknown_word_or_count_is_refused_by_name(wrong: dict[str, Any]) -> None:
    model = Net()
    (argument, value), = wrong.items()
    text = refused(model, sgd(model), **wrong)
    assert text.startswith(f"{argument} must be ")
    assert repr(value) in text


def test_a_run_directory_that_is_being_written_is_refused_and_taken_when_it_is_free(tmp_path: Path) -> None:
    model, other = Net(), Net()
    opt = sgd(model)
    with tuimon.attach(model, opt, run_dir=tmp_path / "run") as monitor:
        assert "another monitor of this script" in refused(other, sgd(other), run_dir=tmp_path / "run")
    run = RunDir(monitor.run_dir)
    info = run.read_info()
    assert info is not None
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        run.write_info(replace(info, process=identity(child.pid)))
        assert f"process {child.pid}" in refused(other, sgd(other), run_dir=run.path)
        child.kill()
    tuimon.attach(other, sgd(other), run_dir=run.path).close()


def test_a_hold_that_nobody_could_end_is_refused() -> None:
    model = Net()
    assert "needs controls=True" in refused(model, sgd(model), on_critical="hold", controls=False)


def test_a_place_that_cannot_be_written_is_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    model = Net()
    assert "set TUIMON_RUNS or run_dir=" in refused(model, sgd(model), run_dir=tmp_path / "file" / "run")


def test_nothing_is_left_behind_by_a_refusal(tmp_path: Path) -> None:
    model = Net()
    opt = sgd(model)
    before = torch.autograd.backward
    refused(model, opt, run_dir=tmp_path / "run", on_critical="panic")
    assert torch.autograd.backward is before
    assert not (tmp_path / "run").exists()
    assert not opt._optimizer_step_pre_hooks


def test_trainable_tensors_that_no_optimizer_holds_are_named(tmp_path: Path) -> None:
    model = Net()
    opt = torch.optim.SGD(model.embed.parameters(), lr=0.1)
    with pytest.warns(UserWarning, match=r"9 trainable tensors are held by no attached optimizer: blocks\.0\.0\.weight.*4 more"):
        tuimon.attach(model, opt, run_dir=tmp_path / "run").close()
    assert "held by no attached optimizer" in (tmp_path / "run" / "events.jsonl").read_text()


def test_wrapped_optimizers_are_found(tmp_path: Path) -> None:
    class Accelerated:
        def __init__(self, optimizer: torch.optim.Optimizer) -> None:
            self.optimizer = optimizer

    model = Net()
    opt = sgd(model)
    with tuimon.attach(model, Accelerated(opt), run_dir=tmp_path / "run") as monitor:
        loops.loss_of(model, loops.batch(0)).backward()
        opt.step()
    assert loops.read(monitor.run_dir).steps == [1]


def test_the_run_directory_describes_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUIMON_RUNS", str(tmp_path))
    model = Net()
    opt = torch.optim.AdamW(model.parameters(), eps=1e-7)
    with tuimon.attach(model, opt, name="a name / of mine", total_steps=10, vocab_size=17, tokens_per_step=15) as monitor:
        pass
    info = RunDir(monitor.run_dir).read_info()
    assert monitor.run_dir.parent == tmp_path
    assert monitor.run_dir.name.startswith("a-name-of-mine-")
    assert info is not None
    assert (info.name, info.optimizer, info.eps, info.device) == ("a name / of mine", "AdamW", 1e-7, "cpu")
    assert (info.total_steps, info.vocab_size, info.tokens_per_step) == (10, 17, 15)
    assert info.process.pid == os.getpid()
    assert info.versions["torch"] == torch.__version__


def test_another_attempt_counts_on_and_keeps_the_overrides_of_a_rescue(tmp_path: Path) -> None:
    found = ResumeInfo(2, "000001-step-000000002", 1, "", healthy=True, loader=None, extra={}, overrides={
        "lr_scale": 0.1, "clip": 1.0, "warmup_from": None, "warmup_steps": 0})
    for resumed in (None, found):
        model = Net()
        opt = sgd(model)
        with tuimon.attach(model, opt, run_dir=tmp_path / "run", resumed=resumed) as monitor:
            for i in range(2):
                loops.loss_of(model, loops.batch(i)).backward()
                opt.step()
    info = RunDir(tmp_path / "run").read_info()
    assert info is not None
    assert info.attempt == 2
    rows = loops.read(monitor.run_dir)
    assert rows.steps == [1, 2, 3, 4]
    overrides = [e for e in EventReader(RunDir(tmp_path / "run").events).poll() if e.kind == "override"]
    assert [(e.attempt, e.step, e.number("lr_scale"), e.number("clip")) for e in overrides] == [(2, 2, 0.1, 1.0)]
    factors = [rows.row(step)["lr"] / rows.row(step)["lr_scheduled"] for step in rows.steps]
    assert factors == pytest.approx([1.0, 1.0, 0.1, 0.1])


def test_a_model_is_summed_up_in_a_few_words() -> None:
    assert summary(Net()) == "Net 2L 8d 696"
    assert summary(nn.Linear(3, 3)) == "Linear 12"
    assert [count(n) for n in (0, 812, 8120, 212_000, 124_439_808, 6.7e9)] == ["0", "812", "8.1k", "0.2M", "124M", "6.7B"]
