"""The viewer on terminals that are slow, resized, left, closed, stalled, or none at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest
import synthetic
from far_terminal import FarTerminal
from pty_terminal import Terminal, leaves_a_clean_terminal

from tuimon.record.rundir import list_runs, runs_root

WATCH = [sys.executable, "-m", "tuimon", "watch"]


def environment(**more: str) -> dict[str, str]:
    return {"TUIMON_RUNS": str(runs_root()), **more}


def process_state(pid: int) -> str:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def test_frames_wait_for_the_terminals_answers_so_that_the_next_one_is_the_newest():
    run = synthetic.healthy()
    with FarTerminal(WATCH, 100, 30, environment(TUIMON_PACE="1")) as far:
        far.wait_for("240/600")
        far.flows = False
        for _ in range(12):
            run.go(1)
            far.pump(0.1)
        late, delivered = "252/600", 0
        while late not in far.text:   # a busy machine may have read only some of these steps by then
            assert far.frames <= 2
            far.pump(0.1)
            delivered += far.deliver_frame()
        assert delivered <= 8   # of twelve steps
        far.flows = True
        far.press("\x1b[1;2Ri")   # shift+F3 is no answer, and no key of ours
        far.wait_for("no incident")
        far.press("q")
        assert far.wait_for_exit() == 0
        assert leaves_a_clean_terminal(bytes(far.raw))


def is_whole(text: str) -> bool:
    """Every part of the overview at 120x40, each once."""
    parts = ("Exploding gradients  ", "─ 10.9 ✖ ─╮", "─ grad norm · log ─", "─ update ratio · log ─", "─ learning rate ─",
             "layers · gradient RMS", "│ blocks.3 ", "schedule jumps", "? help  q quit")
    return all(text.count(part) == 1 for part in parts) and "Hold this run?" not in text


def test_a_storm_of_resizes_ends_in_a_whole_picture_and_nothing_is_lost_where_there_is_no_room():
    synthetic.exploding()
    with Terminal(WATCH, 120, 40, environment()) as terminal:
        terminal.wait_for(is_whole)
        for i in range(100):
            terminal.resize(50 + i % 90, 12 + i % 31)
            terminal.pump(0.0)
        terminal.resize(120, 40)
        terminal.wait_for(is_whole)
        terminal.press("x")
        terminal.wait_for("Hold this run?")
        terminal.resize(30, 8)
        terminal.wait_for(lambda text: "Hold this run?" not in text)
        terminal.resize(40, 10)
        terminal.wait_for("Hold")
        terminal.resize(120, 40)
        terminal.wait_for("Hold this run?")
        terminal.press("n")
        terminal.wait_for(is_whole)
        terminal.process.send_signal(signal.SIGQUIT)
        assert terminal.wait_for_exit() == 128 + signal.SIGQUIT
        assert leaves_a_clean_terminal(bytes(terminal.raw))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
def test_a_viewer_that_is_ended_while_it_is_being_loaded_leaves_a_clean_terminal(number):
    synthetic.healthy()
    with Terminal(WATCH, 100, 30, environment()) as terminal:
        terminal.wait_for("Opening the run")
        terminal.process.send_signal(number)
        assert terminal.wait_for_exit() == 128 + number
        assert leaves_a_clean_terminal(bytes(terminal.raw))
        assert "Traceback" not in terminal.raw.decode(errors="replace")


def test_ctrl_z_gives_the_terminal_back_and_going_on_takes_it_again():
    run = synthetic.healthy()
    with Terminal(WATCH, 100, 30, environment()) as terminal:
        terminal.wait_for("240/600")
        terminal.press("\x1a")
        terminal.wait_for(lambda _: process_state(terminal.process.pid) == "T")
        terminal.wait_for(lambda _: leaves_a_clean_terminal(bytes(terminal.raw)))   # it may not all have been taken yet
        terminal.screen.reset()
        terminal.process.send_signal(signal.SIGCONT)
        terminal.wait_for("240/600")
        terminal.process.send_signal(signal.SIGSTOP)   # from outside, with the terminal as it is
        terminal.wait_for(lambda _: process_state(terminal.process.pid) == "T")
        run.go(1)
        terminal.process.send_signal(signal.SIGCONT)
        terminal.wait_for("241/600")
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.wait_for_exit() == 128 + signal.SIGINT
        assert leaves_a_clean_terminal(bytes(terminal.raw))


WATCH_SIGNALLED = """
import os, sys
from textual.drivers._writer_thread import WriterThread
from tuimon.cli import main
number, when, plain = int(sys.argv.pop(1)), sys.argv.pop(1), WriterThread.write
def write(self, text):
    if os.path.exists(when):
        os.remove(when)
        with self._queue.mutex:
            os.kill(os.getpid(), number)
            for _ in range(1000): pass   # handlers run here
    plain(self, text)
