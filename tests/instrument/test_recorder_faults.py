"""Disks that are full, slow to return, read-only or gone: nothing is raised, nothing is wrong, gaps are said."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import threading

import pytest
from steering_parts import FAST, ScriptedJudge, info_of, rig, wait_for

from tuimon.instrument.journal import Journal
from tuimon.instrument.queueing import Note
from tuimon.instrument.recorder import Recorder
from tuimon.record.chunk import Mark
from tuimon.record.events import EventReader
from tuimon.record.files import OsFiles
from tuimon.record.rundir import create_run
from tuimon.record.segments import LogReader, Row
from tuimon.torture.faulty import FaultyOS


def FailingFiles(failing=(), error=errno.ENOSPC, *, short=False):
    return FaultyOS(failing, error, short=short, durable=False)


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def _row(step):
    return Row(step, float(step), {"loss": float(step)})


def _steps(run):
    reader = LogReader(run.metrics)
    found = []
    while chunks := reader.poll():
        found += [int(s) for c in chunks for s in c.steps]
    return found, reader


def _journal(root, files, clock, **more):
    run = create_run("fault", root)
    return run, Journal(run, attempt=1, from_step=0, tensors=2, files=files, clock=clock, **more)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("length", [1, 3])
def test_whichever_call_fails_for_a_while_everything_is_written_in_the_end(tmp_path, error, short, length):
    first = 1
    while True:
        clock, files = Clock(), FailingFiles(range(first, first + length), error, short=short)
        run, journal = _journal(tmp_path, files, clock)
        journal.open()
        for step in range(1, 7):
            journal.keep([_row(step), Mark(step, "note", {})], [Note("note", step, 0.0, {"text": str(step)})])
            journal.flush()
            journal.beat(0.0, clock.now, "running")
            journal.sync()
            clock.now += 5.0
        journal.close()
        assert not journal.off
        steps, reader = _steps(run)
        assert steps == list(range(1, 7)), first
        assert not reader.gaps
        events = EventReader(run.events).poll()
        assert [e.step for e in events if e.kind == "note"] == list(range(1, 7))
        assert [e.fields["rows"] for e in events if e.kind != "note"] in ([], [0])   # that it was so, and nothing is missing
        if files.calls < first:
            break
        first += 1
    assert first > 25


def test_a_disk_that_stays_full_costs_resolution_and_the_gap_is_said_in_its_place(tmp_path):
    clock, files = Clock(), FailingFiles()
    run, journal = _journal(tmp_path, files, clock, limit=64)
    journal.open()
    journal.keep([_row(1)], ())
    journal.flush()
    files.failing = range(1, 1 << 60)
    for step in range(2, 1001):
        journal.keep([_row(step)], ())
        journal.flush()
        clock.now += 0.01
    assert journal.backlog < 64
    assert "space" in journal.trouble
    attempts = files.calls
    files.failing = ()
    clock.now += 2.0
    journal.flush()
    assert journal.backlog == 0
    assert not journal.trouble
    journal.close()
    steps, reader = _steps(run)
    assert steps[0] == 1
    assert steps[-1] == 1000
    assert steps == sorted(set(steps))
    assert sum(g["dropped"] for g in reader.gaps) == 1000 - len(steps) == journal.dropped
    assert "space" in reader.gaps[0]["why"]
    assert reader.damaged == 0
    assert attempts < 40
    (told,) = EventReader(run.events).poll()
    assert (told.kind, told.step, told.fields["rows"]) == ("gap", 1, journal.dropped)
    assert "space" in told.text("why")
    assert 8 < told.number("seconds") < 10


def test_a_disk_that_fails_for_a_while_is_warned_of_once_and_told_when_it_is_over(tmp_path, caplog):
    clock, files = Clock(), FailingFiles()
    run, journal = _journal(tmp_path, files, clock)
    journal.open()

    def turns(first, last, seconds):
        for step in range(first, last):
            journal.keep([_row(step)], ())
            journal.flush()
            clock.now += seconds

    turns(1, 4, 0.1)
    files.failing = range(1, 1 << 60)
    turns(4, 8, 0.1)
    files.failing = ()
    turns(8, 40, 0.1)
    assert not caplog.records, "a moment is no news"
    assert not EventReader(run.events).poll()
    files.failing = range(1, 1 << 60)
    turns(40, 100, 0.1)
    assert [r.getMessage() for r in caplog.records] == [
        f"{run.name} cannot be recorded for now, training goes on: No space left on device"]
    files.failing = ()
    turns(100, 140, 0.1)
    assert [r.getMessage() for r in caplog.records[1:]] == [f"{run.name} is recorded again; rows missing: 0"]
    (told,) = EventReader(run.events).poll()
    assert (told.kind, told.step, told.fields["rows"]) == ("gap", 39, 0)
    assert 4 < told.number("seconds") < 6
    assert _steps(run)[0] == list(range(1, 140))
    journal.close()


def test_a_disk_that_is_still_full_at_the_end_is_said_to_whoever_reads_the_console(tmp_path, caplog):
    clock, files = Clock(), FailingFiles()
    run, journal = _journal(tmp_path, files, clock)
    journal.open()
    files.failing = range(1, 1 << 60)
    journal.keep([_row(step) for step in range(1, 101)], [Note("end", 100, 0.0, {"state": "finished"})])
    journal.flush()
    journal.close()
    assert [r.getMessage() for r in caplog.records] == [
        f"the end of {run.name} is not recorded; rows: 100, events: 1: No space left on device"]


def test_waiting_grows_from_50_ms_to_2_s_and_batches_shrink_to_one_row_and_grow_again(tmp_path):
    clock, files = Clock(), FailingFiles()
    _, journal = _journal(tmp_path, files, clock)
    journal.open()
    files.failing = range(1, 1 << 60)
    journal.keep([_row(s) for s in range(1, 101)], ())
    waits, batches = [], []
    for _ in range(12):
        journal.flush()
        patience = journal._metrics_patience
        waits.append(round(patience.until - clock.now, 3))
        batches.append(patience.batch)
        clock.now = patience.until
    assert waits[:7] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0]
    assert waits[-1] == 2.0
    assert batches[:4] == [50, 25, 12, 6]
    assert batches[-1] == 1
    files.failing = ()
    journal.flush()
    assert journal.backlog == 0
    assert journal._metrics_patience.batch > 1
    journal.close()


def test_a_row_that_cannot_be_encoded_is_dropped_alone_and_said(tmp_path):
    run, journal = _journal(tmp_path, OsFiles(), Clock())
    journal.open()
    rows = [_row(s) for s in range(1, 41)]
    rows[17] = Row(18, 18.0, {"loss": "high"})
    rows[30] = Row(31, 31.0, {"loss": [1.0, 2.0]})
    journal.keep(rows, [Note("note", 1, 0.0, {"text": object()}), Note("note", 2, 0.0, {})])
    journal.flush()
    journal.close()
    steps, reader = _steps(run)
    assert steps == [s for s in range(1, 41) if s not in {18, 31}]
    assert sum(g["dropped"] for g in reader.gaps) == 2
    events = EventReader(run.events).poll()
    assert [e.step for e in events] == [1, 2, 17]
    assert events[-1].kind == "gap"
    assert events[-1].fields["rows"] == 2
    assert events[-1].text("why").startswith("ValueError")


@pytest.mark.parametrize("error", [errno.EACCES, errno.EROFS, errno.ENOENT])
def test_a_run_directory_that_cannot_be_written_turns_recording_off_with_one_warning(tmp_path, caplog, error):
    files = FailingFiles(range(1, 1 << 60), error)
    with rig(tmp_path, files=files) as run:
        run.train(50)
        run.judged(50)
        run.train(60)
    assert [r.levelname for r in caplog.records if r.name == "tuimon"] == ["WARNING"]
    assert "cannot be written" in caplog.text


def test_a_run_directory_that_vanishes_turns_recording_off_but_not_judging_or_training(tmp_path, caplog):
    with rig(tmp_path) as run:
        run.train(10)
        run.judged(10)
        run.run.path.rename(tmp_path / "away")
        wait_for(lambda: "is gone" in run.recorder.trouble)
        run.train(30)
        run.judged(30)
    assert len([r for r in caplog.records if r.levelname == "WARNING"]) == 1


def test_a_judge_that_breaks_is_switched_off_with_one_fault_and_recording_goes_on(tmp_path):
    def find(step, _marks):
        if step >= 5:
            raise ZeroDivisionError("by zero")
        return ()

    with rig(tmp_path) as run:
        run.judge.find = find
        run.train(100)
        assert "by zero" in run.wait("fault", part="guard").text("error")
        run.train(200)
        run.close()
        assert _steps(run.run)[0] == list(range(1, 201))
        assert len(run.seen("fault")) == 1


def test_a_judge_that_cannot_be_made_is_a_fault_and_no_reason_not_to_train(tmp_path):
    def broken(_context):
        raise ImportError("no such engine")

    run = create_run("test", tmp_path)
    recorder = Recorder(run, info_of(run), attempt=1, from_step=0, judge=broken, pace=FAST)
    recorder.start()
    recorder.row(1, 0.0, {"loss": 1.0})
    recorder.close("finished")
    events = EventReader(run.events).poll()
    assert [e.kind for e in events] == ["fault", "attempt", "end"]
    assert "no such engine" in events[0].text("error")
    assert _steps(run)[0] == [1]


_FULL = """
import resource, sys, threading, time
sys.path.insert(0, sys.argv[2])
from steering_parts import FAST, ScriptedJudge, info_of, wait_for
from pathlib import Path
from tuimon.instrument.recorder import Recorder
from tuimon.record.rundir import RunDir
run = RunDir(Path(sys.argv[1]))
recorder = Recorder(run, info_of(run), attempt=1, from_step=0, judge=lambda c: ScriptedJudge(), pace=FAST, limit=2000)
recorder.start()
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, resource.RLIM_INFINITY))
step = 0
def train(n):
    global step
    for _ in range(n):
        step += 1
        recorder.row(step, time.time(), {"loss": 1.0 / step, "grad_norm": float("nan")})
