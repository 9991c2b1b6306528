"""A run lives as long as its optimizer: sweeps and cells that are run again leave nothing behind, threads do not mix."""

from __future__ import annotations

import gc
import json
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import training_loops as loops
from training_loops import Net, pair, train

import tuimon
from tuimon.instrument.patches import PATCHES

DEADLINE = 60.0

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def _torch_has_made_its_first_optimizer() -> None:
    """Making the first one of a process loads parts of torch, which keep the frame that it was made in."""
    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Only reference counts free anything here."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def events(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines() if line]


def ends(run_dir: Path) -> list[str]:
    return [e["state"] for e in events(run_dir) if e["kind"] == "end"]


def wait_for(condition: Callable[[], Any]) -> None:
    until = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        threading.Event().wait(0.005)


def ours() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("tuimon")]


def test_a_sweep_without_close_keeps_no_model_thread_or_file_and_loses_no_row(uncollected: None, tmp_path: Path) -> None:
    before, files = [getattr(p.place(), p.name) for p in PATCHES], len(os.listdir("/proc/self/fd"))
    models, most = [], 0
    for i in range(50):
        model, opt = pair()
        models.append(weakref.ref(model))
        schedule = torch.optim.lr_scheduler.LambdaLR(opt, lambda _: 1.0)
        monitor = tuimon.attach(model, opt, scheduler=schedule, run_dir=tmp_path / str(i))
        train(model, opt, 3)
        most = max(most, len(ours()))
        alive = [ref() is not None for ref in models]
        assert not any(alive[:-1]), "one before this one is still there"
    del model, opt, schedule
    assert models[-1]() is None
    monitor.close()
    wait_for(lambda: not ours())
    assert most < 10
    assert len(os.listdir("/proc/self/fd")) <= files + 2
    assert all(now is then for now, then in zip([getattr(p.place(), p.name) for p in PATCHES], before, strict=True))
    for i in range(50):
        assert ends(tmp_path / str(i)) == ["finished"]
        assert loops.read(tmp_path / str(i)).steps == [1, 2, 3]


def test_a_model_that_is_a_reference_cycle_ends_its_run_when_it_is_collected(tmp_path: Path) -> None:
    model, opt = pair()
    model.opt = opt  # as many a tutorial's agent has it
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run")
    train(model, opt, 3)
    ref = weakref.ref(model)
    del model, opt
    gc.collect()
    assert ref() is None
    monitor.close()
    assert ends(tmp_path / "run") == ["finished"]
    assert loops.read(tmp_path / "run").steps == [1, 2, 3]


def test_a_handle_that_outlives_its_run_still_tells_and_does_nothing(uncollected: None, tmp_path: Path) -> None:
    model, opt = pair()
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run")
    train(model, opt, 2)
    assert repr(monitor) == f"<tuimon.Monitor running at step 2; to watch it: tuimon watch {tmp_path / 'run'}>"
    del model, opt
    for _ in range(2):
        monitor.log(loss=1.0, **{"": 2.0})
        monitor.note("too late")
        monitor.step()
        monitor.checkpoint()
        monitor.close()
    assert (monitor.should_stop, monitor.healthy, monitor.overhead, monitor.run_dir) == (False, True, 0.0, tmp_path / "run")
    assert repr(monitor) == f"<tuimon.Monitor finished at step 2, see {tmp_path / 'run'}>"
    assert "too late" not in (tmp_path / "run" / "events.jsonl").read_text()


def test_a_closed_run_is_inert_and_training_goes_on(tmp_path: Path) -> None:
    losses = []
    for attached in (True, False):
        torch.manual_seed(0)
        model, opt = pair()
        if attached:
            monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run")
        losses.append(train(model, opt, 2))
        if attached:
            monitor.close()
            monitor.log(val_loss="nonsense")
            monitor.step()
        losses[-1] += train(model, opt, 2, 2)
    assert losses[0] == losses[1]
    assert loops.read(tmp_path / "run").steps == [1, 2]


def test_a_cell_that_is_run_again_attaches_a_new_model_under_the_same_name(tmp_path: Path) -> None:
    cells: dict[str, Any] = {"tuimon": tuimon, "pair": pair, "train": train, "where": tmp_path / "mine"}
    attach = "model, opt = pair(); model.opt = opt; monitor = tuimon.attach(model, opt{})"
    found = []
    for how in (", name='exp'", ", name='exp'", ", run_dir=where", ", run_dir=where"):
        exec(attach.format(how), cells)
        exec("train(model, opt, 2)", cells)
        exec("train(model, opt, 1)", cells)
        found.append(cells["monitor"].run_dir)
    cells["monitor"].close()
    cells.clear()
    gc.collect()
    wait_for(lambda: not ours())
    assert len(set(found)) == 3
    assert [ends(run) for run in found[:2]] == [["finished"], ["finished"]]
    assert ends(tmp_path / "mine") == ["finished", "finished"]
    assert loops.read(tmp_path / "mine").columns["loss"].keys() == {1, 2, 3}


