"""A run that goes on in another process is the run that was interrupted."""

import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from tuimon.errors import CheckpointError
from tuimon.instrument.checkpoints import Checkpoints
from tuimon.instrument.resume import resume
from tuimon.instrument.snapshots import Snapshots, capture_copy
from tuimon.instrument.state import TrainingState

torch.set_num_threads(1)

SCHEDULES = {
    "lambda": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda n: 1.0 / (1 + n)),
    "onecycle": lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 1e-2, total_steps=100),
    "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 20),
    "multistep": lambda o: torch.optim.lr_scheduler.MultiStepLR(o, [3, 7, 7, 9]),
    "chain": lambda o: torch.optim.lr_scheduler.SequentialLR(
        o, [torch.optim.lr_scheduler.LinearLR(o, 0.1, total_iters=5),
            torch.optim.lr_scheduler.ExponentialLR(o, 0.9)], [6]),
    "per-epoch": lambda o: torch.optim.lr_scheduler.StepLR(o, 2, 0.5),
}
OPTIMIZERS = {
    "adamw": lambda p: torch.optim.AdamW(p, 1e-2),
    "adamw-fused": lambda p: torch.optim.AdamW(p, 1e-2, fused=True),
    "adamw-tensor-lr": lambda p: torch.optim.AdamW(p, torch.tensor(1e-2), foreach=False),
    "sgd-momentum": lambda p: torch.optim.SGD(p, 1e-2, momentum=0.9),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 1e-3),
    "adafactor": lambda p: torch.optim.Adafactor(p, 1e-2),
    "nadam": lambda p: torch.optim.NAdam(p, 1e-3),
}


class Run:
    """A user's loop: dropout, a schedule after each update, data from three random generators, loss scaling."""

    def __init__(self, optimizer="adamw", schedule="lambda", seed=0, width=6, scaled=False):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002  # the global one is what users' data sets draw from
        self.model = nn.Sequential(nn.Linear(width, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, width))
        self.optimizer = OPTIMIZERS[optimizer](self.model.parameters())
        self.schedule, self.per_epoch = SCHEDULES[schedule](self.optimizer), schedule == "per-epoch"
        self.scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=3, enabled=scaled)
        self.state = TrainingState(self.model, self.optimizer, self.scaler, [self.schedule])
        self.at_boundary, self.step, self.width = None, 0, width
        self.optimizer.register_step_post_hook(lambda *_: self.at_boundary and self.at_boundary(self.step))

    def go(self, upto):
        losses = []
        while self.step < upto:
            self.step += 1
            x = torch.randn(5, self.width) * random.random() + float(np.random.rand())  # noqa: NPY002
            loss = (self.model(x) - x).square().mean()
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.optimizer.zero_grad()
            if not self.per_epoch or self.step % 5 == 0:
                self.schedule.step()
            losses.append((loss.item(), float(self.optimizer.param_groups[0]["lr"]), self.scaler.get_scale()))
        return losses

    def resume(self, store, **kw):
        info = resume(store, self.model, self.optimizer, scheduler=[self.schedule], scaler=self.scaler, **kw)
        self.step = info.step
        return info


def interrupted(store, at, upto, **kw):
    """Losses of the whole run, which saved at the boundary of step `at` (inside optimizer.step, as a command would)."""
    run = Run(**kw)
    snapshots = Snapshots(run.state)
    snapshots.capture(0)

    def boundary(step):
        if step == at:
            snapshots.capture(step)
            store.save(snapshots.detach(step), overrides={"lr_scale": 0.5})

    run.at_boundary = boundary
    return run.go(upto)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_resumed_run_is_bit_identical_whatever_the_optimizer(optimizer, tmp_path):
    store = Checkpoints(tmp_path)
    whole = interrupted(store, 5, 12, optimizer=optimizer)
    run = Run(optimizer, seed=99)
    info = run.resume(store)
    assert (info.step, info.overrides, info.notes) == (5, {"lr_scale": 0.5}, ())
    assert run.go(12) == whole[5:]


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("at", [2, 6, 8])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_resumed_run_is_bit_identical_whatever_the_schedule(schedule, at, scaled, tmp_path):
    store = Checkpoints(tmp_path)
    whole = interrupted(store, at, 14, schedule=schedule, scaled=scaled)
    run = Run(schedule=schedule, seed=99, scaled=scaled)
    run.resume(store)
    assert run.go(14) == whole[at:]


