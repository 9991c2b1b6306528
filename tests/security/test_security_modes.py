"""Modes are as they should be from the moment a thing exists, whatever the umask; tests of a whole session stand beside."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager

import numpy as np
import pytest
from second_user import as_nobody, needs_root

from tuimon.config.file import save
from tuimon.control import spool
from tuimon.control.commands import Command, encode
from tuimon.control.spool import Inbox, submit
from tuimon.private import make_folder, open_file
from tuimon.record.cache import Cache
from tuimon.record.events import EventWriter
from tuimon.record.label import Label, write_label
from tuimon.record.liveness import identity
from tuimon.record.locks import hold
from tuimon.record.rundir import RunInfo, create_run
from tuimon.record.segments import LogWriter
from tuimon.remote import linked
from tuimon.remote.far.files import Files
from tuimon.remote.mirror import Mirror


@contextmanager
def umask(mask):
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def _work(home):
    """All that trainers and viewers make without torch; the command that came through."""
    run = create_run("x", home / "state" / "tuimon" / "runs")
    run.write_info(RunInfo("x", identity()))
    writer, log = EventWriter(run.events, 1), LogWriter(run.metrics, attempt=1, from_step=0, tensors=0)
    writer.append("note", 1, 0.0, {})
    writer.close()
    log.close()
    spool.prepare(run.commands)
    submit(run.commands, Command("a", "hold", issued=0.0))
    assert Files(str(run.path)).command(encode(Command("c", "pause"))) == ""
    found = Inbox(run.commands, 1, clock=lambda: 0.0).poll()
    submit(run.commands, Command("b", "hold", issued=0.0))
    write_label(run, Label("x"))
    assert Cache(home / "cache" / "tuimon").store("a", {}, {"x": np.arange(3)})
    assert Cache(home / "cache" / "tuimon").load("a") is not None
    place = linked.make_folder(home / "cache" / "tuimon")
    seen = Mirror(place, "x", "far", control=True)
    for name in ("autopsy/a.json", "autopsy/b.json"):
        seen.take({"k": "file", "name": name, "at": 0, "size": 2}, b"{}")
        seen.take({"k": "tail", "name": "console.log", "new": False}, b"a word")
    seen.take({"k": "begin", "g": 1, "thin": False}, b"")
    seen.close()
    for _ in range(2):
        os.close(hold(seen.run.path / "lock"))
    save(str(home / "config" / "tuimon" / "config.toml"), {("theme",): "nord"})
    return [command.verb for command in found]


def _modes(home):
    return {p: stat.S_IMODE(p.lstat().st_mode) for p in home.rglob("*")}


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o777])
def test_all_is_its_owners_alone_and_its_owners_in_full(tmp_path, mask):
    with umask(mask):
        assert _work(tmp_path) == ["hold", "pause"]
    found = _modes(tmp_path)
    assert len(found) > 15
    assert {p: oct(m) for p, m in found.items() if m != (0o700 if p.is_dir() else 0o600)} == {}


@needs_root
@pytest.mark.parametrize("mask", [0o000, 0o777])
def test_it_works_for_a_user_whom_modes_bind(shared, mask):
    """Root may do all whatever the mode: only another sees that a umask has taken his own rights."""
    shared.chmod(0o777)

    def work():
        with umask(mask):
            home = shared / "home"
            make_folder(home)
            return _work(home)

    assert as_nobody(work) == ["hold", "pause"]


def test_a_thing_is_never_wider_for_a_moment(tmp_path, monkeypatch):
    """Made with its mode, not narrowed after: whoever opens it in between would keep what they have."""
    seen = []
    for name in ("open", "mkdir"):
        whole = getattr(os, name)

        def watched(path, *args, _whole=whole, **more):
            made = _whole(path, *args, **more)
            mode = os.fstat(made).st_mode if isinstance(made, int) else os.lstat(path).st_mode
            seen.append((str(path), stat.S_IMODE(mode)))
            return made

        monkeypatch.setattr(os, name, watched)
    with umask(0):
        _work(tmp_path)
    own = [(path, mode) for path, mode in seen if str(tmp_path) in path and path != str(tmp_path)]
    assert len(own) > 10
    assert [(path, oct(mode)) for path, mode in own if mode & 0o077] == []


def test_a_file_that_is_there_keeps_its_mode(tmp_path):
    path = tmp_path / "x"
    path.touch()
    path.chmod(0o640)
    os.close(open_file(path, os.O_RDWR | os.O_CREAT))
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@needs_root
def test_a_file_of_another_user_is_opened_as_it_is(shared):
    path = shared / "theirs"
    path.touch()
    path.chmod(0o066)
    as_nobody(lambda: os.close(open_file(path, os.O_RDWR | os.O_CREAT)))
    assert stat.S_IMODE(path.stat().st_mode) == 0o066
