"""Another machine, as far as OpenSSH can tell: a real sshd on loopback, reached by a real ssh, over links as bad as wanted.

Everything is its own: port, keys, configuration, programs, runs. The near side has `env`, where `ssh` reads our
ssh_config and nothing else; the far side has its own PATH, HOME and TUIMON_RUNS (`runs`), set by a forced command.
"""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

HERE = Path(__file__).resolve().parent
SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
MISSING = [name for name, found in (("sshd", SSHD), ("ssh", shutil.which("ssh")), ("ssh-keygen", shutil.which("ssh-keygen")))
           if not found]
"""What is not installed."""
MODEM, WEAK = 8_000.0, 32_000.0
"""Bytes a second: 64 and 256 kbit/s."""
TOOLS = ("sh", "env", "cat", "uname", "id", "mkdir", "rm", "true", "printf", "sleep", "stty")
"""What even the barest far side has."""

CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {root}/host_key
PidFile none
AuthorizedKeysFile {root}/user_key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
PrintLastLog no
UseDNS no
MaxStartups 100
AcceptEnv FAR_KIND
ForceCommand {root}/login
"""
LOGIN = """\
#!/bin/sh
# The far side: nothing of the account's own counts.
export HOME={home} LANG=C.UTF-8 TUIMON_RUNS={runs} XDG_CACHE_HOME={home}/cache XDG_CONFIG_HOME={home}/config FAR_MACHINE={root}
unset PYTHONPATH XDG_STATE_HOME XDG_RUNTIME_DIR
cd {home}
case "$FAR_KIND" in
    bare) PATH={root}/python:{root}/tools ;;
    nopython) PATH={root}/tools ;;
    *) PATH={root}/installed:{root}/python:/usr/bin:/bin ;;
esac
export PATH
if [ "$FAR_KIND" = noisy ]; then
    printf 'Welcome to node7.\\r\\n\\033[1;31m* 3 updates wait *\\033[0m\\n'
    echo 'mesg: ttyname failed: Inappropriate ioctl for device' >&2
fi
[ -n "$SSH_ORIGINAL_COMMAND" ] || exec /bin/sh
exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"
"""
CLIENT = """\
Host *
    HostName 127.0.0.1
    Port {port}
    User {user}
    IdentityFile {root}/user_key
    IdentitiesOnly yes
    IdentityAgent none
    HostKeyAlias far-machine
    UserKnownHostsFile {root}/known_hosts
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
    BatchMode yes
    LogLevel ERROR
"""


@dataclass(frozen=True, slots=True)
class Link:
    """A link that passes through slowpipe.py, for as many connections as are made."""

    place: Path

    def freeze(self) -> None:
        """Nothing goes through, and neither end hears of anything."""
        (self.place / "frozen").touch()

    def thaw(self) -> None:
        """Go on, with all that was under way."""
        (self.place / "frozen").unlink(missing_ok=True)

    def cut(self) -> None:
        """Both ends of every connection are closed; there is none before `mend`."""
        (self.place / "refused").touch()
        (self.place / "cut").touch()

    def mend(self) -> None:
        """Connections can be made again."""
        for name in ("cut", "refused", "frozen"):
            (self.place / name).unlink(missing_ok=True)

    def carried(self) -> tuple[int, int]:
        """Bytes that reached the far side and bytes that came back, of all connections so far, ssh's own included."""
        counts = [[int(n) for n in file.read_text().split()] for file in self.place.glob("bytes.*")]
        return sum(c[0] for c in counts if c), sum(c[1] for c in counts if c)

    @property
    def connections(self) -> list[int]:
        """Processes that carry one."""
        pids = [int(file.suffix[1:]) for file in self.place.glob("bytes.*")]
        return [pid for pid in pids if _runs(pid, str(self.place))]


