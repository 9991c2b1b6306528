"""Whoever waits for another machine is told which step it is, since when, and what may be the matter."""

from __future__ import annotations

import os
import pty
import select
import sys
from pathlib import Path

import pyte
import pytest

from tuimon.remote.steps import HINT, STEPS, Steps

sys.path.insert(0, str(Path(__file__).parents[1] / "program"))
from pty_terminal import Terminal


class Waiting:
    """A terminal, and the time on its clock."""

    def __init__(self) -> None:
        self.master, self.sink = pty.openpty()
        self.now = 100.0
        self.steps = Steps("node7", self.sink, lambda: self.now)
        self.screen = pyte.Screen(80, 6)
        self._stream = pyte.ByteStream(self.screen)

    def after(self, seconds: float) -> list[str]:
        """What is on it."""
        self.now += seconds
        self.steps.tick()
        while select.select([self.master], [], [], 0.05)[0]:
            self._stream.feed(os.read(self.master, 65536))
        return [line.rstrip() for line in self.screen.display if line.strip()]

    def close(self) -> None:
        for fd in (self.master, self.sink):
            os.close(fd)


@pytest.fixture
def waiting():
    waiting = Waiting()
    yield waiting
    waiting.close()


def test_a_step_has_a_line_that_counts_its_seconds_and_the_next_one_takes_its_place(waiting: Waiting):
    waiting.steps.go("sending", "14.2 kB")
    assert waiting.after(0) == ["node7: logged in, starting Python there and sending the reader (14.2 kB)"]
    assert waiting.after(3)[0].endswith("(14.2 kB), 3 s")
    waiting.steps.go("reading")
    assert waiting.after(0.2) == ["node7: looking for the run there"]
    waiting.steps.go("picture")
    assert waiting.after(HINT) == ["node7: the first picture is on its way, 10 s: the way from there may be slow"]
    waiting.steps.done()
    assert waiting.after(1) == []


def test_while_ssh_may_ask_nothing_is_written_over_and_what_it_says_is_passed_on_harmless(waiting: Waiting):
    os.write(waiting.sink, b"password: ")
    assert waiting.after(HINT - 1) == ["password:"]
    waiting.steps.pass_on(b"\nTry ag")
    assert waiting.after(0) == ["password:"], "half a line"
    waiting.steps.pass_on(b"ain.\x1b]0;pwned\x07\x1b[2J\r\n")
    assert waiting.after(0) == ["password: Try again."]
    assert waiting.after(1)[1].startswith("node7: not logged in yet, 10 s: ssh may wait for an answer")
    assert len(waiting.after(20)) == 2, "once"


@pytest.mark.parametrize("step", STEPS)
def test_no_line_of_a_step_is_longer_than_a_narrow_terminal(waiting: Waiting, step: str):
    waiting.steps.go(step, "14.2 kB")
    lines = waiting.after(100)
    assert all(len(line) < 80 for line in lines)
    assert len(lines) == 1


def test_where_there_is_no_terminal_nobody_is_told():
    steps = Steps()
    steps.go("reading")
    steps.pass_on(b"Welcome\n")
    steps.tick()
    steps.done()


@pytest.mark.parametrize("last", [
    "ada@node7: Permission denied (publickey,password).", "Host key verification failed.",
    "ssh: connect to host node7 port 22: Connection refused", "Connection closed by 10.0.0.7 port 22"])
def test_what_ssh_ends_with_is_left_to_whoever_says_why_there_is_no_link(waiting: Waiting, last: str):
    waiting.steps.pass_on(b"Permission denied, please try again.\n" + last.encode() + b"\n")
    assert waiting.after(0.1) == ["Permission denied, please try again."]
    waiting.steps.done()
    assert waiting.after(1) == ["Permission denied, please try again."]


@pytest.mark.parametrize("more", [lambda steps: steps.pass_on(b"Wait.\n"), lambda steps: steps.go("reading"), lambda steps: None])
def test_what_it_does_not_end_with_is_told_all_the_same(waiting: Waiting, more):
    waiting.steps.pass_on(b"Connection is monitored.\n")
    more(waiting.steps)
    assert waiting.after(1)[0] == "Connection is monitored."


def test_a_wrong_password_is_told_once(tmp_path):
    script = tmp_path / "ssh"
    script.write_text("#!/bin/sh\necho 'ada@line: Permission denied (publickey,password).' >&2\nexit 255\n")
    script.chmod(0o700)
    env = {"TUIMON_SSH": str(script), "XDG_CACHE_HOME": str(tmp_path)}
    with Terminal([sys.executable, "-m", "tuimon", "watch", "line:"], 100, 10, env) as near:
        assert near.wait_for_exit() == 2
        assert near.text.count("Permission denied") == 1
        assert "tuimon: line: ada@line: Permission denied (publickey,password)." in near.text
