"""Disks that really are full, and calls that really fail: what needs root, a mount or ptrace. Skipped where that is not."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from contextlib import contextmanager

import pytest
from full_disks import filled, mounted, needs_root

from tuimon.record.rundir import RunDir
from tuimon.torture.looking import missing


@needs_root
def test_a_file_system_that_is_full_and_has_space_again_costs_nothing(bench, tmp_path):
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=2m", "tmpfs") as small:
        training = bench.start(run=RunDir(small / "run"), save=20)
        training.more(20)
        with filled(small):
            training.more(300, "on a full disk")
        training.more(30)
        training.stop()
        assert missing(training) == 0
        assert bench.do("verify", run=training.run).status == 0


@needs_root
@pytest.mark.skipif(not shutil.which("fsfreeze") or not shutil.which("mkfs.ext4"), reason="no fsfreeze, no mkfs.ext4")
def test_a_file_system_that_hangs_holds_up_nobody(bench, tmp_path):
    """Frozen, it answers no write until it is thawed: as a network file system whose server is away."""
    image = tmp_path / "image"
    with open(image, "wb") as file:
        file.truncate(32 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True)
    with mounted(tmp_path / "far", "-o", "loop", str(image)) as far:
        training = bench.start(run=RunDir(far / "run"))
        training.more(20)
        frozen = subprocess.run(["fsfreeze", "-f", str(far)], capture_output=True, text=True)
        if frozen.returncode:
            training.kill()
            pytest.skip(f"no freezing here: {frozen.stderr.strip()}")
        try:
            training.more(500, "while its file system hangs")
        finally:
            subprocess.run(["fsfreeze", "-u", str(far)], check=True)
        training.more(20)
        training.stop()
        assert missing(training) == 0


@contextmanager
def served(where, source):
    """A file system in user space, and the process that serves it."""
    for folder in (where, source):
        folder.mkdir(mode=0o700)
    with subprocess.Popen(["bindfs", "-f", str(source), str(where)], stderr=subprocess.PIPE, text=True) as server:
        try:
            until = time.monotonic() + 20
            while not os.path.ismount(where):
                if server.poll() is not None:
                    pytest.skip(f"no FUSE here: {server.stderr.read().strip()}")
                assert time.monotonic() < until
                threading.Event().wait(0.01)
            yield server
        finally:
            server.send_signal(signal.SIGCONT)
            subprocess.run(["umount", "-l", str(where)], check=False)
            server.terminate()


@pytest.mark.nightly
@pytest.mark.skipif(not shutil.which("bindfs") or not os.path.exists("/dev/fuse"), reason="no bindfs, no FUSE")
def test_a_file_system_whose_server_is_away_and_comes_back_holds_up_nobody(bench, tmp_path):
    """No call of any kind returns from it meanwhile, neither a write nor a look."""
    with served(tmp_path / "far", tmp_path / "near") as server:
        training = bench.start(run=RunDir(tmp_path / "far" / "run"), save=50)
        training.more(20)
        server.send_signal(signal.SIGSTOP)
        training.more(500, "while its file system hangs")
        server.send_signal(signal.SIGCONT)
        training.more(20)
        training.stop()
        assert missing(training) == 0
        assert bench.do("verify", run=training.run).status == 0


@needs_root
def test_on_a_read_only_file_system_it_trains_and_watches_in_memory(bench, tmp_path):
    with mounted(tmp_path / "sealed", "-t", "tmpfs", "-o", "ro", "tmpfs") as sealed:
        training = bench.start(run=RunDir(sealed / "run"), steps=5)
        assert training.end() == 0
        assert training.ledger.steps == 5
        assert list(sealed.iterdir()) == []


@pytest.mark.skipif(not shutil.which("strace"), reason="no strace")
@pytest.mark.parametrize("inject", [
    "pwrite64:error=ENOSPC:when=1..20", "pwrite64:error=EINTR:when=1+3",
    pytest.param("pwrite64:error=EIO:when=2..9", marks=pytest.mark.nightly),
    pytest.param("pwrite64:delay_enter=300000:when=1..10", marks=pytest.mark.nightly),
    pytest.param("openat:error=EMFILE:when=1..20", marks=pytest.mark.nightly),
    pytest.param("rename:error=EIO:when=1..3", marks=pytest.mark.nightly),
    pytest.param("fdatasync:error=EIO:when=1+2", marks=pytest.mark.nightly),
    pytest.param("pwrite64:error=EROFS:when=1..30", marks=pytest.mark.nightly),
])
def test_calls_that_the_system_fails_cost_nothing(bench, tmp_path, inject):
    training = bench.start(save=20)
    training.more(20)
    tracer = subprocess.Popen(
        ["strace", "-f", "-q", "-o", str(tmp_path / "calls"), "-e", f"trace={inject.split(':')[0]}", "-e", f"inject={inject}",
         "-p", str(training.pid)], stderr=subprocess.PIPE, text=True)
    try:
        bench.wait(lambda: "INJECTED" in read(tmp_path / "calls") or "DELAYED" in read(tmp_path / "calls")
                   or tracer.poll() is not None, "a call that fails")
        if tracer.poll() is not None:
            pytest.skip(f"nothing can be traced here: {tracer.stderr.read().strip()}")
        training.more(200, "while its calls fail")
    finally:
        tracer.terminate()
        tracer.communicate()
    training.more(30)
    training.stop()
    assert missing(training) == 0
    bench.do("verify", run=training.run)


def read(path):
    return path.read_text() if path.exists() else ""
