"""`tuimon watch HOST:RUN`: the run of another machine, over the user's own ssh, however bad the way there is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sshd import FarMachine

from tuimon.errors import TuimonError, UsageError
from tuimon.record.far import read_far
from tuimon.record.reader import LogReader
from tuimon.record.rundir import RunDir, cache_root
from tuimon.remote.host import Unreached, names_a_host, parse
from tuimon.remote.reached import reached

for folder in ("viewer", "program"):
    sys.path.insert(0, str(Path(__file__).parents[1] / folder))
from pty_terminal import Terminal  # noqa: E402
from synthetic import Run, exploding, healthy  # noqa: E402


@pytest.fixture(autouse=True)
def _ssh(far: FarMachine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TUIMON_SSH", str(far.root / "near" / "ssh"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def until(is_so: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


def last_step(run: RunDir) -> int:
    chunks = LogReader(run.metrics).poll()
    return int(chunks[-1].steps[-1]) if chunks and len(chunks[-1]) else 0


def state(run: RunDir) -> str:
    found = read_far(run)
    return found[0].state if found else ""


@pytest.mark.parametrize("host", ["far", "jump", "noisy", "bare"])
def test_a_run_is_there_and_goes_on_and_nothing_stays_behind(far: FarMachine, host: str):
    run = Run(far.runs, name="healthy").go(60)
    with reached(parse(f"{host}:"), control=False) as near:
        until(lambda: last_step(near) == 60)   # a screen does not wait for it for ever either
        info = near.read_info()
        assert info is not None
        assert info.name == "healthy"
        run.go(7)
        until(lambda: last_step(near) == 67)
        assert far.processes("agent") or far.processes("-u")
        assert not near.commands.exists()
    assert not near.path.exists()
    assert list((cache_root() / "far").iterdir()) == []
    until(lambda: not far.processes("agent") and not far.processes("-u"))


def test_what_cannot_be_reached_is_said_in_one_line(far: FarMachine):
    far.host("gone", options="HostName gone.invalid")
    for words, said in (("far:nobody", "no run"), ("nopython:", "python3"), ("gone:", "Could not resolve")):
        with pytest.raises(Unreached) as caught, reached(parse(words), control=False):
            pass
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)
    assert issubclass(Unreached, TuimonError)


def test_a_bare_name_that_is_no_run_here_is_a_machine(far: FarMachine):
    healthy(root=far.runs, steps=30)
    watch = [sys.executable, "-m", "tuimon", "watch", "--plain"]
    with subprocess.Popen([*watch, "far"], stdout=subprocess.PIPE, text=True) as near:
        assert near.stdout is not None
        assert any("Step 30" in line for line in near.stdout)
        near.send_signal(signal.SIGTERM)
    gone = far.host("gone", options="HostName gone.invalid")
    done = subprocess.run([*watch, gone], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "nor is it a machine: gone: ssh: Could not resolve hostname" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_host_is_never_an_option(tmp_path: Path):
    for words in ("-oProxyCommand=touch x:", "-oProxyCommand=x@far:", "ada@-lx:run", "-:", "a b:", "a;b:", "$(x):", ":run", "@:"):
        with pytest.raises(UsageError, match="is no host"):
            parse(words)
    assert parse("ada@node7:lr/3 e") .run == "lr/3 e"
    assert (parse("[fe80::1%eth0]:x").host, parse("[::1]:").run) == ("[fe80::1%eth0]", None)
    here = tmp_path / "a:b"
    here.mkdir()
    assert [names_a_host(w) for w in ("node7:", "ada@node7", "exploding", "./a:b", str(here), "runs/a:b")] == [
        True, True, False, False, False, False]


def test_a_link_that_breaks_comes_back_and_brings_what_was_missed(far: FarMachine):
    run = Run(far.runs, name="healthy").go(60)
    with reached(parse("line:"), control=False) as near:
        far.link("line").cut()
        until(lambda: state(near) == "reconnecting")
        run.go(30)
        assert last_step(near) == 60
        far.link("line").mend()
        until(lambda: state(near) == "live")
        until(lambda: last_step(near) == 90)


def test_commands_go_over_only_when_asked_for(far: FarMachine):
    from tuimon.control.commands import Command, Who
    from tuimon.control.spool import new_id, submit

    run = exploding(root=far.runs)
    with reached(parse("far:"), control=True) as near:
        submit(near.commands, Command(new_id(), "hold", {}, 1, time.time(), who=Who("ada", 1, "laptop", 2, "viewer")))
        found: list[object] = []
        until(lambda: found.extend(run.commands()) or found)
        assert found[0].verb == "hold"  # type: ignore[attr-defined]
        assert found[0].who.user == "ada"  # type: ignore[attr-defined]
        assert found[0].who.origin == "127.0.0.1"  # type: ignore[attr-defined]


def test_the_panel_shows_where_the_run_is_and_that_the_link_is_down(far: FarMachine):
    healthy(root=far.runs)
    env = {name: os.environ[name] for name in ("TUIMON_SSH", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TUIMON_RUNS")}
    with Terminal([sys.executable, "-m", "tuimon", "watch", "line:"], 120, 40, env) as terminal:
        terminal.wait_for("healthy on line")
        terminal.wait_for("LOSS")
        far.link("line").cut()
        terminal.wait_for("reconnecting")
        far.link("line").mend()
        terminal.wait_for(lambda screen: "reconnecting" not in screen)
        terminal.press("q")
        assert terminal.wait_for_end() == 0


def test_whoever_is_killed_leaves_nothing_running(far: FarMachine):
    healthy(root=far.runs)
    code = ("import sys, time; from tuimon.remote.reached import reached; from tuimon.remote.host import parse\n"
            "with reached(parse('far:'), control=False) as run: print('there', flush=True); time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as near:
        assert near.stdout is not None
        assert near.stdout.readline() == "there\n"
        assert far.processes("agent")
        near.send_signal(signal.SIGKILL)
    until(lambda: not far.processes("agent"))
    with reached(parse("far:"), control=False) as run:   # and the next one tidies up after it
        assert [p / "h0" for p in (cache_root() / "far").iterdir()] == [run.path.parent.parent]