WriterThread.write = write
sys.exit(main())
"""
"""The viewer, sent a signal while it hands an update to the thread that writes, once there is a file of that name."""


@pytest.mark.parametrize("number", [signal.SIGTSTP, signal.SIGCONT])
def test_leaving_and_coming_back_while_an_update_is_being_written_freeze_nothing(number, tmp_path):
    run, when = synthetic.healthy(), tmp_path / "now"
    with Terminal([sys.executable, "-c", WATCH_SIGNALLED, str(int(number)), str(when), "watch"], 100, 30, environment()) as terminal:
        terminal.wait_for("240/600")
        times_taken = terminal.raw.count(b"\x1b[?1049h")
        when.touch()
        run.go(1)
        if number == signal.SIGTSTP:
            terminal.wait_for(lambda _: process_state(terminal.process.pid) == "T")
            terminal.screen.reset()
            terminal.process.send_signal(signal.SIGCONT)
        terminal.wait_for("241/600")
        terminal.wait_for(lambda _: terminal.raw.count(b"\x1b[?1049h") > times_taken)
        run.go(1)
        terminal.wait_for("242/600")
        terminal.press("q")
        assert terminal.wait_for_exit() == 0
        assert leaves_a_clean_terminal(bytes(terminal.raw))


WATCH_RESIZED = """
import fcntl, os, struct, sys, termios
from textual.drivers.linux_driver import LinuxDriver
from tuimon.cli import main
when, plain = sys.argv.pop(1), LinuxDriver._get_terminal_size
def size(self):
    found = plain(self)
    if os.path.exists(when):
        os.remove(when)
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 120, 0, 0))
        for _ in range(1000): pass   # handlers run here
    return found
LinuxDriver._get_terminal_size = size
sys.exit(main())
"""
"""The viewer, whose terminal gets another size while it is asked for its size, once there is a file of that name."""


def test_a_terminal_that_is_resized_while_its_size_is_read_is_filled(tmp_path):
    synthetic.healthy()
    when = tmp_path / "now"
    with Terminal([sys.executable, "-c", WATCH_RESIZED, str(when), "watch"], 100, 30, environment()) as terminal:
        terminal.wait_for("240/600")
        when.touch()
        terminal.resize(90, 30)
        terminal.screen.resize(30, 120)
        terminal.wait_for(lambda text: max(map(len, text.splitlines())) > 110)
        assert not when.exists()


def test_a_viewer_whose_terminal_is_closed_ends():
    run = synthetic.healthy()
    with Terminal(WATCH, 100, 30, environment()) as terminal:
        terminal.wait_for("240/600")
        run.go(1)
        terminal.hang_up()
        assert terminal.wait_for_end() == 128 + signal.SIGHUP


def test_a_viewer_whose_terminal_takes_nothing_any_more_can_still_be_ended():
    run = synthetic.healthy()
    with Terminal(WATCH, 100, 30, environment(TUIMON_PACE="1")) as terminal:
        terminal.wait_for("240/600")
        for i in range(60):   # more than any terminal's buffer holds, and nobody reads
            terminal.resize(100 + i % 2, 30)
            run.go(1)
            terminal.press("?\x1b")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.wait_for_end() == 128 + signal.SIGTERM


def test_whoever_tells_a_run_in_sentences_steps_back_behind_the_training():
    synthetic.healthy()
    with subprocess.Popen([*WATCH, "--plain"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as telling:
        try:
            assert telling.stdout is not None
            assert telling.stdout.readline().startswith("This is")
            assert psutil.Process(telling.pid).nice() > os.nice(0)
        finally:
            telling.terminate()


@pytest.mark.parametrize("option", [[], ["--plain"]])
def test_in_a_pipe_a_run_is_told_in_sentences(option):
    synthetic.rescued().end()
    done = subprocess.run([*WATCH, *option], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 0
    said = done.stdout.splitlines()
    assert said[:2] == ["This is exploding, GPT 4L 64d 0.2M on cpu.", "The run has finished after 340 steps."]
    assert "\x1b" not in done.stdout + done.stderr
    assert "ssh -t" in done.stderr
    assert done.stderr.count("\n") == 1


def test_on_a_dumb_terminal_sentences_come_as_things_happen_and_ctrl_c_leaves():
    run = synthetic.healthy()
    with Terminal([*WATCH, list_runs()[0].name], 100, 30, environment(TERM="dumb")) as terminal:
        terminal.wait_for("Nothing is wrong as far as can be told.")
        run.hold()
        terminal.wait_for("The run is held at step 240")
        terminal.press("\x03")
        assert terminal.wait_for_exit() == 130
        assert b"\x1b" not in bytes(terminal.raw).replace(b"^C", b"")
    assert run.commands() == []
    assert os.path.isdir(run.dir.path)
