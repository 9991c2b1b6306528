"""What is on disk is whole, private, and refused when it is not what was written."""

import errno
import os
import pickle
import random
import re
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from tuimon.errors import CheckpointError
from tuimon.instrument.checkpoints import Checkpoints
from tuimon.instrument.portable import portable
from tuimon.instrument.snapshots import Snapshots, capture_copy
from tuimon.instrument.state import TrainingState
from tuimon.record.files import OsFiles
from tuimon.record.manifest import Manifest

torch.set_num_threads(1)


def state(seed=0, width=8):
    torch.manual_seed(seed)
    net = nn.Linear(width, width)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-2)
    net(torch.ones(2, width)).sum().backward()
    optimizer.step()
    return TrainingState(net, optimizer)


def copy_of(step=1, **kw):
    return capture_copy(state(**kw), step)


def names(path):
    return sorted(os.listdir(path))


def test_what_was_saved_is_loaded_with_everything_that_was_given(tmp_path):
    store = Checkpoints(tmp_path / "a", run="demo")
    live = state()
    info = store.save(capture_copy(live, 12), 12, attempt=2, overrides={"lr_scale": 0.1, "clip": None},
                      loader={"position": 7}, extra={"note": "x"})
    assert (info.id, info.step, info.attempt, info.run) == ("000001-step-000000012", 12, 2, "demo")
    assert names(info.path) == ["manifest.json", "state.pt"]
    assert info.sha256 == store.verify(info.id).sha256
    body = store.load(info.id)
    assert body["overrides"] == {"lr_scale": 0.1, "clip": None}
    assert body["loader"] == {"position": 7}
    assert body["extra"] == {"note": "x"}
    for key, tensor in live.tensors().items():
        assert torch.equal(body["tensors"][key], tensor)
    assert torch.load(info.path / "state.pt", weights_only=True)["step"] == 12


def test_modes_are_private_even_when_the_umask_asks_for_none(tmp_path):
    old = os.umask(0)
    try:
        info = Checkpoints(tmp_path / "a").save(copy_of(), healthy=True)
    finally:
        os.umask(old)
    assert stat.S_IMODE(os.stat(tmp_path / "a").st_mode) == 0o700
    assert stat.S_IMODE(os.stat(info.path).st_mode) == 0o700
    assert {stat.S_IMODE(os.stat(info.path / n).st_mode) for n in names(info.path)} == {0o600}


def test_the_newest_three_and_the_newest_healthy_one_are_kept(tmp_path):
    store = Checkpoints(tmp_path)
    for step in range(1, 3):
        store.save(copy_of(step), healthy=True)
    for step in range(3, 9):
        store.save(copy_of(step))
    assert [(i.step, i.healthy) for i in store.list()] == [(2, True), (6, False), (7, False), (8, False)]
    store.promote(next(i.id for i in store.list() if i.step == 7))
    store.save(copy_of(9))
    assert [(i.step, i.healthy) for i in store.list()] == [(7, True), (8, False), (9, False)]


def test_damaged_ones_do_not_count_among_those_kept(tmp_path):
    store = Checkpoints(tmp_path, keep=2)
    first, second = store.save(copy_of(1)), store.save(copy_of(2))
    (second.path / "manifest.json").write_bytes(b"{}")
    store.save(copy_of(3))
    assert store.ids() == [first.id, "000003-step-000000003"]


def test_the_newest_is_the_last_saved_even_when_its_step_is_smaller(tmp_path):
    store = Checkpoints(tmp_path)
    store.save(copy_of(300))
    store.save(copy_of(100), attempt=2)
    assert [i.step for i in store.list()] == [300, 100]


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1, exclude_max=True), st.integers(0, 7), st.sampled_from(["state.pt", "manifest.json"]))
def test_any_flipped_bit_is_found(tmp_path_factory, where, bit, name):
    store, info = pristine(tmp_path_factory)
    path = info.path / name
    raw = bytearray(path.read_bytes())
    raw[int(where * len(raw))] ^= 1 << bit
    whole = path.read_bytes()
    path.write_bytes(raw)
    try:
        with pytest.raises(CheckpointError):
            store.verify(info.id)
        with pytest.raises(CheckpointError):
            store.load(info.id)
    finally:
        path.write_bytes(whole)
    store.verify(info.id)


