"""The feed in a process of its own. Each test is a program of its own: only one thread survives a fork."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread reads")

BEGIN = """
import os, signal, sys, threading, time
import synthetic
from tuimon.viewer import apart
from tuimon.viewer.wanted import Wanted

def until(holds):
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)

def newest(source, holds):
    found = []
    until(lambda: (frame := source.take()) is not None and holds(frame) and (found.append(frame) or True))
    return found[0]

def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False

run, other = synthetic.Run(), synthetic.Run()
{before}
run.go(30)
other.go(12)
told = []
feeds = apart.Feeds(run.dir, "tuimon", 0.05)
reader = feeds._apart
assert reader is not None
name, source = feeds.open(run.dir.path)
source = source(lambda: told.append(1))
"""


def program(code: str, before: str = "", **env: str) -> None:
    """Run it, with what is to be before the process is forked; it fails as it says."""
    done = subprocess.run(
        [sys.executable, "-c", BEGIN.replace("{before}", textwrap.dedent(before)) + textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, **env, "PYTHONPATH": os.pathsep.join((str(Path(__file__).parent), *sys.path))})
    assert done.returncode == 0, done.stderr


def test_frames_come_as_from_a_thread_and_stay_the_newest():
    program("""
    assert name == run.dir.called
    source.start()
    assert newest(source, lambda frame: frame.header.step == 30).charts[0].columns is not None
    source.want(Wanted(place="layers"))
    assert newest(source, lambda frame: frame.wanted.place == "layers" and frame.detail is not None)
    for _ in range(5):
        run.go(1)
    assert newest(source, lambda frame: frame.header.step == 35)
    assert "tuimon.viewer.reading" not in sys.modules, "this process reads nothing"
    feeds.close()
    assert is_gone(reader.pid)
    """)


def test_a_frame_is_told_of_once_and_one_that_nobody_takes_is_replaced():
    program("""
    source.start()
    until(lambda: told)
    for _ in range(10):
        run.go(1)
    until(lambda: source._newest.header.step == 40)
    assert (len(told), source.take().header.step, source.take()) == (1, 40, None)
    feeds.close()
    """)


def test_another_run_takes_the_place_of_the_first():
    program("""
    source.start()
    newest(source, lambda frame: frame.header.step == 30)
    name, second = feeds.open(other.dir.path)
    source.close()
    second = second(lambda: told.append(2))
    second.start()
    assert newest(second, lambda frame: True).header.step <= 12
    newest(second, lambda frame: frame.header.step == 12)
    assert name == other.dir.called and source.take() is None
    feeds.close()
    """)


def test_a_frame_that_comes_before_anybody_is_told_of_frames_is_told_of_afterwards():
    program("""
    source.start()
    newest(source, lambda frame: frame.header.step == 30)
    name, telling = feeds.open(other.dir.path)
    second = telling.__self__
    until(lambda: second._newest is not None)
    told.clear()
    telling(lambda: told.append(2))
    until(lambda: told)
    newest(second, lambda frame: True)
    other.go(1)
    until(lambda: told == [2, 2])
    feeds.close()
    """)


@pytest.mark.parametrize("before", ["", "source.start(); newest(source, lambda frame: frame.header.step == 30)"])
def test_what_was_asked_just_before_leaving_is_written_down(before):
    program(f"""
    {before}
    source.ask("hold", {{}}, "")
    feeds.close()
    found = []   # a reader that was still starting may outlive the screen for that
    until(lambda: found.extend(run.commands()) or found)
    assert [command.verb for command in found] == ["hold"]
    """)


def test_where_the_reader_is_killed_a_thread_reads_on():
    program("""
    source.start()
    newest(source, lambda frame: frame.header.step == 30)
    os.kill(reader.pid, signal.SIGKILL)
    run.go(5)
    newest(source, lambda frame: frame.header.step == 35)
    source.want(Wanted(place="loss"))
    newest(source, lambda frame: frame.wanted.place == "loss")
    source.ask("hold", {}, "")
    found = []
    until(lambda: found.extend(run.commands()) or found)
    second = feeds.open(other.dir.path)[1](lambda: None)
    second.start()
    newest(second, lambda frame: frame.header.step == 12)
    feeds.close()
    """)


def test_where_a_frame_cannot_be_sent_the_screen_reads_on_by_itself():
    program("""
    source.start()
    newest(source, lambda frame: frame.header.step == 30)
    run.go(5)
    newest(source, lambda frame: frame.header.step == 35)
    assert reader.is_lost
    feeds.close()
    """, before="""
    from tuimon.viewer import wire

    def send(sender, message, whole=wire.Sender.send):
        if message[1]["header"].step > 30:
            raise ValueError("what no pickle can hold")
        whole(sender, message)

    wire.Sender.send = send
    """)


def test_a_frame_of_the_run_before_that_comes_while_the_next_is_opened_costs_no_reader():
    program("""
    frames, receive, write = [], apart.Receiver.receive, os.write

    def noted(receiver):
        frames.append(receive(receiver))
        return frames[-1]

    def late(fd, data):   # the screen is told to wait between choosing the next run and asking for it
        for _ in range(2):
            came = len(frames)
            run.go(1)
            until(lambda: len(frames) > came or reader.is_lost)
        return write(fd, data)

    apart.Receiver.receive = noted
    source.start()
    newest(source, lambda frame: frame.header.step == 30)
    os.write = late
    name, second = feeds.open(other.dir.path)
    second = second(lambda: None)
    os.write = write
    second.start()
    newest(second, lambda frame: frame.header.step == 12)
    assert not reader.is_lost and "tuimon.viewer.reading" not in sys.modules, "this process reads nothing"
    feeds.close()
    """)


def test_a_run_that_is_opened_after_the_reader_was_killed_is_shown_too():
    program("""
    source.start()
    newest(source, lambda frame: frame.header.step == 30)
    os.kill(reader.pid, signal.SIGKILL)
    until(lambda: reader.is_lost)
    name, second = feeds.open(other.dir.path)
    source.close()
    second = second(lambda: told.append("second"))
    second.start()
    until(lambda: "second" in told)
    newest(second, lambda frame: frame.header.step == 12)
    feeds.close()
    """)


def test_a_reader_that_listens_no_more_is_given_up_and_no_key_waits_for_it():
    program("""
    os.kill(reader.pid, signal.SIGSTOP)
    for step in range(5_000):
        source.want(Wanted(at=step))
    source.want(Wanted())
    source.start()
    newest(source, lambda frame: frame.header.step == 30 and frame.wanted == Wanted())
    feeds.close()
    assert is_gone(reader.pid)
    """)


def test_a_reader_ends_with_the_screen_however_that_ends():
    program("""
    if os.fork() == 0:
        feeds = apart.Feeds(run.dir, "tuimon", 0.05)
        (run.dir.path / "reader").write_text(str(feeds._apart.pid))
        os.kill(os.getpid(), signal.SIGKILL)
    os.wait()
    pid = int((run.dir.path / "reader").read_text())
    until(lambda: is_gone(pid))
    feeds.close()
    """)


def test_nothing_is_forked_beside_other_threads():
    program("""
    over = threading.Event()
    threading.Thread(target=over.wait).start()
    assert apart.apart() is None
    plain = apart.Feeds(run.dir, "tuimon", 0.05)
    source = plain.open(run.dir.path)[1](lambda: None)
    source.start()
    newest(source, lambda frame: frame.header.step == 30)
    source.close()
    plain.close()
    over.set()
    feeds.close()
    """)
