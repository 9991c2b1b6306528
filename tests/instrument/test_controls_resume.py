"""tuimon.resume: another process goes on bit for bit, with what nobody passed found; what cannot be is one line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import resumable
import torch
import training_loops as loops
from control_parts import Viewer, wait_for
from torch import nn
from torch.optim import lr_scheduler as schedules

import tuimon
from tuimon.errors import CheckpointError, RunNotFound, UsageError
from tuimon.instrument.discovery import schedules_of

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.set_vital. is deprecated:UserWarning")
def test_a_new_process_goes_on_bit_for_bit_with_what_it_finds(tmp_path: Path) -> None:
    """One process goes on with all of them, each from its own checkpoint: it is torch that takes long to start."""
    cases = [case for case in resumable.CASES if case != "stateful loader" or find_spec("torchdata")]
    whole = {case: resumable.train(tmp_path / case / "run", case, resumed=False, at=6) for case in cases}
    here = Path(__file__).resolve()
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here.parents[2]), str(here.parent)]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, str(here.parent / "resumable.py"), str(tmp_path), *cases],
                          capture_output=True, text=True, timeout=120, env=env)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {case: losses[6:] for case, losses in whole.items()}
    for case in cases:
        lr = loops.read(tmp_path / case / "second").columns
        assert lr["lr"][8] == pytest.approx(lr["lr_scheduled"][8] * 0.5 * 8 / 20, rel=1e-5), case


def saved(tmp_path: Path, *, scheduler: Any = lambda o: schedules.StepLR(o, 3), steps: int = 4) -> tuple[Path, Any]:
    """A run with one checkpoint, asked for by a viewer; its event."""
    model, opt = loops.pair()
    schedule = scheduler(opt)
    with tuimon.attach(model, opt, run_dir=tmp_path / "run") as monitor:
        viewer = Viewer(monitor)
        for i in range(steps):
            command = viewer.ask("checkpoint") if i == 2 else ""
            loops.loss_of(model, loops.batch(i)).backward()
            opt.step()
            opt.zero_grad()
            if schedule is not None:
                schedule.step()
            if command:
                wait_for(lambda: monitor._recorder.mailbox.due == 0 or viewer.seen("checkpoint"), "the look")
        event = viewer.wait("checkpoint")
    return monitor.run_dir, event


def test_a_checkpoint_says_what_was_found_given_or_not_found(tmp_path: Path) -> None:
    run_dir, event = saved(tmp_path)
    assert event["outcome"] == "saved"
    assert event["parts"] == {"scheduler": "StepLR (found)", "scaler": "none found",
                              "loader": "none that tells its position"}
    (folder,) = (run_dir / "checkpoints").iterdir()
    assert json.loads((folder / "manifest.json").read_text())["parts"] == event["parts"]


def test_of_schedules_the_outermost_of_these_optimizers_are_found() -> None:
    model, opt = loops.pair()
    other = torch.optim.SGD(model.parameters(), 0.1)
    chain = schedules.SequentialLR(opt, [schedules.LinearLR(opt), schedules.ExponentialLR(opt, 0.9)], [3])
    plateau = schedules.ReduceLROnPlateau(opt)
    stranger = schedules.StepLR(other, 2)
    found = schedules_of([opt])
    assert [type(s).__name__ for s in found] == ["ReduceLROnPlateau", "SequentialLR"]
    assert found == [plateau, chain]
    assert schedules_of([other]) == [stranger]


@pytest.mark.parametrize("how", ["path", "name", "start of the name", "checkpoint", "checkpoints"])
def test_a_run_is_named_in_any_way_that_people_name_it(how: str, tmp_path: Path, monkeypatch: Any) -> None:
    run_dir, event = saved(tmp_path)
    monkeypatch.setenv("TUIMON_RUNS", str(tmp_path))
    source = {"path": str(run_dir), "name": "run", "start of the name": "ru", "checkpoints": run_dir / "checkpoints",
              "checkpoint": run_dir / "checkpoints" / event["id"]}[how]
    model, opt = loops.pair()
    schedule = schedules.StepLR(opt, 3)
    resumed = tuimon.resume(source, model, opt)
    assert (resumed.id, resumed.notes, resumed.run_dir) == (event["id"], (), run_dir)
    assert schedule.last_epoch == resumed.step
    with tuimon.attach(model, opt, run_dir=resumed.run_dir, resumed=resumed) as monitor:
        assert monitor.probe.step == resumed.step


def test_weights_that_are_not_finite_are_passed_over(tmp_path: Path) -> None:
    run_dir, event = saved(tmp_path)
    model, opt = loops.pair()
    with tuimon.attach(model, opt, run_dir=run_dir) as monitor:
        model.head.weight.data[0, 0] = float("nan")
        monitor.checkpoint()
        loops.loss_of(model, loops.batch(0)).backward()
        opt.step()
    model, opt = loops.pair()
    resumed = tuimon.resume(run_dir, model, opt, scheduler=schedules.StepLR(opt, 3))
    assert resumed.id == event["id"]
    assert "is not finite" in resumed.notes[0]


class Wider(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(3, 3)


@pytest.mark.parametrize(("build", "error", "why"), [
    (lambda m: (m, torch.optim.SGD(m.parameters(), 0.1)), CheckpointError, "optimizer 0 was AdamW there and is SGD here"),
    (lambda m: (Wider(), None), CheckpointError, "not of this model: it has a foreign param/blocks"),
    (lambda m: (m.append_layer(), None), CheckpointError, "it lacks param/extra.weight"),
    (lambda m: (m, "adam"), UsageError, "resume wants torch optimizers"),
    (lambda m: (m.widened(), None), CheckpointError, r"param/head\.weight is float32\[17, 8\] there and float32\[18, 8\]"),
])
def test_what_cannot_be_resumed_is_one_line(build: Any, error: type[Exception], why: str, tmp_path: Path) -> None:
    class Net(loops.Net):
        def append_layer(self) -> Net:
            self.extra = nn.Linear(2, 2)
            return self

        def widened(self) -> Net:
            self.head = nn.Linear(8, 18, bias=False)
            return self

    run_dir, _ = saved(tmp_path, scheduler=lambda o: None)
    model, opt = build(Net())
    with pytest.raises(error, match=why) as caught:
        tuimon.resume(run_dir, model, opt or torch.optim.AdamW(model.parameters(), 0.1))
    assert "\n" not in str(caught.value)


def test_no_run_and_no_checkpoint_are_said(tmp_path: Path, monkeypatch: Any) -> None:
    model, opt = loops.pair()
    monkeypatch.setenv("TUIMON_RUNS", str(tmp_path))
    with pytest.raises(RunNotFound, match="no run named 'nothing'"):
        tuimon.resume("nothing", model, opt)
    run_dir, event = saved(tmp_path)
    shutil.rmtree(run_dir / "checkpoints" / event["id"])
    with pytest.raises(CheckpointError, match="no sound checkpoint in"):
        tuimon.resume(run_dir, model, opt)
    with pytest.raises(CheckpointError, match="No such file"):
        tuimon.resume(run_dir / "checkpoints" / event["id"], model, opt)


def test_another_kind_of_schedule_is_refused(tmp_path: Path) -> None:
    run_dir, _ = saved(tmp_path)
    model, opt = loops.pair()
    with pytest.raises(CheckpointError, match="its schedule is StepLR there and ExponentialLR here"):
        tuimon.resume(run_dir, model, opt, scheduler=schedules.ExponentialLR(opt, 0.9))


def test_a_checkpoint_asked_for_just_before_a_stop_is_still_written(tmp_path: Path) -> None:
    model, opt = loops.pair()
    with tuimon.attach(model, opt, run_dir=tmp_path / "run") as monitor:
        viewer = Viewer(monitor)
        command = viewer.ask("checkpoint")
        viewer.ask("stop")
        loops.loss_of(model, loops.batch(0)).backward()
        opt.step()
    assert viewer.outcome(command)["outcome"] == "applied"
