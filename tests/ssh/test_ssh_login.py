"""A machine where one logs in with a password: at the start ssh asks, and after a drop it asks again, when one wants to.

Instead of a password of this machine's accounts there is an ssh that asks for one itself, and then is the real one. By
night there is an account, where one can be made.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from sshd import FarMachine, far_machine

for folder in ("viewer", "program"):
    sys.path.insert(0, str(Path(__file__).parents[1] / folder))
from pty_terminal import Terminal, leaves_a_clean_terminal  # noqa: E402
from synthetic import Run, healthy  # noqa: E402

ASKS = """\
#!/bin/sh
# As ssh does: asked is on the terminal, complained on stderr, and in batch mode nobody is asked.
case " $* " in *" BatchMode=yes "*)
    echo tried >> {place}/alone
    echo "ada@line: Permission denied (publickey,password)." >&2
    exit 255
esac
trap 'stty echo </dev/tty; exit 130' INT
trap 'stty echo </dev/tty; exit 143' TERM HUP
echo "Only for members of the institute." >&2
stty -echo </dev/tty
printf "ada@line's password: " >/dev/tty
read word </dev/tty
stty echo </dev/tty
if [ "$word" != secret ]; then
    echo "ada@line: Permission denied (publickey,password)." >&2
    exit 255
fi
exec {ssh} "$@"
"""


@pytest.fixture
def run(far: FarMachine) -> Run:
    return healthy(root=far.runs)


@pytest.fixture
def near(far: FarMachine, run: Run, tmp_path: Path) -> Iterator[Terminal]:
    """Somebody has logged in, and the run is on their screen."""
    script = tmp_path / "ssh"
    script.write_text(ASKS.format(place=tmp_path, ssh=far.root / "near" / "ssh"))
    script.chmod(0o700)
    env = {**{name: os.environ[name] for name in ("XDG_CONFIG_HOME", "TUIMON_RUNS")},
           "TUIMON_SSH": str(script), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    with Terminal([sys.executable, "-m", "tuimon", "watch", "line:"], 100, 30, env) as terminal:
        terminal.wait_for("password:")
        terminal.wait_for("Only for members of the institute.")   # it may belong to what is asked
        terminal.press("secret\n")
        terminal.wait_for("healthy on line")
        yield terminal


def test_after_a_drop_a_person_logs_in_again_and_nothing_is_lost(far: FarMachine, run: Run, near: Terminal, tmp_path: Path):
    near.wait_for("240/600")
    far.link("line").cut()
    near.wait_for("line asks for a login: press R to log in again")
    far.link("line").mend()
    run.go(30)
    near.wait_for(lambda text: any(f"logged out {n} s" in text for n in range(5, 20)))
    assert (tmp_path / "alone").read_text() == "tried\n", "an account may be locked for more"
    for answer in ("\x03", "wrong\n"):   # one that thinks better of it, and one that cannot type
        near.press("R")
        near.wait_for("password:")
        assert "logging in at line again (ssh); Ctrl+C goes back to the panel" in near.text
        near.press(answer)
        near.wait_for("line asks for a login: press R to log in again")
        assert "240/600" in near.text
    near.press("R")
    near.wait_for("password:")
    near.press("secret\n")
    near.wait_for("270/600")
    near.press("R")
    near.wait_for("the link is up")
    near.press("q")
    assert near.wait_for_exit() == 0
    assert leaves_a_clean_terminal(bytes(near.raw))


@pytest.mark.nightly
def test_a_login_ends_with_the_process_that_was_asked_for_it(far: FarMachine, near: Terminal):
    keeper = next(one for one in psutil.Process(near.process.pid).children() if one.children())   # ssh is its child
    far.link("line").cut()
    near.wait_for("press R to log in again")
    keeper.suspend()
    near.press("R")
    near.wait_for(lambda _: b"\x1b[?1049l" in near.raw)   # the terminal is given away
    keeper.kill()
    near.wait_for("the process that held the link to line has ended: leave, and begin again")
    near.press("q")
    assert near.wait_for_exit() == 0
    assert leaves_a_clean_terminal(bytes(near.raw))


@pytest.mark.parametrize("number", [signal.SIGHUP, pytest.param(signal.SIGTERM, marks=pytest.mark.nightly)])
def test_whoever_ends_it_while_ssh_asks_leaves_a_clean_terminal_and_nobody_behind(far: FarMachine, near: Terminal, number: int):
    far.link("line").cut()
    near.wait_for("press R to log in again")
    near.press("R")
    near.wait_for("password:")
    os.kill(near.process.pid, number)
    assert near.wait_for_exit() == 128 + number
    assert leaves_a_clean_terminal(bytes(near.raw))
    assert near.echoes, "what is typed next is seen"


@pytest.fixture
def member() -> Iterator[tuple[str, str]]:
    """Name and password of an account of this machine."""
    if os.geteuid() or not shutil.which("useradd") or not shutil.which("chpasswd"):
        pytest.skip("only root can make an account, with useradd and chpasswd")
    name, password = f"tuimon{os.getpid()}", secrets.token_hex(8)
    subprocess.run(["useradd", "--no-create-home", "--shell", "/bin/sh", name], check=True)
    try:
        subprocess.run(["chpasswd"], input=f"{name}:{password}\n", text=True, check=True)
        yield name, password
    finally:
        subprocess.run(["userdel", name], check=True)


@pytest.mark.nightly
def test_with_a_password_of_sshds_own_it_is_the_same(member: tuple[str, str], tmp_path: Path):
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    if python is None:
        pytest.skip("there is no Python that every account may start")
    name, password = member
    root = Path(tempfile.mkdtemp(prefix="tuimon-far-"))   # where somebody else may go
    try:
        with far_machine(root, "PasswordAuthentication yes\n") as far:
            run = healthy(root=far.runs)
            host = far.host("gate", delay=0.0, kind="bare", options=(
                f"User {name}\nBatchMode no\nPubkeyAuthentication no\nNumberOfPasswordPrompts 1"))
            (root / "python" / "python3").write_text(f'#!/bin/sh\nexec {python} -S -E "$@"\n')
            for path in (root, *root.rglob("*")):
                os.lchown(path, pwd.getpwnam(name).pw_uid, -1)
            env = {"TUIMON_SSH": str(root / "near" / "ssh"), "XDG_CACHE_HOME": str(tmp_path / "cache"),
                   "XDG_CONFIG_HOME": str(tmp_path / "config")}
            with Terminal([sys.executable, "-m", "tuimon", "watch", f"{host}:"], 100, 30, env) as near:
                near.wait_for("password:")
                near.press(f"{password}\n")
                near.wait_for("240/600")
                far.link(host).cut()
                near.wait_for("reconnecting")
                far.link(host).mend()
                near.wait_for("gate asks for a login")
                run.go(30)
                for answer in ("\x03", "wrong\n", f"{password}\n"):
                    near.press("R")
                    near.wait_for("password:")
                    near.press(answer)
                    near.wait_for("270/600" if password in answer else "press R to log in again")
                near.press("q")
                assert near.wait_for_exit() == 0
                assert near.echoes
    finally:
        shutil.rmtree(root)
