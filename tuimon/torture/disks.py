"""Faults of disks: full, slow, hanging, gone, forbidden. Each returns how many rows were lost."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
from contextlib import suppress
from typing import Protocol

from tuimon.control.commands import Command, Who
from tuimon.control.spool import Inbox, new_id, prepare, submit
from tuimon.instrument.journal import Journal
from tuimon.instrument.queueing import Note
from tuimon.record.chunk import Mark
from tuimon.record.events import EventReader
from tuimon.record.rundir import RunDir, prepare_run
from tuimon.record.segments import Row
from tuimon.torture.bench import Bench, Skipped, Training
from tuimon.torture.faulty import FOR_EVER, FaultyOS
from tuimon.torture.looking import expect, missing, read, unchanged

PASSING = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EINTR, errno.ESTALE)
"""What a disk may say and be well again."""


def _limit(training: Training, size: int) -> None:
    """No file of the training may grow beyond `size` bytes; -1: any size."""
    if not hasattr(resource, "prlimit"):
        raise Skipped("only Linux lets the limits of another process be set")
    _, hard = resource.prlimit(training.pid, resource.RLIMIT_FSIZE)
    if hard != resource.RLIM_INFINITY and size < 0:
        size = hard
    resource.prlimit(training.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY if size < 0 else size, hard))


def fill_disk(bench: Bench) -> int:
    """The disk is full (no file grows any more), and after a while it is not."""
    training = bench.start()
    training.more(20)
    _limit(training, bench.chance.randint(1, 8000))
    training.more(bench.chance.randint(100, 400), "on a full disk")
    _limit(training, -1)
    training.more(30)
    training.stop()
    unchanged(training, bench.do("train", steps=training.ledger.steps, pause=0.0, alone=True))
    return missing(training)


def fill_disk_for_ever(bench: Bench) -> int:
    """The disk is full, and no space comes back."""
    training = bench.start()
    training.more(20)
    _limit(training, bench.chance.randint(1, 8000))
    training.more(100, "on a full disk")
    training.stop()
    return _beginning(training)


def _beginning(training: Training) -> int:
    """Rows missing behind a contiguous, true beginning; how long ago that was does not matter."""
    losses = read(training.run).losses
    expect(list(losses) == list(range(1, len(losses) + 1)), "there is a hole in the log")
    expect(all(loss == training.ledger.loss(step) for step, loss in losses.items()), "a loss is not what it was")
    return training.ledger.steps - len(losses)


def fill_while_saving(bench: Bench) -> int:
    """There is no room for a checkpoint, three times."""
    training = bench.start(save=5)
    bench.wait(lambda: any(training.run.checkpoints.glob("0*")), "the first checkpoint")
    for _ in range(3):
        _limit(training, bench.chance.randint(1, 40_000))
        training.more(20, "on a full disk")
        expect(bench.do("verify", run=training.run).ledger.counted, "a full disk has cost every checkpoint")
    _limit(training, -1)
    saved = sum(e.text("outcome") == "saved" for e in training.events("checkpoint"))
    bench.wait(lambda: sum(e.text("outcome") == "saved" for e in training.events("checkpoint")) > saved, "a checkpoint")
    training.stop()
    bench.do("verify", run=training.run)
    return missing(training)


def remove_directory(bench: Bench) -> int:
    """The run directory is removed, or moved away, under a training."""
    training = bench.start(steps=400)
    training.more(bench.chance.randint(1, 40))
    if bench.chance.random() < 0.5:
        os.rename(training.run.path, f"{training.run.path}-elsewhere")
    else:
        shutil.rmtree(training.run.path, ignore_errors=True)
    training.more(100, "without its directory")
    training.finish()
    return training.ledger.steps


def forbid_directory(bench: Bench) -> int:
    """Nothing can be made in the run directory any more, then it can."""
    if os.geteuid() == 0:
        raise Skipped("nothing is forbidden to root")
    training = bench.start(save=10)
    training.more(20)
    places = (training.run.path, training.run.metrics, training.run.checkpoints, training.run.commands)
    for place in places:
        place.chmod(0o500)
    training.more(100, "where it may not write")
    for place in places:
        place.chmod(0o700)
    training.stop()
    return missing(training)


def _fail(bench: Bench, last: int) -> int:
    training = bench.start(disk={"fail": bench.chance.randint(1, 60), "last": last,
                                 "error": bench.chance.choice(PASSING), "short": bench.chance.random() < 0.5})
    bench.wait(lambda: training.ledger.steps or training.poll() is not None, "the first step")
    if training.poll() is not None:
        refused = training.last_words()
        expect("AttachError: cannot" in refused, f"attach did not say what is wrong: {refused}")
        return 0
    training.more(100, "on a disk that fails")
    if not training.run.metrics.is_dir():   # it could not be made: it trains all the same
        training.send(signal.SIGINT)
        training.end()
        expect("nothing is recorded" in training.words(), f"nobody was told that: {training.last_words()}")
        return 0
    training.stop()
    return missing(training) if last else _beginning(training)


def fail_operation(bench: Bench) -> int:
    """One to three file operations fail, at any place in the life of a run."""
    return _fail(bench, bench.chance.randint(1, 3))


def fail_for_ever(bench: Bench) -> int:
    """From some file operation on they all fail."""
    return _fail(bench, 0)


def slow_disk(bench: Bench) -> int:
    """Each file operation takes 0.2 s."""
    training = bench.start(disk={"seconds": 0.2})
    training.more(500, "on a slow disk")
    training.stop()
    return missing(training)


def hang_disk(bench: Bench) -> int:
    """The file system hangs, as one over a network may, then answers again."""
    training = bench.start(disk={"hang": True}, save=bench.chance.choice((0, 30)))
    training.more(20)
    training.ledger.is_held = True
    bench.wait(lambda: training.ledger.counted, "the writer to hang")
    training.more(300, "while its disk hangs")
    training.ledger.is_held = False
    training.more(20)
    training.stop()
    return missing(training)


def hang_at_the_end(bench: Bench) -> int:
    """The file system hangs while training ends."""
    training = bench.start(disk={"hang": True}, steps=60)
    training.more(20)
    training.ledger.is_held = True
    bench.wait(lambda: training.ledger.counted, "the writer to hang")
    training.finish()
    return _beginning(training)


def every_operation(bench: Bench) -> int:
    """The N-th file operation on log and events fails, N = 1, 2, ... until all goes through; once, and for ever."""
    for last in (1, bench.chance.randint(2, 9), FOR_EVER):
        tried = sweep_log(bench, last, bench.chance.choice(PASSING), short=bench.chance.random() < 0.5)
        expect(tried > 25, "hardly anything goes through the seam")
    return 0


class Place(Protocol):
    """Where runs can be made."""

    def fresh(self) -> RunDir:
        """The directory for one."""


def sweep_log(place: Place, last: int, error: int, *, short: bool) -> int:
    """Write log and events on disks of which `last` operations fail, from the first on, from the second on, ...

    How many operations were tried before all went through.
    """
    first, files = 0, FaultyOS()
    while files.calls >= first:
        first += 1
        files = FaultyOS(range(first, first + last), error, short=short, durable=False)
        _write_and_read(place, files)
    return first


def _write_and_read(place: Place, files: FaultyOS) -> None:
    run, moment = place.fresh(), 0.0
    prepare_run(run)
    journal = Journal(run, attempt=1, from_step=0, tensors=2, files=files, clock=lambda: moment)
    journal.open()
    for step in range(1, 7):
        journal.keep([Row(step, float(step), {"loss": float(step)}), Mark(step, "note", {})],
                     [Note("note", step, 0.0, {"text": str(step)})])
        journal.flush()
        journal.beat(0.0, moment, "running")
        journal.sync()
        moment += 5.0
    journal.close()
    expect(not journal.off, f"recording was given up: {journal.off}")
    losses = read(run).losses
    expect(all(step == loss for step, loss in losses.items()), "a row is recorded as another one")
    expect(list(losses) == list(range(1, len(losses) + 1)), "there is a hole in the log")
    told = [event.step for event in EventReader(run.events).poll() if event.kind == "note"]
    expect(told == list(range(1, len(told) + 1)), "there is a hole in the events")
    if files.calls not in files.failing:  # the disk was well in the end
        expect(len(losses) == len(told) == 6, f"of 6 rows {len(losses)} are there, of 6 events {len(told)}")
    shutil.rmtree(run.path)


def send_on_a_bad_disk(bench: Bench) -> int:
    """The N-th file operation of sending a command fails, N = 1, 2, ... until it goes through; once, and for ever."""
    run = bench.fresh()
    prepare_run(run)
    prepare(run.commands)
    inbox = Inbox(run.commands, 1)
    for last in (1, FOR_EVER):
        first, files = 0, FaultyOS()
        while files.calls >= first:
            first += 1
            files = FaultyOS(range(first, first + last), bench.chance.choice(PASSING), durable=False,
                             short=bench.chance.random() < 0.5)
            command, arrives = Command(new_id(), "pause", issued=0.0, ttl=1e12, who=Who(origin="torture")), True
            try:
                submit(run.commands, command, files)
            except OSError:
                arrives = False
            found = inbox.poll()
            came = [one.id for one in found]
            expect(came == ([command.id] if arrives else []), f"the sender was told otherwise than what came: {found}")
            with suppress(OSError):
                expect(not os.listdir(run.commands / "tmp"), "half a command was left behind")
        expect(first > 4, "hardly anything goes through the seam")
    return 0


def save_on_a_bad_disk(bench: Bench) -> int:
    """The N-th file operation of saving a checkpoint fails, for many N; once, and for ever."""
    stride = bench.chance.randint(23, 47)
    bench.do("sweep-checkpoints", error=bench.chance.choice(PASSING), short=bench.chance.random() < 0.5,
             first=bench.chance.randint(1, stride), stride=stride)
    return 0
