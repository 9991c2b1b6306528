"""The catalogue: every run, live first, cheap to ask again, and bounded whatever lies under the root."""

from __future__ import annotations

import math
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuimon.record import catalogue as subject
from tuimon.record.catalogue import Catalogue
from tuimon.record.chunk import Mark
from tuimon.record.events import EventWriter
from tuimon.record.label import Label, write_label
from tuimon.record.liveness import ProcessIdentity, boot_id, identity
from tuimon.record.rundir import RunDir, RunInfo, create_run
from tuimon.record.segments import LogWriter, Row, TensorRow
from tuimon.record.sketch import POINTS, Validation, losses_of
from tuimon.record.status import NEAR_BYTES, status
from tuimon.record.tensors import TensorEntry

GONE = ProcessIdentity(2**22 - 3, 1.0, boot_id(), os.uname().nodename)


class Clock:
    """A monotonic clock that goes on by itself, a little with every look."""

    def __init__(self, tick: float = 0.0) -> None:
        self.now, self.tick = 100.0, tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


def a_run(root: Path, name: str, *, started=1000.0, losses=(3.0, 2.0), alive=False, ended="", vals=None, tensors=0) -> RunDir:
    run = create_run(name, root)
    run.write_info(RunInfo(name, identity() if alive else GONE, started=started, model="GPT 2L", optimizer="AdamW", total_steps=100,
                           argv=("train.py", "--lr", "3e-4"), tensors=(TensorEntry("a.weight", (2, 3), "float32"),)))
    events = EventWriter(run.events, 1)
    events.append("attempt", 0, 0.0, {})
    events.append("state", 0, 0.0, {"state": "running"})
    if ended:
        events.append("end", len(losses), 0.0, {"state": ended})
    events.close()
    log = LogWriter(run.metrics, attempt=1, from_step=0, tensors=tensors)
    write(log, losses, vals=vals, tensors=tensors)
    log.close()
    return run


def write(log: LogWriter, losses, *, after=0, vals=None, tensors=0, batch=10) -> None:
    for at in range(0, len(losses), batch):
        items: list[Row | TensorRow] = []
        for i in range(at, min(len(losses), at + batch)):
            step = after + i + 1
            values = {"loss": float(losses[i]), "lr": 3e-4}
            if vals and step in vals:
                values["val_loss"] = vals[step]
            if tensors:
                items.append(TensorRow(step, np.ones(tensors, np.float32), np.ones(tensors, np.bool_), None))
            items.append(Row(step, 1000.0 + step, values))
        log.append(items)


def whole(root: Path, clock=None):
    return Catalogue(root, clock=clock or Clock()).poll(2000.0, math.inf)


def test_live_runs_come_first_and_then_the_newest(tmp_path):
    for name, started, alive in (("old", 10.0, False), ("live-old", 5.0, True), ("new", 30.0, False), ("live-new", 40.0, True)):
        a_run(tmp_path, name, started=started, alive=alive)
    found = whole(tmp_path)
    assert [entry.name for entry in found.entries] == ["live-new", "live-old", "new", "old"]
    assert (found.live, found.unread) == (2, 0)


def test_an_entry_says_what_the_list_shows(tmp_path):
    run = a_run(tmp_path, "one", losses=[5.0, 4.0, 3.0], vals={1: 4.5, 3: 3.5}, ended="finished")
    (run.checkpoints / "step-3").mkdir()
    (run.checkpoints / "step-3" / "state.pt").write_bytes(b"x" * 1000)
    write_label(run, Label("mine", "the good one"))
    (entry,) = whole(tmp_path).entries
    assert (entry.name, entry.label.note, entry.run_name, entry.key) == ("mine", "the good one", "one", run.name)
    assert (entry.status.state, entry.status.step, entry.status.loss, entry.status.lr) == ("finished", 3, 3.0, 3e-4)
    assert (entry.best_val, entry.best_val_step, entry.losses) == (3.5, 3, (5.0, 4.0, 3.0))
    assert (entry.optimizer, entry.model, entry.parameters, entry.argv[-1], entry.checkpoints) == ("AdamW", "GPT 2L", 6, "3e-4", 1)
    assert entry.size == sum(f.stat().st_size for f in run.path.rglob("*") if f.is_file())