class FarMachine:
    """The sshd, the hosts by which it is known, and the far side's files."""

    def __init__(self, root: Path, options: str = "") -> None:
        """`options`: lines for sshd_config, before its own: the first that is said counts."""
        self.root, self.runs, self.port = root, root / "runs", 0
        self._options = options
        self._sshd: subprocess.Popen[bytes] | None = None
        self._hosts: dict[str, str] = {}
        for name in ("runs", "home", "links", "near", "tools", "python", "installed"):
            (root / name).mkdir(mode=0o700)
        for name in ("host_key", "user_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", root / name], check=True)
        (root / "known_hosts").write_text("far-machine " + (root / "host_key.pub").read_text())
        self._programs()

    # ------------------------------------------------------------------ for tests

    @property
    def env(self) -> dict[str, str]:
        """Of the near side: what differs from the test's own environment."""
        return {"PATH": f"{self.root / 'near'}{os.pathsep}{os.environ['PATH']}", "SSH_AUTH_SOCK": ""}

    def host(self, name: str, *, delay: float | None = None, rate: float = 0.0, kind: str = "", options: str = "") -> str:
        """Make a host known to ssh, or change what it is. Its name.

        `delay` (seconds each way) and `rate` (bytes a second; 0: as it comes) put slowpipe.py between. `kind` is noisy,
        bare or nopython; `options` are more lines for ssh_config.
        """
        lines = [f"Host {name}", *(f"    {line}" for line in options.splitlines())]
        if kind:
            lines.append(f"    SetEnv FAR_KIND={kind}")
        if delay is not None:
            place = self.root / "links" / name
            place.mkdir(exist_ok=True)
            command = shlex.join([sys.executable, "-S", str(HERE / "slowpipe.py")])
            lines.append(f"    ProxyCommand {command} %h %p {delay} {rate} {shlex.quote(str(place))}")
        self._hosts[name] = "\n".join(lines) + "\n"
        client = CLIENT.format(port=self.port, user=getpass.getuser(), root=self.root)   # the first that is said counts
        (self.root / "ssh_config").write_text("\n".join([*self._hosts.values(), client]))
        return name

    def link(self, host: str) -> Link:
        """Of a host that has a `delay`."""
        return Link(self.root / "links" / host)

    def argv(self, host: str, command: str = "", *options: str) -> list[str]:
        """Of ssh to it, for a process that need not have `env`."""
        return [str(self.root / "near" / "ssh"), *options, "--", host, *([command] if command else [])]

    def run(self, host: str, command: str, **more: object) -> subprocess.CompletedProcess[str]:
        """Run a command over there."""
        return subprocess.run(self.argv(host, command), text=True, stdin=subprocess.DEVNULL, capture_output=True,  # type: ignore[call-overload]  # passed on
                              check=False, **{"timeout": 60, **more})

    def processes(self, *words: str) -> list[psutil.Process]:
        """What runs on the far side with all these among its arguments, orphans included."""
        found = []
        for process in psutil.process_iter():
            try:
                is_far = process.environ().get("FAR_MACHINE") == str(self.root)
                if is_far and process.status() != psutil.STATUS_ZOMBIE and set(words) <= set(process.cmdline()):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def log(self) -> str:
        """What sshd said."""
        return (self.root / "sshd.log").read_text(errors="replace")

    def restore(self) -> None:
        """As it was at first: no processes, no runs, links as they should be."""
        for link in (self.root / "links").iterdir():
            for pid in Link(link).connections:
                os.kill(pid, signal.SIGKILL)
            shutil.rmtree(link)
        for process in self.processes():
            try:
                process.kill()
            except psutil.Error:
                continue
        shutil.rmtree(self.runs)
        self.runs.mkdir(mode=0o700)
        self._hosts.clear()
        self._usual_hosts()

    # ------------------------------------------------------------------ its life

    def start(self) -> FarMachine:
        """Up and reachable; else the test is skipped, with the reason."""
        if os.geteuid() == 0:
            os.makedirs("/run/sshd", 0o755, exist_ok=True)
        self._open()
        self._usual_hosts()
        done = self.run("far", "true")
        if done.returncode:
            said = (self.log().strip() or done.stderr.strip()).splitlines()
            pytest.skip(f"sshd lets nobody in here: {said[-1] if said else done.returncode}")
        return self

    def stop(self) -> None:
        """And everything that still runs over there."""
        if self._sshd is not None:
            self._sshd.kill()
            self._sshd.wait()
        self.restore()

    def _open(self) -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if self._sshd is None or self._sshd.poll() is not None:   # somebody else may have taken that port
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", 0))
                    self.port = probe.getsockname()[1]
                (self.root / "sshd_config").write_text(self._options + CONFIG.format(port=self.port, root=self.root))
                with open(self.root / "sshd.log", "ab") as log:
                    self._sshd = subprocess.Popen(
                        [str(SSHD), "-D", "-e", "-f", str(self.root / "sshd_config")], stderr=log, stdin=subprocess.DEVNULL)
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        pytest.skip(f"sshd does not start here: {self.log().strip()[-300:]}")

    def _usual_hosts(self) -> None:
        self.host("far")
        self.host("line", delay=0.0)
        self.host("slow", delay=0.05, rate=MODEM)
        self.host("jump", options="ProxyJump far")
        for kind in ("noisy", "bare", "nopython"):
            self.host(kind, kind=kind)

    def _programs(self) -> None:
        repository = str(HERE.parents[1])
        base = getattr(sys, "_base_executable", sys.executable)
        programs: Mapping[str, str] = {
            "near/ssh": f'exec {shutil.which("ssh")} -F {shlex.quote(str(self.root / "ssh_config"))} "$@"',
            # neither tuimon nor anything else is installed for this one
            "python/python3": f'exec {shlex.quote(base)} -S -E "$@"',
            "installed/tuimon": f'PYTHONPATH={shlex.quote(repository)} exec {shlex.quote(sys.executable)} -m tuimon "$@"',
        }
        texts = {name: f"#!/bin/sh\n{line}\n" for name, line in programs.items()}
        quoted = {name: shlex.quote(str(path)) for name, path in (("root", self.root), ("home", self.root / "home"), ("runs", self.runs))}
        texts["login"] = LOGIN.format(**quoted)
        for name, text in texts.items():
            (self.root / name).write_text(text)
            (self.root / name).chmod(0o700)
        for tool in TOOLS:
            found = shutil.which(tool)
            if found:
                (self.root / "tools" / tool).symlink_to(found)


@contextmanager
def far_machine(root: Path, options: str = "") -> Iterator[FarMachine]:
    """One that is up; else the test is skipped."""
    if MISSING:
        pytest.skip(f"not installed: {', '.join(MISSING)}")
    machine = FarMachine(root, options)
    try:
        yield machine.start()
    finally:
        machine.stop()


def _runs(pid: int, word: str) -> bool:
    try:
        return word in psutil.Process(pid).cmdline()
    except psutil.Error:
        return False
