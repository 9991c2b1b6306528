"""A stopped run ends its own loops and nobody else's; a run directory belongs to one process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import training_loops as loops
from control_parts import Viewer, events
from torch.utils.data import DataLoader

import tuimon

pytestmark = pytest.mark.usefixtures("one_thread")


def step(model: Any, opt: torch.optim.Optimizer, i: int = 0) -> None:
    loops.loss_of(model, loops.batch(i)).backward()
    opt.step()
    opt.zero_grad()


def test_after_a_stop_every_other_loader_works_although_nobody_closed_the_run(tmp_path: Path) -> None:
    model, opt = loops.pair()
    monitor = tuimon.attach(model, opt, run_dir=tmp_path / "run")
    viewer, loader, seen = Viewer(monitor), DataLoader(range(10)), []
    for _epoch in range(5):
        for i in loader:
            if len(seen) == 4:
                viewer.ask("stop")
            step(model, opt)
            seen.append(int(i))
        seen.append("epoch")
    assert seen == [0, 1, 2, 3, 4] + ["epoch"] * 5
    assert model.training
    assert len(list(DataLoader(range(7)))) == 7
    assert len(list(loader)) == 10
    assert [len(list(loader)) for _ in range(3)] == [10, 10, 10]
    monitor.close()


def wrapped(loader: Any) -> Iterator[Any]:
    """What tqdm and Accelerate do: a generator of their own for every epoch."""
    yield from loader


def test_the_loops_of_a_stopped_run_are_known_through_wrappers_and_functions(tmp_path: Path) -> None:
    model, opt = loops.pair()
    counts = []

    def epoch(loader: Any) -> int:
        n = 0
        for _ in wrapped(loader):
            n += 1
            step(model, opt)
        return n

    with tuimon.attach(model, opt, run_dir=tmp_path / "run") as monitor:
        viewer, loader = Viewer(monitor), DataLoader(range(3))
        counts = [epoch(loader)]
        viewer.ask("stop")
        counts += [epoch(loader) for _ in range(3)]
    assert counts == [3, 1, 0, 0]
    assert events(monitor.run_dir)[-1]["state"] == "stopped"


def test_a_loop_that_begins_the_data_anew_for_ever_is_stopped_and_does_not_spin(tmp_path: Path) -> None:
    model, opt = loops.pair()
    with tuimon.attach(model, opt, run_dir=tmp_path / "run") as monitor:
        Viewer(monitor).ask("stop")

        def forever() -> None:
            while True:
                for _ in DataLoader(range(10)):
                    step(model, opt)

        with pytest.raises(tuimon.TrainingStopped):
            forever()
        assert len(list(DataLoader(range(5)))) == 5


def test_the_next_run_of_a_script_gets_its_data_although_the_stopped_one_was_never_closed(tmp_path: Path) -> None:
    loader, lengths = DataLoader(range(6)), []

    def fold(n: int) -> None:
        model, opt = loops.pair()
        monitor = tuimon.attach(model, opt, run_dir=tmp_path / f"{n}")
        if n == 0:
            Viewer(monitor).ask("stop")
        lengths.append(0)
        monitors.append(monitor)
        for _epoch in range(2):
            for _ in loader:
                step(model, opt)
                lengths[-1] += 1

    monitors: list[tuimon.Monitor] = []
    for n in range(3):
        fold(n)
    assert lengths == [1, 12, 12]
    for monitor in monitors:
        monitor.close()


RACE = """
import sys, torch, tuimon
import tuimon.instrument.attach
model = torch.nn.Linear(2, 1)
opt = torch.optim.SGD(model.parameters(), lr=0.1)
print("ready", flush=True)
sys.stdin.readline()
try:
    tuimon.attach(model, opt, run_dir=sys.argv[1])
    print("attached", flush=True)
    sys.stdin.read()
except tuimon.AttachError as error:
    print("refused:", error, flush=True)
"""


def test_of_processes_that_attach_to_one_directory_at_the_same_instant_one_gets_it(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    env = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    racers = [subprocess.Popen([sys.executable, "-c", RACE, str(tmp_path / "run")], text=True, env=env,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(2)]
    assert [racer.stdout.readline().strip() for racer in racers] == ["ready"] * 2
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    said = [racer.stdout.readline().strip() for racer in racers]
    for racer in racers:
        racer.communicate(timeout=60)
    assert sorted(line.split(":")[0] for line in said) == ["attached", "refused"]
    assert "is being written by process" in next(line for line in said if line.startswith("refused"))
