"""An attached run from its first step to its end: what is logged where, what a command does, how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import training_loops as loops
from torch.utils.data import DataLoader
from training_loops import Net, pair

import tuimon
from tuimon.control.commands import Command
from tuimon.control.spool import new_id, submit

DEADLINE = 30.0


pytestmark = pytest.mark.usefixtures("one_thread")


def step(model: Net, opt: torch.optim.Optimizer, i: int = 0) -> torch.Tensor:
    loss = loops.loss_of(model, loops.batch(i))
    loss.backward()
    opt.step()
    opt.zero_grad()
    return loss.detach()


def events(run_dir: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in (run_dir / "events.jsonl").read_text().splitlines()]
    except FileNotFoundError:
        return []


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        threading.Event().wait(0.005)


def ask(run_dir: Path, verb: str, **args: Any) -> str:
    command = Command(new_id(), verb, args, issued=time.time())  # type: ignore[arg-type]
    submit(run_dir / "commands", command)
    return command.id


def test_what_is_logged_belongs_to_the_step_just_done_until_the_next_begins(tmp_path: Path) -> None:
    model, opt = pair()
    with tuimon.attach(model, opt, run_dir=tmp_path / "run") as monitor:
        for i in range(1, 4):
            loss = loops.loss_of(model, loops.batch(i))
            monitor.log(under_way=float(i))
            loss.backward()
            opt.step()
            opt.zero_grad()
            monitor.log(done=float(i), loss=torch.tensor(i * 10.0))
    columns = loops.read(monitor.run_dir).columns
    assert columns["under_way"] == {1: 1.0, 2: 2.0, 3: 3.0}
    assert columns["done"] == {1: 1.0, 2: 2.0, 3: 3.0}
    assert columns["loss"] == {1: 10.0, 2: 20.0, 3: 30.0}


def test_what_is_no_number_or_no_name_is_left_out_and_said_once(tmp_path: Path) -> None:
    model, opt = pair()
    with tuimon.attach(model, opt, run_dir=tmp_path / "run") as monitor:
        given = {"text": "a", "many": torch.ones(3), "good": True, "half": torch.tensor(0.5, dtype=torch.bfloat16),
                 "a\nb": 1.0, "": 2.0, "x" * 101: 3.0, "step": 4.0, "val/loss": 5.0}
        with pytest.warns(RuntimeWarning) as caught:
            monitor.log(**given)
        monitor.log(**given)
        assert [str(w.message).removeprefix("tuimon: ")[:20] for w in caught] == [
            "text= wants one numb", "many= wants one numb", "'a\\nb' cannot be the", "'' cannot be the nam", "'xxxxxxxxxxxxxxxxxxx",
            "'step' cannot be the"]
        assert {w.filename for w in caught} == {__file__}
        step(model, opt)
    row = loops.read(monitor.run_dir).row(1)
    assert (row["good"], row["half"], row["val/loss"]) == (1.0, 0.5, 5.0)
    assert not {"text", "many", "", "a\nb"} & row.keys()


def test_a_run_is_held_and_resumed_by_commands_and_the_standstill_is_no_ones_step_time(tmp_path: Path) -> None:
    model, opt = pair()
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run")
    done, stop = [0], threading.Event()

    def train() -> None:
        while not stop.is_set():
            step(model, opt, done[0])
            done[0] += 1

    thread = threading.Thread(target=train)
    thread.start()
    try:
        wait_for(lambda: done[0] > 5)
        ask(monitor.run_dir, "hold")
        wait_for(lambda: any(e.get("state") == "held" for e in events(monitor.run_dir)))
        held_at = done[0]
        began = time.monotonic()
        last = held_at + 1
        wait_for(lambda: last in loops.read(monitor.run_dir).columns.get("loss", {}))
        wait_for(lambda: time.monotonic() - began > 0.3)
        assert done[0] == held_at
        ask(monitor.run_dir, "resume")
        wait_for(lambda: done[0] > held_at + 5)
    finally:
        stop.set()
        thread.join(DEADLINE)
        monitor.close()
    times = loops.read(monitor.run_dir).columns["step_time"]
    assert times[held_at + 2] < 0.3


class Late:
    """A place in a device's queue that has not been passed the first times somebody asks."""

    def record(self) -> None:
        self.left = 3

    def query(self) -> bool:
        self.left -= 1
        return self.left < 0


