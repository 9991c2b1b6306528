"""Several machines at once, each over a link of its own: what one does or is not able to do is nothing to the others.

Instead of ssh there is a script that starts the far side here, as each machine is meant to be.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tuimon.cli import main
from tuimon.record.hosts import answered, ask, host_of, host_place, look_at, order, run_place
from tuimon.record.label import Label, read_label
from tuimon.record.merged import Merged
from tuimon.record.reader import LogReader
from tuimon.record.rundir import RunDir, cache_root
from tuimon.remote.far.wire import MAGIC, Packer
from tuimon.remote.host import Target, command, parse
from tuimon.remote.reached import listed, reached

sys.path.insert(0, str(Path(__file__).parents[1] / "viewer"))
import synthetic

SCRIPT = """#!/bin/sh
for word; do [ "$was" = -- ] && host=$word; was=$word; done
echo $$ >> {place}/pids
case $host in
    gone) echo 'ssh: connect to host gone port 22: No route to host' >&2; exit 255 ;;
    login) echo 'ada@login: Permission denied (publickey,password).' >&2; exit 255 ;;
    hangs) exec sleep 300 ;;
    noise) printf '\\033]0;owned\\007\\000TUIMON-FAR 1\\nxxxxxxxxxxxxxxxxxx'; exit 0 ;;
    old) case "$*" in *'command -v'*) cat {place}/old; exec cat > /dev/null ;; esac
        TUIMON_RUNS={place}/runs.node1; export TUIMON_RUNS; {sent} ;;
    bare) TUIMON_RUNS={place}/runs.node1; export TUIMON_RUNS; {sent} ;;
esac
TUIMON_RUNS={place}/runs.$host exec {python} -m tuimon agent
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where each machine has its runs, as runs.NAME."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TUIMON_SSH", str(tmp_path / "ssh"))
    sent = command(Target("x", None), sent=True)[-1]
    (tmp_path / "ssh").write_text(SCRIPT.format(place=tmp_path, python=sys.executable, sent=sent))
    (tmp_path / "ssh").chmod(0o700)
    (tmp_path / "old").write_bytes(MAGIC + Packer().pack({"k": "hello", "protocol": 1, "version": "0.0", "time": 0}))
    for name in ("node1", "node2"):
        (tmp_path / f"runs.{name}").mkdir()
    yield tmp_path
    for pid in map(int, (tmp_path / "pids").read_text().split()) if (tmp_path / "pids").exists() else ():
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            continue


