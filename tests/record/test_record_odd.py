"""What stands in a run's files was written by anybody: what is none of ours is counted, passed over or told in a line."""

from __future__ import annotations

import json
import math
import shutil
import time

import numpy as np
import pytest
from writers import LogWriter

from tuimon.errors import LogError
from tuimon.record import log
from tuimon.record.cache import Cache
from tuimon.record.catalogue import Catalogue
from tuimon.record.events import EventReader
from tuimon.record.history import History
from tuimon.record.liveness import ProcessIdentity, identity, is_alive
from tuimon.record.query import NUMBERS, TEXTS, parse
from tuimon.record.recall import Recall, read_anew
from tuimon.record.removal import refusal
from tuimon.record.rundir import Launch, RunDir, RunInfo, prepare_run
from tuimon.record.runs import find_run
from tuimon.record.segments import LogReader, Row, TensorRow
from tuimon.record.sketch import Validation, losses_of
from tuimon.record.status import status
from tuimon.record.tensors import TensorEntry

ODD = (None, True, -1, 10**30, 1e999, 1.5, "x", "\ud800", [], [1], [[]], {}, {"a": 1})


def all_of(metrics):
    reader, history = LogReader(metrics), History()
    while chunks := reader.poll():
        for chunk in chunks:
            history.extend(chunk)
    return reader, history


@pytest.mark.parametrize(("kind", "body"), [
    (log.BEAT, {"state": "running"}), (log.BEAT, {"wall": None, "mono": 1, "state": "running"}), (log.BEAT, {"wall": {}, "mono": 1, "state": 0}),
    (log.HEAD, {"attempt": 2, "from_step": 10**30, "tensors": 0, "probes": 0}),
    (log.HEAD, {"attempt": 2, "from_step": -10**30, "tensors": 0, "probes": 0}),
    (log.HEAD, {"attempt": 10**30, "from_step": 1, "tensors": 0, "probes": 0}),
    (log.MARK, {"step": 10**30, "kind": "note", "fields": {}}), (log.MARK, {"step": True, "kind": "note", "fields": {}}),
])
def test_a_frame_of_json_that_lacks_something_is_damage_and_costs_only_itself(tmp_path, kind, body):
    writer = LogWriter(tmp_path, attempt=1, from_step=0, tensors=0)
    writer.append([Row(1, 1.0, {"loss": 1.0})])
    writer._write(log.encode_json(kind, 9, body), 10)
    writer.append([Row(2, 2.0, {"loss": 2.0})])
    reader, history = all_of(tmp_path)
    assert history.series("loss").values.tolist() == [1.0, 2.0]
    assert (reader.damaged, reader.beat) == (1, None)


def test_two_writers_with_other_tensors_do_not_stop_the_reader(tmp_path):
    for width, step in ((2, 1), (3, 2)):
        writer = LogWriter(tmp_path, attempt=1, from_step=0, tensors=width)
        writer.append([TensorRow(step, np.ones(width, np.float32), np.ones(width, np.bool_), None), Row(step, 1.0, {"loss": 1.0})])
        writer.close()
    chunks = LogReader(tmp_path).poll()
    assert [(chunk.steps.tolist(), chunk.tensors.grad.shape) for chunk in chunks] == [([1], (1, 2)), ([2], (1, 3))]


def test_vectors_whose_row_was_torn_off_give_way_to_those_of_the_next_attempt(tmp_path):
    def vectors(value):
        return TensorRow(2, np.full(2, value, np.float32), np.ones(2, np.bool_), None)

    first = LogWriter(tmp_path, attempt=1, from_step=0, tensors=2)
    first.append([Row(1, 1.0, {"loss": 1.0})])
    first.append([vectors(1), Row(2, 2.0, {"loss": 2.0})])
    first.close()
    path = tmp_path / "r0-000.tlog"
    path.write_bytes(path.read_bytes()[:-5])
    second = LogWriter(tmp_path, attempt=2, from_step=1, tensors=2)
    second.append([vectors(7), Row(2, 2.0, {"loss": 2.0})])
    rows = all_of(tmp_path)[1].tensor_rows()
    assert (rows.steps.tolist(), rows.grad.tolist()) == ([2], [[7, 7]])


