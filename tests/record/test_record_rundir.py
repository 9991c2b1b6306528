"""The run directory: what is written is what is read, a dead run says so, and names are labels."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from writers import EventWriter, LogWriter

from tuimon.errors import LogError, RunNotFound, UsageError
from tuimon.record.events import EventReader, last_events
from tuimon.record.label import NO_LABEL, Label, read_label, write_label
from tuimon.record.liveness import identity, is_alive
from tuimon.record.rundir import Launch, RunInfo, create_run, label, list_runs, runs_root
from tuimon.record.runs import find_run
from tuimon.record.segments import LogReader, Row
from tuimon.record.sketch import losses_of
from tuimon.record.status import TAIL_BYTES, status
from tuimon.record.tensors import TensorEntry, TensorTable, layer_of
from tuimon.remote.far.glance import Said


def info(**more) -> RunInfo:
    return RunInfo(name="x", process=identity(), started=1.0, tensors=(TensorEntry("a.weight", (2, 3), "float32"),), **more)


def started_run(root: Path, name="x", *, events=(), process=None):
    run = create_run(name, root)
    run.write_info(replace(info(), process=process) if process else info())
    writer = EventWriter(run.events, 1)
    for kind, fields in (("attempt", {}), *events):
        writer.append(kind, 3, 0.0, fields)
    writer.close()
    return run


def dead_process():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        who = identity(child.pid)
        assert is_alive(who)
        child.kill()
    return who


def test_run_and_launch_come_back_as_written(tmp_path):
    run = create_run("my run", tmp_path)
    assert run.read_info() is None
    given_info = info(eps=1e-8, total_steps=10, versions={"torch": "2"})
    run.write_info(given_info)
    assert run.read_info() == given_info
    launch = Launch("n", "exploding", "the lr runs away", 600, 3, 1.5, identity())
    run.write_launch(launch)
    assert run.read_launch() == launch


def test_a_damaged_run_json_is_one_line_and_the_list_still_works(tmp_path):
    run = started_run(tmp_path)
    run.run_json.write_text("{")
    with pytest.raises(LogError, match="not JSON"):
        run.read_info()
    assert status(run).state == "unreadable"
    run.run_json.write_text(json.dumps({"schema": 1, "name": 3}))
    with pytest.raises(LogError, match="not one of ours"):
        run.read_info()


def test_a_killed_run_has_died_and_a_live_one_has_not(tmp_path):
    running = ("state", {"state": "running"})
    assert status(started_run(tmp_path, events=[running])).state == "running"
    assert status(started_run(tmp_path, events=[running], process=dead_process())).state == "died"
    ended = [running, ("end", {"state": "finished"})]
    assert status(started_run(tmp_path, events=ended, process=dead_process())).state == "finished"


def test_a_reused_process_number_is_not_the_same_process():
    me = identity()
    assert is_alive(me)
    assert not is_alive(replace(me, started=me.started - 100, since_boot=(me.since_boot or 0) - 100))
    assert not is_alive(replace(me, started=me.started - 100, since_boot=None))  # as an older tuimon wrote it
    assert not is_alive(replace(me, boot_id="another"))
    assert is_alive(replace(me, host="elsewhere")) is None


@pytest.mark.skipif(identity().since_boot is None, reason="this system does not tell when a process began since boot")
def test_a_clock_that_was_set_does_not_kill_a_run(monkeypatch, tmp_path):
    run = started_run(tmp_path, events=[("state", {"state": "running"})], process=identity())
    began = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: began(self) + 3600)
    assert status(run).state == "running"


@pytest.mark.parametrize("leads", ["b", "c", "", "gone", None, 3])
def test_of_incidents_equally_bad_a_list_names_the_one_that_the_panel_names_here_and_far_away(tmp_path, leads):
    told = [("a", "warning", None), ("b", "critical", "b"), ("c", "critical", leads)]
    run = started_run(tmp_path, events=[("state", {"state": "running"}), *(
        ("incident", {"rule": rule, "severity": severity, "change": "opened", "headline": rule.upper(), "leads": first})
        for rule, severity, first in told)])
    said = Said()
    for line in run.events.read_text().splitlines():
        said.take(json.loads(line))
    assert status(run).headline == said.worst()[1] == ("C" if leads == "c" else "B")


def test_status_tells_step_loss_verdict_and_the_last_sign_of_life(tmp_path):
    run = started_run(tmp_path, events=[
        ("state", {"state": "running"}),
        ("incident", {"rule": "a", "severity": "warning", "change": "opened", "headline": "A"}),
        ("incident", {"rule": "b", "severity": "critical", "change": "opened", "headline": "B"}),
        ("incident", {"rule": "c", "severity": "critical", "change": "opened", "headline": "C"}),
        ("incident", {"rule": "c", "severity": "critical", "change": "resolved", "headline": "C"}),
    ])
    writer = LogWriter(run.metrics, attempt=1, from_step=0, tensors=0)
    writer.append([Row(1, 5.0, {"loss": 2.0}), Row(2, 6.0, {"loss": math.inf})])
    writer.beat(7.0, 0.0, "running")
    writer.close()
    found = status(run)
    assert (found.step, found.loss, found.last_sign, found.verdict, found.headline) == (2, math.inf, 7.0, "critical", "B")
    assert found.is_live


def test_the_status_of_a_long_run_is_read_from_the_ends_of_its_logs(tmp_path, monkeypatch):
    snapshots = [("snapshot", {"snapshot_step": i}) for i in range(8000)]
    run = started_run(tmp_path, events=[
        ("state", {"state": "running"}), *snapshots,
        ("incident", {"rule": "b", "severity": "critical", "change": "opened", "headline": "B"}),
    ])
    writer = LogWriter(run.metrics, attempt=1, from_step=0, tensors=0)
    for i in range(1, 8000):
        writer.append([Row(i, float(i), {"loss": 2.0})])
    writer.beat(9000.0, 0.0, "paused")
    writer.append([Row(8000, 8000.0, {"lr": 1.0})])
    writer.close()
    read, pread = [], os.pread
    monkeypatch.setattr(os, "pread", lambda fd, n, at: read.append(pread(fd, n, at)) or read[-1])
    found = status(run)
    assert (found.state, found.attempt, found.step, found.loss) == ("paused", 1, 8000, 2.0)
    assert (found.last_sign, found.verdict) == (8000.0, "critical")
    assert sum(map(len, read)) <= TAIL_BYTES < run.events.stat().st_size / 2
    with open(run.events, "ab") as file:
        file.write(b'{"seq": 1, "half a line')
    assert status(run) == found
    run.events.unlink()
    assert status(run).state == "starting"


def test_find_run_prefers_the_live_one_and_says_what_there_is(tmp_path):
    with pytest.raises(RunNotFound, match="tuimon demo exploding"):
        find_run(None, tmp_path)
    alive = started_run(tmp_path, "alpha")
    dead = started_run(tmp_path, "beta", process=dead_process())
    assert find_run(None, tmp_path) == alive
    assert find_run("be", tmp_path) == dead
    assert find_run(dead.name, tmp_path) == dead
    assert find_run(str(dead.path), tmp_path) == dead
    with pytest.raises(RunNotFound, match="alpha-"):
        find_run("gamma", tmp_path)
    started_run(tmp_path, "alp")
    with pytest.raises(UsageError, match="fits several"):
        find_run("al", tmp_path)
    with pytest.raises(RunNotFound, match="metrics"):
        find_run("./nowhere/", tmp_path)


@given(st.text(max_size=200))
def test_any_name_is_a_harmless_label(name):
    made = label(name)
    assert 1 <= len(made) <= 60
    assert "/" not in made
    assert made not in (".", "..")
    assert not made.startswith((".", "-"))
    assert made.isascii()


def test_the_root_follows_the_environment():
    assert runs_root({"TUIMON_RUNS": "/a/b"}) == Path("/a/b")
    assert runs_root({"XDG_STATE_HOME": "/s"}) == Path("/s/tuimon/runs")
    assert runs_root({"XDG_STATE_HOME": "relative"}) == Path.home() / ".local/state/tuimon/runs"


def test_run_directories_are_private_whatever_the_umask(tmp_path):
    old = os.umask(0)
    try:
        run = create_run("x", tmp_path / "deep" / "root")
        run.write_info(info())
    finally:
        os.umask(old)
    assert {p.stat().st_mode & 0o777 for p in (run.path, run.metrics, run.commands, run.checkpoints)} == {0o700}
    assert run.run_json.stat().st_mode & 0o777 == 0o600
    assert [r.name for r in list_runs(tmp_path / "deep" / "root")] == [run.name]


def test_events_come_back_and_damage_costs_its_own_line(tmp_path):
    path = tmp_path / "events.jsonl"
    writer, reader = EventWriter(path, 2), EventReader(path)
    writer.append("note", 7, 1.5, {"text": "NaN", "loss": math.nan, "lr": 0.1})
    (event,) = reader.poll()
    assert (event.kind, event.step, event.attempt, event.time) == ("note", 7, 2, 1.5)
    assert event.text("text") == "NaN"
    assert math.isnan(event.number("loss"))
    assert event.number("lr") == 0.1
    assert event.number("missing") is None
    with path.open("ab") as file:
        file.write(b'{"half": ')
    assert reader.poll() == []
    again = EventWriter(path, 3)
    again.append("state", 8, 2.0, {"state": "running"})
    assert [e.kind for e in reader.poll()] == ["state"]
    assert reader.damaged == 1
    for line in path.read_bytes().split(b"\n"):
        assert line.isascii()


@given(st.binary(max_size=300))
def test_arbitrary_event_bytes_never_raise(tmp_path_factory, raw):
    path = tmp_path_factory.mktemp("e") / "events.jsonl"
    path.write_bytes(raw + b"\n")
    reader = EventReader(path)
    lines = [line for line in (raw + b"\n").split(b"\n") if line.strip()]
    assert len(reader.poll()) + reader.damaged == len(lines)


def test_layers_are_named_by_their_first_index():
    assert layer_of("blocks.3.mlp.fc2.weight") == "blocks.3"
    assert layer_of("transformer.h.11.attn.weight") == "transformer.h.11"
    assert layer_of("embed.weight") == "embed"
    assert layer_of("bias") == "bias"


def test_layer_rms_is_over_the_elements_that_had_a_gradient():
    import numpy as np

    from tuimon.record.chunk import TensorRows
    from tuimon.record.layered import LayerGroups

    table = TensorTable((TensorEntry("b.0.w", (4,), "f"), TensorEntry("b.0.v", (12,), "f"), TensorEntry("c.w", (1,), "f")))
    rows = TensorRows(
        np.array([1]), np.array([[4.0, 9.0, 1.0]], np.float32), np.full((1, 3), np.nan, np.float32),
        np.array([[True, False, False]]),
    )
    groups = LayerGroups.of(table)
    values, _ = groups.grad_rms(rows)
    assert groups.names == ("b.0", "c")
    assert values[0, 0] == pytest.approx(2.0)
    assert math.isnan(values[0, 1])


@pytest.mark.parametrize("put", [os.mkfifo, lambda path: os.symlink("/dev/zero", path)], ids=["pipe", "link"])
def test_what_is_no_file_in_the_place_of_one_is_not_waited_for(tmp_path, put):
    run = started_run(tmp_path)
    for path in (run.console, run.events, run.run_json, run.metrics / "r0-000.tlog", run.path / "label.json"):
        path.unlink(missing_ok=True)
        put(path)
    with pytest.raises(LogError, match="cannot read run"):
        run.read_info()
    assert status(run).state == "unreadable"
    assert run.last_words() is None
    assert EventReader(run.events).poll() == []
    assert last_events(run.events, 1 << 16) == ([], True)
    assert LogReader(run.metrics).poll() == []
    assert losses_of(run.metrics) == ()
    assert read_label(run) == NO_LABEL


def test_a_run_is_found_by_the_name_that_was_given_to_it_as_well(tmp_path):
    first, second = create_run("gpt", tmp_path), create_run("gpt", tmp_path)
    write_label(first, Label("too hot"))
    assert find_run("too hot", tmp_path) == find_run("too", tmp_path) == first
    assert find_run("gpt", tmp_path) in (first, second)   # the beginning of both, which are called the same
    write_label(second, Label("too cold"))
    with pytest.raises(UsageError, match="fits several runs"):
        find_run("too", tmp_path)