def test_an_unchanged_run_is_not_read_again_and_a_changed_one_is(tmp_path, monkeypatch):
    run = a_run(tmp_path, "one", ended="finished")
    clock = Clock()
    known = Catalogue(tmp_path, clock=clock)
    first = known.poll(2000.0, math.inf)
    read: list[str] = []
    monkeypatch.setattr(subject, "status_of", lambda run, *rest: read.append(run.name) or status(run))
    for _ in range(5):
        clock.now += subject.EVERY
        assert known.poll(2000.0) is first
    assert read == []
    log = LogWriter(run.metrics, attempt=1, from_step=2, tensors=0)
    write(log, [1.0], after=2)
    log.close()
    clock.now += subject.EVERY
    assert known.poll(2000.0).entries[0].status.loss == 1.0
    assert read == [run.name]


def test_a_label_alone_is_noticed(tmp_path):
    run = a_run(tmp_path, "one", ended="finished")
    clock = Clock()
    known = Catalogue(tmp_path, clock=clock)
    known.poll(2000.0, math.inf)
    write_label(run, Label("other"))
    clock.now += subject.EVERY
    assert known.poll(2000.0).entries[0].name == "other"


def test_a_live_run_whose_process_goes_without_a_word_has_died(tmp_path, monkeypatch):
    a_run(tmp_path, "one", alive=True)
    clock = Clock()
    known = Catalogue(tmp_path, clock=clock)
    assert known.poll(2000.0, math.inf).live == 1
    monkeypatch.setattr("tuimon.record.status.is_alive", lambda _: False)
    clock.now += subject.EVERY
    found = known.poll(2000.0)
    assert (found.live, found.entries[0].status.state) == (0, "died")


def test_a_poll_ends_when_its_time_is_up_and_the_next_goes_on(tmp_path):
    for i in range(6):
        a_run(tmp_path, f"run-{i}", started=10.0 + i)
    known = Catalogue(tmp_path, clock=Clock(tick=0.02))
    unread = [known.poll(2000.0, 0.05).unread for _ in range(8)]
    assert unread[0] > 0
    assert unread == sorted(unread, reverse=True)
    assert unread[-1] == 0
    assert all(entry.name for entry in known.poll(2000.0).entries)