def test_segments_are_counted_on_beyond_a_thousand(tmp_path):
    run = RunDir(tmp_path / "run")
    prepare_run(run)
    for number in range(999, 1002):
        head = {"attempt": 1, "from_step": 0, "tensors": 0, "probes": 0, "rank": 0}
        row = log.Row(number, 1.0, {"loss": 1.0, "val_loss": 2000.0 - number})
        (run.metrics / f"r0-{number:03}.tlog").write_bytes(log.encode_json(log.HEAD, 0, head) + log.encode_rows(1, [row]))
    found = Validation(run.metrics)
    found.advance(lambda: False)
    assert found.best == (1001, 999.0)
    catalogue, clock = Catalogue(tmp_path, clock=lambda: clock), 0.0
    catalogue.poll(0.0, math.inf)
    with (run.metrics / "r0-1001.tlog").open("ab") as file:
        file.write(log.encode_rows(2, [log.Row(1002, 1.0, {"loss": 1.0, "val_loss": 1.0})]))
    clock = 100.0
    assert catalogue.poll(0.0, math.inf).entries[0].best_val == 1.0


@pytest.mark.parametrize("rows", [100, 20_000])
def test_the_sketch_shows_what_counts_not_what_an_attempt_took_back(tmp_path, rows):
    bad = rows // 2
    first = LogWriter(tmp_path, attempt=1, from_step=0, tensors=0)
    for at in range(1, rows, 10):
        first.append([Row(i, 1.0, {"loss": 1.0 if i < bad else math.nan}) for i in range(at, at + 10)])
    first.close()
    second = LogWriter(tmp_path, attempt=2, from_step=bad - 10, tensors=0)
    for at in range(bad - 9, rows, 10):
        second.append([Row(i, 1.0, {"loss": 1.0}) for i in range(at, at + 10)])
    assert set(losses_of(tmp_path)) == {1.0}


def _described(root):
    run = RunDir(root / "run")
    prepare_run(run)
    LogWriter(run.metrics, attempt=1, from_step=0, tensors=1).append([Row(1, time.time(), {"loss": 1.0})])
    run.write_info(RunInfo("run", identity(), argv=("a.py",), started=1.0, tensors=(TensorEntry("w", (2,), "float32"),), versions={"torch": "2"}))
    run.write_launch(Launch("run", "", "", 5, 0, 1.0, identity(), script="a.py"))
    return run


def _places(body):
    for key, value in body.items():
        yield (key,)
        inner = value[0] if isinstance(value, list) and value else value
        if isinstance(inner, dict):
            yield from ((key, 0, name) if isinstance(value, list) else (key, name) for name in inner)


@pytest.mark.parametrize("file", ["run.json", "launch.json"])
def test_one_odd_description_does_not_take_the_list_of_runs_away(tmp_path, file):
    run = _described(tmp_path)
    good = (run.path / file).read_text()
    for place in _places(json.loads(good)):
        for odd in ODD:
            body = json.loads(good)
            inner = body
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = odd
            (run.path / file).write_text(json.dumps(body))
            (entry,) = Catalogue(tmp_path).poll(time.time(), math.inf).entries
            for name in (*(f"{n}>1" for n in NUMBERS), *(f"{t}:x" for t in TEXTS)):
                parse(name).matches(entry, time.time())
            assert status(run).state
            assert find_run(None, tmp_path).path == run.path
            refusal(run, tmp_path)
    for name, odd in (("started", "x"), ("model", 5), ("tensors", [{"name": "w", "shape": [1e999], "dtype": "", "trained": True}])):
        (run.path / "run.json").write_text(json.dumps({**json.loads((run.path / "run.json").read_text()), name: odd}))
        with pytest.raises(LogError, match="not one of ours"):
            run.read_info()


def test_a_process_that_cannot_be_is_dead():
    here = identity()
    assert is_alive(ProcessIdentity(-1, here.started, here.boot_id, here.host)) is False
    assert is_alive(ProcessIdentity(1 << 60, here.started, here.boot_id, here.host)) is False


def test_events_with_numbers_beyond_all_bounds_are_none(tmp_path):
    lines = [{"seq": 0, "time": 1.0, "attempt": 1, "step": 1, "kind": "note", name: odd}
             for name, odd in (("seq", 10**30), ("step", -10**30), ("attempt", 10**30), ("time", "NaN"), ("time", 1e999))]
    lines.append({"seq": 1, "time": 2, "attempt": 1, "step": 1, "kind": "note", "n": 10**400})
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    reader = EventReader(tmp_path / "events.jsonl")
    (event,) = reader.poll()
    assert (event.seq, event.number("n"), event.whole("n"), reader.damaged) == (1, None, None, 5)


@pytest.mark.parametrize("total", [1000, 1000.0, np.int64(1000), np.float32(1000)])
def test_a_number_of_steps_is_read_as_one_however_it_was_given(tmp_path, total):
    run = _described(tmp_path)
    run.write_info(RunInfo("run", identity(), total_steps=total))
    found = run.read_info().total_steps
    assert (type(found), found) == (int, 1000)


def _written(metrics, rows, loss):
    metrics.mkdir(exist_ok=True)
    writer = LogWriter(metrics, attempt=1, from_step=0, tensors=0)
    writer.append([Row(i, loss + i, {"loss": loss}) for i in range(1, rows + 1)])
    writer.close()