_PRISTINE = []


def pristine(factory):
    if not _PRISTINE:
        store = Checkpoints(factory.mktemp("pristine"))
        _PRISTINE.append((store, store.save(copy_of())))
    return _PRISTINE[0]


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
@pytest.mark.parametrize("name", ["state.pt", "manifest.json"])
def test_a_truncated_file_is_refused(cut, name, tmp_path):
    store = Checkpoints(tmp_path)
    info = store.save(copy_of())
    raw = (info.path / name).read_bytes()
    (info.path / name).write_bytes(raw[:cut])
    with pytest.raises(CheckpointError):
        store.load(info.id)


class Bomb:
    """Creates a file when unpickled without care."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def plant(info, raw):
    """Replace state.pt and write a manifest that vouches for it: what somebody who can write there would do."""
    import hashlib

    (info.path / "state.pt").write_bytes(raw)
    manifest = Manifest.decode((info.path / "manifest.json").read_bytes())
    manifest = manifest.holding(hashlib.sha256(raw).hexdigest(), len(raw))
    (info.path / "manifest.json").write_bytes(manifest.encode())


def test_a_hostile_pickle_is_refused_and_does_nothing(tmp_path):
    store, victim = Checkpoints(tmp_path / "c"), tmp_path / "victim"
    info = store.save(copy_of())
    torch.save({"format": 1, "tensors": Bomb(victim)}, tmp_path / "hostile.pt")
    for raw in ((tmp_path / "hostile.pt").read_bytes(), pickle.dumps(Bomb(victim)), b"", b"PK\x03\x04" + bytes(80)):
        plant(info, raw)
        with pytest.raises(CheckpointError) as caught:
            store.load(info.id)
        assert "\n" not in str(caught.value)
    assert not victim.exists()


@pytest.mark.parametrize("body", [
    [], {"format": 2}, {"format": 1, "step": 99, "tensors": {}, "plain": {}}, {"format": 1, "step": 1, "tensors": []},
    {"format": 1, "step": 1, "tensors": {"param/weight": 3}, "plain": {}},
])
def test_a_foreign_file_with_a_valid_manifest_is_refused(body, tmp_path):
    store = Checkpoints(tmp_path / "c")
    info = store.save(copy_of())
    torch.save(body, tmp_path / "other.pt")
    plant(info, (tmp_path / "other.pt").read_bytes())
    with pytest.raises(CheckpointError, match="contents"):
        store.load(info.id)


def test_swapped_manifests_and_renamed_checkpoints_are_refused(tmp_path):
    store = Checkpoints(tmp_path)
    one, two = store.save(copy_of(1)), store.save(copy_of(2, seed=1))
    raw = [(i.path / "manifest.json").read_bytes() for i in (one, two)]
    (one.path / "manifest.json").write_bytes(raw[1])
    with pytest.raises(CheckpointError, match="its manifest belongs to 000002"):
        store.load(one.id)
    (one.path / "manifest.json").write_bytes(raw[0])
    shutil.copy(two.path / "state.pt", one.path / "state.pt")
    with pytest.raises(CheckpointError, match="is damaged: sha256"):
        store.load(one.id)
    two.path.rename(tmp_path / "000009-step-000000009")
    with pytest.raises(CheckpointError, match="its manifest belongs to"):
        store.load("000009-step-000000009")
    assert [bool(i.problem) for i in store.list()] == [False, True]


def test_links_are_not_followed(tmp_path):
    store = Checkpoints(tmp_path / "c")
    one, two = store.save(copy_of(1)), store.save(copy_of(2))
    (one.path / "state.pt").unlink()
    (one.path / "state.pt").symlink_to(two.path / "state.pt")
    with pytest.raises(CheckpointError, match="symbolic link"):
        store.load(one.id)
    shutil.rmtree(one.path)
    one.path.symlink_to(two.path)
    with pytest.raises(CheckpointError, match=r"not a checkpoint directory|symbolic link"):
        store.load(one.id)
    os.mkfifo(tmp_path / "fifo")
    (two.path / "state.pt").unlink()
    os.mkfifo(two.path / "state.pt", 0o600)
    with pytest.raises(CheckpointError, match=r"state\.pt is not a file"):
        store.load(two.id)


def test_what_others_may_write_is_not_trusted(tmp_path):
    store = Checkpoints(tmp_path)
    info = store.save(copy_of())
    os.chmod(info.path, 0o777)
    with pytest.raises(CheckpointError, match="it is writable for others"):
        store.load(info.id)
    os.chmod(info.path, 0o700)
    os.chmod(info.path / "state.pt", 0o622)
    with pytest.raises(CheckpointError, match=r"its state\.pt is writable for others"):
        store.load(info.id)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_belongs_to_another_user_is_not_trusted(tmp_path):
    store = Checkpoints(tmp_path)
    info = store.save(copy_of())
    os.chown(info.path / "state.pt", 12345, -1)
    with pytest.raises(CheckpointError, match="belongs to user 12345"):
        store.load(info.id)


@given(st.text())
@example("../x")
@example("000001-step-000000001/../../etc")
@example("000001-step-000000001\n")
@example("٠٠٠٠٠١-step-٠٠٠٠٠٠٠٠١")
@example("a\x00b")
@example("\x1b[2J")
def test_ids_are_labels_never_paths(text):
    store = Checkpoints("nowhere")
    for call in (store.load, store.verify):
        with pytest.raises(CheckpointError) as caught:
            call(text)
        if not re.fullmatch("[0-9]{6,9}-step-[0-9]{9,15}", text):
            assert "is not a checkpoint id" in str(caught.value)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", [None, 3, b"000001-step-000000001", ["x"]])
def test_ids_that_are_not_text_are_refused(name):
    with pytest.raises(CheckpointError, match="is not a checkpoint id"):
        Checkpoints("nowhere").load(name)


class Failing(OsFiles):
    """Fails from the n-th call of one kind on."""

    def __init__(self, kind, after, error=errno.ENOSPC, once=False):
        self.kind, self.left, self.error, self.once = kind, after, error, once

    def _maybe(self, kind):
        if kind == self.kind:
            self.left -= 1
            if self.left == 0 or (self.left < 0 and not self.once):
                raise OSError(self.error, os.strerror(self.error))

    def open(self, *a):
        self._maybe("open")
        return super().open(*a)

    def pwrite(self, fd, data, offset):
        self._maybe("pwrite")
        if self.kind == "short" and len(data) > 7:
            data = data[: len(data) // 2]
        return super().pwrite(fd, data, offset)

    def sync(self, fd):
        self._maybe("sync")
        super().sync(fd)

    def rename(self, old, new):
        self._maybe("rename")
        super().rename(old, new)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("kind", ["open", "pwrite", "sync", "rename"])
def test_a_failure_at_any_point_leaves_what_was_there_and_nothing_else(kind, error, tmp_path):
    good = Checkpoints(tmp_path).save(copy_of(1))
    failures = 0
    for n in range(1, 200):
        store = Checkpoints(tmp_path, files=Failing(kind, n, error))
        captured = copy_of(2)
        message = ""
        try:
            info = store.save(captured)
        except CheckpointError as caught:
            message = str(caught)
        if message:
            failures += 1
            assert message.startswith("not saved: ")
            assert "\n" not in message
            assert error != errno.ENOSPC or "the disk is full" in message
            with pytest.raises(CheckpointError, match="given back"):
                _ = captured.tensors
            for i in store.list():  # only the sync after the rename can fail with it already there, whole
                store.verify(i.id)
            assert good.id in store.ids()
            assert not [x for x in names(tmp_path) if x.startswith(".tmp")]
            shutil.rmtree(tmp_path / "000002-step-000000002", ignore_errors=True)
        else:
            store.verify(info.id)
            break
    assert failures >= 1
    assert n < 199


def test_short_writes_are_completed(tmp_path):
    store = Checkpoints(tmp_path, files=Failing("short", 1))
    store.verify(store.save(copy_of()).id)


def test_a_disk_that_is_too_small_is_said_before_anything_is_written(tmp_path):
    store = Checkpoints(tmp_path, margin=1 << 60)
    with pytest.raises(CheckpointError, match=r"not saved: it needs .* GB and the disk has .* GB left"):
        store.save(copy_of())
    assert names(tmp_path) == []


def test_a_file_size_limit_leaves_the_previous_checkpoint(tmp_path):
    store = Checkpoints(tmp_path)
    store.save(copy_of(1))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(CheckpointError, match="not saved: the file size limit is reached"):
            store.save(copy_of(2, width=256))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [i.step for i in store.list()] == [1]
    store.verify(store.ids()[0])
    assert names(tmp_path) == store.ids()


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="only root can mount a small disk")
def test_a_real_disk_that_fills_up_unforeseen_costs_nothing_and_is_used_again_when_there_is_room(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        store = Checkpoints(disk / "c", margin=-1 << 40)
        first = store.save(copy_of(1, width=200))
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(1400 << 10))
        with pytest.raises(CheckpointError, match="not saved: the disk is full"):
            store.save(copy_of(2, width=200))
        with pytest.raises(CheckpointError, match=r"not saved: it needs .* GB and the disk has 0\.00 GB left"):
            Checkpoints(disk / "c").save(copy_of(2, width=200))
        assert names(disk / "c") == [first.id]
        store.verify(first.id)
        ballast.unlink()
        store.verify(store.save(copy_of(3, width=200)).id)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def child_environment():
    here = os.path.dirname(__file__)
    root = os.path.dirname(os.path.dirname(here))
    return {**os.environ, "PYTHONPATH": os.pathsep.join((root, here)), "OMP_NUM_THREADS": "1"}


NURSERY = """
import os, sys
from test_checkpoints_files import capture_copy, state, Checkpoints
store, live = Checkpoints(sys.argv[1]), state(width=400)
def say(words):
    os.write(1, (words + "\\n").encode())  # whole or not at all: print writes word by word where it is unbuffered
