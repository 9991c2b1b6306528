"""A run of several ranks from afar: its rows come joined as they are here, and how it stands with each comes along."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from array import array
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pumped import Pumped

from tuimon.record.chunk import Chunk, Mark, TensorRows, WeightRows
from tuimon.record.joined import Joiner as Here
from tuimon.record.liveness import identity
from tuimon.record.log import TENSORS, WEIGHTS, Row, RowBlock, TensorRow, WeightRow
from tuimon.record.metrics import METRICS
from tuimon.record.ranks import RanksReader, reader_of
from tuimon.record.reader import LogReader, segment_paths
from tuimon.record.rundir import RunDir, RunInfo
from tuimon.record.seen import SeenReader, seen_of
from tuimon.record.segments import LogWriter
from tuimon.record.tensors import TensorEntry
from tuimon.remote.far.joining import Joiner as There
from tuimon.remote.far.ranked import Together
from tuimon.remote.far.rows import Rows
from tuimon.remote.far.summed import Summed, last_step
from tuimon.viewer.glyphs import BRAILLE
from tuimon.viewer.places.ranks.draw import draw
from tuimon.viewer.places.ranks.model import Look, view_of
from tuimon.viewer.reading import Reading
from tuimon.viewer.wanted import Wanted

sys.path.insert(0, str(Path(__file__).parents[1] / "viewer"))
from synthetic import ranked

NAMES = ("loss", "val_loss", "grad_square", "param_square", "update_square", "tokens", "step_time", "own_time", "lr", "mine",
         "checksum", "checked_tensor", "twin_of")
CELL = st.sampled_from([None, 0.5, 1.0, 3.0, math.nan, math.inf])
ROW = st.one_of(st.none(), st.tuples(*[CELL] * len(NAMES)))
TABLE = st.lists(st.lists(ROW, min_size=6, max_size=6), min_size=2, max_size=4)


def told(chunks: list[Chunk]) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for chunk in chunks:
        for name in chunk.columns:
            found.setdefault(name, {}).update(zip(*(a.tolist() for a in chunk.measured(name)), strict=True))
    return {name: values for name, values in found.items() if values}


@settings(max_examples=40, deadline=None)
@given(table=TABLE)
def test_the_far_side_joins_rows_as_this_one_does(table):
    """Both know only what every rank measured, and guess nothing."""
    here, there = Here(len(table)), There(len(table), METRICS)
    blocks, parts = [], []
    for rows in table:
        steps = [i for i, row in enumerate(rows) if row is not None]
        kept = [row for row in rows if row is not None]
        values = {name: [math.nan if row[k] is None else row[k] for row in kept] for k, name in enumerate(NAMES)}
        present = {name: [row[k] is not None for row in kept] for k, name in enumerate(NAMES)}
        blocks.append(RowBlock(np.array(steps, np.int64), np.array(steps, float), {n: np.array(v, float) for n, v in values.items()},
                               {n: np.array(p, bool) for n, p in present.items()}))
        parts.append([Rows(NAMES, array("q", steps), array("d", steps), [array("d", v) for v in values.values()],
                           [bytes(p) for p in present.values()])] if steps else [])
    ours, theirs = here.join(blocks), there.join(parts)
    assert list(theirs.steps) == ours.steps.tolist()
    found = {name: {s: v for k, (s, v) in enumerate(zip(theirs.steps, values, strict=True)) if mask is None or mask[k]}
             for name, values, mask in zip(theirs.names, theirs.values, theirs.present, strict=True)}
    wanted = told([Chunk(ours.steps, ours.times, ours.columns, ours.present, TensorRows.empty())])
    assert {n: set(v) for n, v in found.items()} == {n: set(v) for n, v in wanted.items()}
    for name, values in wanted.items():
        if name != "slowest_rank" or not any(map(math.isnan, wanted["slowest_step_time"].values())):
            assert [found[name][s] for s in values] == pytest.approx(list(values.values()), nan_ok=True), name


def test_the_far_side_tells_the_slow_rank_as_this_one_does(tmp_path):
    run = ranked(8, 400, root=tmp_path)
    here = RanksReader(run.dir.metrics, 8)
    while here.poll():
        pass
    there = Together(str(run.dir.metrics), list(METRICS), 8)
    there.poll()
    while there.is_behind:
        there.poll()
    assert [(rank, since) for rank, _, since in there.joiner.paces.slow] == [(one.rank, one.since) for one in here.paces.slow] == [(3, 192)]
    steps, strip = here.paces.strip
    assert [first for first, _ in there.joiner.paces.strip] == steps.tolist()
    assert np.array([means for _, means in there.joiner.paces.strip]) == pytest.approx(strip, abs=0.006)


def test_rows_come_joined_and_later_ones_too(tmp_path):
    run = ranked(4, 300, root=tmp_path / "far", slow=(2, 100))
    logs = [LogWriter(run.dir.metrics, attempt=1, from_step=0, tensors=0, rank=rank, world=4) for rank in range(4)]
    pumped = Pumped(tmp_path / "far", tmp_path / "near").settled()
    assert len(segment_paths(pumped.mirror.run.metrics)) == 1
    for rank, log in enumerate(logs):
        log.append([Row(301, time.time(), {"loss": float(rank), "grad_square": 1.0}), *([Mark(301, "note", {"text": "x"})] if rank == 0 else [])])
        log.close()
    pumped.until(lambda: pumped.read()[0].last_step == 301)
    history, chunks, _ = pumped.read()
    reader, ours = RanksReader(run.dir.metrics, 4), []
    while more := reader.poll():
        ours += more
    wanted, found = told(ours), told(chunks)
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        assert list(found[name]) == list(values), name
        assert list(found[name].values()) == pytest.approx(list(values.values()), rel=1e-5), name
    assert [m.fields["text"] for m in history.marks if m.kind == "note"] == ["x"]


def test_the_ranks_place_from_afar_shows_who_is_slow_and_who_is_silent(tmp_path):
    run = ranked(8, 400, root=tmp_path / "far", silent=6, slow=(3, 100))
    when = time.time()
    for rank in range(8):
        os.utime(segment_paths(run.dir.metrics, rank)[-1], (when - 8 * (rank == 6), when - 8 * (rank == 6)))
    pumped = Pumped(tmp_path / "far", tmp_path / "near").settled()
    reading, view = Reading(pumped.mirror.run), None
    frame = reading.poll(when, 1000.0, Wanted("ranks"))
    view = frame.detail
    assert frame.crew.lost == "rank 6 silent"
    assert frame.crew.slow.startswith("rank 3 on node0 is 1.8x slower than the median since step ")
    assert view.world == 8
    assert view.steps.tolist() == [400] * 6 + [250, 400]
    assert view.hosts[4] == "node1"
    assert view.strip.shape[1] == 8


def test_who_looks_from_afar_before_anything_is_written_sees_one_joined_run(tmp_path):
    run = ranked(2, 40, root=tmp_path / "far")
    aside = tmp_path / "aside"
    aside.mkdir()
    for path in run.dir.metrics.iterdir():
        path.rename(aside / path.name)
    pumped = Pumped(tmp_path / "far", tmp_path / "near")
    pumped.until(lambda: pumped.mirror is not None and pumped.mirror.is_ready and pumped.mirror.run.read_info())
    assert isinstance(reader_of(pumped.mirror.run.metrics), LogReader)
    reading = Reading(pumped.mirror.run)
    reading.poll(time.time(), 1000.0)
    for path in aside.iterdir():
        path.rename(run.dir.metrics / path.name)
    pumped.settled()
    for mono in range(1001, 1005):
        reading.poll(time.time(), float(mono))
    assert len(reading.history.series("loss")) == 40


def test_a_restart_with_another_world_is_joined_attempt_by_attempt(tmp_path):
    run = ranked(2, 40, root=tmp_path / "far")
    for rank in range(3):
        run.dir.write_rank(rank, {"rank": rank, "world": 3, "attempt": 2, "process": {"host": "b"}})
        log = LogWriter(run.dir.metrics, attempt=2, from_step=20, tensors=0, rank=rank, world=3)
        log.append([Row(s, time.time(), {"loss": float(rank)}) for s in range(21, 31)])
        log.close()
    pumped = Pumped(tmp_path / "far", tmp_path / "near").settled()
    losses = pumped.read()[0].series("loss")
    assert losses.steps.tolist() == list(range(1, 31))
    assert losses.values[20:].tolist() == [1.0] * 10
    assert SeenReader(pumped.mirror.run).look().ranks.world == 3


def spread(run: RunDir, world: int, steps: range, owners: int, tensors: int = 5) -> list[LogWriter]:
    """Ranks of which the first ones hold a part of some tensors each."""
    run.metrics.mkdir(parents=True)
    run.write_info(RunInfo("spread", identity(), world_size=world, tensors=tuple(TensorEntry(f"t{i}", (2,), "float32", True) for i in range(tensors))))
    chance, logs = np.random.default_rng(3), []
    for rank in range(world):
        run.write_rank(rank, {"rank": rank, "world": world, "attempt": 1, "process": {"host": "b"}, "vectors": rank < owners})
        logs.append(LogWriter(run.metrics, attempt=1, from_step=0, tensors=tensors, rank=rank, world=world))
    for rank, log in enumerate(logs):
        for step in steps:
            grad, weight = chance.random((2, tensors)).astype(np.float32)
            here = np.arange(tensors) % (rank + 1) < 2
            vectors = [TensorRow(step, grad, here, grad), WeightRow(step, weight, here)] if step % 4 == 1 and rank < owners else []
            log.append([*vectors, Row(step, time.time(), {"loss": 1.0, "grad_square": 1.0})])
    return logs


@pytest.mark.parametrize(("world", "owners"), [(2, 2), (3, 3), (2, 1)])
def test_norms_of_tensors_come_added_up_where_they_are_spread_over_ranks(tmp_path, world, owners):
    run = RunDir(tmp_path / "far" / "run")
    logs = spread(run, world, range(1, 42), owners)
    pumped = Pumped(tmp_path / "far", tmp_path / "near").settled()
    for rank, log in enumerate(logs):   # and what is new
        new = [TensorRow(42, np.full(5, 3.0 + rank, np.float32), np.ones(5, bool), None)] if rank < owners else []
        log.append([*new, Row(42, time.time(), {"loss": 1.0})])
        log.close()
    pumped.until(lambda: any(42 in chunk.tensors.steps for chunk in pumped.read()[1]))
    chunks, reader, ours = pumped.read()[1], RanksReader(run.metrics, world), []
    while more := reader.poll():
        ours += more
    found, wanted = (TensorRows.join([c.tensors for c in some if len(c.tensors)]) for some in (chunks, ours))
    assert found.steps.tolist() == wanted.steps.tolist() == [*range(1, 42, 4), 42]
    assert (found.grad_seen == wanted.grad_seen).all()
    assert found.grad == pytest.approx(wanted.grad, rel=1e-6, nan_ok=True)
    assert found.update == pytest.approx(wanted.update, rel=1e-6, nan_ok=True)
    found, wanted = (WeightRows.join([c.weights for c in some if len(c.weights)]) for some in (chunks, ours))
    assert found.steps.tolist() == wanted.steps.tolist() == list(range(1, 42, 4))
    assert found.values == pytest.approx(wanted.values, rel=1e-6, nan_ok=True)


@given(st.binary(max_size=80), st.sampled_from([TENSORS, WEIGHTS]))
def test_a_frame_of_vectors_may_be_anything(payload, kind):
    summed = Summed()
    for rank in range(2):
        summed.add(rank, 1, kind, payload)
    assert last_step(payload) >= -1 << 63
    for _, joined in summed.upto(1, 1 << 62, [0, 1]):
        assert joined


PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5))
ANY = st.one_of(PLAIN, st.lists(PLAIN | st.lists(PLAIN, max_size=3), max_size=3), st.dictionaries(st.text(max_size=5), PLAIN, max_size=3))
GOOD = {"world": 2, "late": 0, "missing": [1], "slow": [[1, 1.5, 20]], "strip": [[0, [1.0, None]]], "ranks": [
    {"rank": n, "step": 3, "time": 1.0, "state": "live", "since": 1.0, "why": "", "host": "a", "device": "b", "last": {"own_time": 0.1},
     "own_time": [0.1, None], "step_times": []} for n in range(2)]}


def test_what_is_told_of_ranks_is_understood():
    seen = seen_of(GOOD)
    assert [rank.own_time for rank in seen.ranks.ranks] == [(0.1,), (0.1,)]
    assert seen.ranks.slowest.since == 20
    assert np.isnan(seen.strip[1][0, 1])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.sampled_from([*GOOD, *(("ranks", k) for k in GOOD["ranks"][0])]), odd=ANY)
def test_a_hostile_far_side_harms_nobody_with_its_ranks(tmp_path, where, odd):
    body = json.loads(json.dumps(GOOD))
    if isinstance(where, tuple):
        body["ranks"][1][where[1]] = odd
    else:
        body[where] = odd
    (tmp_path / "ranks-seen.json").write_text(json.dumps(body))
    found = SeenReader(RunDir(tmp_path)).look()
    if found is not None:
        view = view_of(1, found.ranks, found.strip, 2.0, ())
        assert len(draw(view, Look(), 120, 20, BRAILLE).lines) == 20
