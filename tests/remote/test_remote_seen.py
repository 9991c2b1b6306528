"""What a person sees of a run that comes over a link, while it comes: the truth about it, whatever arrives in what order."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pumped import Pumped
from writers import LogWriter

from tuimon.control.commands import Who
from tuimon.record.liveness import identity
from tuimon.record.log import Row, TensorRow
from tuimon.record.reader import LogReader
from tuimon.record.rundir import RunDir, RunInfo, create_run, prepare_run
from tuimon.record.tensors import TensorEntry
from tuimon.viewer.lines import text_of
from tuimon.viewer.reading import Reading

sys.path.insert(0, str(Path(__file__).parents[1] / "viewer"))
from synthetic import Run, exploding, healthy


class Watched:
    """A viewer of what is pumped, which looks after every turn."""

    def __init__(self, root: Path, tmp_path: Path, lag: float = 0.3) -> None:
        self.pumped = Pumped(root, tmp_path / "near", lag=lag)
        self.pumped.until(lambda: self.pumped.mirror is not None and self.pumped.mirror.is_ready, most=800)
        assert self.pumped.mirror is not None
        self.reading = Reading(self.pumped.mirror.run)
        self.frame = self.reading.poll(time.time(), self.pumped.now)
        self.statuses: list[str] = []

    def turn(self, seconds: float = 0.1, turns: int = 1) -> Watched:
        for _ in range(turns):
            self.pumped.turn(seconds, most=800)
            self.frame = self.reading.poll(time.time(), self.pumped.now) or self.frame
            assert self.frame is not None
            self.statuses.append(self.frame.header.status)
        return self

    def settle(self) -> Watched:
        for _ in range(600):
            self.turn(0.03)
            if self.pumped.agent._settled and self.pumped.agent._picture is None:
                break
        return self.turn(turns=20)


def test_a_run_that_is_whole_here_is_judged_here_whatever_picture_came_first(tmp_path: Path):
    run = exploding(root=tmp_path / "far")
    here = Reading(run.dir)
    here.poll(time.time(), 1000.0)
    watched = Watched(tmp_path / "far", tmp_path).settle()
    assert watched.reading.diagnosis.incidents
    assert [i.code for i in watched.reading.diagnosis.incidents] == [i.code for i in here.diagnosis.incidents]


def test_a_run_that_is_silent_is_no_fresher_for_a_finer_picture(tmp_path: Path):
    (tmp_path / "far").mkdir()
    Run(tmp_path / "far", name="old-20260101-000000-abcdef", began=time.time() - 720, step_time=0.1).go(600)
    watched = Watched(tmp_path / "far", tmp_path).settle()
    assert watched.pumped.agent._generation > 1
    assert all(" min" in status for status in watched.statuses), set(watched.statuses)


def test_a_run_that_has_not_begun_is_opened_at_once_and_seen_to_begin(tmp_path: Path):
    run = Run(tmp_path / "far", info=False)
    pumped = Pumped(tmp_path / "far", tmp_path / "near")
    pumped.until(lambda: pumped.mirror is not None and pumped.mirror.is_ready, turns=20)
    watched = Watched(tmp_path / "far", tmp_path / "again")
    assert watched.frame is not None
    assert "Torch is loading" in "\n".join(map(text_of, watched.frame.verdict))
    run.attach()
    run.go(5)
    watched.turn(turns=30)
    assert watched.frame.header.step == 5


MANY = 10_000


def many_tensors(root: Path, steps: int) -> tuple[RunDir, LogWriter]:
    """A run of ten thousand parameter tensors."""
    root.mkdir()
    run = create_run("many", root)
    prepare_run(run)
    run.write_info(RunInfo("many", identity(), started=time.time(), tensors=tuple(
        TensorEntry(f"model.layers.{i}.self_attention.projection.weight", (64, 64), "bfloat16") for i in range(MANY))))
    log = LogWriter(run.metrics, attempt=1, from_step=0, tensors=MANY)
    for step in range(1, steps + 1):
        log.append([vector(step), Row(step, time.time(), {"loss": 1.0 / step})])
    return run, log


def vector(step: int) -> TensorRow:
    norms = np.random.default_rng(step).lognormal(size=MANY).astype(np.float32)
    return TensorRow(step, norms, np.ones(MANY, np.bool_), norms)


def test_ten_thousand_tensors_hold_up_neither_the_first_picture_nor_what_is_new(tmp_path: Path):
    run, log = many_tensors(tmp_path / "far", 40)
    watched = Watched(tmp_path / "far", tmp_path)
    pumped, mirror = watched.pumped, watched.pumped.mirror
    assert mirror is not None
    assert pumped.carried < 8_000, "a second of a modem"
    assert watched.frame is not None
    for step in range(41, 141):   # 800 bytes a turn: tables and vectors come, and rows between them
        log.append([vector(step), Row(step, time.time(), {"loss": 1.0 / step})])
        watched.turn()
        assert watched.frame.header.step >= step - 8
    pumped.until(lambda: mirror.run.read_info() is not None)
    pumped.settled()
    watched.turn()
    assert watched.reading.info == replace(run.read_info(), process=watched.reading.info.process)
    history, chunks, reader = pumped.read()
    assert reader.damaged == 0
    assert history.last_step == 140
    (theirs,) = LogReader(run.metrics).poll(1 << 30)
    for chunk in chunks:
        for step, ours in zip(chunk.tensors.steps, chunk.tensors.grad, strict=True):
            np.testing.assert_array_equal(ours, theirs.tensors.grad[theirs.tensors.steps == step][0])
    assert sum(len(chunk.tensors) for chunk in chunks) > 0


@pytest.mark.parametrize("replaced", [False, True])
def test_a_run_that_is_gone_or_replaced_over_there_is_said_to_be_and_stays_on_the_screen(tmp_path: Path, *, replaced: bool):
    run = exploding(root=tmp_path / "far")
    watched = Watched(tmp_path / "far", tmp_path).settle()
    step = watched.frame.header.step
    shutil.rmtree(run.dir.path)
    mirror = watched.pumped.mirror
    assert mirror is not None
    told = mirror.run.events.read_bytes(), (mirror.run.path / "run.json").read_bytes()
    if replaced:
        Run(tmp_path / "elsewhere").go(3 * step).dir.path.rename(run.dir.path)
    watched.turn(turns=20)
    assert watched.frame.header.step == step
    assert told == (mirror.run.events.read_bytes(), (mirror.run.path / "run.json").read_bytes()), "nothing of another run"
    assert watched.frame.problem == ("far: another run took this directory: open it again to see that one" if replaced else
                                     "far: the run directory is gone; what was read stays on the screen")


@pytest.mark.parametrize("ahead", [-7 * 3600.0, 7 * 3600.0])
def test_clocks_that_differ_by_hours_make_nothing_old_or_of_the_future(tmp_path: Path, ahead: float):
    (tmp_path / "far").mkdir()
    run = Run(tmp_path / "far", name="there-20260101-000000-abcdef", began=time.time() + ahead - 30).go(600)   # 30 s of it
    pumped = Pumped(tmp_path / "far", tmp_path / "near")
    mirror = pumped.mirror
    while mirror is None:
        pumped.turn(most=1)
        mirror = pumped.mirror
    mirror.say()
    mirror.heard(time.time(), time.time() + ahead)
    reading = Reading(mirror.run)
    pumped.until(lambda: mirror.is_ready)
    refused = {"id": "x", "verb": "hold", "outcome": "refused", "why": "no room"}
    run.event("command", **refused)
    for delay in (0.0, 1.5, 0.3):   # what comes late says nothing of the clocks
        mirror.heard(time.time() + delay, time.time() + ahead)
        run.go(5)
        pumped.turn(3.0)
    frame = reading.poll(time.time(), pumped.now)
    assert frame is not None
    assert frame.header.status == "● LIVE"
    assert "hold refused" in "\n".join(map(text_of, frame.verdict))
    _, (chunk,), _ = pumped.read()
    assert abs(chunk.times[-1] - time.time()) < 5
    assert np.abs(np.diff(chunk.times) - run.step_time).max() < 0.01


def test_a_command_that_cannot_be_handed_over_there_is_refused_with_the_reason(tmp_path: Path):
    run = exploding(root=tmp_path / "far")
    pumped = Pumped(tmp_path / "far", tmp_path / "near", control=True).settled()
    assert pumped.mirror is not None
    here = pumped.mirror.run
    reading = Reading(here)
    reading.poll(time.time(), pumped.now)
    reading.ask("hold", {}, time.time(), Who("ada", 1, "laptop", 2, "viewer"), "seen")
    (command,) = (here.commands / "new").iterdir()
    pumped.agent.receive({"k": "command"}, command.read_bytes(), pumped.now)
    assert [heard.base_rev for heard in run.commands()] == ["seen"]   # on which picture it was confirmed goes along
    shutil.rmtree(run.dir.commands)
    pumped.agent.receive({"k": "command"}, command.read_bytes(), pumped.now)
    pumped.turn(1.0)
    frame = reading.poll(time.time(), pumped.now)
    assert frame is not None
    assert "hold refused   it could not be handed over: No such file or directory" in "\n".join(map(text_of, frame.verdict))


def test_a_console_that_floods_is_told_from_its_end(tmp_path: Path):
    run = healthy(root=tmp_path / "far", steps=30)
    run.dir.console.write_bytes(b"begun\n")
    pumped = Pumped(tmp_path / "far", tmp_path / "near").settled()
    with run.dir.console.open("ab") as file:
        file.write(b"a flood of words\n" * 500_000 + b"the last one\n")
    assert pumped.mirror is not None
    console = pumped.mirror.run.console
    pumped.until(lambda: console.read_bytes().endswith(b"the last one\n"), turns=100)
    assert pumped.carried < 100_000


def test_a_short_run_is_not_said_to_be_unread_for_longer_than_it_is(tmp_path: Path):
    healthy(root=tmp_path / "far", steps=30)
    pumped = Pumped(tmp_path / "far", tmp_path / "near")
    while pumped.mirror is None or not pumped.mirror.run.path.joinpath("far.json").exists():
        pumped._say()   # before it has looked at anything
    pumped.turn()
    pumped.turn()
    assert pumped.mirror.far.share == 1.0
