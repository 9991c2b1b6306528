"""The parts of one rank, each by itself: where it records, what it counts for, how long it worked."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from tests.instrument.steering_parts import info_of
from tuimon.errors import AttachError
from tuimon.instrument.cadence import Cadence
from tuimon.instrument.journal import Journal
from tuimon.instrument.place import take_place
from tuimon.instrument.ranks.joining import Joining, attempt_note, publish
from tuimon.instrument.ranks.keeping import beside
from tuimon.instrument.ranks.lane import Lane
from tuimon.instrument.ranks.own import HostTime
from tuimon.instrument.ranks.shares import Part, Shares, shares_of
from tuimon.instrument.ranks.world import Board, World
from tuimon.instrument.transfer import Stretches
from tuimon.record.events import EventReader
from tuimon.record.liveness import identity
from tuimon.record.log import Row
from tuimon.record.reader import LogReader, segment_paths
from tuimon.record.rundir import RunDir, create_run, prepare_run, runs_root


class Notes:
    """A board that nobody else reads; or one whose store is gone."""

    def __init__(self, *, is_gone: bool = False) -> None:
        self.notes: dict[str, str] = {}
        self.is_gone = is_gone

    def put(self, name: str, note: str) -> None:
        self.notes[name] = note

    def look(self, name: str) -> str | None:
        if self.is_gone:
            raise RuntimeError("Broken pipe")
        return self.notes.get(name)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def part(rank: int = 1, size: int = 2, weight: float = 0.5) -> Part:
    found = Part(World(rank, size, rank, 0))
    found.shares = Shares(np.array([weight]), np.array([rank == 0]), size)
    return found


def column(run: RunDir, rank: int, name: str) -> list[float]:
    return [float(v) for chunk in LogReader(run.metrics, rank=rank).poll() for v in chunk.measured(name)[1]]


# -- where a rank records


def joined_journal(tmp_path: Path, board: Any, clock: Clock, rows: int = 1) -> Journal:
    info = info_of(create_run("net", tmp_path / "elsewhere"))
    joining = Joining(part(), replace(info, name="net"), 0, board, clock=clock)
    journal = Journal(RunDir(Path("net")), attempt=1, from_step=0, tensors=0, world=2, joining=joining)
    journal.keep([Row(1, 1.0, {"grad_square": 2.0, "param_square": 8.0})] * rows, ())
    journal.flush()
    return journal


def test_a_rank_comes_where_rank_0_records_and_takes_its_attempt(tmp_path: Path) -> None:
    board, clock, home = Notes(), Clock(), create_run("home", tmp_path)
    info = replace(info_of(home), attempt=3)
    home.write_info(info)
    journal = joined_journal(tmp_path, board, clock)
    assert not segment_paths(home.metrics, 1)   # nothing was said
    publish(board, home, info, from_step=0)  # type: ignore[arg-type]
    journal.flush()
    journal.close()
    assert (journal.run, journal.attempt) == (home, 3)
    assert column(home, 1, "grad_square") == [2.0]
    [event] = EventReader(home.path / "events-r1.jsonl").poll()
    assert (event.kind, event.attempt, event.fields["rank"]) == ("attempt", 3, 1)


def test_before_the_first_step_a_rank_waits_for_as_long_as_training_does(tmp_path: Path) -> None:
    """Rank 0 may read its data alone, between wrapping and attach."""
    board, clock, home = Notes(), Clock(), create_run("home", tmp_path)
    info = info_of(home)
    home.write_info(info)
    journal = joined_journal(tmp_path, board, clock, rows=0)
    clock.now = 900.0
    journal.flush()
    publish(board, home, info, from_step=0)  # type: ignore[arg-type]
    journal.keep([Row(1, 1.0, {"grad_square": 2.0})], ())
    journal.flush()
    journal.close()
    assert journal.run == home


@pytest.mark.parametrize("board", [Notes(), Notes(is_gone=True), None])
def test_without_a_word_it_waits_for_a_minute_and_then_records_by_itself(tmp_path: Path, board: Notes | None) -> None:
    clock = Clock()
    journal = joined_journal(tmp_path, board, clock)
    clock.now = 59.0
    journal.flush()
    assert journal.run == RunDir(Path("net"))
    clock.now = 60.0
    journal.flush()
    journal.close()
    assert journal.run.path.parent == runs_root()
    assert column(journal.run, 0, "grad_norm") == [2.0]   # a replica knows the whole
    assert "rank 1 of 2 is recorded here" in EventReader(journal.run.events).poll()[1].text("text")


@pytest.mark.parametrize("what", ["gone", "another's"])
def test_a_place_that_is_not_rank_0s_seen_from_here_is_not_written_to(tmp_path: Path, what: str) -> None:
    board, clock, home = Notes(), Clock(), create_run("home", tmp_path)
    info = info_of(home)
    if what == "another's":
        home.write_info(replace(info, process=replace(identity(), pid=1)))
    publish(board, home, info, from_step=0)  # type: ignore[arg-type]
    journal = joined_journal(tmp_path, board, clock)
    clock.now = 60.0
    journal.flush()
    journal.close()
    assert not list(home.metrics.iterdir())
    assert "cannot be reached from here" in EventReader(journal.run.events).poll()[1].text("text")


def test_where_rank_0_cannot_record_nobody_does(tmp_path: Path) -> None:
    board, clock, home = Notes(), Clock(), create_run("home", tmp_path)
    publish(board, home, info_of(home), from_step=0, trouble="the disk is full")  # type: ignore[arg-type]
    journal = joined_journal(tmp_path, board, clock)
    journal.close()
    assert journal.off == "rank 0 cannot record: the disk is full"
    assert not runs_root().exists() or not list(runs_root().iterdir())


def test_a_restart_by_torchrun_is_another_attempt_though_the_host_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDir(tmp_path / "run")
    prepare_run(run)
    info = info_of(run)
    before = replace(info, process=replace(info.process, host="elsewhere", pid=1))
    run.write_info(before)
    journal = Journal(run, attempt=1, from_step=0, tensors=0)
    journal.keep([Row(1, time.time(), {"loss": 1.0})], [attempt_note(before, 1, 0)])
    journal.flush()
    journal.beat(time.time(), time.monotonic(), "running")
    with pytest.raises(AttachError, match="is being written"):
        take_place(info, run.path, ExitStack(), is_argument=True)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert take_place(info, run.path, ExitStack(), is_argument=True).info.attempt == 2


def test_rank_0_asks_each_of_many_ranks_once_whether_it_is_there() -> None:
    class Counted(Notes):
        looks = 0

        def look(self, name: str) -> str | None:
            self.looks += 1
            return super().look(name)

    board: Any = Counted()
    for rank in range(1, 99):
        board.put(f"here/{rank}", json.dumps(["", {}]))
    lane = Lane(World(0, 100), board, 4)
    for _ in range(20):   # one has said nothing so far
        lane.meet([0.0] * 4)
    assert board.looks < 2 * 100
    board.put("here/99", json.dumps(["it trains alone", {}]))
    lane.meet([0.0] * 4)
    assert lane.why == "it trains alone"


def test_what_torch_waits_for_keeps_nobody_else_off_the_store() -> None:
    board = Board(World(1, 2, 1, 0), dist.TCPStore("127.0.0.1", 0, 1, True, timeout=timedelta(seconds=10)))
    under, begins, heard = board.under("lane"), threading.Event(), []

    def wait() -> None:
        begins.set()
        heard.append(under.get("address"))

    waiting = threading.Thread(target=wait, daemon=True)
    waiting.start()
    assert begins.wait(10)
    for _ in range(200):
        board.put("note", "text")
    assert board.look("note") == "text"
    assert waiting.is_alive()
    board.put("lane/address", "here")
    waiting.join(10)
    assert heard == [b"here"]


# -- what it counts for


@pytest.fixture
def fake_world() -> Iterator[Any]:
    """Rank 1 of 4, of whom the others are only said to be there."""
    dist.init_process_group("fake", store=FakeStore(), rank=1, world_size=4)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("fake_world")
def test_every_element_counts_once_over_all_ranks() -> None:
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))   # rank 1: dp 0, tp 1
    model = nn.Module()
    for name, placements in {"sharded": [Shard(0), Shard(1)], "in_halves": [Replicate(), Shard(0)],
                             "in_other_halves": [Shard(0), Replicate()], "copied": [Replicate(), Replicate()]}.items():
        model.register_parameter(name, nn.Parameter(distribute_tensor(torch.ones(4, 4), mesh, placements)))
    model.register_parameter("plain", nn.Parameter(torch.ones(3)))   # what nobody sharded is on all of them
    assert all(isinstance(p, DTensor) for p in list(model.parameters())[:4])
    shares = shares_of(model, list(model.parameters()), 4)
    assert shares.weights.tolist() == [1.0, 0.5, 0.5, 0.25, 0.25]
    assert shares.first.tolist() == [True, True, False, False, False]
    assert shares.tokens == 0.5   # both ranks of tp work on the same
    assert (shares.alike, shares.is_whole, shares.is_alone) == (None, False, False)


@pytest.mark.usefixtures("fake_world")
def test_replicas_know_the_whole_and_shards_do_not() -> None:
    replica = nn.parallel.DistributedDataParallel(nn.Linear(2, 2))
    whole = shares_of(replica, list(replica.parameters()), 4)
    assert (whole.alike, whole.is_whole, whole.first.any()) == (0.25, True, np.False_)
    sharded = fully_shard(nn.Linear(4, 4), mesh=init_device_mesh("cpu", (4,)))
    part_of_it = shares_of(sharded, list(sharded.parameters()), 4)
    assert (part_of_it.alike, part_of_it.is_whole, part_of_it.first.all()) == (1.0, False, np.True_)
    alone = nn.Linear(2, 2)
    assert shares_of(alone, list(alone.parameters()), 4).is_alone
    stage = nn.parallel.DistributedDataParallel(nn.Linear(2, 2), process_group=dist.new_group([0, 1]))
    assert not shares_of(stage, list(stage.parameters()), 4).is_whole   # alike, but of half the ranks


def test_what_one_rank_can_tell_of_the_run() -> None:
    row = Row(1, 0.0, {"loss": 1.0, "grad_square": 2.0, "param_square": 8.0, "update_square": math.nan})
    [told] = part().judged([row])
    assert isinstance(told, Row)
    assert {n: v for n, v in told.values.items() if not math.isnan(v)} == {
        "loss": 1.0, "grad_norm": 2.0, "param_norm": 4.0, "grad_param_ratio": 0.5}
    [told] = part(weight=1.0).judged([row])
    assert isinstance(told, Row)
    assert told.values == {"loss": 1.0}


# -- how long it worked


class Watch:
    """Wall and CPU time that pass when told."""

    def __init__(self) -> None:
        self.wall = self.cpu = 0.0

    def pass_(self, wall: float, cpu: float) -> None:
        self.wall, self.cpu = self.wall + wall, self.cpu + cpu


def one_step(meets: bool) -> float:
    watch = Watch()
    own = HostTime(meets=meets, wall=lambda: watch.wall, cpu=lambda: watch.cpu)
    watch.pass_(5.0, 5.0)
    own.resumed()               # what came before is nobody's
    watch.pass_(3.0, 1.0)
    own.loaded(3.0)             # waits 2 for a batch
    own.forward_begins()
    watch.pass_(4.0, 3.0)       # waits 1 in the forward pass: for its disk, or for other ranks
    own.backward_begins()
    watch.pass_(9.0, 2.0)       # waits 7 for the others
    own.backward_ended()
    watch.pass_(1.0, 0.5)
    taken = own.taken()
    assert taken is not None
    assert own.taken() == 0.0
    return taken


def test_waiting_for_other_ranks_is_not_ones_own_time() -> None:
    assert one_step(meets=False) == 1 + 2 + 4 + 2 + 0.5
    assert one_step(meets=True) == 1 + 2 + 3 + 2 + 0.5


class Passed:
    """An event that the device passed at some second."""

    def __init__(self, second: float, *, is_over: bool = True) -> None:
        self.second, self.is_over = second, is_over

    def record(self) -> None: ...

    def query(self) -> bool:
        return self.is_over

    def elapsed_time(self, end: Passed) -> float:
        return 1e3 * (end.second - self.second)


def test_on_a_device_a_forward_pass_takes_as_long_as_the_slower_of_host_and_device() -> None:
    ahead = 0.1, Passed(1.0), Passed(3.0)      # the host has only queued it
    behind = 0.5, Passed(4.0), Passed(4.2)     # the device has waited for its work
    assert Stretches(0.25, [ahead, behind]).value() == pytest.approx(0.25 + 2.0 + 0.5)
    assert Stretches(0.25, [ahead, behind]).has_arrived()
    assert not Stretches(0.25, [(0.1, Passed(1.0), Passed(3.0, is_over=False))]).has_arrived()


# -- when it measures


@pytest.mark.parametrize(("env", "ranks"), [
    ({}, 64), ({"LOCAL_WORLD_SIZE": "8"}, 8), ({"LOCAL_WORLD_SIZE": "0"}, 64), ({"SLURM_STEP_TASKS_PER_NODE": "4"}, 4),
    ({"SLURM_STEP_TASKS_PER_NODE": "4(x15),8"}, 8), ({"SLURM_STEP_TASKS_PER_NODE": "x"}, 64), ({"OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, 2),
    ({"LOCAL_WORLD_SIZE": "999"}, 64),
])
def test_the_memory_of_a_host_is_shared_among_its_ranks_and_not_among_all(env: dict[str, str], ranks: int) -> None:
    assert beside(World(3, 64), env) == ranks


def test_of_several_ranks_none_looks_more_often_for_reasons_of_its_own() -> None:
    one, other = (Cadence("auto", 50, timed=True, ranks=2) for _ in range(2))
    for _ in range(20):
        one.learn(0.01, 1e-5, 1e-2)   # as slow as can be
        other.learn(0.01, 1e-5, 1e-6)
    one.alert(101)
    steps = [{n for n in range(1, 200) if cadence.wants_all(n)} for cadence in (one, other)]
    assert steps[0] <= steps[1]
    assert steps[0] >= {1, *range(2, 65, 2)}
    assert one.stride > 1
    assert not [n for n in steps[0] if n > 64 and n % one.stride]


def test_the_note_of_rank_0_is_plain_json(tmp_path: Path) -> None:
    board, home = Notes(), create_run("home", tmp_path)
    publish(board, home, info_of(home), from_step=7)  # type: ignore[arg-type]
    assert json.loads(board.notes["home"]).items() >= {"path": str(home.path), "attempt": 1, "from_step": 7}.items()