def test_a_checkpoint_taken_between_two_iterations_is_exact_as_well(tmp_path):
    store, run = Checkpoints(tmp_path), Run(scaled=True)
    TrainingState.plain(run.state, 0)
    run.go(5)
    store.save(capture_copy(run.state, 5))
    rest = run.go(12)
    again = Run(seed=99, scaled=True)
    again.resume(store)
    assert again.go(12) == rest


def test_a_run_that_had_begun_is_put_back_in_the_same_storages(tmp_path):
    store = Checkpoints(tmp_path)
    whole = interrupted(store, 5, 12, scaled=True)
    run = Run(seed=99, scaled=True)
    run.go(4)
    before = {k: t.data_ptr() for k, t in run.state.tensors().items()}
    run.resume(store)
    assert {k: t.data_ptr() for k, t in run.state.tensors().items()} == before
    assert run.go(12) == whole[5:]


def test_another_process_goes_on_bit_for_bit(tmp_path):
    whole = interrupted(Checkpoints(tmp_path), 5, 12, scaled=True)
    code = """
import json, sys
from test_resume_exact import Checkpoints, Run
run = Run(seed=7, scaled=True)
run.resume(Checkpoints(sys.argv[1]))
print(json.dumps(run.go(12)))
"""
    here = os.path.dirname(__file__)
    path = os.pathsep.join((os.path.dirname(os.path.dirname(here)), here))
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [list(row) for row in whole[5:]]


