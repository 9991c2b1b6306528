"""The main job, as a person does it: the real program, a real terminal, a real GPT that explodes and is saved."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time

import pytest
from pty_terminal import Terminal, leaves_a_clean_terminal

from tuimon.record.events import EventReader
from tuimon.record.history import History
from tuimon.record.liveness import is_alive
from tuimon.record.rundir import list_runs, runs_root
from tuimon.record.segments import LogReader
from tuimon.record.status import status


def program(size: tuple[int, int], *args: str) -> Terminal:
    env = {"TUIMON_RUNS": str(runs_root())}
    return Terminal([sys.executable, "-m", "tuimon", *args], *size, env)


def events():
    return EventReader(list_runs()[0].events).poll()


def losses() -> list[float]:
    """The loss of every step so far, in order."""
    reader, history = LogReader(list_runs()[0].metrics), History()
    while chunks := reader.poll():
        for chunk in chunks:
            history.extend(chunk)
    return history.series("loss").values.tolist()


def ends(process, seconds=20.0):
    deadline = time.monotonic() + seconds
    while is_alive(process):
        assert time.monotonic() < deadline, "the training process is still there"
        os.sched_yield()
    return True


@pytest.mark.parametrize("size", [(120, 40), pytest.param((80, 24), marks=pytest.mark.nightly)])
def test_an_exploding_gpt_is_seen_named_and_rescued_with_one_confirmed_key(size):
    with program(size, "demo", "exploding", "--speed", "20", "--steps", "420") as terminal:
        terminal.wait_for("exploding")
        terminal.wait_for(lambda text: re.search(r"[⠁-⣿]{8}", text) is not None)
        terminal.wait_for("✖", 120)
        terminal.press("r")
        terminal.wait_for("Rescue this run?")
        terminal.press("y")
        terminal.wait_for(re.compile(r"✓ held.*✓ (restored|back to) .*✓ lr x0.1.*✓ clip 1.0.*[◐✓] warm").search)
        terminal.wait_for("Healthy again", 120)
        rescue = [e for e in events() if e.kind == "rescue"]
        held_loss = next(e.number("loss") for e in rescue if e.text("tick") == "held")
        assert [e.text("tick") for e in rescue][:5] == ["held", "restored", "lr", "clip", "warmup"]
        terminal.wait_for(lambda _: losses()[-1] < held_loss, 60)
        process = list_runs()[0].read_info().process
        terminal.press("q")
        terminal.wait_for("running")
        terminal.press("e")
        assert terminal.wait_for_exit() == 0
        assert leaves_a_clean_terminal(bytes(terminal.raw))
        assert ends(process)
        assert status(list_runs()[0]).state in ("stopped", "finished")


def test_a_second_viewer_watches_and_leaving_both_leaves_training_alone():
    with program((120, 40), "demo", "healthy", "--speed", "30", "--steps", "5000") as first:
        first.wait_for(lambda text: re.search(r"step [1-9][\d ]*/", text) is not None)
        with program((100, 30), "watch") as second:
            second.wait_for(lambda text: re.search(r"step [1-9][\d ]*/", text) is not None)
            second.press("q")
            assert second.wait_for_exit() == 0
            assert leaves_a_clean_terminal(bytes(second.raw))
        process = list_runs()[0].read_info().process
        first.press("q")
        first.wait_for("running")
        first.press("l")
        assert first.wait_for_exit() == 0
        seen = len(losses())
        deadline = time.monotonic() + 30
        while len(losses()) <= seen + 5:
            assert time.monotonic() < deadline, "training stopped when its viewers left"
        os.kill(process.pid, signal.SIGKILL)
        assert ends(process)
        assert status(list_runs()[0]).state == "died"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_a_viewer_that_is_told_to_go_restores_the_terminal_and_leaves_training_alone(how):
    with program((100, 30), "demo", "healthy", "--speed", "30", "--steps", "5000") as terminal:
        terminal.wait_for(lambda text: re.search(r"step [1-9][\d ]*/", text) is not None)
        process = list_runs()[0].read_info().process
        terminal.process.send_signal(how)
        assert terminal.wait_for_exit() == 128 + how
        assert leaves_a_clean_terminal(bytes(terminal.raw))
        assert is_alive(process)
        os.kill(process.pid, signal.SIGKILL)
        assert ends(process)


def test_what_needs_a_screen_or_a_known_name_says_so_in_one_line():
    import subprocess

    done = subprocess.run([sys.executable, "-m", "tuimon", "demo", "--all"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 2
    assert done.stderr.startswith("tuimon: this needs a screen, and there is none")
    assert "--headless" in done.stderr
    assert list_runs() == []
    unknown = subprocess.run([sys.executable, "-m", "tuimon", "demo", "explode"], capture_output=True, text=True)
    assert unknown.returncode == 2
    assert "exploding" in unknown.stderr
    assert "Traceback" not in unknown.stderr


def headless(*args: str):
    import subprocess

    done = subprocess.run([sys.executable, "-m", "tuimon", "demo", *args, "--headless"], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 3), done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


@pytest.mark.nightly   # by day the README's headless rescue and the demo that explodes unwatched are one each
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_autopilot_rescues_in_time_and_the_run_ends_well(seed):
    _, rescued, said = headless("exploding", "--on-critical", "rescue", "--seed", str(seed), "--speed", "1000")
    _, healthy, _ = headless("healthy", "--seed", str(seed), "--speed", "1000", "--steps", str(rescued["steps"]))
    assert rescued["rescues"] >= 1
    critical = [i for i in rescued["incidents"] if i["severity"] == "critical"]
    assert critical
    assert rescued["loss_last"] <= 1.3 * healthy["loss_last"], said
    assert not [i for i in healthy["incidents"] if i["severity"] != "info"]
