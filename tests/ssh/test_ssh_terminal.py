"""`ssh -t host tuimon watch` through a real ssh: the newest frame, and what is left where when the link or an end goes."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable

import psutil
import pytest
import synthetic
from far_terminal import FarTerminal
from pty_terminal import leaves_a_clean_terminal
from sshd import MODEM, FarMachine

from tuimon.record.rundir import RunDir
from tuimon.viewer.pace import WINDOW
from tuimon.viewer.settings import REMOTE_FPS


class Near(FarTerminal):
    """The person's terminal. It answers at once, or owes its answers."""

    owes = False
    owed = 0

    @property
    def shown(self) -> int:
        """Frames that have arrived."""
        return self.raw.count(b"\x1b[?2026l")

    def answer(self) -> None:
        if self.owes:
            self.owed += 1
        else:
            super().answer()

    def pay(self) -> None:
        """Answer all that was asked meanwhile."""
        self.owes = False
        for _ in range(self.owed):
            super().answer()
        self.owed = 0


def watching(far: FarMachine, host: str, *words: str, options: tuple[str, ...] = ()) -> Near:
    return Near(far.argv(host, " ".join(("tuimon", *words)), "-t", *options), 120, 40, {})


def until(holds: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for what happens on the far side."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)   # the deadline's pace; nothing is decided by it


def viewer(far: FarMachine) -> psutil.Process:
    """The process that draws, not the one that reads for it."""
    found = far.processes("tuimon", "watch")
    pids = {process.pid for process in found}
    first, = (process for process in found if process.ppid() not in pids)
    return first


def test_frames_wait_for_the_answers_of_the_terminal_beyond_the_ssh_and_are_small(far: FarMachine):
    run = synthetic.healthy(root=far.runs)
    with watching(far, "far", "watch", options=("-C",)) as near:
        near.wait_for("240/600")
        near.owes = True
        unseen = near.shown
        for _ in range(12):
            run.go(1)
            near.press("\t")   # each chooses another chart, which is drawn at once where nothing is under way
            near.pump(0.1)
        assert near.shown - unseen <= WINDOW
        near.pay()
        unseen = near.shown
        near.wait_for("252/600")
        assert near.shown - unseen <= 2 * WINDOW   # what was held, and the newest; not twelve charts and twelve steps
        sent, shown = len(near.raw), near.shown
        for _ in range(10):
            run.go(1)
            near.wait_for(f"{run.step}/600")
        # at the pace over SSH that is a quarter of what 64 kbit/s carry, also without -C
        assert len(near.raw) - sent < (near.shown - shown) * MODEM / REMOTE_FPS / 4
        near.press("q")
        assert near.wait_for_exit() == 0


def test_a_viewer_ends_with_its_ssh_and_the_training_that_it_began_goes_on(far: FarMachine):
    (far.root / "home" / "train.py").write_text(
        "import os, time\nprint('begun', flush=True)\nwhile not os.path.exists('enough'):\n    time.sleep(0.02)\nprint('trained')\n")
    with watching(far, "line", "run", "train.py") as near:
        near.wait_for("It says: begun")
        run = RunDir(next(far.runs.iterdir()))
        training = run.read_launch().process.pid
        near.process.send_signal(signal.SIGKILL)
        until(lambda: [process.pid for process in far.processes("train.py")] == [training])
    (far.root / "home" / "enough").touch()
    until(lambda: "trained" in run.console.read_text())
    until(lambda: not far.processes("train.py"))


def test_a_viewer_behind_a_closed_laptop_stands_still_until_its_sshd_gives_up(far: FarMachine):
    run = synthetic.healthy(root=far.runs)
    with watching(far, "line", "watch") as near:
        near.wait_for("240/600")
        far.link("line").freeze()
        near.process.send_signal(signal.SIGKILL)
    carried, drawing = far.link("line").carried(), viewer(far)
    for _ in range(12):
        run.go(1)
    assert drawing.is_running()
    assert far.link("line").carried() == carried
    far.link("line").cut()
    until(lambda: not far.processes("tuimon", "watch"))


@pytest.mark.parametrize("number", [signal.SIGHUP, pytest.param(signal.SIGTERM, marks=pytest.mark.nightly)])
def test_a_viewer_that_is_ended_on_the_far_side_leaves_the_near_terminal_clean(far: FarMachine, number):
    synthetic.healthy(root=far.runs)
    with watching(far, "far", "watch") as near:
        near.wait_for("240/600")
        viewer(far).send_signal(number)
        assert near.wait_for_exit() == 128 + number
        assert leaves_a_clean_terminal(bytes(near.raw))


def test_whoever_tells_a_run_in_sentences_without_a_terminal_ends_with_the_ssh_though_there_is_nothing_to_say(far: FarMachine):
    synthetic.healthy(root=far.runs).hold()
    with subprocess.Popen(far.argv("line", "tuimon watch"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True) as ssh:
        assert ssh.stdout is not None
        for line in ssh.stdout:
            if "held" in line:
                break
        assert far.processes("tuimon", "watch")
        ssh.kill()
    until(lambda: not far.processes("tuimon", "watch"))