def test_a_damaged_newest_one_is_passed_over_and_that_is_said(tmp_path):
    store = Checkpoints(tmp_path)
    run = Run()
    for step in (2, 4, 6):
        run.go(step)
        store.save(capture_copy(run.state, step))
    ids = store.ids()
    raw = bytearray((tmp_path / ids[2] / "state.pt").read_bytes())
    raw[len(raw) // 2] ^= 4
    (tmp_path / ids[2] / "state.pt").write_bytes(raw)
    (tmp_path / ids[1] / "manifest.json").unlink()
    info = Run(seed=1).resume(store)
    assert info.step == 2
    assert len(info.notes) == 2
    assert ids[2] in info.notes[0]
    assert "damaged" in info.notes[0]
    assert ids[1] in info.notes[1]
    with pytest.raises(CheckpointError, match="is damaged"):
        Run(seed=1).resume(store, id=ids[2])
    assert Run(seed=1).resume(store, id=ids[0]).step == 2


def test_nothing_to_resume_from_is_said(tmp_path):
    with pytest.raises(CheckpointError, match="no sound checkpoint in"):
        Run().resume(Checkpoints(tmp_path / "none"))


def fingerprint(run):
    return ({k: t.clone() for k, t in run.state.tensors().items()}, run.schedule.state_dict()["last_epoch"],
            run.optimizer.param_groups[0]["lr"], torch.get_rng_state(), random.getstate())


@pytest.mark.parametrize(("other", "why"), [
    ({"width": 7}, r"param/0\.weight is float32\[8, 6\] there and float32\[8, 7\] here, and 2 more"),
    ({"optimizer": "rmsprop", "drop": True}, r"it lacks param/4\.weight, param/4\.bias"),
    ({"groups": True}, "groups its parameters differently"),
    ({"two": True}, "it holds 1 optimizers, the run has 2"),
    ({"schedules": 2}, "it holds 1 schedules, the run has 2"),
    ({"half": True}, r"param/0\.weight is float32\[8, 6\] there and bfloat16\[8, 6\] here"),
])
def test_what_does_not_fit_is_refused_before_anything_is_touched(other, why, tmp_path):
    store = Checkpoints(tmp_path)
    interrupted(store, 3, 3)
    run = Run(seed=5, optimizer=other.get("optimizer", "adamw"), width=other.get("width", 6))
    if other.get("drop"):
        run.model.append(nn.Linear(6, 6))
    if other.get("half"):
        run.model.bfloat16()
    optimizers, schedules = [run.optimizer], [run.schedule] * other.get("schedules", 1)
    if other.get("groups"):
        optimizers = [torch.optim.AdamW([{"params": [p]} for p in run.model.parameters()])]
    if other.get("two"):
        optimizers.append(torch.optim.SGD([nn.Parameter(torch.zeros(1))], 0.1))
    before = fingerprint(run)
    with pytest.raises(CheckpointError, match=why) as caught:
        resume(store, run.model, *optimizers, scheduler=schedules)
    assert "\n" not in str(caught.value)
    after = fingerprint(run)
    assert all(torch.equal(before[0][k], after[0][k]) for k in before[0])
    assert before[1:3] == after[1:3]
    assert torch.equal(before[3], after[3])
    assert before[4] == after[4]


def test_what_was_not_passed_is_noted(tmp_path):
    store = Checkpoints(tmp_path)
    interrupted(store, 3, 3, scaled=True)
    run = Run(seed=5)
    info = resume(store, run.model, run.optimizer)
    assert info.notes == (
        "the loss scale was not restored: no scaler was passed, and none or several were found",)
    assert run.schedule.last_epoch == 3
    alone = torch.optim.SGD(run.model.parameters(), 0.1)
    store_of_sgd = Checkpoints(tmp_path / "sgd")
    schedule = torch.optim.lr_scheduler.ConstantLR(alone)
    store_of_sgd.save(capture_copy(TrainingState(run.model, alone, schedulers=[schedule]), 1))
    fresh = torch.optim.SGD(run.model.parameters(), 0.1)
    assert resume(store_of_sgd, run.model, fresh).notes == (
        "the schedule was not restored: no scheduler was passed, and none was found",)
    plain = Run(seed=5)
    store.save(capture_copy(TrainingState(plain.model, plain.optimizer), 1))
    scaled = Run(seed=5, scaled=True)
    assert scaled.resume(store).notes == ("the loss scale starts anew: the checkpoint has none",
                                          "the schedule starts anew: the checkpoint has none")


def test_contents_that_are_ours_in_form_only_are_refused(tmp_path):
    store, run = Checkpoints(tmp_path), Run()
    captured = capture_copy(run.state, 1)
    captured.plain = {**captured.plain, "optimizers": [3]}
    store.save(captured)
    with pytest.raises(CheckpointError, match="its contents are not a training state"):
        run.resume(store)


def test_a_skipped_step_backs_the_loss_scale_off_in_the_resumed_run_too(tmp_path):
    store = Checkpoints(tmp_path)

    def run_to(run, upto, save=None):
        for step in range(run.step + 1, upto + 1):
            loss = (run.model(torch.ones(5, 6) * step)).square().mean() * (float("inf") if step == 4 else 1.0)
            run.scaler.scale(loss).backward()
            run.scaler.step(run.optimizer)
            if step == save:
                store.save(capture_copy(run.state, step))
            run.scaler.update()
            run.optimizer.zero_grad()
        run.step = upto
        return run.scaler.get_scale(), [p.tolist() for p in run.model.parameters()]

    whole = run_to(Run(scaled=True), 9, save=4)
    again = Run(seed=3, scaled=True)
    again.resume(store)
    assert run_to(again, 9) == whole
    assert whole[0] < 32


@pytest.mark.parametrize("optimizer", ["adamw", "adamw-tensor-lr"])
def test_hyper_parameters_that_the_loop_changed_by_hand_come_back(optimizer, tmp_path):
    store, run = Checkpoints(tmp_path), Run(optimizer)
    run.optimizer.param_groups[0].update(lr=run.optimizer.param_groups[0]["lr"] * 0.25, weight_decay=0.125)
    store.save(capture_copy(TrainingState(run.model, run.optimizer), 1))
    again = Run(optimizer, seed=3)
    lr = again.optimizer.param_groups[0]["lr"]
    resume(store, again.model, again.optimizer)
    group = again.optimizer.param_groups[0]
    assert float(group["lr"]) == pytest.approx(0.0025)
    assert group["weight_decay"] == 0.125
    assert not isinstance(lr, torch.Tensor) or group["lr"] is lr


def test_implementation_flags_stay_those_of_this_process(tmp_path):
    store = Checkpoints(tmp_path)
    interrupted(store, 5, 5, optimizer="adamw-fused")
    run = Run("adamw", seed=99)
    run.resume(store)
    assert not run.optimizer.param_groups[0]["fused"]
    run.go(6)
