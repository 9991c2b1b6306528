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

from tuimon.record.cache import cache_root
from tuimon.record.far import read_far
from tuimon.record.history import History
from tuimon.record.reader import LogReader
from tuimon.record.seen import SeenReader
from tuimon.remote.far.wire import MAGIC, Packer
from tuimon.remote.host import Target, command, parse
from tuimon.remote.link import Line, reached

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


def test_whoever_leaves_while_the_link_is_being_made_anew_is_not_held(way: Way):
    healthy(steps=30)
    with reached(parse("far:"), control=False) as near:
        (way.place / "hangs").touch()
        os.kill(way.pids[0], signal.SIGKILL)
        until(lambda: len(way.pids) == 2)
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
    code = ("import sys, time; from tuimon.remote.link import reached; from tuimon.remote.host import parse\n"
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
