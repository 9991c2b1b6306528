"""A file of hosts names machines and nothing else; what is wrong with it is said in one line, with the line's number."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.cli import main
from tuimon.errors import UsageError
from tuimon.remote.host import Target, command
from tuimon.remote.reached import labels
from tuimon.remote.roll import MOST, read_roll, roll_of


def test_a_line_is_a_machine_and_where_its_runs_are():
    lines = ["# ours", "", "node1", "  ada@node2:/scratch/ada/runs   # the old one", "node3:", "[fe80::1%eth0]:~/my runs", "node1:/else#2"]
    assert roll_of(lines, "hosts") == [
        Target("node1", None), Target("ada@node2", "/scratch/ada/runs"), Target("node3", None), Target("[fe80::1%eth0]", "~/my runs"),
        Target("node1", "/else#2")]


@pytest.mark.parametrize("line", ["-oProxyCommand=touch x", "-lx@node", "ada@-oX:", "a b", "$(x)", "node;ls", ":", "@", "node\x1b[2J", "no\x00de", "node:/a\tb"])
def test_a_line_that_names_no_machine_is_refused_by_its_number(line: str):
    with pytest.raises(UsageError, match=r"^hosts, line 3: ") as caught:
        roll_of(["# ours", "node1", line, "node2"], "hosts")
    assert "\n" not in str(caught.value)


@given(st.lists(st.text(max_size=30), max_size=4))
def test_whatever_a_file_holds_no_option_of_ssh_comes_of_it(lines: list[str]):
    try:
        found = roll_of(lines, "hosts")
    except UsageError:
        return
    for target in found:
        words = command(target, alone=True, env={})
        assert words[-2] == target.host
        assert words[-3] == "--"
        assert not target.host.startswith("-")


def test_a_file_that_cannot_be_one_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = tmp_path / "hosts"
    for raw, why in ((b"\xff\xfe", "is no list of hosts"), (b"#" * (1 << 17), "longer than any"), (b"# none\n", "names no host"),
                     (b"a\nb\na\n", "line 3: 'a' stands in line 1 already"), ("\n".join(f"n{i}" for i in range(MOST + 1)).encode(), f"{MOST} are reached")):
        path.write_bytes(raw)
        with pytest.raises(UsageError, match=why):
            read_roll(str(path))
    for argv in (["runs", "--hosts", str(path)], ["runs", "--hosts", str(tmp_path / "none")], ["runs", "--hosts", str(tmp_path)]):
        assert main(argv) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


def test_machines_are_called_as_shortly_as_tells_them_apart():
    named = [Target("ada@node1", None), Target("node2", None), Target("bob@node2", None), Target("node3", "/a"), Target("node3", "/b")]
    assert labels(named) == ["node1", "node2", "bob@node2", "node3:/a", "node3:/b"]


def test_several_runs_of_one_command_line_are_machines(capsys: pytest.CaptureFixture[str]):
    for argv, why in ((["watch", "one", "two:"], "HOST: with nothing behind"), (["watch", "one:", "two:"], "needs a screen"), (["watch", "a:", "--hosts", "x"], "either runs"), (["watch", "--slurm", "3", "a:", "b:"], "either runs")):
        assert main(argv) == 2
        said = capsys.readouterr().err
        assert len(said.splitlines()) == 1
        assert any(word in said for word in why.split("|"))