def test_new_and_deleted_runs_are_noticed(tmp_path):
    a_run(tmp_path, "one")
    clock = Clock()
    known = Catalogue(tmp_path, clock=clock)
    assert len(known.poll(2000.0, math.inf).entries) == 1
    second = a_run(tmp_path, "two")
    clock.now += subject.EVERY
    assert len(known.poll(2000.0, math.inf).entries) == 2
    for path in sorted(second.path.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    second.path.rmdir()
    known.forget(second.name)
    assert [entry.name for entry in known.poll(2000.0, math.inf).entries] == ["one"]


def test_damage_is_an_entry_and_not_an_error(tmp_path):
    broken, torn, empty = a_run(tmp_path, "broken"), a_run(tmp_path, "torn"), a_run(tmp_path, "empty", losses=())
    broken.run_json.write_text("{")
    segment = next(torn.metrics.iterdir())
    segment.write_bytes(segment.read_bytes()[:-7])
    by_key = {entry.key: entry for entry in whole(tmp_path).entries}
    assert by_key[broken.name].status.state == "unreadable"
    assert by_key[torn.name].is_read
    assert by_key[empty.name].losses == ()
    assert whole(tmp_path / "nowhere").entries == ()


def test_links_are_not_followed_when_bytes_are_counted(tmp_path):
    run = a_run(tmp_path / "root", "one")
    (tmp_path / "big").mkdir()
    (tmp_path / "big" / "file").write_bytes(b"x" * 1_000_000)
    (run.checkpoints / "link").symlink_to(tmp_path / "big")
    (run.path / "file").symlink_to(tmp_path / "big" / "file")
    assert whole(tmp_path / "root").entries[0].size < 100_000


def test_a_long_log_is_sketched_from_a_few_places_of_it(tmp_path, monkeypatch):
    losses = [10.0 - 9 * i / 4000 for i in range(4000)]
    run = a_run(tmp_path, "long", losses=losses, tensors=50)
    read = 0
    real = os.pread

    def counted(fd: int, size: int, at: int) -> bytes:
        nonlocal read
        data = real(fd, size, at)
        read += len(data)
        return data

    monkeypatch.setattr("tuimon.record.sketch.os.pread", counted)
    found = losses_of(run.metrics)
    length = sum(f.stat().st_size for f in run.metrics.iterdir())
    assert length > 900_000
    assert read < length / 3
    assert 12 <= len(found) <= POINTS
    assert found == tuple(sorted(found, reverse=True))
    assert found[0] > 9.5
    assert found[-1] < 1.3


def test_what_is_not_finite_shows_in_the_sketch(tmp_path):
    run = a_run(tmp_path, "bad", losses=[2.0] * 60 + [math.nan] * 4 + [math.inf] * 4)
    found = losses_of(run.metrics)
    assert math.isnan(found[-1])
    assert found[0] == 2.0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), st.lists(st.floats(0.5, 9.0), min_size=1, max_size=12)), min_size=1, max_size=4), st.integers(1, 5))
def test_the_best_validation_loss_is_that_of_what_counts_however_it_is_read(tmp_path_factory, attempts, cut):
    """Attempts resume somewhere before the end of the last one; what they do again replaces what was."""
    run = create_run("v", tmp_path_factory.mktemp("v"))
    truth: dict[int, float] = {}
    last = 0
    for number, (back, values) in enumerate(attempts, 1):
        start = max(0, last - back) if number > 1 else 0
        truth = {step: value for step, value in truth.items() if step <= start}
        log = LogWriter(run.metrics, attempt=number, from_step=start, tensors=0)
        log.append([Row(start + i, 1.0, {"loss": 1.0, "val_loss": v}) for i, v in enumerate(values, 1)])
        log.append([Mark(start, "note", {"text": "x"})])
        log.close()
        truth |= {start + i: value for i, value in enumerate(values, 1)}
        last = start + len(values)
    search, looks = Validation(run.metrics), iter(range(1000))
    while not search.advance(lambda: next(looks) % cut == 0):
        pass
    assert search.best is not None
    assert search.best[1] == min(truth.values())
    assert truth[search.best[0]] == search.best[1]


def test_the_search_for_the_best_validation_loss_goes_on_where_the_log_grows(tmp_path):
    run = create_run("grows", tmp_path)
    log = LogWriter(run.metrics, attempt=1, from_step=0, tensors=0)
    search = Validation(run.metrics)
    write(log, [3.0] * 30, vals={10: 2.5})
    assert search.advance(lambda: False)
    assert search.best == (10, 2.5)
    write(log, [3.0] * 30, after=30, vals={40: 2.0, 50: 2.2})
    assert search.advance(lambda: False)
    assert search.best == (40, 2.0)
    log.close()


def test_a_validation_loss_at_every_step_does_not_fill_the_memory(tmp_path):
    run = create_run("dense", tmp_path)
    log = LogWriter(run.metrics, attempt=1, from_step=0, tensors=0)
    write(log, [1.0] * 12_000, vals={step: 100.0 - step / 1000 for step in range(1, 12_001)}, batch=4000)
    log.close()
    search = Validation(run.metrics)
    assert search.advance(lambda: False)
    assert search.best == (12_000, 88.0)
    assert len(search._bests) <= 8192


