"""File systems that show what we make as another user's (root squashed by NFS, SMB, FUSE): that user is us there, no one else."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess

import numpy as np
import pytest
from second_user import needs_root

from tuimon.control import spool
from tuimon.control.commands import Command, Who
from tuimon.control.spool import Inbox, Rejected, barred, submit
from tuimon.private import open_file
from tuimon.record import ownership
from tuimon.record.cache import Cache
from tuimon.record.manifest import MANIFEST, STATE, Manifest, listed
from tuimon.record.rundir import create_run

US = os.geteuid()
NOBODY, OTHER = 65534, 4711
STOP = Command("a1", "stop", issued=1000.0, who=Who("ada", US, "desk", 7, "viewer"))


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch):
    monkeypatch.setattr(ownership, "_SHOWN", {})


class Shown:
    """As whose each file is shown: what is ours as that of `ours`, and what is named here as somebody else's.

    inherits: what is made in a folder is shown as its owner's, as Samba does where it is told to.
    """

    def __init__(self, monkeypatch, *, ours=NOBODY, inherits=False):
        self.ours, self.inherits = ours, inherits
        self.others, self.made, self._fresh = {}, [], {}
        self._fstat, self._open = os.fstat, os.open
        monkeypatch.setattr(os, "fstat", self.fstat)
        monkeypatch.setattr(os, "open", self.open)

    def fstat(self, fd):
        found = self._fstat(fd)
        uid = self._fresh.pop(fd, None)
        uid = self.others.get(found.st_ino, self.ours) if uid is None else uid
        return os.stat_result((*found[:4], uid, *found[5:]), {"st_mtime_ns": found.st_mtime_ns})

    def open(self, path, flags, *more, **in_):
        fd = self._open(path, flags, *more, **in_)
        if ".whose" in str(path):
            self.made.append(path)
            self._fresh[fd] = self.fstat(in_["dir_fd"]).st_uid if self.inherits else self.ours
        return fd

    def belongs(self, path, uid=OTHER):
        self.others[os.lstat(path).st_ino] = uid


def run_in(root):
    run = create_run("x", root / "runs")
    spool.prepare(run.commands)
    return run


def heard(run):
    return Inbox(run.commands, 1, clock=lambda: 1000.0).poll()


def checkpoint_in(run, id="000001-step-000000010"):  # noqa: A002
    """One, without torch."""
    folder, state = run.checkpoints / id, b"weights"
    folder.mkdir(mode=0o700)
    manifest = Manifest(id, 10, 1, run.name, "2", 1.0).holding(hashlib.sha256(state).hexdigest(), len(state))
    for name, raw in ((STATE, state), (MANIFEST, manifest.encode())):
        (folder / name).write_bytes(raw)
        (folder / name).chmod(0o600)
    return folder


def works(root, run):
    """Commands arrive, checkpoints can be used, stores are kept."""
    submit(run.commands, STOP)
    assert barred(run.commands) == ""
    (command,) = heard(run)
    checkpoint_in(run)
    cache = Cache(root / "cache")
    assert cache.store("a", {}, {"x": np.arange(3.0)})
    assert cache.load("a") is not None
    assert [one.problem for one in listed(run.checkpoints)] == [""]
    assert not list(root.rglob(".whose*"))
    return command


def test_what_we_made_is_ours_by_whatever_number_it_is_shown(tmp_path, monkeypatch):
    shown, run = Shown(monkeypatch), run_in(tmp_path)
    command = works(tmp_path, run)
    assert (command.verb, command.who.uid) == ("stop", NOBODY)   # the audit says what was seen
    assert len(shown.made) == 1


def test_a_umask_that_takes_the_owners_own_rights_is_put_right_there_too(tmp_path, monkeypatch):
    Shown(monkeypatch)
    before = os.umask(0o777)
    try:
        os.close(open_file(tmp_path / "x", os.O_RDWR | os.O_CREAT))
    finally:
        os.umask(before)
    assert os.lstat(tmp_path / "x").st_mode & 0o7777 == 0o600


def test_where_it_is_shown_as_ours_nothing_is_made(tmp_path, monkeypatch):
    shown, run = Shown(monkeypatch, ours=US), run_in(tmp_path)
    assert works(tmp_path, run).who.uid == US
    assert shown.made == []


@pytest.mark.parametrize("ours", [US, NOBODY], ids=["ordinary", "squashed"])
def test_another_user_stays_another(tmp_path, monkeypatch, ours):
    shown, run = Shown(monkeypatch, ours=ours), run_in(tmp_path)
    submit(run.commands, STOP)
    for name in os.listdir(run.commands / "new"):
        shown.belongs(run.commands / "new" / name)
    (refused,) = heard(run)
    assert isinstance(refused, Rejected)
    assert refused.why == f"written by user {OTHER}, who may not command this run"
    folder, cache = checkpoint_in(run), Cache(tmp_path / "cache")
    assert cache.store("a", {}, {"x": np.arange(3.0)})
    for one in (folder, folder / MANIFEST):
        shown.belongs(one)
        assert f"belongs to user {OTHER}" in listed(run.checkpoints)[0].problem
        shown.others.clear()
    shown.belongs(tmp_path / "cache" / "a.tuimon")
    assert cache.load("a") is None
    shown.belongs(tmp_path / "cache")
    assert not cache.store("a", {}, {})
    shown.belongs(run.path)
    if US:
        assert barred(run.commands) == f"the run directory belongs to user {OTHER}"


def test_a_server_that_gives_files_to_the_owner_of_their_folder_makes_nobody_us_elsewhere(tmp_path, monkeypatch):
    shown, mine, theirs = Shown(monkeypatch, ours=US, inherits=True), run_in(tmp_path), run_in(tmp_path)
    checkpoint_in(theirs)
    for path in (theirs.checkpoints, *theirs.checkpoints.rglob("*")):
        shown.belongs(path)
    assert [one.problem for one in listed(theirs.checkpoints)] == [""]   # in the folder that is theirs alone
    shown.belongs(checkpoint_in(mine))
    assert f"belongs to user {OTHER}" in listed(mine.checkpoints)[0].problem


def test_a_read_only_view_makes_nothing_and_trusts_nobody(tmp_path, monkeypatch):
    shown, run = Shown(monkeypatch), run_in(tmp_path)
    checkpoint_in(run)
    monkeypatch.setenv("TUIMON_READONLY", "1")
    assert f"belongs to user {NOBODY}" in listed(run.checkpoints)[0].problem
    assert Cache(run.path).load("a") is None
    assert shown.made == []


def test_where_nothing_can_be_made_a_foreign_owner_is_refused(tmp_path, monkeypatch):
    shown, run = Shown(monkeypatch), run_in(tmp_path)
    checkpoint_in(run)

    def sealed(path, flags, *more, **in_):
        if flags & os.O_CREAT:
            raise OSError(30, "Read-only file system")
        return shown._open(path, flags, *more, **in_)

    monkeypatch.setattr(os, "open", sealed)
    assert f"belongs to user {NOBODY}" in listed(run.checkpoints)[0].problem


@needs_root
def test_a_command_that_another_user_really_wrote_is_refused(tmp_path):
    run = run_in(tmp_path)
    submit(run.commands, STOP)
    (name,) = os.listdir(run.commands / "new")
    os.chown(run.commands / "new" / name, OTHER, OTHER)
    (refused,) = heard(run)
    assert (type(refused), refused.uid) == (Rejected, OTHER)
    assert os.listdir(run.commands / "new") == []


@pytest.mark.nightly
def test_on_a_real_file_system_of_that_kind_a_run_is_commanded_saved_and_read(tmp_path):
    if not shutil.which("bindfs"):
        pytest.skip("no bindfs")
    (tmp_path / "below").mkdir()
    place = tmp_path / "place"
    place.mkdir()
    done = subprocess.run(["bindfs", f"--force-user={OTHER}", str(tmp_path / "below"), str(place)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no FUSE here: {done.stderr.strip()}")
    try:
        run = run_in(place)
        assert os.stat(run.path).st_uid == OTHER
        assert works(place, run).who.uid == OTHER
        torch = pytest.importorskip("torch")
        from tuimon.instrument.checkpoints import Checkpoints
        from tuimon.instrument.snapshots import capture_copy
        from tuimon.instrument.state import TrainingState

        net = torch.nn.Linear(2, 2)
        store = Checkpoints(run.checkpoints)
        saved = store.save(capture_copy(TrainingState(net, torch.optim.SGD(net.parameters(), 0.1)), 20), 20)
        assert store.load(saved.id)["step"] == 20
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
