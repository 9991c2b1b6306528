"""A run over a link is the run: exactly where it is short, in outline where it is long, and as new as the link allows."""

from __future__ import annotations

import json
import math
import random
import sys
from array import array
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pumped import Pumped
from writers import LogWriter

from tuimon.record.chunk import Mark
from tuimon.record.far import read_far
from tuimon.record.log import Row
from tuimon.record.reader import LogReader
from tuimon.record.rundir import RunDir, prepare_run
from tuimon.remote.far.rows import Rows, pack
from tuimon.remote.far.wire import WireError
from tuimon.remote.linked import make_folder
from tuimon.remote.mirror import Mirror

sys.path.insert(0, str(Path(__file__).parents[1] / "viewer"))
from synthetic import TENSORS, Run, collapsing, exploding, healthy


def test_a_short_run_is_the_same_over_the_link(tmp_path: Path):
    run = collapsing(root=tmp_path / "far", weighed=True).note("here")
    pumped = Pumped(tmp_path / "far", tmp_path / "near").settled()
    mirror = pumped.mirror
    assert mirror is not None
    (_, found, reader), original = pumped.read(), LogReader(run.dir.metrics)
    (there,) = original.poll()
    (here,) = found
    assert reader.damaged == 0
    assert here.steps.tolist() == there.steps.tolist()
    assert np.abs(here.times - there.times).max() <= 1 / 1024
    for name, values in there.columns.items():
        assert here.present[name].tolist() == there.present[name].tolist()
        np.testing.assert_array_equal(here.columns[name][here.present[name]], values[there.present[name]].astype(np.float32))
    for ours, theirs in ((here.tensors.grad, there.tensors.grad), (here.tensors.update, there.tensors.update),
                         (here.probes.values, there.probes.values), (here.weights.steps, there.weights.steps),
                         (here.weights.values, there.weights.values)):
        np.testing.assert_array_equal(ours, theirs)
    assert len(there.weights) == 75
    assert here.marks == there.marks
    assert mirror.run.events.read_bytes() == run.dir.events.read_bytes()
    ours, theirs = mirror.run.read_info(), run.dir.read_info()
    assert ours is not None
    assert theirs is not None
    assert ours.tensors == theirs.tensors
    assert ours.process.host != theirs.process.host, "no process of this machine is taken for that one"
    assert not mirror.far.thin
    assert mirror.far.alive is True


def test_what_happens_comes_after_it_in_order(tmp_path: Path):
    run = healthy(root=tmp_path / "far", steps=300)
    pumped = Pumped(tmp_path / "far", tmp_path / "near").settled()
    for turn in range(20):
        run.go(3)
        if turn == 10:
            run.note("now")
        pumped.turn(0.3)
    run.resume(250).go(40)
    for _ in range(20):
        pumped.turn(0.3)
    history, chunks, reader = pumped.read()
    assert reader.damaged == 0
    assert reader.attempt == 2
    assert history.last_step == 290
    assert [m.step for c in chunks for m in c.marks if m.kind == "note"] == [333]
    whole = LogReader(run.dir.metrics).poll()
    assert [c.steps.tolist() for c in chunks] == [c.steps.tolist() for c in whole]
    assert pumped.mirror is not None
    assert pumped.mirror.run.events.read_bytes() == run.dir.events.read_bytes()