def test_the_row_of_the_step_a_run_is_held_at_is_on_disk_meanwhile_however_late_the_device(tmp_path: Path) -> None:
    model, opt = pair()
    with tuimon.attach(model, opt, run_dir=tmp_path / "run", checkpoints="off") as monitor:
        monitor.probe._ring._events = [Late() for _ in monitor.probe._ring._events]
        for i in range(3):
            step(model, opt, i)
        monitor._recorder.order("hold", "test")
        shown: list[int] = []

        def look() -> None:
            try:
                wait_for(lambda: 4 in loops.read(monitor.run_dir).columns.get("grad_norm", {}))
                shown.extend(loops.read(monitor.run_dir).steps)
            finally:
                ask(monitor.run_dir, "resume")

        person = threading.Thread(target=look)
        person.start()
        step(model, opt, 3)
        person.join(DEADLINE)
    assert shown == [1, 2, 3, 4]


def test_a_rescue_cuts_the_rate_and_undo_gives_it_back(tmp_path: Path) -> None:
    model, opt = pair()
    with tuimon.attach(model, opt, run_dir=tmp_path / "run") as monitor:
        for i in range(3):
            step(model, opt, i)
        identity = ask(monitor.run_dir, "rescue", step=0, warmup=0)
        i = 0
        while not any(e["kind"] == "command" and e["id"] == identity and e["outcome"] in ("applied", "refused")
                      for e in events(monitor.run_dir)):
            assert i < 20_000
            step(model, opt, i)
            i += 1
        cut_at = monitor.probe.step
        step(model, opt)
        identity = ask(monitor.run_dir, "undo-overrides")
        while not any(e["kind"] == "command" and e["id"] == identity and e["outcome"] == "applied"
                      for e in events(monitor.run_dir)):
            step(model, opt)
        step(model, opt)
        last = monitor.probe.step
    columns = loops.read(monitor.run_dir).columns
    answer = next(e for e in events(monitor.run_dir) if e["kind"] == "command" and e["outcome"] in ("applied", "refused"))
    assert answer["outcome"] == "applied", answer
    assert columns["lr"][cut_at + 1] == pytest.approx(1e-3)
    assert columns["clipped"][cut_at + 1] == 1.0
    assert columns["lr"][last] == 1e-2
    assert "clipped" not in loops.read(monitor.run_dir).row(last)


def stopped_loop(tmp_path: Path, loop: Callable[[tuimon.Monitor, Net, torch.optim.Optimizer], None]) -> dict[str, Any]:
    model, opt = pair()
    with (  # noqa: PT012  # the loop may raise it at any line
        pytest.raises(tuimon.TrainingStopped),
        tuimon.attach(model, opt, run_dir=tmp_path / "run") as monitor,
    ):
        step(model, opt)
        ask(monitor.run_dir, "stop")
        loop(monitor, model, opt)
        raise tuimon.TrainingStopped(0)
    return events(monitor.run_dir)[-1]


def test_a_loop_that_looks_leaves_by_itself(tmp_path: Path) -> None:
    def looking(monitor: tuimon.Monitor, model: Net, opt: torch.optim.Optimizer) -> None:
        while not monitor.should_stop:
            step(model, opt)

    end = stopped_loop(tmp_path, looking)
    assert (end["kind"], end["state"]) == ("end", "stopped")


def test_a_loop_over_a_loader_runs_dry(tmp_path: Path) -> None:
    def loading(monitor: tuimon.Monitor, model: Net, opt: torch.optim.Optimizer) -> None:
        while not monitor.should_stop:
            for _ in DataLoader(range(50)):
                step(model, opt)
        model.eval()
        assert len(list(DataLoader(range(5)))) == 5
        model.train()
        assert len(list(DataLoader(range(5)))) == 5

    assert stopped_loop(tmp_path, loading)["state"] == "stopped"


def test_a_loop_that_never_looks_is_stopped_all_the_same(tmp_path: Path) -> None:
    def blind(monitor: tuimon.Monitor, model: Net, opt: torch.optim.Optimizer) -> None:
        for _ in range(100_000):
            step(model, opt)
        raise AssertionError("it was never stopped")

    assert stopped_loop(tmp_path, blind)["state"] == "stopped"