while not recorder.trouble:
    train(10)
    threading.Event().wait(0.001)
train(10_000)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
wait_for(lambda: not recorder.trouble and not recorder._journal.backlog and not len(recorder._intake))
train(100)
recorder.close("finished")
print(step)
"""


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_FSIZE)[1] != resource.RLIM_INFINITY, reason="a limit is set")
def test_a_file_system_that_really_refuses_to_grow_is_survived_and_resumed(tmp_path):
    run = create_run("full", tmp_path)
    done = subprocess.run([sys.executable, "-c", _FULL, str(run.path), os.path.dirname(__file__)],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    last = int(done.stdout)
    steps, reader = _steps(run)
    assert steps[-1] == last
    assert steps == sorted(set(steps))
    assert reader.damaged == 0
    assert sum(g["dropped"] for g in reader.gaps) == last - len(steps) > 0
    assert [e.kind for e in EventReader(run.events).poll()][-1] == "end"


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")
def test_where_no_thread_can_be_had_no_file_of_the_run_stays_open(tmp_path, monkeypatch):
    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    run = create_run("x", tmp_path)
    recorder = Recorder(run, info_of(run), attempt=1, from_step=0, judge=lambda _: ScriptedJudge(), pace=FAST)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    recorder.start()
    recorder.row(1, 0.0, {"loss": 1.0})
    recorder.close("finished")
    held = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{fd}")]
    assert [path for path in held if path.startswith(str(run.path))] == []