def long_run(root: Path, rows: int) -> RunDir:
    run = RunDir(root / "long-20260101-000000-abcdef")
    root.mkdir(exist_ok=True)
    prepare_run(run)
    log = LogWriter(run.metrics, attempt=1, from_step=0, tensors=0)
    rng = np.random.default_rng(0)
    loss = 2 + rng.normal(size=rows) * 0.1
    loss[rows // 3], loss[rows // 2], loss[2 * rows // 3] = 50.0, -9.0, math.nan
    for at in range(0, rows, 1000):
        log.append([Row(s + 1, 1e9 + s, {"loss": float(loss[s]), "lr": 1e-3}) for s in range(at, min(rows, at + 1000))])
    log.append([Mark(rows, "note", {"text": "end"})])
    return run


def test_a_long_run_comes_in_outline_and_closely_where_it_is_looked_at(tmp_path: Path):
    rows = 60_000
    run = long_run(tmp_path / "far", rows)
    pumped = Pumped(tmp_path / "far", tmp_path / "near").settled()
    assert pumped.mirror is not None
    assert pumped.mirror.far.thin
    history, chunks, reader = pumped.read()
    assert reader.damaged == 0
    assert history.last_step == rows
    thin = history.thin("loss", 0, rows, 300)
    whole = LogReader(run.metrics).poll()
    assert sum(map(len, chunks)) < rows / 5
    assert np.nanmax(thin.high) == 50.0
    assert np.nanmin(thin.low) == -9.0
    assert abs(int(thin.steps[np.nanargmax(thin.high)]) - rows // 3) < rows / 100
    assert thin.bad.sum() == 1
    exact = np.concatenate([c.columns["loss"] for c in whole])[-200:].astype(np.float32)
    np.testing.assert_array_equal(np.concatenate([c.columns["loss"] for c in chunks])[-200:].astype(np.float32), exact)

    pumped.agent.receive({"k": "look", "first": 20_001, "last": 20_400}, b"", pumped.now)
    pumped.settled()
    history, chunks, reader = pumped.read()
    assert reader.damaged == 0
    steps = np.concatenate([c.steps for c in chunks])
    assert set(range(20_001, 20_401)) <= set(steps.tolist())
    pumped.agent.receive({"k": "look", "first": None, "last": None}, b"", pumped.now)
    history, chunks, reader = pumped.settled().read()
    assert sum(map(len, chunks)) < rows / 5


def test_the_first_picture_of_a_long_run_fits_a_second_of_a_modem(tmp_path: Path):
    long_run(tmp_path / "far", 60_000)
    pumped = Pumped(tmp_path / "far", tmp_path / "near", lag=1.0)
    pumped.until(lambda: pumped.mirror is not None and pumped.mirror.is_ready)
    assert pumped.carried < 8_000
    history, _, _ = pumped.read()
    assert history.last_step == 60_000


def test_while_a_long_log_is_read_there_its_newest_rows_stay_on_the_screen(tmp_path: Path):
    long_run(tmp_path / "far", 200_000)
    pumped = Pumped(tmp_path / "far", tmp_path / "near", lag=0.3)
    seen: set[tuple[bool, int]] = set()
    while not pumped.agent._settled:
        pumped.turn(2.0)
        if pumped.mirror is not None and pumped.mirror.is_ready:
            seen.add((pumped.agent._log.is_through, pumped.read()[0].last_step))
    assert seen == {(False, 200_000), (True, 200_000)}


def sent_per_second(tmp_path: Path, metrics: int, hertz: int, seconds: int = 20) -> float:
    run = RunDir(tmp_path / "far" / "wide-20260101-000000-abcdef")
    (tmp_path / "far").mkdir(parents=True)
    prepare_run(run)
    log, rng, step = LogWriter(run.metrics, attempt=1, from_step=0, tensors=0), np.random.default_rng(0), 0

    def go(count: int) -> None:
        nonlocal step
        for _ in range(count):
            step += 1
            log.append([Row(step, 1e9 + step / hertz, {f"metric_{i}": float(np.float32(v)) for i, v in enumerate(rng.normal(size=metrics))})])

    go(hertz)
    pumped = Pumped(tmp_path / "far", tmp_path / "near", lag=0.3).settled()
    before = pumped.carried
    for _ in range(seconds * 10):
        go(hertz // 10 or 1)
        pumped.turn(0.1)
    history, _, reader = pumped.read()
    assert reader.damaged == 0
    assert step - history.last_step <= hertz
    return (pumped.carried - before) / seconds


def test_the_link_keeps_its_budgets(tmp_path: Path):
    assert sent_per_second(tmp_path / "wide", 200, 10) <= 10_240
    assert sent_per_second(tmp_path / "usual", 20, 20) <= 4_096
    assert sent_per_second(tmp_path / "fast", 20, 1000, seconds=10) <= 10_240
    exploding(root=tmp_path / "idle" / "far").hold()
    pumped = Pumped(tmp_path / "idle" / "far", tmp_path / "idle" / "near").settled()
    before = pumped.carried
    for _ in range(600):
        pumped.turn(0.1)
    assert (pumped.carried - before) / 60 <= 300


def test_what_came_while_a_finer_picture_was_on_its_way_is_in_it(tmp_path: Path):
    run = Run(tmp_path / "far", name="healthy").go(2000)
    pumped = Pumped(tmp_path / "far", tmp_path / "near", lag=0.4)
    pumped.until(lambda: pumped.mirror is not None and pumped.mirror.is_ready)
    while not (pumped.agent._settled and pumped.agent._picture is None):
        run.go(1)
        pumped.turn(0.05)
    for _ in range(10):
        pumped.turn(0.3)
    history, chunks, reader = pumped.read()
    assert reader.damaged == 0
    assert history.last_step == run.step
    steps = np.concatenate([c.steps for c in chunks])
    assert (np.diff(steps) == 1).all()
    assert sum(len(c.tensors) for c in chunks) > 20
    assert len(TENSORS) == chunks[0].tensors.grad.shape[1]


def test_commands_are_handed_on_in_the_far_clock_and_only_where_that_was_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = healthy(root=tmp_path / "far", steps=50)
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.7 4242 10.0.0.1 22")
    told = {"schema": 1, "id": "abc-1", "verb": "hold", "args": {}, "attempt": 1, "issued": 1.0, "ttl": 300.0, "age": 2.0,
            "who": {"user": "ada", "uid": 1000, "host": "laptop", "pid": 7, "origin": "viewer"}}
    looking = Pumped(tmp_path / "far", tmp_path / "near").settled()
    looking.agent.receive({"k": "command"}, json.dumps(told).encode(), looking.now)
    assert run.commands() == []
    commanding = Pumped(tmp_path / "far", tmp_path / "near2", control=True).settled()
    for odd in (b"", b"[]", b"{", b"[" * 100_000, json.dumps({**told, "who": 3}).encode(), b"x" * 20_000):
        commanding.agent.receive({"k": "command"}, odd, commanding.now)
    commanding.agent.receive({"k": "command"}, json.dumps(told).encode(), commanding.now)
    (command,) = run.commands()
    assert (command.verb, command.who.user, command.who.host, command.who.origin) == ("hold", "ada", "laptop", "10.0.0.7")  # type: ignore[attr-defined]


def test_which_run_is_meant_is_said_as_at_home(tmp_path: Path):
    from tuimon.remote.far.files import named

    assert named(str(tmp_path), None)[1].startswith("no runs under")
    old = healthy(root=tmp_path, steps=5, alive=False).dir
    assert named(str(tmp_path), None)[0] == str(old.path), "the latest, where none is live"
    new = Run(tmp_path).dir
    assert named(str(tmp_path), None)[0] == str(new.path)
    for words in (new.name, str(new.path)):
        assert named(str(tmp_path), words)[0] == str(new.path)
    assert "synthetic" in named(str(tmp_path), "other")[1]
    assert "metrics/" in named(str(tmp_path), str(tmp_path))[1]


def odd_value(random_: random.Random) -> object:
    return random_.choice([None, True, -1, 0, 3, 1 << 70, 1.5, math.nan, "", "../x", "r" * 300, [], {}, [1], "loss", ["loss"], -(1 << 63)])


@given(st.integers(0, 1 << 30))
@settings(max_examples=100)
def test_a_hostile_far_end_writes_nothing_but_its_mirror_and_raises_nothing_else(tmp_path_factory: pytest.TempPathFactory, seed: int):
    """Whatever it sends: an odd message is a WireError, and all that it leaves lies in the mirror."""
    chance = random.Random(seed)
    base = tmp_path_factory.mktemp("odd")
    folder = base / "near"
    folder.mkdir()
    mirror = Mirror(folder, chance.choice(["run", "../../x", "", ".", "a/b", "\0", "…"]), "far", control=False)
    names = ["run.json", "events.jsonl", "console.log", "../run.json", "/etc/passwd", "autopsy/../x.json", "autopsy/a.json", "checkpoints/x/manifest.json", "metrics/r0-000.tlog", "far.json", "commands/new/x.json"]
    for _ in range(12):
        head = {"k": chance.choice(["file", "tail", "rows", "frame", "begin", "done", "alive", "beat", "x"]),
                "name": chance.choice([*names, odd_value(chance)]), "at": chance.choice([0, 0, 4, odd_value(chance)]),
                "size": chance.choice([0, 4, 8, odd_value(chance)]), "new": odd_value(chance), "g": chance.choice([1, 1, 2, None, odd_value(chance)]),
                "kind": chance.choice([*range(9), odd_value(chance)]), "n": odd_value(chance), "names": odd_value(chance), "wide": [], "sparse": odd_value(chance),
                "thin": odd_value(chance), "alive": odd_value(chance), "share": odd_value(chance), "wall": odd_value(chance), "mono": odd_value(chance), "state": odd_value(chance), "planes": odd_value(chance)}
        for name in chance.sample(sorted(head), chance.randint(0, 3)):
            if name != "k":
                del head[name]
        body = bytes(chance.randrange(256) for _ in range(chance.choice([0, 4, 8, 40])))
        try:
            mirror.take(head, chance.choice([body, b'{"attempt":1,"from_step":0}', b"null"]))
        except WireError:
            continue
    assert [p.name for p in base.iterdir()] == ["near"]
    assert [p.parent for p in folder.iterdir()] == [folder]
    LogReader(mirror.run.metrics).poll()
    assert read_far(mirror.run) is None or read_far(mirror.run)[0].host == "far"  # type: ignore[index]
    mirror.close()


def test_a_far_end_that_never_stops_fills_no_disk(tmp_path: Path):
    mirror = Mirror(tmp_path, "run", "far", control=False, most=100_000)
    mirror.take({"k": "begin", "g": 1, "thin": False}, b"")
    mirror.take({"k": "done", "g": 1}, b"")
    table = Rows(("x",), array("q", range(1000)), array("d", [0.0] * 1000), [array("d", [0.0] * 1000)], [None])

    def flood() -> None:
        for at in range(0, 100_000, 1000):
            table.steps = array("q", range(at, at + 1000))
            head, body = pack(table)
            mirror.take({"k": "rows", **head}, body)

    with pytest.raises(WireError, match="bytes of log"):
        flood()
    assert sum(p.stat().st_size for p in mirror.run.metrics.iterdir()) <= 100_000
    mirror.take({"k": "begin", "g": 1, "thin": False}, b"")   # of the link that is made anew
    mirror.close()


def test_a_home_that_machines_share_keeps_the_pictures_of_all(tmp_path: Path):
    (tmp_path / "far").mkdir()
    gone, mine = 2**22 - 3, make_folder(tmp_path)
    whose = mine.name.split("-")[1]
    for name in (f"{gone}-{whose}-00000000", f"{gone}-another.1-00000000"):
        (tmp_path / "far" / name / "run").mkdir(parents=True)
    make_folder(tmp_path)
    assert {p.name for p in (tmp_path / "far").iterdir()} >= {mine.name, f"{gone}-another.1-00000000"}
    assert not (tmp_path / "far" / f"{gone}-{whose}-00000000").exists()


def test_a_try_that_fails_is_no_word_from_the_other_machine(tmp_path: Path):
    mirror = Mirror(tmp_path, "run", "far", control=False)
    mirror.say()
    mirror.heard(1000.0)
    mirror.say(state="reconnecting", why="no route")
    found = read_far(mirror.run)
    assert found is not None
    assert (found[0].state, found[1]) == ("reconnecting", 1000.0), "else it would never be long since the last word"
    mirror.heard(1010.0)
    found = read_far(mirror.run)
    assert found is not None
    assert (found[0].state, found[1]) == ("live", 1010.0)
