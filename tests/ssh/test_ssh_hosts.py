"""The runs of two machines behind real sshds as one list, opened and compared as if they were here."""

from __future__ import annotations

import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sshd import FarMachine, far_machine

from tuimon.cli import main
from tuimon.record.merged import Merged
from tuimon.remote.host import parse
from tuimon.remote.reached import listed

for folder in ("viewer", "program"):
    sys.path.insert(0, str(Path(__file__).parents[1] / folder))
from pty_terminal import Terminal  # noqa: E402
from synthetic import Run, exploding, healthy  # noqa: E402


@pytest.fixture(scope="module")
def _second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarMachine]:
    with far_machine(tmp_path_factory.mktemp("second")) as machine:
        yield machine


@pytest.fixture
def second(_second: FarMachine, far: FarMachine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FarMachine]:
    """Another machine; both are known to one ssh: far and line are the first's, other and bare2 are this one's."""
    _second.host("other", delay=0.0)
    _second.host("bare2", kind="bare")
    far.host("gone", options="HostName gone.invalid")
    both = (_second.root / "ssh_config").read_text()
    hosts = "\n".join(re.split(r"(?m)^Host \*$", both)[0:1])
    base = re.split(r"(?m)^Host \*$", both)[1]
    parts = [part for part in re.split(r"(?m)^(?=Host )", hosts) if part.startswith(("Host other", "Host bare2"))]
    theirs = "\n".join(part.rstrip("\n") + base for part in parts)
    config = tmp_path / "ssh_config"
    config.write_text(theirs + "\n" + (far.root / "ssh_config").read_text())
    ssh = tmp_path / "ssh"
    ssh.write_text(f'#!/bin/sh\nexec ssh -F {shlex.quote(str(config))} "$@"\n')
    ssh.chmod(0o700)
    monkeypatch.setenv("TUIMON_SSH", str(ssh))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield _second
    _second.restore()


def until(is_so: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


def test_two_machines_tell_of_their_runs_and_a_drop_of_one_is_nothing_to_the_other(far: FarMachine, second: FarMachine, tmp_path: Path):
    one, other = healthy(root=far.runs, steps=30), Run(second.runs, alive=False, name="other").go(20).end()
    with listed([parse("line"), parse("other")], control=False) as place:
        merged = Merged(tmp_path / "none", place)

        def now() -> dict[tuple[str, str], int]:
            return {(entry.machine, entry.key): entry.status.step for entry in merged.poll(time.time()).entries}

        until(lambda: now() == {("line", one.dir.name): 30, ("other", other.dir.name): 20})
        second.link("other").cut()
        until(lambda: {host.name: host.state for host in merged.hosts if merged.poll(time.time())} == {"line": "live", "other": "reconnecting"})
        one.go(5)
        until(lambda: now()["line", one.dir.name] == 35)
        assert now()["other", other.dir.name] == 20, "what was told stays in sight"
        more = healthy(root=second.runs, steps=10)
        second.link("other").mend()
        until(lambda: ("other", more.dir.name) in now())
    until(lambda: not far.processes("agent") and not second.processes("agent"))


def test_the_panel_opens_and_compares_the_runs_of_two_machines(far: FarMachine, second: FarMachine):
    healthy(root=far.runs)
    exploding(root=second.runs)
    env = {name: os.environ[name] for name in ("TUIMON_SSH", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TUIMON_RUNS")}
    with Terminal([sys.executable, "-m", "tuimon", "watch", "far:", "bare2:", "gone:"], 120, 40, env) as terminal:
        terminal.wait_for(lambda screen: "2 in all" in screen and "✖ gone not reachable" in screen)
        terminal.wait_for(lambda screen: any("healthy" in line and "far" in line and "running" in line for line in screen.splitlines()))
        terminal.press("/")
        for letter in "host:far":
            terminal.press(letter)
        terminal.press("\r")
        terminal.wait_for("1 of 2 match")
        terminal.press("\r")
        terminal.wait_for(lambda screen: "healthy on far" in screen and "LOSS" in screen)
        terminal.press("b")
        terminal.wait_for("1 of 2 match")
        terminal.press("\x1b")
        terminal.wait_for(lambda screen: "2 in all" in screen and "match" not in screen)
        terminal.press("\x1b[1~")
        terminal.press(" ")
        terminal.press(" ")
        terminal.wait_for("2 marked")
        terminal.press("d")
        terminal.wait_for(lambda screen: "compare 2 runs" in screen and "exploding on bare2" in screen and "healthy on far" in screen)
        terminal.wait_for(lambda screen: re.search(r"exploding on bare2 +260", screen) and re.search(r"healthy on far +240", screen))
        terminal.press("q")
        assert terminal.wait_for_end() == 0
    until(lambda: not far.processes("agent") and not second.processes("-u"))


def test_the_table_of_two_machines(far: FarMachine, second: FarMachine, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    healthy(root=far.runs, steps=20)
    healthy(root=second.runs, steps=20)
    (tmp_path / "hosts").write_text(f"far:{far.runs}\nbare2   # nothing is installed there\n")
    assert main(["runs", "--hosts", str(tmp_path / "hosts")]) == 0
    assert sorted(line.split()[0] for line in capsys.readouterr().out.splitlines()) == ["bare2", "far", "host"]
