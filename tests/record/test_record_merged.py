"""Runs of several machines are one list; whatever another machine tells of its own costs it no more than its own entry."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuimon.record.far import REFUSED, Far, write_far
from tuimon.record.hosts import LIST, host_of, host_place, is_asked, look_at, run_place
from tuimon.record.merged import Elsewhere, Merged, entry_of
from tuimon.record.query import parse
from tuimon.record.rundir import RunDir
from tuimon.record.text import clean
from tuimon.remote.far.wire import WireError
from tuimon.remote.listed import MOST_RUNS, NUMBER, Listed

sys.path.insert(0, str(Path(__file__).parents[1] / "viewer"))
import synthetic

NOW = 1_800_000_000.0


def told(listed: Listed, changes: dict[str, Any], *, gone: tuple[str, ...] = (), left: int = 0) -> None:
    listed.take({"k": "runs", "c": NUMBER, "gone": list(gone), "left": left}, json.dumps(changes).encode())


def a_host(place: Path, number: int, name: str, *, control: bool = False) -> Listed:
    listed = Listed(host_place(place, number), name, None, control=control)
    listed.heard(NOW, NOW)
    listed.take({"k": "listed", "root": "/runs"}, b"")
    return listed


def test_runs_of_all_machines_stand_in_one_list_live_ones_first(tmp_path: Path):
    place = tmp_path / "place"
    place.mkdir()
    one, other = a_host(place, 0, "node1"), a_host(place, 1, "node2")
    (tmp_path / "runs").mkdir()
    here = synthetic.Run(tmp_path / "runs", alive=False, name="mine", began=NOW - 50).go(5).end().dir
    told(one, {"a-run": {"state": "running", "started": NOW - 100, "step": 7, "host": "n1.local"}, "same": {"state": "died", "started": NOW - 10}})
    told(other, {"same": {"state": "finished", "started": NOW - 20, "run_name": "theirs"}}, left=3)
    merged = Merged(tmp_path / "runs", place)
    found = merged.poll(NOW)
    assert [(entry.machine, entry.key) for entry in found.entries] == [("node1", "a-run"), ("node1", "same"), ("node2", "same"), ("", here.name)]
    assert len({entry.path for entry in found.entries}) == 4
    assert found.unread == 3
    assert [(host.name, host.state, host.count, host.unread) for host in merged.hosts] == [("node1", "live", 2, 0), ("node2", "live", 1, 3)]
    assert [entry.key for entry in found.entries if parse("host:node1").matches(entry, NOW)] == ["a-run", "same"]
    assert [entry.key for entry in found.entries if parse("host:n1.loc").matches(entry, NOW)] == ["a-run"]
    assert merged.poll(NOW) is found, "nothing is new: nothing is made anew"
    told(one, {"a-run": {"step": 8}}, gone=("same",))
    again = merged.poll(NOW)
    assert [(entry.machine, entry.key, entry.status.step) for entry in again.entries][:2] == [("node1", "a-run", 8), ("node2", "same", 0)]
    assert again.entries[1] is found.entries[2], "what is as it was stays what it is"


def test_a_run_that_several_machines_tell_of_is_one_where_it_trains(tmp_path: Path):
    """They share a home."""
    place = tmp_path / "place"
    place.mkdir()
    run = {"state": "running", "started": NOW - 100, "host": "node2.cluster", "pid": 42}
    for i in range(3):
        told(a_host(place, i, f"node{i + 1}"), {"a": run, "b": {**run, "host": "node9"}, "c": {"state": "died", "started": NOW}})
    merged = Merged(tmp_path / "none", place)
    assert [(entry.machine, entry.key) for entry in merged.poll(NOW).entries] == [
        ("node1", "b"), ("node2", "a"), ("node1", "c"), ("node2", "c"), ("node3", "c")]


def test_after_a_drop_what_is_gone_meanwhile_goes_and_the_rest_stays_in_sight(tmp_path: Path):
    listed, elsewhere = a_host(tmp_path, 0, "node1"), Elsewhere(RunDir(host_place(tmp_path, 0)))
    told(listed, {"a": {"state": "running", "started": NOW}, "b": {"state": "died", "started": NOW}})
    listed.say(state="reconnecting", why="broken pipe")
    elsewhere.poll()
    assert (elsewhere.host.state, len(elsewhere.entries)) == ("reconnecting", 2)
    listed.heard(NOW + 60, NOW + 60)
    listed.take({"k": "listed", "root": "/runs"}, b"")
    told(listed, {"b": {"state": "died", "started": NOW}}, left=1)
    elsewhere.poll()
    assert len(elsewhere.entries) == 2
    told(listed, {}, left=0)
    elsewhere.poll()
    assert [entry.key for entry in elsewhere.entries] == ["b"]
    assert elsewhere.host.since == NOW + 60


def test_how_a_machine_stands_is_told_apart(tmp_path: Path):
    place = RunDir(host_place(tmp_path, 0))
    place.path.mkdir()
    found = []
    for far in (Far("n"), Far("n", state="reaching"), Far("n", state="reconnecting", why="no route"), Far("n", state="reconnecting", since=NOW),
                Far("n", state=REFUSED, why="Permission denied"), Far("n\x1b[2J\u202e", state="\x1b")):
        write_far(place, far)
        elsewhere = Elsewhere(place)
        elsewhere.poll()
        found.append(elsewhere.host.state)
        assert elsewhere.host.name == "n"
    assert found == ["live", "reaching", "unreached", "reconnecting", "refused", "unreached"]


def test_clocks_that_differ_do_not_make_runs_older(tmp_path: Path):
    listed, elsewhere = Listed(host_place(tmp_path, 0), "n", None, control=False), Elsewhere(RunDir(host_place(tmp_path, 0)))
    told(listed, {"a": {"state": "running", "started": NOW - 3600 - 10, "last_sign": NOW - 3600}})
    elsewhere.poll()
    listed.heard(NOW, NOW - 3600)
    elsewhere.poll()
    (entry,) = elsewhere.entries
    assert (entry.started, entry.status.last_sign, entry.status.started) == (NOW - 10, NOW, NOW - 10)


def test_a_list_that_has_grown_is_written_anew_and_read_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tuimon.remote.listed.SPARE", 2000)
    listed, elsewhere = a_host(tmp_path, 0, "n"), Elsewhere(RunDir(host_place(tmp_path, 0)))
    for step in range(300):
        told(listed, {"a": {"state": "running", "started": NOW, "step": step}, f"b{step % 7}": {"state": "died", "started": NOW}})
        if step % 3 == 0:
            elsewhere.poll()
            assert {entry.key: entry.status.step for entry in elsewhere.entries}["a"] == step
    assert os.path.getsize(host_place(tmp_path, 0) / LIST) < 8000
    assert len(elsewhere.entries) == 8


json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
    st.text(max_size=6), inner, max_size=3), max_leaves=8)
fields = st.sampled_from(["state", "why", "step", "loss", "losses", "headline", "run_name", "label", "note", "started", "total", "argv", "model", "host", "pid",
                          "bytes", "world", "best_val", "verdict", "since", "last_sign", "mine"])


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(fields, json_values, max_size=8))
def test_an_entry_comes_of_whatever_is_told_and_its_texts_are_clean(told: dict[str, Any]):
    entry = entry_of(Path("/place/h0"), "a key", told, "node1")
    found = entry.status
    texts = [found.state, found.verdict, found.headline, found.why, entry.run_name, entry.label.name, entry.label.note, entry.optimizer, entry.model, entry.device,
             entry.host, *entry.argv]
    assert texts == [clean(text, 1000) for text in texts]
    assert found.step >= 0
    assert entry.size >= 0
    assert len(entry.losses) <= 32
    assert all(isinstance(loss, float) for loss in entry.losses)
    hash(entry)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.fixed_dictionaries({"k": st.sampled_from(["runs", "listed", "done", "error", "rows"])}, optional={
    "gone": json_values, "left": json_values, "root": json_values, "serial": json_values, "why": json_values}),
    st.dictionaries(st.text(max_size=12), json_values, max_size=3).map(json.dumps) | st.text(max_size=9)), max_size=5))
def test_a_hostile_far_end_is_a_wire_error_or_an_odd_entry_and_touches_nothing_else(messages: list[tuple[dict, str]]):
    with tempfile.TemporaryDirectory() as folder:
        suffer(Path(folder), messages)


def suffer(folder: Path, messages: list[tuple[dict, str]]) -> None:
    listed = Listed(host_place(folder, 0), "n", None, control=False)
    for head, body in messages:
        try:
            listed.take(head, body.encode("utf-8", "surrogatepass"))
        except WireError:
            continue
    elsewhere = Elsewhere(RunDir(host_place(folder, 0)))
    elsewhere.poll()
    assert [path.name for path in folder.iterdir()] == ["h0"]
    assert {path.name for path in host_place(folder, 0).iterdir()} <= {"far.json", LIST, "asked", "orders"}
    for entry in elsewhere.entries:
        assert entry.path.parent.parent == host_place(folder, 0)
        assert "/" not in entry.key


def test_names_are_no_paths_and_what_is_told_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tuimon.remote.listed.MOST_RUNS", 5)
    listed, elsewhere = a_host(tmp_path, 0, "n"), Elsewhere(RunDir(host_place(tmp_path, 0)))
    told(listed, {key: {"state": "running"} for key in ["..", ".", "", "a/b", "/etc", "x\x00", "y" * 256]})
    told(listed, {"large": {"state": "running", "note": "x" * 100_000}, "deep": {"state": "running", "unknown": [[[]]]}})
    told(listed, {f"run{i}": {"state": "running"} for i in range(20)})
    elsewhere.poll()
    assert sorted(entry.key for entry in elsewhere.entries) == ["deep", "run0", "run1", "run2", "run3"]
    assert "unknown" not in (host_place(tmp_path, 0) / LIST).read_text()
    assert MOST_RUNS >= 1000


def test_whoever_reads_a_far_run_keeps_it_up_and_nobody_else(tmp_path: Path):
    a_host(tmp_path, 0, "n")
    run = RunDir(run_place(host_place(tmp_path, 0), "some/../name"))
    assert run.path.parent.parent == host_place(tmp_path, 0)
    assert not is_asked(run.path.parent)
    look_at(run)
    assert is_asked(run.path.parent)
    assert not is_asked(run.path.parent, time.time() + 60)
    assert host_of(run) == RunDir(host_place(tmp_path, 0))
    mine = synthetic.healthy(root=tmp_path / "runs", steps=1).dir
    before = sorted(tmp_path.rglob("*"))
    look_at(mine)
    assert host_of(mine) is None
    assert sorted(tmp_path.rglob("*")) == before