ENDINGS: dict[str, tuple[str, str | None]] = {
    "pass": ("finished", None),
    "raise ValueError('out of  luck')": ("crashed", "ValueError: out of luck"),
    "raise KeyboardInterrupt": ("stopped", "KeyboardInterrupt"),
    "sys.exit(0)": ("finished", None),
    "sys.exit(3)": ("crashed", "SystemExit: 3"),
    "sys.exit('no')": ("crashed", "SystemExit: no"),
    "exec('try: sys.exit(3)\\nexcept SystemExit: pass')": ("finished", None),
}


@pytest.mark.nightly   # ten scripts; by day the commonest ends are in test_program_run
def test_how_a_script_ended_is_recorded(tmp_path: Path) -> None:
    """One interpreter loads torch; each ending is that of a child of it, left to run into its own exit."""
    code = textwrap.dedent("""
        import os, sys, torch, tuimon
        torch.set_num_threads(1)
        def train(run):
            model = torch.nn.Linear(2, 1)
            opt = torch.optim.SGD(model.parameters(), lr=0.1)
            monitor = tuimon.attach(model, opt, run_dir=run)
            for _ in range(3):
                model(torch.ones(1, 2)).sum().backward()
                opt.step()
            return monitor, opt
        train("first")[0].close()  # loads whatever is loaded late, once
        for number, (line, inside) in enumerate([(line, inside) for line in LINES for inside in (False, True)]):
            if os.fork() == 0:
                monitor, opt = train(f"run{number}")
                if inside:
                    with monitor:
                        exec(line)
                exec(line)
                sys.exit()
        while True:
            try:
                os.wait()
            except ChildProcessError:
                break
    """).replace("LINES", repr(list(ENDINGS)))
    env = {**os.environ, "PYTHONPATH": str(Path(tuimon.__file__).parents[1])}
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=tmp_path, env=env, timeout=200,
                   stderr=subprocess.DEVNULL, check=True)
    for number in range(2 * len(ENDINGS)):
        run = tmp_path / f"run{number}"
        end = events(run)[-1]
        assert (end["kind"], (end["state"], end["error"])) == ("end", list(ENDINGS.values())[number // 2]), number
        assert loops.read(run).steps == [1, 2, 3]


def test_a_loop_whose_step_is_not_pythons_says_so_itself(tmp_path: Path) -> None:
    model, opt = pair()
    with tuimon.attach(model, opt, run_dir=tmp_path / "run") as monitor:
        for i in range(2):
            loops.loss_of(model, loops.batch(i)).backward()
            with torch.no_grad():
                torch._foreach_add_(list(model.parameters()), [p.grad for p in model.parameters()], alpha=-0.1)
            monitor.step()
            model.zero_grad()
    recorded = loops.read(monitor.run_dir)
    assert recorded.columns["loss"].keys() == recorded.columns["grad_norm"].keys() == {1, 2}


def test_a_run_that_nothing_is_wrong_with_is_healthy(tmp_path: Path) -> None:
    model, opt = pair()
    with tuimon.attach(model, opt, run_dir=tmp_path / "run") as monitor:
        step(model, opt)
        assert monitor.healthy
        assert monitor.diagnosis().verdict == "healthy"
        assert not monitor.should_stop
        assert monitor.run_dir == tmp_path / "run"


def test_a_checkpoint_holds_where_the_loader_stands(tmp_path: Path) -> None:
    class Positioned:
        def __init__(self) -> None:
            self.at = 0

        def state_dict(self) -> dict[str, int]:
            return {"at": self.at}

    model, opt = pair()
    loader = Positioned()
    with tuimon.attach(model, opt, dataloader=loader, run_dir=tmp_path / "run") as monitor:
        for i in range(4):
            step(model, opt, i)
        loader.at = 17
        monitor.checkpoint()
        step(model, opt)
        loader.at = 18
    saved = next(e for e in events(monitor.run_dir) if e["kind"] == "checkpoint")
    assert (saved["outcome"], saved["snapshot_step"]) == ("saved", 5)
    body = torch.load(monitor.run_dir / "checkpoints" / saved["id"] / "state.pt", weights_only=True)
    assert body["loader"] == {"at": 17}
