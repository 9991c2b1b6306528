"""Every rank attached: what their logs add up to is what one process would have measured, and training is as bare."""

from __future__ import annotations

import json
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.ranks import measuring
from tests.ranks.launching import launch
from tuimon.record.chunk import Chunk
from tuimon.record.events import EventReader
from tuimon.record.log import HEAD, decode_json, frames
from tuimon.record.ranks import reader_of
from tuimon.record.reader import LogReader, segment_paths
from tuimon.record.rundir import RunDir

TOLD = {"loss": "loss", "grad": "grad_square", "param": "param_square", "update": "update_square"}
QUICK = [name for name in measuring.CASES if name != "ddp-compiled"]
ALL_OF_FOUR = list(measuring.CASES)


@dataclass(frozen=True)
class World:
    """What a launch left behind."""

    place: Path
    found: list[Any]

    def chunks(self, name: str, rank: int) -> list[Chunk]:
        reader, chunks = LogReader(self.place / name / "metrics", rank=rank), []
        while more := reader.poll():
            chunks += more
        return chunks

    def column(self, name: str, rank: int, metric: str) -> dict[int, float]:
        return {int(s): float(v) for c in self.chunks(name, rank) for s, v in zip(*c.measured(metric), strict=True)}

    def events(self, path: Path, kind: str) -> list[Any]:
        return [event for event in EventReader(path).poll() if event.kind == kind]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> World:
    place = tmp_path_factory.mktemp("two")
    return World(place, launch(Path(measuring.__file__), place, [*QUICK, *measuring.SCENES], 2))


def exact(world: World, name: str) -> None:
    case, size = measuring.CASES[name], len(world.found)
    truth = dict(enumerate(measuring.truth(case, size), start=1))
    for key, metric in TOLD.items():
        columns = [world.column(name, rank, metric) for rank in range(size)]
        steps = truth if case.detail == "full" or key in ("loss", "grad") else [1]
        assert all(sorted(column) == sorted(steps) for column in columns), metric
        for step, row in ((step, truth[step]) for step in steps):
            parts = [column[step] for column in columns]
            told = sum(parts) / size if key == "loss" else sum(parts) ** 0.5
            assert told == pytest.approx(row[key], rel=1e-6), (metric, step)
    assert not any(world.column(name, rank, metric) for rank in range(size)
                   for metric in ("grad_norm", "param_norm", "update_norm", "update_ratio", "grad_param_ratio"))


@pytest.mark.parametrize("name", QUICK)
def test_loss_and_norms_of_all_ranks_are_those_of_one_process(two: World, name: str) -> None:
    exact(two, name)


@pytest.mark.parametrize("name", QUICK)
def test_training_is_the_same_bit_for_bit(two: World, name: str) -> None:
    assert [found[name]["same"] for found in two.found] == [True, True]


def test_every_rank_says_who_it_is_and_how_long_it_worked(two: World) -> None:
    run = two.place / "ddp"
    for rank in range(2):
        path = run / "ranks" / f"r{rank}.json"
        said = json.loads(path.read_text())
        assert (said["rank"], said["world"], said["attempt"], said["local_rank"]) == (rank, 2, 1, rank)
        assert said["vectors"] == (rank == 0)   # replicas: one of them tells
        assert "tensors" not in said
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        head = next(f for f in frames(segment_paths(run / "metrics", rank)[0].read_bytes()) if not isinstance(f, int))
        assert head.kind == HEAD
        assert (decode_json(head.payload)["rank"], decode_json(head.payload)["world"]) == (rank, 2)
        own, took = two.column("ddp", rank, "own_time"), two.column("ddp", rank, "step_time")
        assert len(own) == measuring.STEPS
        assert all(0 < own[step] < took[step] for step in own if step > 1)
    info = RunDir(run).read_info()
    assert info is not None
    assert info.world_size == 2


def test_vectors_are_written_by_those_who_hold_a_part_that_nobody_else_tells(two: World) -> None:
    rows = {(name, rank): sum(len(c.tensors) for c in two.chunks(name, rank))
            for name in ("ddp", "hsdp", "fsdp") for rank in range(2)}
    assert rows == {("ddp", 0): 6, ("ddp", 1): 0, ("hsdp", 0): 6, ("hsdp", 1): 0, ("fsdp", 0): 6, ("fsdp", 1): 6}


