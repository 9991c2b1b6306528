"""What is trained stays as it was, to the last bit, when a run is looked into."""

from __future__ import annotations

import copy
import gc
import random
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import training_loops as loops
from autopsy_parts import BAD, Between, Exponential, Net, autopsies
from torch import Tensor, nn

import tuimon

pytestmark = pytest.mark.usefixtures("one_thread")


def everything(model: nn.Module) -> list[Any]:
    state = [t.detach().clone() for t in (*model.parameters(), *model.buffers())]
    return [*state, torch.get_rng_state(), random.random(), float(np.random.rand())]  # noqa: NPY002


def same(a: list[Any], b: list[Any]) -> bool:
    return all(torch.equal(x.nan_to_num(7.0), y.nan_to_num(7.0)) if isinstance(x, Tensor) else x == y
               for x, y in zip(a, b, strict=True))


class Moody(nn.Module):
    """Draws from all generators, counts, remembers, keeps a running mean and caches: all that a forward may change."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.norm, self.drop = nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.3)
        self.register_buffer("calls", torch.zeros(()))
        self.count, self.seen, self.plain = 0, [0.0], torch.zeros(2)
        self.last: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.count += 1
        self.plain.add_(1)
        self.seen.append(random.random() + float(np.random.rand()))  # noqa: NPY002
        self.last = self.drop(self.fc(x))
        return self.norm(self.last.transpose(1, 2)).transpose(1, 2)


@pytest.mark.parametrize(("breaks", "place"), [("loss", "loss"), ("gradient", "unknown")])
def test_a_run_that_was_looked_into_goes_on_as_one_that_was_not(breaks: str, place: str, tmp_path: Path) -> None:
    """A script that takes back what is not finite, so that there is something to compare after it."""
    ends, hooked = [], []
    for attached in (False, True):
        torch.manual_seed(3)
        random.seed(3)
        np.random.seed(3)  # noqa: NPY002
        moody = Moody()
        model = Net(moody)
        calls: list[int] = []
        moody.fc.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        opt = torch.optim.AdamW(model.parameters(), lr=1e-2)
        monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run") if attached else None
        losses = []
        for i in range(1, BAD + 10):
            loss = loops.loss_of(model, loops.batch(i))
            if i == BAD:
                loss = loss * 0 / 0 if breaks == "loss" else loss + torch.sqrt((model.head.weight * 0).abs()).sum()
            loss.backward()
            losses.append(float(loss.detach()))
            good = copy.deepcopy((model.state_dict(), opt.state_dict())) if i == BAD else None
            opt.step()
            opt.zero_grad()
            if good is not None:
                model.load_state_dict(good[0])
                opt.load_state_dict(good[1])
        if monitor is not None:
            monitor.close()
            (found,) = autopsies(tmp_path / "run")
            assert found.place == place
        moved = [str(losses), moody.count, moody.seen, moody.plain, moody.last]
        ends.append([*everything(model), *moved[1:4], moved[0]])
        hooked.append(len(calls))
    assert same(*ends)
    assert hooked[0] == hooked[1] == BAD + 9


def test_weights_gradients_hooks_and_versions_are_those_of_before(tmp_path: Path) -> None:
    model = Net(Moody())
    opt = torch.optim.AdamW(model.parameters())
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run")
    for i in range(3):
        (loops.loss_of(model, loops.batch(i)) * (0.0 / 1.0 if i < 2 else torch.nan)).backward()
        if i < 2:
            opt.step()
            opt.zero_grad()
    opt.step()  # the third step's row is handed over when the fourth begins
    model.head.weight.grad = None
    loops.loss_of(model, loops.batch(9)).backward()
    batch = monitor.probe.outbox.batches
    assert batch.suspect is not None
    state = [(id(t), t.data_ptr(), t._version, id(t.grad)) for t in (*model.parameters(), *model.buffers())]
    hooks = [{n: dict(v) for n, v in m.__dict__.items() if "hooks" in n and v is not None and not isinstance(v, bool)} for m in model.modules()]
    before = everything(model)
    monitor._ref()._inquest.attend(4)
    assert batch.suspect is None
    assert state == [(id(t), t.data_ptr(), t._version, id(t.grad)) for t in (*model.parameters(), *model.buffers())]
    assert hooks == [{n: dict(v) for n, v in m.__dict__.items() if "hooks" in n and v is not None and not isinstance(v, bool)} for m in model.modules()]
    assert same(before[:-2], everything(model)[:-2])
    monitor.close()
    assert len(autopsies(monitor.run_dir)) == 1


class Clamped(Between):
    """Keeps its own weights small, in its forward pass."""

    def forward(self, x: Tensor) -> Tensor:
        self.inner.weight.data.clamp_(-0.01, 0.01)
        return self.inner(x)


def test_a_forward_pass_that_writes_its_own_weights_spoils_no_snapshot(tmp_path: Path) -> None:
    model = Net(Clamped())
    opt = torch.optim.AdamW(model.parameters())
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run")
    snapshots = monitor._ref()._snapshots
    snapshots.seal(0)
    for i in range(1, 4):
        (loops.loss_of(model, loops.batch(i)) * (torch.nan if i == 2 else 1.0)).backward()
        opt.step()
        opt.zero_grad()
    assert snapshots.restore(0).step == 0, "its digest is looked at"
    monitor.close()
    (found,) = autopsies(monitor.run_dir)
    assert (found.place, found.weights_step) == ("weights", 0)


def test_what_comes_out_of_a_graph_is_kept_without_it(tmp_path: Path) -> None:
    before, model = nn.Linear(4, 4), nn.Linear(4, 1)
    opt = torch.optim.AdamW(model.parameters())
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run")
    features = before(torch.ones(3, 4))
    alive = weakref.ref(features)
    loss = model(features).square().mean()
    loss.backward()
    opt.step()
    del features, loss
    gc.collect()
    assert alive() is None
    assert len(monitor.probe.outbox.batches._entered) == 1
    monitor.close()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_a_device_the_module_is_named_and_the_generators_go_on(tmp_path: Path) -> None:
    ends = []
    for attached in (False, True):
        torch.manual_seed(3)
        middle = Exponential()
        model = Net(middle).cuda()
        opt = torch.optim.AdamW(model.parameters(), lr=1e-3)
        monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run") if attached else None
        for i in range(1, BAD + 20):
            middle.is_wrong = i >= BAD
            tokens = loops.batch(i).cuda()
            loops.loss_of(model, tokens).backward()
            opt.step()
            opt.zero_grad()
        ends.append(torch.cuda.get_rng_state())
        if monitor is not None:
            monitor.close()
    (found,) = autopsies(tmp_path / "run")
    assert (found.step, found.place, found.module) == (BAD, "code", "middle")
    assert torch.equal(*ends)
