"""attach says at once, in one line, what cannot work; and what it makes of what can."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import training_loops as loops
from torch import nn
from torch._subclasses import FakeTensorMode
from training_loops import Net

import tuimon
from tuimon.instrument.describe import count, summary, vocabulary
from tuimon.instrument.overrides import InForce
from tuimon.instrument.patches import PATCHES
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
    assert "must be an instance: Net(...), not the class" in refused(Net, sgd(model))
    assert "the model comes first, and this is a SGD" in refused(sgd(model), model)
    assert "SGD(...), not the class" in refused(model, torch.optim.SGD)
    assert "one by one" in refused(model, [sgd(model)])
    assert "nn.Module, not a generator" in refused(model.parameters(), sgd(model))


def test_an_optimizer_that_has_no_hooks_is_refused() -> None:
    class Duck:
        param_groups: tuple[Any, ...] = ()

        def step(self) -> None: ...

    class Unmade(torch.optim.Optimizer):
        def __init__(self, params: Any) -> None:
            self.param_groups = [{"params": list(params)}]

    model = Net()
    assert "torch optimizers after the model, not a Duck" in refused(model, Duck())
    assert "Unmade cannot be watched: its __init__ never calls torch.optim.Optimizer's" in refused(
        model, Unmade(model.parameters()))


def test_a_scheduler_a_scaler_or_a_loader_of_the_wrong_kind_is_named() -> None:
    model = Net()
    opt, schedule = sgd(model), torch.optim.lr_scheduler.ConstantLR
    assert "scheduler must be a learning rate scheduler, or several, not a SGD" in refused(model, opt, scheduler=opt)
    assert "not the class ConstantLR" in refused(model, opt, scheduler=[schedule(opt), schedule])
    assert "ConstantLR schedules another optimizer" in refused(model, opt, scheduler=schedule(sgd(Net())))
    assert "scaler must be a torch.amp.GradScaler, or None, not a float" in refused(model, opt, scaler=2.0)
    assert "not the class GradScaler" in refused(model, opt, scaler=torch.amp.GradScaler)
    assert "dataloader must be the loader that the loop reads from, or None, not a int" in refused(model, opt, dataloader=3)
    assert "not a Net" in refused(model, opt, dataloader=model)
    assert "name must be a text, or None, not 3" in refused(model, opt, name=3)
    assert "run_dir must be a path, or None, not 3" in refused(model, opt, run_dir=3)


def test_parts_of_the_right_kind_are_taken(tmp_path: Path) -> None:
    model = Net()
    opt = sgd(model)
    schedulers = [torch.optim.lr_scheduler.ConstantLR(opt), torch.optim.lr_scheduler.ReduceLROnPlateau(opt)]
    tuimon.attach(model, opt, scheduler=schedulers, scaler=torch.amp.GradScaler("cpu"), dataloader=[1, 2],
                  run_dir=tmp_path / "run").close()


def test_an_optimizer_of_another_model_is_refused() -> None:
    assert "SGD holds no parameter of Net" in refused(Net(), sgd(Net()))


def test_weights_that_are_not_there_yet_are_refused() -> None:
    with torch.device("meta"):
        meta = Net()
    lazy = nn.Sequential(nn.LazyLinear(3))
    assert "embed.weight is on the meta device" in refused(meta, sgd(meta))
    assert "0.weight is lazy" in refused(lazy, torch.optim.SGD([torch.zeros(1, requires_grad=True)]))
    with FakeTensorMode():
        fake = Net()
    assert "embed.weight is fake" in refused(fake, sgd(fake))


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


class Closed(torch.optim.SGD):
    """An optimizer that lets nobody watch it: found out only when everything else stands."""

    def register_step_post_hook(self, hook: Any) -> Any:
        raise PermissionError("no hooks here")


def left_behind(model: nn.Module, opt: torch.optim.Optimizer, folder: Path, there: list[threading.Thread]) -> list[Any]:
    """What a refusal could leave. `there`: threads of before, of another test's."""
    return [patch.name for patch in PATCHES if getattr(patch.place(), patch.name).__module__.startswith("tuimon")] + [
        *opt._optimizer_step_pre_hooks.values(), *opt._optimizer_step_post_hooks.values(),
        *model._forward_pre_hooks.values(), *folder.iterdir(),
        *(t for t in threading.enumerate() if t.name.startswith("tuimon") and t not in there)]