def until(is_so: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


def targets(*words: str) -> list[Target]:
    return [parse(word) for word in words]


def test_machines_that_are_not_reached_hold_up_no_other(place: Path):
    one = synthetic.healthy(root=place / "runs.node1", steps=30)
    other = synthetic.Run(place / "runs.node2", alive=False, name="other").go(20).end()
    with listed(targets("hangs", "gone", "node1", "login", "noise", "node2"), control=False) as where:
        merged = Merged(place / "none", where)

        def hosts() -> dict[str, str]:
            merged.poll(time.time())
            return {host.name: host.state for host in merged.hosts}

        until(lambda: hosts() == {"hangs": "reaching", "gone": "unreached", "node1": "live", "login": "refused", "noise": "unreached", "node2": "live"})
        until(lambda: len(merged.poll(time.time()).entries) == 2)
        found = merged.poll(time.time()).entries
        assert [(entry.machine, entry.key) for entry in found] == [("node1", one.dir.name), ("node2", other.dir.name)]
        why = {host.name: host.why for host in merged.hosts}
        assert why["gone"] == "ssh: connect to host gone port 22: No route to host"
        assert "Permission denied" in why["login"]
        assert why["noise"]
        one.go(5)
        until(lambda: merged.poll(time.time()).entries[0].status.step == 35)
    assert not list((cache_root() / "far").iterdir())


@pytest.mark.parametrize("host", ["node1", "bare", "old"])
def test_a_run_of_the_list_is_opened_over_its_machines_link_and_given_up_when_nobody_looks(place: Path, host: str):
    run = synthetic.healthy(root=place / "runs.node1", steps=30)
    with listed(targets(host), control=False) as where:
        merged = Merged(place / "none", where)
        until(lambda: merged.poll(time.time()).entries)
        (entry,) = merged.poll(time.time()).entries
        near = RunDir(entry.path)
        look_at(near)
        until(lambda: near.run_json.exists() and LogReader(near.metrics).poll())
        run.go(5)
        until(lambda: look_at(near) or (LogReader(near.metrics).poll() or [None])[-1].steps[-1] == 35)
        assert len((place / "pids").read_text().split()) == 1 + (host == "old"), "one link"
        assert not near.commands.exists()
        os.utime(near.path.parent / "asked", (1.0, 1.0))
        until(lambda: not near.path.exists())
        look_at(near)
        until(near.run_json.exists)


@pytest.mark.parametrize("host", [pytest.param("node1", marks=pytest.mark.nightly), "bare"])
def test_runs_of_several_ranks_are_listed_and_opened_also_where_nothing_is_installed(place: Path, host: str):
    run = synthetic.ranked(3, 60, root=place / "runs.node1")
    with listed(targets(host), control=False) as where:
        merged = Merged(place / "none", where)
        until(lambda: merged.poll(time.time()).entries)
        (entry,) = merged.poll(time.time()).entries
        near = RunDir(entry.path)
        until(lambda: look_at(near) or ((chunks := LogReader(near.metrics).poll()) and chunks[-1].steps[-1] == 60))
        assert "grad_norm" in LogReader(near.metrics).poll()[-1].columns
        assert run.dir.name == entry.key
        assert len((place / "pids").read_text().split()) == 1, "one link"


def test_beside_a_run_that_is_watched_its_machine_tells_of_the_others(place: Path):
    one, other = synthetic.healthy(root=place / "runs.node1", steps=30), synthetic.exploding(root=place / "runs.node1")
    with reached(parse(f"bare:{one.dir.name}"), control=False) as near:
        host = host_of(near)
        assert host is not None
        where = host.path.parent
        assert not (host.path / "runs.jsonl").exists(), "it is not asked before somebody looks"
        merged = Merged(place / "none", where)
        until(lambda: len(merged.poll(time.time()).entries) == 2)
        paths = {entry.key: entry.path for entry in merged.poll(time.time()).entries}
        assert paths[one.dir.name] == near.path, "the one that is watched is one of them"
        look_at(RunDir(paths[other.dir.name]))
        until(lambda: LogReader(paths[other.dir.name] / "metrics").poll())
        one.go(3)
        until(lambda: LogReader(near.metrics).poll()[-1].steps[-1] == 33)


@pytest.mark.parametrize("way", ["list", "run"])
def test_a_run_of_the_list_that_is_watched_goes_on_after_a_drop(place: Path, way: str):
    one, other = synthetic.healthy(root=place / "runs.node1", steps=30), synthetic.exploding(root=place / "runs.node1")
    to = listed(targets("bare"), control=False) if way == "list" else reached(parse(f"bare:{one.dir.name}"), control=False)
    with to as found:
        where = found if way == "list" else found.path.parent.parent.parent
        merged = Merged(place / "none", where)
        until(lambda: len(merged.poll(time.time()).entries) == 2)
        near = RunDir({entry.key: entry.path for entry in merged.poll(time.time()).entries}[other.dir.name])
        look_at(near)
        until(lambda: LogReader(near.metrics).poll())
        kept = os.stat(near.path).st_ino
        os.kill(int((place / "pids").read_text().split()[0]), 9)
        until(lambda: merged.poll(time.time()) and merged.hosts[0].state == "reconnecting")
        other.go(7)
        until(lambda: look_at(near) or ((chunks := LogReader(near.metrics).poll()) and chunks[-1].steps[-1] == 267))
        assert os.stat(near.path).st_ino == kept, "what was seen stayed on the screen"
        if way == "run":
            one.go(3)
            until(lambda: LogReader(found.metrics).poll()[-1].steps[-1] == 33)
            assert found.read_info().name == "healthy"


@pytest.mark.parametrize("control", [True, False])
def test_what_is_ordered_is_done_there_where_control_was_asked_for(place: Path, control: bool):
    run = synthetic.Run(place / "runs.node1", alive=False, name="over").go(5).end()
    with listed(targets("node1"), control=control) as where:
        merged, host = Merged(place / "none", where), host_place(where, 0)
        until(lambda: merged.poll(time.time()).entries)
        order(host, 1, {"kind": "label", "run": run.dir.name, "name": "mine", "note": "hot"})
        until(lambda: answered(host, 1) is not None)
        assert answered(host, 1) == ("" if control else "this link only looks; --control lets it order")
        assert read_label(run.dir) == (Label("mine", "hot") if control else Label())
        order(host, 2, {"kind": "delete", "run": run.dir.name})
        until(lambda: answered(host, 2) is not None)
        assert run.dir.path.exists() is not control
        if control:
            until(lambda: not merged.poll(time.time()).entries)


def test_the_table_names_machines_and_its_status_says_whether_all_were_reached(place: Path, capsys: pytest.CaptureFixture[str]):
    run = synthetic.Run(place / "runs.node1", alive=False, name="over").go(60).end()
    synthetic.healthy(root=place / "runs.node2", steps=10)
    roll = place / "hosts"
    roll.write_text(f"node1\nnode2:{place}/runs.node2\n")
    assert main(["runs", "--hosts", str(roll)]) == 0
    said = capsys.readouterr()
    assert [line.split()[0] for line in said.out.splitlines()] == ["host", "node2", "node1"]
    assert said.err == ""
    roll.write_text("node1\ngone\nlogin\n")
    assert main(["runs", "--hosts", str(roll), "--json", "state:finished"]) == 3
    said = capsys.readouterr()
    (body,) = map(json.loads, said.out.splitlines())
    assert (body["machine"], body["run"], body["path"], body["step"]) == ("node1", run.dir.name, str(run.dir.path), 60)
    assert body["best_val_loss"] is not None
    assert said.err.splitlines() == ["tuimon: gone: ssh: connect to host gone port 22: No route to host",
                                     "tuimon: login: ada@login: Permission denied (publickey,password)."]
    roll.write_text("gone\n")
    assert main(["runs", "--hosts", str(roll)]) == 2


def test_who_watches_one_run_from_afar_is_not_kept_from_those_of_this_machine(place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TUIMON_READONLY", "")
    (place / "ssh").write_text(f'#!/bin/sh\necho "[$TUIMON_READONLY]" > {place}/told\nexit 255\n')
    for options, told in (([], "[]\n"), (["--control"], "[]\n"), (["--read-only"], "[1]\n")):
        assert main(["watch", "node1:", "--plain", *options]) == 2
        assert (place / "told").read_text() == told, options


def test_a_key_that_is_no_name_of_a_run_opens_nothing(place: Path):
    synthetic.healthy(root=place / "runs.node1", steps=5)
    with listed(targets("node1"), control=False) as where:
        host = host_place(where, 0)
        merged = Merged(place / "none", where)
        until(lambda: merged.poll(time.time()).entries)
        odd = RunDir(run_place(host, "../../etc"))
        ask(odd.path.parent)
        order(host, 1, {"kind": "label", "run": "../../etc", "name": "x", "note": ""})
        until(lambda: answered(host, 1) is not None)
        assert not odd.path.exists()