for _ in range(int(sys.argv[2])):
    child = os.fork()
    if child == 0:
        for step in range(1, 100000):
            name = store.save(capture_copy(live, step)).id
            say(f"saved {name}")
            if step % 2:
                store.promote(name)
                say(f"healthy {name}")
            else:
                store.gone_back_to(name)
                say(f"back {name}")
    say(f"child {child}")
    os.waitpid(child, 0)
    say("gone")
    sys.stdin.readline()  # the next one does not save while this one's work is looked at
"""


@pytest.mark.parametrize("times", [10, pytest.param(200, marks=pytest.mark.nightly)])
def test_sigkill_while_saving_costs_no_checkpoint_that_was_there_and_leaves_none_that_is_not_whole(times, tmp_path):
    chance = random.Random(7)
    spoilt, last = 0, {}
    with subprocess.Popen([sys.executable, "-c", NURSERY, str(tmp_path), str(times)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          env=child_environment()) as nursery:
        for _ in range(times):
            lines = []
            while not {"saved", "child", chance.choice(["saved", "healthy", "back"])} <= {line.split()[0] for line in lines}:
                lines.append(nursery.stdout.readline().strip())
                assert lines[-1], "the nursery died"
            deadline = time.monotonic() + chance.random() * 0.05
            while time.monotonic() < deadline:
                pass
            child = int(next(line for line in lines if line.startswith("child")).split()[1])
            os.kill(child, signal.SIGSTOP)
            assert Checkpoints(tmp_path).sweep() == ()  # it lives
            os.kill(child, signal.SIGKILL)
            while lines[-1] != "gone":
                lines.append(nursery.stdout.readline().strip())
                assert lines[-1], "the nursery died"
            last.update(line.split() for line in lines if " " in line)
            store = Checkpoints(tmp_path)
            assert store.ids()[-1] >= last["saved"]
            assert max((i.id for i in store.list() if i.healthy), default="") >= last.get("healthy", "")
            assert max((i.id for i in store.list() if i.returned), default="") >= last.get("back", "")
            for i in store.ids():
                store.verify(i)
                store.load(i)
            spoilt += any(n.startswith(".tmp") for n in names(tmp_path))
            nursery.stdin.write("\n")
            nursery.stdin.flush()
    assert nursery.returncode == 0
    assert spoilt > 0
    Checkpoints(tmp_path).save(copy_of(5))
    assert not [n for n in names(tmp_path) if n.startswith(".tmp")]


def test_only_what_is_certainly_dead_is_swept(tmp_path):
    mine = Checkpoints(tmp_path)._aside().name
    stem, pid, started, boot, host = mine.split(".")[1:]
    dead = [f".{stem}.{pid}.{int(started) - 100}.{boot}.{host}", f".{stem}.{pid}.{started}.{'0' * 12}.{host}"]
    elsewhere = f".{stem}.{pid}.{int(started) - 100}.{boot}.{'0' * 12}"
    for name in (*dead, elsewhere, ".tmp-young", ".tmp-old", "outside"):
        (tmp_path / name).mkdir()
    os.utime(tmp_path / ".tmp-old", (1, 1))
    (tmp_path / f".{stem}.99.1.{boot}.{host}").symlink_to(tmp_path / "outside")
    assert set(Checkpoints(tmp_path).sweep()) == {*dead, ".tmp-old"}
    assert {mine, elsewhere, ".tmp-young", "outside"} <= set(names(tmp_path))


def test_saving_a_lent_snapshot_from_another_thread_while_the_run_goes_on(tmp_path):
    import threading

    live = state(width=64)
    snapshots, store, problems = Snapshots(live, slots=3), Checkpoints(tmp_path, keep=20), []
    lent = []

    def write(captured):
        try:
            store.save(captured)
        except CheckpointError as error:
            problems.append(error)

    threads = []
    for step in range(1, 12):
        with torch.no_grad():
            live.model.weight.fill_(float(step))
        snapshots.capture(step)
        if step % 3 == 0:
            lent.append(step)
            threads.append(threading.Thread(target=write, args=(snapshots.detach(step),)))
            threads[-1].start()
    for thread in threads:
        thread.join(30)
    assert not problems
    assert sorted(i.step for i in store.list()) == lent
    for i in store.list():
        assert torch.equal(store.load(i.id)["tensors"]["param/weight"], torch.full((64, 64), float(i.step)))


def test_values_that_cannot_be_stored_safely_are_left_out_by_name():
    import enum
    from collections import Counter

    import numpy as np

    class Kind(enum.IntEnum):
        A = 3

    left = []
    found = portable(
        {"f": len, "n": np.float64(0.5), "a": np.arange(3), "e": Kind.A, "c": Counter([1, 1]), "s": {1}, 4: [open, 1],
         (1, 2): 3, "t": torch.arange(9)[::2]}, "plain", left)
    assert found["n"] == 0.5
    assert type(found["n"]) is float
    assert found["a"] == [0, 1, 2]
    assert type(found["e"]) is int
    assert type(found["c"]) is Counter
    assert found[4] == [None, 1]
    assert found["t"].untyped_storage().nbytes() == 5 * 8
    assert left == ["plain.f (builtin_function_or_method)", "plain.s (set)", "plain.4[0] (builtin_function_or_method)",
                    "plain[(1, 2)]"]


def test_manifests_read_back_and_refuse_other_versions():
    manifest = Manifest("000001-step-000000001", 1, 1, "überlauf", "2", 0.5, "ab" * 32, 3, ("x",))
    assert Manifest.decode(manifest.encode()) == manifest
    for raw in (b"", b"[]", b"{}", b"null", b"[" * 100_000, manifest.encode() + b" "):
        with pytest.raises(CheckpointError, match="manifest is damaged"):
            Manifest.decode(raw)
    with pytest.raises(CheckpointError, match="another version"):
        Manifest.decode(manifest.encode().replace(b'"schema": 1', b'"schema": 2'))


class Watched(OsFiles):
    """Notes the order of what is asked for."""

    def __init__(self):
        self.calls, self._paths = [], {}

    def open(self, path, flags, mode):
        fd = super().open(path, flags, mode)
        self._paths[fd] = os.path.basename(path)
        return fd

    def sync(self, fd):
        super().sync(fd)
        self.calls.append(("sync", self._paths[fd].split("-")[0]))

    def rename(self, old, new):
        super().rename(old, new)
        self.calls.append(("rename", os.path.basename(new)))


def test_everything_is_durable_before_it_is_published_and_the_publishing_after(tmp_path):
    files = Watched()
    Checkpoints(tmp_path / "store", files=files).save(copy_of())
    assert files.calls == [("sync", "state.pt"), ("sync", "manifest.json"), ("sync", ".tmp"),
                           ("rename", "000001-step-000000001"), ("sync", "store")]