@pytest.mark.parametrize("wrong", [
    {"on_critical": "panic"}, {"scheduler": 3}, {"scaler": 3}, {"dataloader": 3}, {"name": 3}, {"resumed": 3},
    {"total_steps": -1}, {"kind": Closed},
], ids=str)
def test_nothing_is_left_behind_by_a_refusal(wrong: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUIMON_RUNS", str(tmp_path))
    model, options, there = Net(), dict(wrong), threading.enumerate()
    opt = options.pop("kind", torch.optim.SGD)(model.parameters(), lr=0.1)
    for where in ({}, {"run_dir": tmp_path / "run"}):
        text = refused(model, opt, **{"name": "x", **where, **options})
        assert "kind" not in wrong or text == "cannot watch Net: PermissionError: no hooks here"
        assert left_behind(model, opt, tmp_path, there) == []
    if "kind" not in wrong:
        tuimon.attach(model, opt, run_dir=tmp_path / "run").close()


def test_a_directory_that_was_there_before_a_refusal_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("kept")
    model = Net()
    refused(model, Closed(model.parameters()), run_dir=tmp_path / "run")
    assert (tmp_path / "run" / "mine.txt").read_text() == "kept"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_model_is_watched_though_it_takes_no_hooks(tmp_path: Path) -> None:
    model = torch.jit.script(nn.Linear(2, 1))
    opt = sgd(model)
    with tuimon.attach(model, opt, run_dir=tmp_path / "run") as monitor:
        loss = model(torch.ones(1, 2)).sum()
        loss.backward()
        opt.step()
    assert loops.read(monitor.run_dir).row(1)["loss"] == pytest.approx(loss.item())


def test_trainable_tensors_that_no_optimizer_holds_are_named(tmp_path: Path) -> None:
    model = Net()
    opt = torch.optim.SGD(model.embed.parameters(), lr=0.1)
    with pytest.warns(UserWarning, match=r"9 trainable tensors are held by no attached optimizer: blocks\.0\.0\.weight.*4 more"):
        tuimon.attach(model, opt, run_dir=tmp_path / "run").close()
    assert "held by no attached optimizer" in (tmp_path / "run" / "events.jsonl").read_text()


@pytest.mark.parametrize("place", ["optimizer", "_optimizer", "optim", "base_optimizer"])
def test_wrapped_optimizers_are_found(place: str, tmp_path: Path) -> None:
    class Wrapper:
        def __init__(self, optimizer: Any) -> None:
            setattr(self, place, optimizer)

    model = Net()
    opt = model.optimizer = sgd(model)  # a module that keeps its optimizer is a model all the same
    with tuimon.attach(model, Wrapper(Wrapper(opt)), run_dir=tmp_path / "run") as monitor:
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


def test_overrides_that_lack_some_are_those_of_the_script_and_odd_ones_are_refused(tmp_path: Path) -> None:
    found = ResumeInfo(2, "000001-step-000000002", 1, "", healthy=True, loader=None, extra={}, overrides={"lr_scale": 0.5})
    model = Net()
    opt = sgd(model)
    with tuimon.attach(model, opt, run_dir=tmp_path / "run", resumed=found) as monitor:
        assert monitor.probe.overrides.in_force == InForce(0.5)
    with pytest.raises(tuimon.AttachError, match="resumed: lr_scale must be"):
        tuimon.attach(model, opt, resumed=replace(found, overrides={"lr_scale": -1.0}))


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


def test_the_vocabulary_is_read_off_a_model_that_predicts_what_it_reads_and_off_no_other() -> None:
    def net(rows: int, width: int, outputs: int) -> nn.Module:
        return nn.Sequential(nn.Embedding(rows, width), nn.Linear(width, 64), nn.Linear(64, outputs))

    assert vocabulary(net(97, 16, 97)) == 97
    assert vocabulary(nn.ModuleList([nn.Embedding(256, 16), nn.Embedding(65, 16), nn.Linear(16, 65)])) == 65
    assert vocabulary(net(97, 16, 10)) is None  # a classifier
    assert vocabulary(net(64, 64, 64)) is None  # a projection
    assert vocabulary(nn.Linear(4, 4)) is None
    assert vocabulary(nn.Embedding(5, 4)) is None


def test_the_vocabulary_that_a_run_was_told_goes_before_what_its_model_looks_like(tmp_path: Path) -> None:
    for given, known in ((None, 31), (17, 17)):
        model = nn.Sequential(nn.Embedding(31, 4), nn.Linear(4, 31))
        with tuimon.attach(model, torch.optim.SGD(model.parameters()), run_dir=tmp_path / str(given), vocab_size=given) as monitor:
            info = RunDir(monitor.run_dir).read_info()
        assert info is not None
        assert info.vocab_size == known
