"""A disk that is still full when a run ends: how it ended and what is missing is told all the same."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import time
from dataclasses import replace

import pytest
from full_disks import filled, mounted, needs_root
from steering_parts import FAST, ScriptedJudge, info_of, wait_for

from tuimon.instrument.journal import Journal
from tuimon.instrument.queueing import Note
from tuimon.instrument.recorder import Recorder
from tuimon.record.events import LAST_WORDS, EventReader
from tuimon.record.files import OsFiles
from tuimon.record.rundir import RunDir, create_run
from tuimon.record.segments import LogReader, Row
from tuimon.record.status import status

LONG = "RuntimeError: " + "\N{FACE SCREAMING IN FEAR}" * 486
TMPFS = ("-t", "tmpfs", "-o", "size=1m", "tmpfs")


def begun(run, attempt, from_step=0):
    """A recorder of a process that is gone as soon as nothing else is known of it."""
    info = info_of(run, attempt=attempt)
    info = replace(info, process=replace(info.process, boot_id="another"))
    run.write_info(info)
    recorder = Recorder(run, info, attempt=attempt, from_step=from_step, judge=lambda _: ScriptedJudge(), pace=FAST)
    recorder.start()
    return recorder


def train(recorder, first, last):
    for step in range(first, last + 1):
        recorder.row(step, time.time(), {"loss": 1.0 / step, "grad_norm": 1.0})


def steps_of(run):
    reader, found = LogReader(run.metrics), []
    while chunks := reader.poll():
        found += [int(step) for chunk in chunks for step in chunk.steps]
    return found


def told(run):
    reader = EventReader(run.events)
    found = reader.poll()
    assert reader.damaged == 0
    return found


def ends_full(run, where, state, error):
    """An attempt that fills up and ends, and one after it for which there is space again."""
    first = begun(run, 1)
    train(first, 1, 50)
    wait_for(lambda: 50 in steps_of(run) and told(run), "what comes before the disk is full")
    with filled(where):
        train(first, 51, 6000)
        for i in range(200):
            first.event("note", 6000, text=f"of a full disk {i}")
        first.close(state, error)
        gap, end = told(run)[-2:]
        assert (gap.kind, gap.attempt, end.kind, end.text("state"), end.text("error")) == ("gap", 1, "end", state, error or "")
        lost = 6000 - len(steps_of(run))
        assert gap.fields["rows"] == lost > 0
        assert gap.fields["events"] > 0
        assert "No space" in gap.text("why")
        seen = status(run)
        assert (seen.state, seen.step, seen.why[:20]) == (state, 6000, (error or "")[:20])
    second = begun(run, 2, 6000)
    train(second, 3001, 3010)
    second.close("finished")
    kinds = [(e.attempt, e.kind) for e in told(run) if e.kind != "note"]
    assert kinds == [(1, "attempt"), (1, "gap"), (1, "end"), (2, "attempt"), (2, "end")]
    assert status(run).state == "finished"


@needs_root
@pytest.mark.parametrize(("state", "error"), [
    ("finished", None), ("stopped", "KeyboardInterrupt"), ("crashed", LONG)], ids=["finished", "stopped", "crashed"])
def test_a_run_that_ends_on_a_full_disk_says_how_it_ended_and_what_is_missing_and_the_next_attempt_follows(
        tmp_path, state, error):
    with mounted(tmp_path / "small", *TMPFS) as small:
        ends_full(create_run("full", small), small, state, error)


@needs_root
@pytest.mark.nightly
@pytest.mark.parametrize("system", ["ext4", "xfs"])
def test_so_it_is_on_file_systems_of_disks(tmp_path, system):
    if not shutil.which(f"mkfs.{system}"):
        pytest.skip(f"no mkfs.{system}")
    with open(tmp_path / "image", "wb") as file:
        file.truncate(400 << 20)
    subprocess.run([f"mkfs.{system}", "-q", str(tmp_path / "image")], check=True)
    with mounted(tmp_path / "disk", "-o", "loop", str(tmp_path / "image")) as disk:
        ends_full(create_run("full", disk), disk, "crashed", LONG)


@needs_root
def test_a_training_that_is_interrupted_on_a_full_disk_has_stopped_and_has_not_died(bench, tmp_path):
    with mounted(tmp_path / "small", *TMPFS) as small:
        training = bench.start(run=RunDir(small / "run"))
        training.more(20)
        with filled(small):
            training.more(100, "on a full disk")
            training.send(signal.SIGINT)
            training.end()
            assert status(training.run).state == "stopped"
            assert [e.kind for e in training.events()][-2:] == ["gap", "end"]


class Disk(OsFiles):
    """One that keeps its word, or keeps no room at all, and is full when it is told so."""

    def __init__(self, *, keeps=True):
        self.keeps, self.is_full = keeps, False
        self.room = {}
        self.refused = set()
        """Descriptors for which it is full."""

    def reserve(self, fd, offset, length):
        if not self.keeps:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        if self.is_full and offset + length > self.room.get(fd, 0):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room[fd] = offset + length

    def pwrite(self, fd, data, offset):
        left = self.room.get(fd, 0) - offset if self.is_full or fd in self.refused else len(data)
        if left <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().pwrite(fd, data[:left], offset)


def journal_on(disk, root):
    run = create_run("full", root)
    journal = Journal(run, attempt=1, from_step=0, tensors=0, files=disk)
    journal.open()
    return run, journal


def test_what_is_told_on_the_way_leaves_the_room_for_the_end(tmp_path):
    disk = Disk()
    run, journal = journal_on(disk, tmp_path)
    for i in range(300):
        disk.is_full = i >= 100
        journal.keep((), [Note("note", i, 0.0, {"text": "x" * 100})])
        journal._events_patience.until = 0.0
        journal.flush()
    assert max(disk.room.values()) - run.events.stat().st_size >= LAST_WORDS
    journal.keep((), [Note("end", 300, 0.0, {"state": "crashed", "error": LONG})])
    journal.close()
    *before, gap, end = told(run)
    assert [e.step for e in before] == list(range(len(before)))
    assert len(before) >= 100
    assert (gap.fields["rows"], gap.fields["events"]) == (0, 300 - len(before))
    assert (end.kind, end.step) == ("end", 300)


def test_a_disk_that_takes_what_happens_but_no_rows_is_told_all_that_happened(tmp_path, caplog):
    disk = Disk()
    run, journal = journal_on(disk, tmp_path)
    log = journal._log._fd
    disk.refused.add(log)
    journal.keep([Row(i, 1.0, {"loss": 1.0}) for i in range(1, 4)], [Note("note", 3, 0.0, {}), Note("end", 3, 0.0, {"state": "finished"})])
    journal.flush()
    journal.keep((), [Note("command", 3, 0.0, {"outcome": "refused", "why": "the run has ended"})])
    journal.close()
    assert [e.kind for e in told(run)] == ["note", "command", "gap", "end"]
    assert {name: told(run)[2].fields[name] for name in ("rows", "events")} == {"rows": 3, "events": 0}
    assert "rows: 3, events: 0" in caplog.text


def test_an_end_that_is_all_that_waits_is_no_gap(tmp_path, caplog):
    disk = Disk()
    run, journal = journal_on(disk, tmp_path)
    disk.is_full = True
    journal.keep((), [Note("end", 3, 0.0, {"state": "finished", "error": None})])
    journal.close()
    assert [e.kind for e in told(run)] == ["end"]
    assert not caplog.records


@pytest.mark.parametrize("late", [False, True])
def test_where_no_room_can_be_kept_it_is_as_if_none_had_been_asked_for(tmp_path, late):
    disk = Disk(keeps=late)
    disk.is_full = late   # at the start, and then it is not
    run, journal = journal_on(disk, tmp_path)
    disk.is_full = False
    journal.keep([Row(1, 1.0, {"loss": 1.0})], [Note("note", 1, 0.0, {}), Note("end", 1, 0.0, {"state": "finished"})])
    journal.close()
    assert [e.kind for e in told(run)] == ["note", "end"]
    assert steps_of(run) == [1]
