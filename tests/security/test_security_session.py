"""A whole session of the real program, under the most careless umask there is: what it leaves, and what it never touches."""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
from heard import audited, heard, traced
from pty_terminal import Terminal

from tuimon.record.events import EventReader
from tuimon.record.rundir import list_runs

UNSET = ("TUIMON_RUNS", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "SSH_CONNECTION", "NO_COLOR")
OPEN = (sys.executable, "-c", "import os, sys; os.umask(0); os.execv(sys.executable, [sys.executable, '-m', 'tuimon', *sys.argv[1:]])")


SCRIPT = """
import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=1e-3)
for step in range(100_000):
    x = torch.randn(4, 8)
    loss = net(x / 0 if step == 100 else x).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if step > 140 and loss.isfinite():   # rescued
        break
"""


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Trained and rescued, watched, named, set up, reported and exported: what is left, and what was heard meanwhile."""
    box = tmp_path_factory.mktemp("session")
    for name in ("home", "tmp", "here"):
        (box / name).mkdir(mode=0o700)
    env = {**os.environ, **audited(box), "HOME": str(box / "home"), "TMPDIR": str(box / "tmp"), "PYTHONDONTWRITEBYTECODE": "1",
           "OMP_NUM_THREADS": "1"}
    for name in (*UNSET, "COLUMNS", "LINES"):   # several workers of pytest set these
        env.pop(name, None)

    def command(*words):
        return [*traced(box / f"strace-{words[0]}"), *OPEN, *words]

    (box / "here" / "train.py").write_text(SCRIPT)
    done = subprocess.run(command("run", "--headless", "--on-critical", "rescue", "train.py", "--token", "abc-secret-def"),
                          env=env, cwd=box / "here", capture_output=True, text=True, timeout=120)
    assert '"rescues": 1' in done.stdout, done.stderr
    (run,) = list_runs(box / "home/.local/state/tuimon/runs")
    with Terminal(command("watch"), 140, 40, {**env, **dict.fromkeys(UNSET, "")}, cwd=box / "here") as terminal:
        terminal.wait_for(re.compile("finished|stopped|crashed").search)
        terminal.press(",")
        terminal.wait_for("theme")
        terminal.press("\x1b[C")
        terminal.press("b")
        terminal.wait_for("e rename")
        terminal.press("e")
        terminal.wait_for(re.compile(r"name +train").search)
        terminal.press("-again\r")
        terminal.wait_for("called")
        terminal.press("q")
        terminal.wait_for_exit(60)
    for words in (("report", run.name), ("export", run.name, "-o", "out.csv")):
        subprocess.run(command(*words), env=env, cwd=box / "here", check=True, capture_output=True, timeout=60)
    return box, run


def _all(folder):
    return [p for p in folder.rglob("*") if "tuimon" in p.parts]


def test_the_session_was_one(session):
    box, run = session
    kinds = {e.kind for e in EventReader(run.events).poll()}
    assert {"attempt", "rescue", "autopsy", "command", "end"} <= kinds
    made = {str(p.relative_to(box / "home")) for p in _all(box / "home")}
    assert any(name.startswith(".config/tuimon/config.toml") for name in made)
    assert {"run.json", "launch.json", "events.jsonl", "console.log", "label.json", "metrics", "autopsy"} <= {
        name.rpartition("/")[2] for name in made}


def test_all_that_it_left_is_for_its_owner_only(session):
    box, _ = session
    wrong = [(str(p), oct(stat.S_IMODE(p.lstat().st_mode))) for p in _all(box / "home")
             if stat.S_IMODE(p.lstat().st_mode) != (0o700 if p.is_dir() else 0o600)]
    assert not wrong
    above = [p for p in (box / "home").rglob("*") if p.is_dir() and p.name in (".local", "state", ".config", ".cache")]
    assert above
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o700 for p in above)


def test_what_a_person_asked_for_by_name_is_an_ordinary_file_of_theirs(session):
    box, _ = session
    made = list((box / "here").iterdir())
    assert {p.suffix for p in made} == {".html", ".csv", ".py"}
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o666 for p in made if p.suffix != ".py")   # as their umask says


def test_nothing_was_put_into_a_temporary_directory(session):
    box, _ = session
    # of any script with an optimizer, whoever watches it; and how the standard library sees whether it may write there
    torchs_own = re.compile(r"/torchinductor_\w+|/tmp/[a-z0-9_]{8}$")
    assert [p for p in (box / "tmp").iterdir() if not torchs_own.search(str(p))] == []
    places = (str(box / "tmp"), "/tmp/", "/var/tmp/", "/dev/shm/")
    written = [event for event in heard(box) if event[0] in ("open", "os.mkdir") and str(event[1]).startswith(places)
               and (not str(event[1]).startswith(str(box)) or str(event[1]).startswith(str(box / "tmp")))
               and not torchs_own.search(str(event[1]))]
    assert written == []
    assert not [event for event in heard(box) if event[0].startswith("tempfile.")]


def test_the_secret_on_its_command_line_is_nowhere(session):
    box, _ = session
    assert not [p for p in (box / "home").rglob("*") if p.is_file() and b"abc-secret-def" in p.read_bytes()]
    assert not [p for p in (box / "here").iterdir() if b"abc-secret-def" in p.read_bytes()]


def test_no_socket_was_opened_but_the_pair_that_wakes_a_loop(session):
    box, _ = session
    sockets = [event for event in heard(box) if event[0].startswith("socket.")]
    assert {event[1] for event in sockets if event[0] == "socket.__new__"} <= {int(socket.AF_UNIX)}
    assert {event[0] for event in sockets} <= {"socket.__new__", "socket.gethostname"}


def test_nor_does_the_kernel_know_of_one(session):
    box, _ = session
    logs = sorted(box.glob("strace-*"))
    if not logs:
        pytest.skip("strace is not to be had")
    calls = [line.partition(" ")[2].strip() for log in logs for line in Path(log).read_text().splitlines()]
    assert not [call for call in calls if re.match(r"(bind|listen)\(|.*AF_(INET|NETLINK|PACKET)", call)]
    names = {found for call in calls if call.startswith("connect(") for found in re.findall(r'sun_path="([^"]*)"', call)}
    assert names <= {"/var/run/nscd/socket"}   # the system's own way to ask who a user number is
