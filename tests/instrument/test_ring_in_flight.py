"""A device that is behind: rows in flight are never waited for, a full ring drops, order stays. And on a real one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import training_loops as loops
from test_measure_parts import Place, Queue
from torch import nn
from training_loops import Net, pair

import tuimon
from tuimon.instrument.transfer import SLOTS, Ring

pytestmark = pytest.mark.usefixtures("one_thread")


def trained(model: nn.Module, opt: torch.optim.Optimizer, first: int, last: int) -> None:
    for i in range(first, last + 1):
        loops.loss_of(model, loops.batch(i)).backward()
        opt.step()
        opt.zero_grad()


def test_a_device_that_falls_behind_loses_measurements_and_holds_up_nothing(tmp_path: Path) -> None:
    model, opt = pair()
    behind = Queue()
    with tuimon.attach(model, opt, run_dir=tmp_path / "run", checkpoints="off") as monitor:
        ring = monitor.probe._ring
        ring._events = [Place(behind) for _ in range(SLOTS)]
        trained(model, opt, 1, 30)
        assert ring.dropped == 31 - SLOTS, "the row of the step after the last is asked for too"
        behind.passed = math.inf
        trained(model, opt, 31, 40)
    found = loops.read(monitor.run_dir)
    assert found.steps == list(range(1, 41))
    assert sorted(found.columns["lr"]) == found.steps, "what the host knows is kept"
    measured = sorted(found.columns["loss"])
    assert measured == sorted(found.columns["grad_norm"])
    assert measured[:SLOTS] == list(range(1, SLOTS + 1))
    assert not set(range(SLOTS + 1, 31)) & set(measured)
    assert measured[-8:] == list(range(33, 41)), "it has caught up"


def test_the_log_says_what_measuring_costs(tmp_path: Path) -> None:
    model, opt = pair()
    with tuimon.attach(model, opt, run_dir=tmp_path / "run", detail="light", checkpoints="off") as monitor:
        trained(model, opt, 1, 40)
        assert 0 < monitor.overhead < 1
    said = loops.read(monitor.run_dir).columns["overhead"]
    assert sorted(said) == [1, 16, 32]
    assert all(0 < share < 1 for share in said.values())


def test_rows_that_come_late_carry_the_numbers_of_their_own_step(tmp_path: Path) -> None:
    books = []
    for late in (False, True):
        torch.manual_seed(0)
        model, opt = pair()
        behind = Queue()
        with tuimon.attach(model, opt, run_dir=tmp_path / f"{late}", checkpoints="off", detail="full") as monitor:
            if late:
                monitor.probe._ring._events = [Place(behind) for _ in range(SLOTS)]
            for i in range(1, 31):
                trained(model, opt, i, i)
                behind.passed = behind.clock - 5  # five steps behind
            behind.passed = math.inf
        books.append(loops.read(monitor.run_dir).columns)
    for name in ("loss", "grad_norm", "param_norm", "update_norm"):
        assert books[0][name] == books[1][name]


GPU = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")]


def on_gpu(*marks: Any) -> Any:
    def marked(test: Any) -> Any:
        for mark in (*GPU, *marks):
            test = mark(test)
        return test

    return marked


class Device:
    """A loop on the GPU that itself never synchronises: a fused optimizer, and the loss is not read."""

    def __init__(self, **compiled: str) -> None:
        torch.manual_seed(0)
        self.model: Any = Net().cuda()
        self.opt = torch.optim.AdamW(self.model.parameters(), lr=1e-2, fused=True)
        self.scaler = torch.amp.GradScaler("cuda", init_scale=2.0**10)
        self.called = torch.compile(self.model, **compiled) if compiled else self.model
        self.batches = [loops.batch(i).cuda() for i in range(64)]

    def go(self, first: int, last: int, *, clip: bool = False, scale: bool = False) -> None:
        for i in range(first, last + 1):
            loss = loops.loss_of(self.called, self.batches[i % 64])
            (self.scaler.scale(loss) if scale else loss).backward()
            if scale and clip:
                self.scaler.unscale_(self.opt)
            if clip:
                nn.utils.clip_grad_norm_(self.model.parameters(), 0.05)
            if scale:
                self.scaler.step(self.opt)
                self.scaler.update()
            else:
                self.opt.step()
            self.opt.zero_grad()


@on_gpu()
@pytest.mark.parametrize("detail", ["light", "auto", "full"])
@pytest.mark.parametrize(("clip", "scale"), [(False, False), (True, False), (False, True), (True, True)])
def test_on_cuda_no_step_synchronises_whatever_is_measured_forced_or_logged(
    clip: bool, scale: bool, detail: Any, tmp_path: Path
) -> None:
    device = Device()
    with tuimon.attach(device.model, device.opt, run_dir=tmp_path / "run", detail=detail) as monitor:
        device.go(1, 20, clip=clip, scale=scale)
        torch.cuda.set_sync_debug_mode("error")
        try:
            device.go(21, 60, clip=clip, scale=scale)
            monitor.probe.overrides.set(lr_scale=0.5, clip=0.02)
            monitor.log(val_loss=device.opt.state[next(device.model.parameters())]["step"])
            device.go(61, 80, clip=clip, scale=scale)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert not monitor.probe.off
    found = loops.read(monitor.run_dir)
    assert found.steps == list(range(1, 81))
    assert all(math.isfinite(x) for x in found.columns["loss"].values())


@on_gpu()
def test_on_cuda_a_full_ring_drops_and_never_waits(tmp_path: Path) -> None:
    device = Device()
    with tuimon.attach(device.model, device.opt, run_dir=tmp_path / "run", checkpoints="off") as monitor:
        device.go(1, 5)
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            torch.cuda._sleep(4_000_000_000)  # cycles: a second or two
            busy = torch.cuda.Event()
            busy.record()
            device.go(6, 40)
            assert not busy.query(), "35 steps were queued while the device had not begun the first"
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert monitor.probe._ring.dropped > 0
        torch.cuda.synchronize()
        device.go(41, 60)
    found = loops.read(monitor.run_dir)
    assert found.steps == list(range(1, 61))
    assert not set(range(20, 40)) & set(found.columns["loss"])
    assert set(range(50, 61)) <= set(found.columns["loss"])


@on_gpu(pytest.mark.filterwarnings("ignore"))
def test_on_cuda_graphs_give_the_loss_and_the_gradient_norm_that_eager_gives(tmp_path: Path) -> None:
    """With mode="reduce-overhead" the loss is overwritten by the next replay: what is logged is each step's own."""
    rows = []
    for compiled in ({}, {"mode": "reduce-overhead"}):
        device = Device(**compiled)
        with tuimon.attach(device.called, device.opt, run_dir=tmp_path / f"{len(rows)}", detail="full") as monitor:
            for i in range(1, 41):
                if compiled:
                    torch.compiler.cudagraph_mark_step_begin()
                device.go(i, i, clip=True)
                torch.cuda.synchronize()  # so that no row is dropped
        rows.append(loops.read(monitor.run_dir).columns)
    for name in ("loss", "grad_norm", "param_norm", "update_norm"):
        assert sorted(rows[0][name]) == sorted(rows[1][name]) == list(range(1, 41))
        assert list(rows[1][name].values()) == pytest.approx(list(rows[0][name].values()), rel=1e-3)


@on_gpu()
def test_on_cuda_a_row_has_arrived_only_when_it_is_whole_and_keeps_its_place_in_order() -> None:
    device = torch.device("cuda")
    ring = Ring(1024, device, slots=4)
    assert ring._host.is_pinned()
    for turn in range(5):
        torch.cuda._sleep(200_000_000)
        slots = [ring.take() for _ in range(4)]
        assert ring.take() == ring.scratch
        for n, slot in enumerate(slots):
            ring.rows[slot].fill_(10 * turn + n)
            ring.send(slot, 1024)
        assert not ring.has_arrived(slots[0])
        torch.cuda.synchronize()
        for n, slot in enumerate(slots):
            assert ring.has_arrived(slot)
            assert set(ring.read(slot).tolist()) == {10.0 * turn + n}
        assert ring.seconds(slots[0], slots[3]) >= 0.0
        for slot in slots:
            ring.release(slot)