@pytest.mark.parametrize("rows", [50, 100, 300])
def test_a_run_that_took_the_directory_of_another_is_not_read_on_as_if_it_were_that_one(tmp_path, rows):
    metrics = tmp_path / "metrics"
    _written(metrics, 100, 1.0)
    read = read_anew(metrics, None, ())
    assert [len(chunk) for chunk in read.log.poll()] == [100]
    shutil.rmtree(metrics)
    assert read.log.poll() == []
    assert not read.log.is_replaced
    _written(metrics, rows, 2.0)
    assert read.log.poll() == []
    assert read.log.is_replaced
    recall = Recall(Cache(tmp_path / "cache"), metrics)
    assert not recall.save(read)
    assert recall.load(None, ()) is None


def test_a_run_out_of_the_cache_is_told_from_one_that_took_its_directory_meanwhile(tmp_path):
    metrics = tmp_path / "metrics"
    _written(metrics, 100, 1.0)
    recall, read = Recall(Cache(tmp_path / "cache"), metrics), read_anew(metrics, None, ())
    for chunk in read.log.poll():
        read.history.extend(chunk)
    assert recall.save(read)
    found = recall.load(None, ())
    assert found.log.poll() == []
    shutil.rmtree(metrics)
    _written(metrics, 300, 2.0)
    assert found.log.poll() == []
    assert found.log.is_replaced


def test_a_run_with_fewer_segments_is_another_one(tmp_path):
    _written(tmp_path, 10, 1.0)
    _written(tmp_path, 10, 1.0)
    reader = LogReader(tmp_path)
    reader.poll()
    (tmp_path / "r0-001.tlog").unlink()
    assert reader.poll() == []
    assert reader.is_replaced


def test_a_run_that_cannot_be_read_stays_one_while_its_log_grows(tmp_path):
    run, now = _described(tmp_path), 0.0
    run.run_json.write_text("{")
    catalogue = Catalogue(tmp_path, clock=lambda: now)
    for rows in (1, 2):
        (entry,) = catalogue.poll(0.0, math.inf).entries
        assert (entry.status.state, entry.status.why) == ("unreadable", "run.json of run is not JSON")
        LogWriter(run.metrics, attempt=1, from_step=0, tensors=1).append([Row(rows + 1, time.time(), {"loss": 1.0})])
        now += 100
    run.write_info(RunInfo("run", identity()))
    now += 100
    assert catalogue.poll(0.0, math.inf).entries[0].status.state != "unreadable"


@pytest.mark.parametrize("budget", [1, 5000])
def test_a_run_that_was_held_for_days_is_read_to_its_end(tmp_path, budget):
    writer = LogWriter(tmp_path, attempt=1, from_step=0, tensors=0)
    writer.append([Row(1, 1.0, {"loss": 1.0})])
    for second in range(4000):
        writer.beat(float(second), float(second), "held")
    writer.close()
    for attempt in (2, 3):
        writer = LogWriter(tmp_path, attempt=attempt, from_step=attempt - 1, tensors=0)
        writer.append([Row(attempt, 1.0, {"loss": 1.0})])
        writer.close()
    reader, steps = LogReader(tmp_path), []
    while chunks := reader.poll(budget):
        steps += [step for chunk in chunks for step in chunk.steps.tolist()]
    assert steps == [1, 2, 3]


def test_what_follows_a_line_without_end_is_told_at_once(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"x" * (9 << 20) + b"\n" + b'{"seq": 0, "time": 1, "attempt": 1, "step": 1, "kind": "note"}\n')
    reader = EventReader(path)
    assert [event.kind for event in reader.poll()] == ["note"]
    assert reader.poll() == []


def test_a_run_that_was_held_overnight_still_says_how_far_it_came(tmp_path):
    run = _described(tmp_path)
    writer = LogWriter(run.metrics, attempt=1, from_step=0, tensors=0)
    writer.append([Row(i, 1.0, {"loss": 2.0, "lr": 1e-3}) for i in range(1, 8)])
    for second in range(4000):
        writer.beat(float(second), float(second), "held")
    found = status(run)
    assert (found.step, found.loss, found.lr, found.last_sign) == (7, 2.0, 1e-3, 3999.0)
    LogWriter(run.metrics, attempt=1, from_step=0, tensors=0).beat(5000.0, 5000.0, "held")   # a segment is full at some time
    found = status(run)
    assert (found.step, found.loss, found.lr, found.last_sign) == (7, 2.0, 1e-3, 5000.0)
    LogWriter(run.metrics, attempt=2, from_step=5, tensors=0).beat(6000.0, 6000.0, "running")
    assert (status(run).step, status(run).loss) == (5, None)
