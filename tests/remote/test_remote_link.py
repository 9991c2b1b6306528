"""The near end of a link: it leaves when whoever watches leaves, whatever hangs, and goes on where it can.

Instead of ssh there is a script that starts the far side here, or hangs.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tuimon.record.far import REFUSED, Far, ask_login, read_far
from tuimon.record.history import History
from tuimon.record.hosts import host_of
from tuimon.record.reader import LogReader
from tuimon.record.rundir import RunDir, cache_root
from tuimon.record.seen import SeenReader
from tuimon.remote.far.wire import BOOT, FOUND, MAGIC, Packer
from tuimon.remote.host import Target, bundle, command, parse
from tuimon.remote.link import Line, Stopped, reach
from tuimon.remote.reached import reached
from tuimon.remote.steps import Steps

sys.path.insert(0, str(Path(__file__).parents[1] / "viewer"))
from synthetic import healthy, ranked

HANGS = 300.0
"""Seconds for which the script hangs: nobody waits for it."""


class Way:
    """To the other machine, which is this one."""

    def __init__(self, place: Path) -> None:
        self.place = place
        script = place / "ssh"
        script.write_text(f"#!/bin/sh\necho $$ >> {place}/pids\n[ -e {place}/hangs ] && exec sleep {HANGS:.0f}\n"
                          f"while [ -e {place}/waits ]; do sleep 0.02; done\n"
                          f"[ -e {place}/said ] && {{ cat {place}/said; exec cat 3>&1 > {place}/got; }}\n"
                          f"[ -e {place}/refuses ] && {{ cat {place}/refuses >&2; exit 255; }}\n"
                          f"exec {sys.executable} -m tuimon agent\n")
        script.chmod(0o700)

    @property
    def pids(self) -> list[int]:
        return [int(line) for line in (self.place / "pids").read_text().split()]

    def end(self) -> None:
        for pid in self.pids if (self.place / "pids").exists() else []:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


@pytest.fixture
def way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Way]:
    (tmp_path / "cache").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TUIMON_SSH", str(tmp_path / "ssh"))
    way = Way(tmp_path)
    yield way
    way.end()


def until(is_so: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


def break_off(way: Way) -> None:
    """The link is lost, and the next try hangs."""
    (way.place / "hangs").touch()
    os.kill(way.pids[0], signal.SIGKILL)
    until(lambda: len(way.pids) == 2)


def test_whoever_leaves_while_the_link_is_being_made_anew_is_not_held(way: Way):
    healthy(steps=30)
    with reached(parse("far:"), control=False) as near:
        break_off(way)
        found = read_far(near)
        assert found is not None
        assert found[0].state == "reconnecting"
        left = time.monotonic()
    assert time.monotonic() - left < HANGS / 10
    assert not near.path.exists()


def test_ranks_are_joined_there_also_where_nothing_is_installed(way: Way):
    """What reads several ranks is sent only where it is needed: a modem has little time."""
    ranked(4, 60)
    sent = command(Target("x", None), sent=True)[-1]
    (way.place / "ssh").write_text(f"#!/bin/sh\necho $$ >> {way.place}/pids\n{sent}\n")
    with reached(parse("far:"), control=False) as near:
        history = History()
        for chunk in LogReader(near.metrics).poll():
            history.extend(chunk)
        assert history.value("throughput") == pytest.approx(4 * 1024 / 0.05)
        until(lambda: SeenReader(near).look())


def test_whoever_is_killed_leaves_no_picture_behind(way: Way):
    healthy(steps=30)
    code = ("import sys, time; from tuimon.remote.reached import reached; from tuimon.remote.host import bundle, parse\n"
            "with reached(parse('far:'), control=False) as run: print('there', flush=True); time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as near:
        assert near.stdout is not None
        assert near.stdout.readline() == "there\n"
        assert list((cache_root() / "far").iterdir())
        near.send_signal(signal.SIGKILL)
    until(lambda: not list((cache_root() / "far").iterdir()))


def test_half_a_message_is_a_word():
    """A message may take longer than silence may."""
    message = Packer().pack({"k": "x"}, os.urandom(1000))
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0) as cat:
        line = Line(cat)
        line.raw(MAGIC)
        until(lambda: line.hear(0.1) == [] and line.unpacker.begun)
        before = line.spoke
        line.raw(message[:500])
        until(lambda: line.hear(0.1) == [] and line.spoke > before)
        line.raw(message[500:])
        until(lambda: line.hear(0.1))
        line.close()


def test_the_screen_is_loaded_while_ssh_logs_in(way: Way):
    healthy(steps=30)
    (way.place / "waits").touch()   # as for an answer that takes as long as loading
    with reached(parse("far:"), control=False, meanwhile=(way.place / "waits").unlink) as near:
        assert LogReader(near.metrics).poll()[-1].steps[-1] == 30


def test_ctrl_c_while_it_connects_waits_for_nobody_who_was_forked_meanwhile(way: Way):
    """As the process is that reads for the panel: it holds open whatever was open."""
    (way.place / "hangs").touch()
    readers: list[int] = []

    def interrupted() -> None:
        readers.append(os.fork())
        if not readers[0]:
            time.sleep(HANGS / 30)
            os._exit(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), reached(parse("far:"), control=False, meanwhile=interrupted):
        pass
    is_there = os.waitpid(readers[0], os.WNOHANG) == (0, 0)
    assert is_there, "it was waited for"
    os.kill(readers[0], signal.SIGKILL)
    os.waitpid(readers[0], 0)


@pytest.mark.parametrize("mark", [FOUND, BOOT])
def test_the_question_is_asked_while_python_still_starts_there(way: Way, mark: bytes):
    """On a bad link every answer that is waited for costs a third of a second."""
    said, got = way.place / "said", way.place / "got"
    said.write_bytes(mark)
    leash, held = os.pipe()

    def is_asked() -> bool:
        after = got.read_bytes().removeprefix(bundle() if mark == BOOT else b"") if got.exists() else b""
        return after.startswith(MAGIC) and len(after) > len(MAGIC)

    with pytest.raises(Stopped):
        reach(parse("far:"), control=False, leash=leash, steps=Steps(), stops=is_asked)
    for fd in (leash, held):
        os.close(fd)


REFUSALS = ("ada@far: Permission denied (publickey,keyboard-interactive).\n", "Host key verification failed.\n",
            "ada@gate: Permission denied (password).\nConnection closed by UNKNOWN port 65535\n",
            "Received disconnect from 10.0.0.7 port 22:2: Too many authentication failures\n")


@pytest.mark.parametrize("said", [*REFUSALS[:2], *(pytest.param(said, marks=pytest.mark.nightly) for said in REFUSALS[2:])])
def test_where_only_a_person_can_log_in_nothing_more_is_tried_until_one_wants_to(way: Way, said: str):
    run = healthy(steps=30)
    with reached(parse("far:"), control=False) as near:
        (way.place / "refuses").write_text(said)
        os.kill(way.pids[0], signal.SIGKILL)
        until(lambda: state(near) == REFUSED)
        assert len(way.pids) == 2
        ask_login(link_of(near), 1)   # but what is asked is not answered rightly
        until(lambda: far_of(near).login == 1)
        assert (state(near), len(way.pids)) == (REFUSED, 3)
        (way.place / "refuses").unlink()
        run.go(5)
        ask_login(link_of(near), 2)
        until(lambda: far_of(near).login == 2)
        assert (state(near), len(way.pids)) == ("live", 4)
        until(lambda: LogReader(near.metrics).poll()[-1].steps[-1] == 35)


def test_what_a_machine_prints_behind_its_login_is_no_refusal(way: Way):
    """It is tried again, as after any drop."""
    healthy(steps=30)
    with reached(parse("far:"), control=False) as near:
        (way.place / "refuses").write_text("cat: /etc/motd: Permission denied\nConnection reset by 10.0.0.7 port 22\n")
        os.kill(way.pids[0], signal.SIGKILL)
        until(lambda: len(way.pids) > 2)
        assert state(near) == "reconnecting"
        assert far_of(near).why == "Connection reset by 10.0.0.7 port 22", "whoever shows it names the machine"


def test_a_person_who_logs_in_does_not_wait_for_a_try_that_hangs(way: Way):
    healthy(steps=30)
    with reached(parse("far:"), control=False) as near:
        break_off(way)
        (way.place / "hangs").unlink()
        ask_login(link_of(near), 1)
        until(lambda: far_of(near).login == 1)
        assert state(near) == "live"


def link_of(run: RunDir) -> RunDir:
    found = host_of(run)
    assert found is not None
    return found


def far_of(run: RunDir) -> Far:
    found = read_far(run)
    assert found is not None
    return found[0]


def state(run: RunDir) -> str:
    return far_of(run).state
