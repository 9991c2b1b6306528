"""Links that somebody has planted lead nowhere: nothing is read through them, nothing is written, the victim is intact."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest
import synthetic

from tuimon.control.commands import Who
from tuimon.errors import LogError
from tuimon.launch.process import start
from tuimon.private import make_folder
from tuimon.record.cache import Cache
from tuimon.record.catalogue import Catalogue
from tuimon.record.console import ConsoleReader
from tuimon.record.events import EventReader, EventWriter, last_events
from tuimon.record.files import write_atomically
from tuimon.record.label import Label, read_label, write_label
from tuimon.record.liveness import identity
from tuimon.record.reader import LogReader
from tuimon.record.rundir import Launch, RunInfo, create_run, prepare_run
from tuimon.record.segments import LogWriter
from tuimon.record.status import status
from tuimon.viewer.export import save
from tuimon.viewer.reading import Reading

VICTIM = b'{"schema": 1, "name": "MARKED", "note": "MARKED"}\n'
LAUNCH = Launch("x", "", "x", None, 0, 0.0)


@pytest.fixture
def victim(tmp_path):
    """A file that is none of ours."""
    path = tmp_path / "victim"
    path.write_bytes(VICTIM)
    os.utime(path, (1, 1))
    yield path
    assert path.read_bytes() == VICTIM
    assert path.stat().st_mtime == 1


def _segment(run):
    return LogWriter(run.metrics, attempt=1, from_step=0, tensors=0)


WRITERS = {
    "run.json": lambda run: run.write_info(RunInfo("x", identity())),
    "launch.json": lambda run: run.write_launch(LAUNCH),
    "events.jsonl": lambda run: EventWriter(run.events, 1),
    "label.json": lambda run: write_label(run, Label("x")),
    "metrics/r0-000.tlog": _segment,
    "console.log": lambda run: start(run, LAUNCH, ["-c", "print('x')"], {}).tell(),
    "run.json.tmp.PID": lambda run: run.write_info(RunInfo("x", identity())),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("dangling", [False, True])
def test_no_writer_follows_a_link(tmp_path, victim, name, dangling):
    run, target = create_run("x", tmp_path / "runs"), tmp_path / "nothing" if dangling else victim
    (run.path / name.replace("PID", str(os.getpid()))).symlink_to(target)
    try:
        made = WRITERS[name](run)
    except OSError:
        pass   # refused, or put in the link's place
    else:
        getattr(made, "close", lambda: None)()
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("name", ["metrics", "commands", "checkpoints"])
def test_no_folder_of_a_run_may_be_a_link(tmp_path, name):
    run, elsewhere = create_run("x", tmp_path / "runs"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    (run.path / name).rmdir()
    (run.path / name).symlink_to(elsewhere)
    with pytest.raises(NotADirectoryError, match="it is a link"):
        prepare_run(run)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("name", ["run.json", "launch.json", "events.jsonl", "label.json", "console.log", "metrics/r0-000.tlog"])
def test_no_reader_follows_a_link(tmp_path, victim, name):
    run = synthetic.healthy(root=tmp_path / "runs", alive=False).dir
    run.path.joinpath(name).unlink(missing_ok=True)
    (run.path / name).symlink_to(victim)
    console = ConsoleReader(run.console)
    said = [run.last_words(), read_label(run), EventReader(run.events).poll(), last_events(run.events, 1 << 20), LogReader(run.metrics).poll(),
            status(run), Catalogue(tmp_path / "runs").poll(time.time(), 60.0), console.poll(), console.read(0, 10)]
    for read in (run.read_info, run.read_launch):
        try:
            said.append(read())
        except LogError as error:
            said.append(str(error))
    reading = Reading(run, cache=Cache(tmp_path / "cache"))
    said.append(reading.poll(2_000.0, 1.0))
    reading.ask("hold", {}, 2_000.0, Who(), "")
    assert "MARKED" not in repr(said)


def test_no_store_is_kept_or_read_through_a_link(tmp_path, victim):
    folder = tmp_path / "cache"
    cache = Cache(folder)
    assert cache.store("a", {"x": 1}, {"y": np.arange(3)})
    (folder / "b.tuimon").symlink_to(folder / "a.tuimon")
    (folder / f"c.tuimon.tmp.{os.getpid()}").symlink_to(victim)
    assert cache.load("b") is None
    assert not cache.store("c", {}, {})
    (tmp_path / "link").symlink_to(folder)
    assert Cache(tmp_path / "link").load("a") is None
    assert not Cache(tmp_path / "link").store("d", {}, {})


def test_a_picture_is_not_drawn_through_a_link(tmp_path, monkeypatch):
    monkeypatch.setattr("tuimon.viewer.export.png", lambda svg: b"png")
    (tmp_path / "x-step-1.png").symlink_to(tmp_path / "nothing")
    (tmp_path / "x-step-2.svg").symlink_to(tmp_path / "nothing")
    assert [path.name for path in save("<svg/>", "x", 2, tmp_path)] == ["x-step-2-2.svg", "x-step-2-2.png"]
    saved = save("<svg/>", "x", 1, tmp_path)
    assert [path.name for path in saved] == ["x-step-1-2.svg", "x-step-1-2.png"]
    assert not (tmp_path / "nothing").exists()


def test_what_is_replaced_atomically_replaces_the_link_itself(tmp_path, victim):
    path = tmp_path / "file"
    path.symlink_to(victim)
    write_atomically(str(path), b"new")
    assert not path.is_symlink()
    assert path.read_bytes() == b"new"


def test_a_place_that_a_person_chose_may_be_a_link(tmp_path):
    (tmp_path / "big-disk").mkdir()
    (tmp_path / "runs").symlink_to(tmp_path / "big-disk")
    assert create_run("x", tmp_path / "runs").metrics.is_dir()
    make_folder(tmp_path / "runs" / "a" / "b", parents=0o700)
    assert (tmp_path / "big-disk" / "a" / "b").is_dir()