def test_each_rank_tells_its_own_events_and_rank_0_those_of_the_run(two: World) -> None:
    run = two.place / "ddp"
    assert [e.fields["pid"] for e in two.events(run / "events.jsonl", "attempt")] != [
        e.fields["pid"] for e in two.events(run / "events-r1.jsonl", "attempt")]
    assert len(two.events(run / "events-r1.jsonl", "end")) == 1
    assert sorted(p.name for p in run.iterdir()) == [
        "checkpoints", "commands", "events-r1.jsonl", "events.jsonl", "metrics", "ranks", "run.json"]


def test_attached_on_rank_0_only_metrics_work_and_nothing_hangs(two: World) -> None:
    assert len(two.column("only-0", 0, "loss")) == measuring.STEPS
    assert not segment_paths(two.place / "only-0" / "metrics", 1)


def test_a_rank_that_hears_nothing_of_rank_0_records_by_itself_and_says_so(two: World) -> None:
    [run] = map(RunDir, map(Path, two.found[1]["only-1"]))
    assert len(World(run.path.parent, []).column(run.path.name, 0, "loss")) == measuring.STEPS
    [note] = two.events(run.events, "note")
    assert note.text("text").startswith("rank 1 of 2 is recorded here, without rank 0")
    assert not (two.place / "only-1").exists()   # what was asked for is rank 0's to make


def test_the_guard_judges_by_norms_that_rank_0_knows_exactly_and_says_what_it_cannot_look_at(two: World) -> None:
    assert two.found[0]["judged-ddp"] == {"steps": measuring.STEPS, "blind": []}
    assert "exploding-gradients" in two.found[0]["judged-fsdp"]["blind"]
    assert two.found[1]["judged-ddp"]["steps"] == 0   # one guard is enough


def test_what_is_measured_at_a_step_is_measured_by_all(two: World) -> None:
    """Whatever one of them has seen, and though one may measure more: those of both are the steps that are added up."""
    both = set.intersection(*(set(two.column("planned", rank, "update_square")) for rank in range(2)))
    assert both >= {1, *range(2, 41, 2)}
    reader, told = reader_of(two.place / "planned" / "metrics"), set[int]()
    while more := reader.poll():
        told.update(int(step) for chunk in more for step in chunk.measured("update_norm")[0])
    assert told == both


def test_rows_wait_in_memory_for_a_rank_0_that_attaches_later(two: World) -> None:
    told = two.found[1]["late"]
    assert told["run_dir"] == str(two.place / "late") != told["early"]
    assert sorted(two.column("late", 1, "loss")) == list(range(1, measuring.STEPS + 1))


def test_what_norms_mean_is_said_where_nothing_is_seen_that_keeps_the_ranks_equal(two: World) -> None:
    [label] = two.events(two.place / "copies" / "events.jsonl", "label")
    assert label.text("metric") == "grad_norm"
    assert label.text("text").startswith("norm of all ranks' gradients together")


def test_where_each_rank_optimizes_another_part_of_what_all_hold_norms_are_not_measured(two: World) -> None:
    why = "tuimon measures no norms here: the optimizer's state is spread over the ranks (ZeroRedundancyOptimizer)"
    assert [found["split"] for found in two.found] == [[why], [why]]
    for rank in range(2):
        assert len(two.column("split", rank, "loss")) == measuring.STEPS
        measured = {name for chunk in two.chunks("split", rank) for name in chunk.columns}
        assert not [name for name in measured if name.endswith(("norm", "square", "ratio"))]


def test_stages_of_a_pipeline_add_up_and_name_their_own_tensors(two: World) -> None:
    model = measuring.net()
    [(x, y)] = next(measuring.batches(0, 1))
    measuring.nn.functional.mse_loss(model(x), y).backward()
    whole = measuring.norm([p.grad for p in model.parameters()])
    assert sum(two.column("staged", rank, "grad_square")[1] for rank in range(2)) ** 0.5 == pytest.approx(whole, rel=1e-6)
    names = json.loads((two.place / "staged" / "ranks" / "r1.json").read_text())["tensors"]
    assert names == ["1.weight"]
    assert [two.column("staged", rank, "loss") != {} for rank in range(2)] == [False, True]


@pytest.mark.nightly
def test_exact_on_four_ranks_and_compiled(tmp_path: Path) -> None:
    world = World(tmp_path, launch(Path(measuring.__file__), tmp_path, ALL_OF_FOUR, 4))
    for name in ALL_OF_FOUR:
        exact(world, name)
        assert all(found[name]["same"] for found in world.found), name