def test_damage_in_the_log_costs_the_search_only_what_is_damaged(tmp_path):
    run = create_run("damaged", tmp_path)
    log = LogWriter(run.metrics, attempt=1, from_step=0, tensors=0)
    write(log, [3.0] * 50, vals={5: 2.0, 45: 1.0})
    log.close()
    segment = next(run.metrics.iterdir())
    data = bytearray(segment.read_bytes())
    middle = len(data) // 2
    data[middle:middle + 8] = b"\xff" * 8
    segment.write_bytes(bytes(data))
    search = Validation(run.metrics)
    assert search.advance(lambda: False)
    assert search.best == (45, 1.0)


def test_the_status_says_since_when_and_at_which_rate(tmp_path):
    run = a_run(tmp_path, "sick", alive=True)
    events = EventWriter(run.events, 1)
    events.append("incident", 9, 0.0, {"rule": "exploding-gradients", "severity": "critical", "change": "opened", "onset_step": 7, "headline": "Exploding gradients"})
    events.close()
    found = status(run)
    assert (found.verdict, found.headline, found.since, found.lr) == ("critical", "Exploding gradients", 7, 3e-4)


def test_the_end_of_a_log_is_found_behind_what_a_first_look_holds(tmp_path):
    run = a_run(tmp_path, "wide", losses=[4.0], alive=True)
    log = LogWriter(run.metrics, attempt=1, from_step=1, tensors=0)
    log.beat(1.0, 1.0, "paused")
    log.append([Row(2, 1.0, {"loss": 3.0})])
    while (log._offset) < 2 * NEAR_BYTES:
        log.append([Mark(2, "note", {"text": "x" * 500})])
    log.close()
    assert status(run).loss == 3.0


def test_1000_runs_cost_a_poll_a_bounded_number_of_stats(tmp_path, monkeypatch):
    for i in range(3):
        a_run(tmp_path, f"run-{i}", ended="finished")
    clock = Clock()
    known = Catalogue(tmp_path, clock=clock)
    known.poll(2000.0, math.inf)
    some = list(known._known.values())
    known._known = {f"{i}": replace_run(some[i % 3]) for i in range(1000)}
    looks = 0
    real = subject._stamp

    def counted(path: str):
        nonlocal looks
        looks += 1
        return real(path)

    monkeypatch.setattr(subject, "_stamp", counted)
    monkeypatch.setattr(known, "_list", lambda mono: None)
    clock.now += subject.EVERY
    known.poll(2000.0)
    assert 0 < looks <= subject.CHECKED * 8


def replace_run(known):
    again = subject._Known(known.run, 0.0)
    again.entry, again._seen, again._newest, again.is_searched, again.read_at = replace(known.entry), known._seen, known._newest, True, known.read_at
    return again


@pytest.mark.bench
def test_100_runs_are_listed_in_well_under_a_second(tmp_path):
    for i in range(100):
        a_run(tmp_path, f"run-{i}", losses=np.linspace(5, 2, 600).tolist(), tensors=50)
    began = time.perf_counter()
    known = Catalogue(tmp_path)
    known.poll(time.time(), math.inf)
    cold = time.perf_counter() - began
    known._listed_at = -math.inf
    began = time.perf_counter()
    known.poll(time.time())
    print(f"\n100 runs: cold {cold:.3f} s, again {1e3 * (time.perf_counter() - began):.2f} ms")


def test_what_set_a_run_going_is_no_reason_for_what_it_is_or_has_come_to(tmp_path):
    run = a_run(tmp_path, "one", losses=[5.0, 4.0], alive=False)
    with run.events.open("a") as events:
        events.write('{"kind": "state", "state": "running", "step": 1, "time": 1.0, "attempt": 1, "why": "first step"}\n')
    found = status(run)
    assert (found.state, found.why) == ("died", "")
