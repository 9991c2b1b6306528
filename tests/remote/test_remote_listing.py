"""What runs there are on another machine is told as the near side would have read it, in few bytes, and only as far as it may be asked."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
import time
import zlib
from dataclasses import asdict
from pathlib import Path

import pytest

from tuimon.record.catalogue import Catalogue, Entry
from tuimon.record.events import EventWriter
from tuimon.record.hosts import digest
from tuimon.record.label import Label, read_label, write_label
from tuimon.record.liveness import identity
from tuimon.record.log import Row
from tuimon.record.merged import entry_of
from tuimon.record.metrics import METRICS
from tuimon.record.reader import segment_paths
from tuimon.record.rundir import RunDir
from tuimon.record.segments import LogWriter
from tuimon.remote.far.agent import Agent, Code
from tuimon.remote.far.hub import LIST
from tuimon.remote.far.listing import Listing
from tuimon.remote.far.wire import MAGIC, Packer, Unpacker
from tuimon.remote.host import LISTING, bundle, listing

sys.path.insert(0, str(Path(__file__).parents[1] / "viewer"))
import itertools

import synthetic

SSH = 36
"""Bytes that ssh adds to each message."""


class Asked:
    """A far end that is asked for its list, over a line that carries everything at once; time is what the test says."""

    def __init__(self, root: Path, *, control: bool = False) -> None:
        self.agent, self.packer, self.unpacker = Agent(str(root), list(METRICS), "test"), Packer(), Unpacker()
        self.unpacker.feed(MAGIC)
        self.now, self.carried = 1000.0, 0
        self.said: list[tuple[dict, bytes]] = []
        self.runs: dict[str, dict] = {}
        self.say({"k": "list", "c": LIST, "root": None, "control": control})

    def say(self, head: dict, body: bytes = b"") -> None:
        self.agent.receive(head, body, self.now)
        self.agent = self.agent.instead or self.agent

    def turn(self, seconds: float = 0.1) -> list[dict]:
        """So much later: the far end looks, and says what it has to. What it said."""
        self.now += seconds
        self.agent.poll(self.now)
        heads = []
        for data in self.agent.talk(self.packer, self.now):
            self.carried += len(data) + SSH
            for head, body in self.unpacker.feed(data):
                heads.append(head)
                self.said.append((head, body))
                if head["k"] == "runs":
                    for key in head["gone"]:
                        self.runs.pop(key)
                    for key, change in json.loads(body).items():
                        self.runs.setdefault(key, {}).update(change)
                self.say({"k": "ack", "n": 1, **({"c": head["c"]} if "c" in head else {})})
        return heads

    def settled(self) -> Asked:
        """Until nothing is left to be told."""
        for _ in range(2000):
            if any(head.get("left") == 0 for head in self.turn()):
                return self
        raise AssertionError("it never came to that")


def every_kind(root: Path) -> None:
    """Runs of every state, one long enough that its log is only looked at in places, one that was resumed."""
    synthetic.healthy(root=root, steps=1500)
    synthetic.exploding(root=root).event("incident", rule="exploding-gradients", severity="critical", change="opened", onset_step=209,
                                         headline="Exploding gradients", category="gradients")
    ended = synthetic.rescued(root=root)
    ended.end()
    write_label(ended.dir, Label("the good one", "kept for the paper"))
    synthetic.Run(root, alive=False, name="dead").go(120)
    synthetic.Run(root, name="waiting", info=False)
    synthetic.Run(root, name="away", began=time.time() - 10).go(100)
    synthetic.Run(root, name="gone", began=time.time() - 1000).go(100)
    resumed = synthetic.Run(root, alive=False, name="resumed").go(150)
    log = LogWriter(resumed.dir.metrics, attempt=2, from_step=100, tensors=0)
    log.append([Row(step, time.time(), {"loss": math.nan if step == 110 else 1.0, "val_loss": 9.0 - step / 100}) for step in range(101, 141)])
    log.close()
    (synthetic.Run(root, name="broken").go(5).dir.run_json).write_text("{}")
    several(root)


def several(root: Path) -> dict[str, RunDir]:
    """Runs of several ranks: all there, one silent, dead, crashed, or never come; stages, many ranks, restarts; over."""
    runs = {"all": synthetic.ranked(8, 400, root=root), "silent": synthetic.ranked(4, 300, silent=2, root=root),
            "many": synthetic.ranked(20, 40, root=root), "over": synthetic.ranked(3, 60, root=root).end()}
    runs |= {name: synthetic.ranked(3, 60, root=root) for name in ("dead", "crashed", "never", "stages", "again")}
    found = {name: run.dir for name, run in runs.items()}
    for rank in range(3):
        said = {"rank": rank, "world": 3, "attempt": 1, "process": asdict(synthetic.nobody() if rank == 1 else identity())}
        found["dead"].write_rank(rank, said)
        for path in segment_paths(found["stages"].metrics, rank):
            path.unlink()
        write(found["stages"], rank, 1, 0, {step: {"loss": 5.0 / step} if rank == 2 else {"tokens": 1.0} for step in range(1, 40)})
        # an attempt that wrote two segments, and one that did some of it again, where the first has come farther
        for attempt, after, worth in ((2, 40, 2.0), (2, 40, 3.0), (3, 70, 4.0)):
            steps = range(41, 61) if worth == 2.0 else range(61, 81) if worth == 3.0 else range(71, 90 + (rank == 0))
            write(found["again"], rank, attempt, after, {
                step: {"loss": math.nan if step == 75 else worth + rank, **({} if step % 10 else {"val_loss": worth + rank - step / 100})}
                for step in steps})
    events = EventWriter(found["crashed"].events_of(2), 1)
    events.append("end", 60, 0.0, {"state": "crashed", "error": "out of memory"})
    events.close()
    os.utime(segment_paths(found["crashed"].metrics, 2)[0], (time.time() - 1, time.time() - 1))
    segment_paths(found["never"].metrics, 1)[0].unlink()
    return found


def write(run: RunDir, rank: int, attempt: int, after: int, rows: dict[int, dict[str, float]]) -> None:
    log = LogWriter(run.metrics, attempt=attempt, from_step=after, tensors=0, rank=rank, world=3)
    log.append([Row(step, 1000.0 + step, values) for step, values in rows.items()])
    log.close()


def alike(mine: object, theirs: object) -> bool:
    if isinstance(mine, float) and isinstance(theirs, float):
        return math.isclose(mine, theirs, rel_tol=1e-5) or (math.isnan(mine) and math.isnan(theirs))
    if isinstance(mine, tuple) and isinstance(theirs, tuple):
        return len(mine) == len(theirs) and all(map(alike, mine, theirs))
    return mine == theirs


def facts(entry: Entry) -> dict[str, object]:
    found = entry.status
    return {"world": found.world, "lost": found.lost, "state": found.state, "attempt": found.attempt, "step": found.step, "total": found.total_steps, "loss": found.loss, "lr": found.lr,
            "sign": found.last_sign, "verdict": found.verdict, "headline": found.headline, "since": found.since, "is_full": found.is_full,
            "why": found.why if found.state != "unreadable" else "", "label": entry.label, "name": entry.name, "started": entry.started if entry.run_name else 0,
            "best": entry.best_val, "best step": entry.best_val_step, "losses": entry.losses, "optimizer": entry.optimizer, "model": entry.model,
            "parameters": entry.parameters, "device": entry.device, "host": entry.host, "pid": entry.pid, "argv": entry.argv, "size": entry.size,
            "checkpoints": entry.checkpoints}


def test_that_nothing_is_left_is_not_said_before_the_far_side_has_looked(tmp_path: Path):
    synthetic.healthy(root=tmp_path, steps=20)
    asked = Asked(tmp_path)
    said = [head for data in asked.agent.talk(asked.packer, asked.now) for head, _ in asked.unpacker.feed(data)]
    assert [head["k"] for head in said] == ["hello", "listed"]
    assert len(asked.settled().runs) == 1


def test_a_far_list_tells_what_a_list_over_there_would(tmp_path: Path):
    every_kind(tmp_path)
    far = Asked(tmp_path).settled()
    near = Catalogue(tmp_path).poll(time.time(), math.inf)
    assert len(near.entries) == len(far.runs) == 18
    for entry in near.entries:
        theirs = facts(entry_of(Path("/h0"), entry.key, far.runs[entry.key], "node7"))
        different = {name: (value, theirs[name]) for name, value in facts(entry).items() if not alike(value, theirs[name])}
        if entry.status.state == "unreadable":
            different.pop("name", None)
        assert not different, entry.key


def test_of_several_ranks_the_list_tells_the_whole_and_who_is_not_there(tmp_path: Path):
    runs = several(tmp_path)
    found = {entry.key: entry for entry in Catalogue(tmp_path).poll(time.time(), math.inf).entries}
    lost = {name: found[run.name].status.lost for name, run in runs.items()}
    assert (lost["all"], lost["silent"], lost["dead"]) == ((), ((2, "silent"),), ((1, "died"),))
    assert (lost["crashed"], lost["never"]) == (((2, "crashed"),), ((1, "missing"),))
    again = found[runs["again"].name]
    assert (again.best_val, again.best_val_step) == (pytest.approx(2.0 + 1.0 - 0.6), 60)   # of a segment that goes on with its attempt
    assert again.status.loss == 5.0
    assert found[runs["stages"].name].status.loss == 5.0 / 39


def test_what_is_told_of_many_ranks_is_bounded_in_bytes_and_in_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = synthetic.ranked(20, 1, root=tmp_path)
    for rank in range(20):
        log = LogWriter(run.dir.metrics, attempt=1, from_step=1, tensors=0, rank=rank, world=20)
        for step in range(2, 302, 4):
            log.append([Row(step + i, 1000.0, {"loss": 1.0, "grad_square": 1.0, "lr": 3e-4, "step_time": 0.1}) for i in range(4)])
        log.close()
        if rank:
            run.dir.write_rank(rank, {"rank": rank, "world": 20, "attempt": 1, "process": asdict(synthetic.nobody())})
    far = Asked(tmp_path).settled()
    (told,) = far.runs.values()
    assert (told["lost"], told["step"], told["loss"]) == ({"died": list(range(1, 20))}, 301, 1.0)
    assert far.carried < 1200
    read, real = 0, os.pread

    def counted(fd: int, size: int, at: int) -> bytes:
        nonlocal read
        data = real(fd, size, at)
        read += len(data)
        return data

    monkeypatch.setattr(os, "pread", counted)
    far.said = []
    for _ in range(60):
        far.turn()
    assert {head["k"] for head, _ in far.said} == {"beat"}
    assert read < 3 * 20 * 5000 + 60_000, "three looks"


def test_only_what_changes_is_told_again_and_nothing_costs_next_to_nothing(tmp_path: Path):
    run = synthetic.healthy(root=tmp_path, steps=100)
    synthetic.Run(tmp_path, alive=False, name="other").go(20).end()
    far = Asked(tmp_path).settled()
    for _ in range(50):
        far.turn()
    before, far.said = far.carried, []
    for _ in range(600):
        far.turn()
    assert (far.carried - before) / 60 <= 0.3e3, "idle"
    assert {head["k"] for head, _ in far.said} == {"beat"}
    run.go(1)
    for _ in range(40):
        far.turn()
    ((key, change),) = [pair for head, body in far.said if head["k"] == "runs" for pair in json.loads(body).items()]
    assert key == run.dir.name
    assert set(change) <= {"step", "loss", "lr", "last_sign", "bytes"}
    assert change["step"] == 101
    shutil.rmtree(run.dir.path)
    for _ in range(40):
        far.turn()
    assert list(far.runs) == [name for name in far.runs if name != key]


def test_many_runs_that_train_share_what_a_link_may_carry_and_each_has_its_turn(tmp_path: Path):
    runs = [synthetic.healthy(root=tmp_path, steps=20) for _ in range(15)]
    far = Asked(tmp_path).settled()
    before, stepped = far.carried, set()
    far.said = []
    for i in range(150):
        if i % 10 == 0:
            for run in runs:
                run.go(1)
        far.turn()
    for head, body in far.said:
        stepped |= {key for key, change in (json.loads(body) if head["k"] == "runs" else {}).items() if "step" in change}
    assert len(stepped) == 15
    assert (far.carried - before) / 15 < 2e3


@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.nightly)])
def test_many_runs_are_read_a_few_at_a_time_and_told_in_a_few_bytes_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int):
    like = synthetic.Run(tmp_path, alive=False, name="like").go(60).end().dir
    for i in range(count - 1):
        shutil.copytree(like.path, tmp_path / f"{like.name}-{i:04}", copy_function=shutil.copyfile)
    far = Asked(tmp_path)
    ticks = iter(range(10**9))
    monkeypatch.setattr(time, "monotonic", lambda: next(ticks) / 200)   # a look at the clock takes 5 ms: four are a budget
    known = []
    for _ in range(3000):
        if any(head.get("left") == 0 for head in far.turn()):
            break
        known.append(len(far.runs))
    assert max(b - a for a, b in itertools.pairwise(known)) < 40, "nobody waits for all of them"
    assert len(far.runs) == count
    assert far.carried / count < 70


def test_the_list_is_sent_to_a_bare_machine_only_when_it_is_asked_for():
    plain = zlib.decompress(bundle().partition(b"\n")[2])
    assert not [name for name in LISTING if f"tuimon.remote.far.{name}'] =".encode() in plain]
    assert len(zlib.compress(listing(), 6)) < 8_000, "a second of a modem"


def test_a_list_that_is_not_looked_at_rests(tmp_path: Path):
    run = synthetic.healthy(root=tmp_path, steps=10)
    far = Asked(tmp_path).settled()
    far.say({"k": "list", "c": LIST, "on": False})
    run.go(10)
    assert [head for _ in range(100) for head in far.turn()] == []
    far.say({"k": "list", "c": LIST, "on": True})
    for _ in range(30):
        far.turn()
    assert far.runs[run.dir.name]["step"] == 20


@pytest.mark.parametrize("control", [False, True])
def test_names_and_deletions_are_done_there_only_where_that_was_allowed(tmp_path: Path, control: bool):
    live, over = synthetic.healthy(root=tmp_path / "runs", steps=5), synthetic.Run(tmp_path / "runs", alive=False, name="over").go(5).end()
    outside = synthetic.Run(tmp_path / "else", alive=False, name="outside").go(5).end()
    (tmp_path / "runs" / "link").symlink_to(outside.dir.path)
    far = Asked(tmp_path / "runs", control=control).settled()
    orders = [("label", over.dir.name), ("delete", live.dir.name), ("delete", over.dir.name), ("delete", "../else/" + outside.dir.name),
              ("delete", "link"), ("label", "link")]
    for serial, (kind, key) in enumerate(orders):
        far.say({"k": kind, "c": LIST, "serial": serial, "run": key}, json.dumps({"name": "n", "note": "hot"}).encode())
        if serial == 0:
            assert read_label(over.dir) == (Label("n", "hot") if control else Label())
    far.turn()
    answers = {head["serial"]: head["why"] for head, _ in far.said if head["k"] == "done"}
    if not control:
        assert set(answers.values()) == {"this link only looks"}
    else:
        assert [answers[i] for i in range(6)] == [
            "", "it is alive (running): end it first", "", *["there is no such run"] * 3]
    assert over.dir.path.exists() is not control
    assert live.dir.path.exists()
    assert outside.dir.path.exists()


def test_runs_are_opened_over_the_same_line_and_each_answers_by_its_number(tmp_path: Path):
    one, other = synthetic.healthy(root=tmp_path, steps=30), synthetic.exploding(root=tmp_path)
    far = Asked(tmp_path).settled()
    for number, run in ((1, one), (2, other)):
        far.say({"k": "open", "c": number, "run": str(run.dir.path), "control": False})
    far.say({"k": "open", "c": 3, "run": str(tmp_path / "none"), "control": False})
    for _ in range(60):
        far.turn()
    told = {number: [head for head, _ in far.said if head.get("c") == number] for number in (1, 2, 3)}
    assert [told[number][0].get("run") for number in (1, 2)] == [one.dir.name, other.dir.name]
    assert [head["k"] for head in told[3]] == ["error"]
    assert all(any(head["k"] == "done" for head in told[number]) for number in (1, 2))
    far.say({"k": "close", "c": 1})
    far.said = []
    one.go(10)
    other.go(10)
    for _ in range(40):
        far.turn()
    assert {head.get("c") for head, _ in far.said if head["k"] == "rows"} == {2}


@pytest.mark.parametrize("number", [None, [], {}, "1", 1.5, 10**30, True, -7])
def test_a_message_for_nobody_is_passed_over(tmp_path: Path, number: object):
    synthetic.healthy(root=tmp_path, steps=5)
    far = Asked(tmp_path).settled()
    for kind in ("open", "ack", "close", "look", "list", "command"):
        far.say({"k": kind, "c": number, "n": "x", "run": 3, "first": [], "serial": {}}, b"x")
    for _ in range(50):
        far.turn()
    assert any(head["k"] == "beat" for head, _ in far.said)


def test_what_is_odd_in_a_root_is_left_out_of_its_list(tmp_path: Path):
    good = synthetic.healthy(root=tmp_path, steps=5).dir
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    odd = RunDir(tmp_path / "odd")
    odd.metrics.mkdir(parents=True)
    odd.run_json.write_text('{"schema": 1, "process": 3, "tensors": [[]], "argv": {}, "started": "x", "attempt": "y", "name": 7, "world_size": null}')
    odd.events.write_text('{"kind": "attempt", "attempt": [], "step": 1}\n{"kind": "end"}\n[[]]\n{"kind": "incident", "attempt": 1, "step": 1}\n')
    (odd.metrics / "r0-000.tlog").write_bytes(b"\xf5TM1" * 5000)
    list_ = Listing(str(tmp_path), list(METRICS), control=False, code=Code())
    for i in range(20):
        list_.poll(1000.0 + i)
    assert {name: known.entry["state"] for name, known in list_._known.items()}.keys() == {good.name, "odd"}
    assert digest(good.name) != digest("odd")