def test_an_optimizer_that_is_replaced_ends_the_run_and_frees_its_state(uncollected: None, tmp_path: Path) -> None:
    model, opt = pair()
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run")
    train(model, opt, 2)
    state = weakref.ref(opt)
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    assert state() is None
    train(model, opt, 2)
    monitor.close()
    assert loops.read(tmp_path / "run").steps == [1, 2]
    assert any("let go of its optimizer" in e.get("text", "") for e in events(tmp_path / "run"))
    with tuimon.attach(model, opt, run_dir=tmp_path / "again") as monitor:
        train(model, opt, 2)
    assert loops.read(tmp_path / "again").steps == [1, 2]


def test_one_of_two_optimizers_that_goes_ends_the_run(uncollected: None, tmp_path: Path) -> None:
    model = Net()
    first = torch.optim.SGD(model.embed.parameters(), lr=0.1)
    second = torch.optim.SGD([*model.blocks.parameters(), *model.head.parameters()], lr=0.1)
    monitor = tuimon.attach(model, first, second, run_dir=tmp_path / "run")
    loops.plain(model, [first, second], loops.Book([first, second]), 2)
    del first
    loops.plain(model, [second], loops.Book([second]), 2)
    monitor.close()
    assert ends(tmp_path / "run") == ["finished"]
    assert loops.read(tmp_path / "run").steps == [1, 2]


def test_close_from_another_thread_never_disturbs_the_one_that_trains(tmp_path: Path) -> None:
    """Many times, in the midst of it: no error, the same losses, the log a prefix of them."""
    def trained(model: Net, opt: torch.optim.Optimizer, losses: list[float], closed: threading.Event | None) -> None:
        i = 0
        while len(losses) < 60 if closed is None else not (closed.is_set() and len(losses) >= 60):
            losses += train(model, opt, 1, i)
            i += 1

    for attempt in range(8):
        torch.manual_seed(attempt)
        model, opt = pair()
        monitor = tuimon.attach(model, opt, run_dir=tmp_path / str(attempt))
        losses: list[float] = []
        closed = threading.Event()
        thread = threading.Thread(target=trained, args=(model, opt, losses, closed))
        thread.start()
        wait_for(lambda at=attempt, seen=losses: len(seen) > 5 * at)
        monitor.close()
        closed.set()
        thread.join(DEADLINE)
        assert not thread.is_alive()
        alone: list[float] = []
        torch.manual_seed(attempt)
        trained(*pair(), alone, None)
        assert losses[:60] == alone
        logged = loops.read(tmp_path / str(attempt)).columns["loss"]
        assert ends(tmp_path / str(attempt)) == ["finished"]
        assert list(logged) == list(range(1, len(logged) + 1))
        assert list(logged.values()) == pytest.approx(losses[:len(logged)], rel=1e-6)


def test_close_from_another_thread_releases_a_run_that_is_held(tmp_path: Path) -> None:
    model, opt = pair()
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run")
    monitor._recorder.order("hold", "test")
    losses: list[float] = []
    thread = threading.Thread(target=lambda: losses.extend(train(model, opt, 5)))
    thread.start()
    wait_for(lambda: any(e.get("state") == "held" for e in events(tmp_path / "run")))
    monitor.close()
    thread.join(DEADLINE)
    assert len(losses) == 5
    assert [e["state"] for e in events(tmp_path / "run") if "state" in e] == ["running", "held", "finished"]


def test_two_models_that_train_at_once_in_two_threads_are_told_apart(tmp_path: Path) -> None:
    both = threading.Barrier(2)

    def run(k: int, found: dict[int, list[float]]) -> None:
        model = Net()
        opt = torch.optim.SGD(model.parameters(), lr=0.05 * (k + 1))
        with tuimon.attach(model, opt, run_dir=tmp_path / str(k)):
            both.wait(DEADLINE)
            loader = torch.utils.data.DataLoader([loops.batch(1000 * k + i)[0] for i in range(120)], batch_size=2)
            found[k] = []
            for tokens in loader:
                loss = loops.loss_of(model, tokens)
                loss.backward()
                opt.step()
                opt.zero_grad()
                found[k].append(loss.item())
            both.wait(DEADLINE)

    found: dict[int, list[float]] = {}
    threads = [threading.Thread(target=run, args=(k, found)) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE)
    for k in range(2):
        columns = loops.read(tmp_path / str(k)).columns
        assert [columns["loss"][n] for n in range(2, 61)] == pytest.approx(found[k][1:], rel=1e-5)
        assert [columns["tokens"][n] for n in range(2, 61)] == [10.0] * 59


def test_training_may_run_in_another_thread_than_attach(tmp_path: Path) -> None:
    model, opt = pair()
    losses: list[float] = []
    with tuimon.attach(model, opt, run_dir=tmp_path / "run"):
        thread = threading.Thread(target=lambda: losses.extend(train(model, opt, 5)))
        thread.start()
        thread.join(DEADLINE)
    assert list(loops.read(tmp_path / "run").columns["loss"].values()) == pytest.approx(losses, rel=1e-6)
    assert not opt._optimizer_step_pre_hooks
