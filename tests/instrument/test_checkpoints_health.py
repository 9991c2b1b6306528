"""What is on disk earns and loses its health with the run, and the last healthy one stays whatever happens."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from control_parts import Viewer, wait_for
from steering_parts import ScriptedJudge, incident
from test_checkpoints_files import copy_of
from torch import nn

import tuimon
from tuimon.errors import CheckpointError
from tuimon.instrument.checkpoints import Checkpoints
from tuimon.instrument.guard import Guard
from tuimon.instrument.snapshots import Fit, Snapshots
from tuimon.record.events import EventReader
from tuimon.record.files import OsFiles

pytestmark = pytest.mark.usefixtures("one_thread")


class Run:
    """A training that is judged as a test says, with checkpoints at the steps that a test chooses."""

    def __init__(self, run_dir: Path, wrong: tuple[int, int, int | None] | None = None, **options: Any) -> None:
        """`wrong`: first faulty step, step at which that is seen, step at which it is over."""
        torch.manual_seed(0)
        self.model = nn.Linear(4, 4)
        self.opt = torch.optim.AdamW(self.model.parameters(), lr=1e-3)
        if options.pop("resumed", False):
            options["resumed"] = tuimon.resume(run_dir, self.model, self.opt, id=options.pop("id", None))
        self.step = options["resumed"].step if "resumed" in options else 0
        self.monitor = tuimon.attach(self.model, self.opt, run_dir=run_dir, detail="light", **options)
        self.viewer = Viewer(self.monitor)

        def find(step: int, _marks: list[Any]) -> tuple[Any, ...]:
            onset, seen, over = wrong or (0, 1 << 60, None)
            return (incident(onset=onset, detected=seen, resolved=over if over and step >= over else None),) if step >= seen else ()

        guard = self.monitor._recorder._writer._guard
        self.monitor._recorder._writer._guard = Guard(ScriptedJudge(find), 2, first=guard.health._first)
        self.monitor._recorder._writer._guard.health = guard.health
        self.events = EventReader(Path(run_dir) / "events.jsonl")
        self.store = Checkpoints(Path(run_dir) / "checkpoints")

    def train(self, upto: int, *saved: int) -> None:
        while self.step < upto:
            self.step += 1
            if self.step in saved:
                self.monitor.checkpoint()
            self.model(torch.ones(2, 4)).square().mean().backward()
            self.opt.step()
            self.opt.zero_grad()
            self.monitor._open.probe.flush(1.0)
            wait_for(lambda: self.monitor.diagnosis().steps >= self.step, "the guard")
            if self.step in saved:
                wait_for(lambda: any(e.fields.get("id", "").endswith(f"{self.step:09d}") for e in self.events.poll()), "a checkpoint")

    def marks(self) -> dict[int, str]:
        return {i.step: "healthy" if i.healthy else "suspect" if getattr(i, "suspect", False) else "" for i in self.store.list()}


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_checkpoint_earns_its_health_after_calm_steps_with_snapshots_and_without(in_memory: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not in_memory:
        monkeypatch.setattr(Snapshots, "fits", lambda *_: Fit(False, 2, 1, "too little memory"))
    run = Run(tmp_path / "run")
    with run.monitor:
        run.train(30, 15, 25)
        assert run.marks() == {15: "", 25: ""}
        run.train(60)
        wait_for(lambda: run.marks() == {15: "healthy", 25: ""}, "the health of step 15")
        run.train(70)
        wait_for(lambda: run.marks() == {15: "healthy", 25: "healthy"}, "the health of step 25")


def test_what_was_taken_after_the_onset_is_suspect_and_pushes_no_healthy_one_out(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", wrong=(80, 90, None))
    with run.monitor:
        run.train(89, 15, 85)
        assert run.marks() == {15: "healthy", 85: ""}
        run.train(91)
        wait_for(lambda: run.marks() == {15: "healthy", 85: "suspect"}, "doubt")
        run.train(160, *range(100, 160, 10))
        assert run.marks() == {15: "healthy", 130: "suspect", 140: "suspect", 150: "suspect"}


def test_health_that_was_earned_is_lost_where_the_onset_turns_out_to_be_earlier(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", wrong=(20, 75, None))
    with run.monitor:
        run.train(74, 10, 30)
        wait_for(lambda: run.marks() == {10: "healthy", 30: "healthy"}, "health")
        run.train(76)
        wait_for(lambda: run.marks() == {10: "healthy", 30: "suspect"}, "doubt")
        run.train(110, 80, 90, 100)
        assert run.marks() == {10: "healthy", 80: "suspect", 90: "suspect", 100: "suspect"}


def test_the_one_that_was_rolled_back_to_is_kept(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    with run.monitor:
        run.train(12, 10)
        command = run.viewer.ask("rollback", step=10)
        run.train(13)
        assert run.viewer.outcome(command)["outcome"] == "applied"
        run.train(40, 20, 25, 30, 35)
        assert list(run.marks()) == [10, 25, 30, 35]


def test_the_one_that_a_run_was_resumed_from_is_kept_until_it_is_resumed_from_another(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    with run.monitor:
        run.train(12, 5, 8, 11)
    first = run.store.ids()[0]
    run = Run(tmp_path / "run", resumed=True, id=first)
    assert run.step == 5
    with run.monitor:
        run.train(30, 10, 15, 20, 25)
        assert list(run.marks()) == [5, 15, 20, 25]
    run = Run(tmp_path / "run", resumed=True)
    with run.monitor:
        run.train(46, 30, 35, 40, 45)
        assert list(run.marks()) == [25, 35, 40, 45]


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)


def test_of_two_healthy_ones_the_damaged_one_goes(tmp_path: Path) -> None:
    store = Checkpoints(tmp_path, keep=2)
    old, new = store.save(copy_of(1), healthy=True), store.save(copy_of(2))
    (new.path / "healthy").touch(0o600)
    flip(new.path / "state.pt")
    newest = store.save(copy_of(3))
    assert store.ids() == [old.id, newest.id]


def test_going_on_from_a_suspect_one_is_said_with_the_last_healthy_one(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", wrong=(80, 85, None))
    with run.monitor:
        run.train(95, 15, 90)
    healthy, suspect = run.store.ids()
    fresh = nn.Linear(4, 4)
    found = tuimon.resume(tmp_path / "run", fresh, torch.optim.AdamW(fresh.parameters(), lr=1e-3))
    assert (found.step, found.notes) == (90, (f"{suspect} was taken while something was wrong with the run; the last healthy one: id='{healthy}'",))
    assert tuimon.resume(tmp_path / "run", fresh, torch.optim.AdamW(fresh.parameters(), lr=1e-3), id=healthy).notes == ()


class Forgetful(OsFiles):
    """A disk that gives back something else than was written."""

    def sync(self, fd: int) -> None:
        if stat.S_ISREG(os.fstat(fd).st_mode) and os.fstat(fd).st_size > 2000:
            os.pwrite(fd, b"\xff", 1000)
        super().sync(fd)


def test_what_cannot_be_read_back_is_not_published_and_costs_no_other(tmp_path: Path) -> None:
    good = Checkpoints(tmp_path).save(copy_of(1))
    for step in (2, 3, 4):
        with pytest.raises(CheckpointError, match=r"not saved: .*is damaged"):
            Checkpoints(tmp_path, files=Forgetful()).save(copy_of(step))
    assert sorted(os.listdir(tmp_path)) == [good.id]
    last = Checkpoints(tmp_path).save(copy_of(5))
    assert Checkpoints(tmp_path).ids() == [good.id, last.id]


def unreadable(path: Path) -> None:
    os.chmod(path, 0o770)


def linked(path: Path) -> None:
    path.rename(path.parent / "elsewhere")
    path.symlink_to(path.parent / "elsewhere")


@pytest.mark.parametrize("how", [unreadable, linked])
def test_nothing_is_removed_that_could_not_be_read(how: Callable[[Path], None], tmp_path: Path) -> None:
    store = Checkpoints(tmp_path, keep=1)
    first = store.save(copy_of(1))
    how(first.path)
    store.save(copy_of(2))
    store.save(copy_of(3))
    assert [i.step for i in store.list()] == [1, 3]
    assert (first.path / "state.pt").exists()


class Full(OsFiles):
    """A disk without room for one more name."""

    def open(self, path: str, flags: int, mode: int) -> int:
        if os.path.basename(path) == "healthy":
            raise OSError(errno.ENOSPC, "")
        return super().open(path, flags, mode)


def test_a_mark_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    info = Checkpoints(tmp_path).save(copy_of(1))
    with pytest.raises(CheckpointError, match=rf"checkpoint {info.id}: not marked: the disk is full"):
        Checkpoints(tmp_path, files=Full()).promote(info.id)
    Checkpoints(tmp_path).promote(info.id)
    Checkpoints(tmp_path).promote(info.id)
    assert Checkpoints(tmp_path).list()[0].healthy
    Checkpoints(tmp_path).doubt(info.id)
    assert not Checkpoints(tmp_path).list()[0].healthy
