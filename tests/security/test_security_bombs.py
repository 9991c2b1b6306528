"""Files that promise or nest too much cost a bounded share of memory and an answer in words, whichever reader meets them.

What else is known of readers stands beside them: tests/record and tests/formats cut, flip and invent bytes.
"""

from __future__ import annotations

import json
import os
import struct
import tempfile
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuimon.config.file import load
from tuimon.control import spool
from tuimon.control.commands import Command, encode
from tuimon.control.spool import Inbox
from tuimon.errors import LogError, TuimonError
from tuimon.formats import read
from tuimon.record import log
from tuimon.record.cache import Cache
from tuimon.record.console import ConsoleReader
from tuimon.record.events import EventReader, last_events
from tuimon.record.label import read_label
from tuimon.record.liveness import identity
from tuimon.record.reader import LogReader
from tuimon.record.rundir import RunInfo, create_run
from tuimon.record.status import status

MOST = 100 << 20
"""Bytes that a reader may hold at once of a file that is out to harm it."""
MANY = b"[" + b"[]," * 2_000_000 + b"[]]"
BOMBS = {
    "nested": b"[" * 200_000 + b"]" * 200_000, "nested objects": b'{"a":' * 100_000, "digits": b"9" * 200_000,
    "many lists": b'{"schema": 1, "argv": ' + MANY + b"}", "many numbers": b'{"schema": 1, "x": [' + b"1.5," * 3_500_000 + b"1]}",
    "one line": b'"' + b"x" * (10 << 20), "no text": b"\xff\x00" * (4 << 20), "control": b"\x1b[2J" * (1 << 20),
}


def _frame(kind, *counts):
    """A frame whose checksum is right and whose counts are not."""
    payload = struct.pack(f"<{len(counts)}I", *counts) + bytes(64)
    crc = zlib.crc32(payload, zlib.crc32(struct.pack("<BxHIQ", kind, log.VERSION, len(payload), 0)))
    return struct.pack("<4sBxHIIQ", log.MAGIC, kind, log.VERSION, len(payload), crc, 0) + payload


LOGS = {
    **{f"{name} {kind}": _frame(kind, *counts) for kind in (log.ROWS, log.TENSORS, log.PROBES, log.WEIGHTS)
       for name, counts in (("most", (2**32 - 1, 2**32 - 1)), ("wide", (1, 2**32 - 1)), ("long", (2**32 - 1, 0)), ("square", (2**16, 2**16)))},
    "length": struct.pack("<4sBxHIIQ", log.MAGIC, log.ROWS, log.VERSION, 2**32 - 1, 0, 0) + bytes(1000),
    "magic": log.MAGIC * 20_000,
}


@pytest.fixture
def bounded():
    """Fails a test that held more than MOST at once."""
    tracemalloc.start()
    yield
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MOST, f"{peak >> 20} MB"


@pytest.mark.parametrize("name", BOMBS)
def test_a_description_that_is_a_bomb_is_refused_in_one_line(tmp_path, bounded, name):
    run = create_run("x", tmp_path)
    run.run_json.write_bytes(BOMBS[name])
    run.launch_json.write_bytes(BOMBS[name])
    for readout in (run.read_info, run.read_launch):
        with pytest.raises(LogError) as caught:
            readout()
        assert "\n" not in str(caught.value)
    assert status(run).state == "unreadable"


@pytest.mark.parametrize("name", BOMBS)
def test_events_labels_consoles_commands_and_preferences_survive_a_bomb(tmp_path, bounded, name):
    run = create_run("x", tmp_path)
    spool.prepare(run.commands)
    good = json.dumps({"seq": 0, "time": 1.0, "attempt": 1, "step": 1, "kind": "note"}).encode()
    run.events.write_bytes(BOMBS[name] + b"\n" + good + b"\n")
    reader, found = EventReader(run.events), []
    while events := reader.poll():
        found += events
    assert [event.kind for event in found] == ["note"]
    assert [event.kind for event in last_events(run.events, 1 << 20)[0]] == ["note"]
    for path in (run.path / "label.json", run.console, run.commands / "new" / "a.json", tmp_path / "config.toml"):
        path.write_bytes(BOMBS[name])
    read_label(run)
    console = ConsoleReader(run.console)
    console.poll()
    assert sum(len(line) for line, _ in console.read(0, 50)) < 1 << 21
    console.close()
    (refused,) = Inbox(run.commands, 1).poll()
    assert refused.why.startswith("malformed")
    kept, problems = load(str(tmp_path / "config.toml"))
    assert kept == {}
    assert len(problems) == 1


@pytest.mark.parametrize("name", LOGS)
def test_a_frame_that_promises_too_much_costs_itself_alone(tmp_path, bounded, name):
    run = create_run("x", tmp_path)
    good = log.encode_rows(1, [log.Row(7, 1.0, {"loss": 2.0})])
    (run.metrics / "r0-000.tlog").write_bytes(LOGS[name] + good)
    reader, steps = LogReader(run.metrics), []
    while chunks := reader.poll():
        steps += [step for chunk in chunks for step in chunk.steps.tolist()]
    assert steps == [7]


@pytest.mark.parametrize("name", [
    "x.csv", "x.jsonl", "x.json", "trainer_state.json", "x.tfevents", "x.wandb", "events.out.tfevents.1.x"])
@pytest.mark.parametrize("bomb", ["nested", "nested objects", "digits", "no text", "wide"])
def test_no_log_of_another_tool_is_a_bomb(tmp_path, bounded, name, bomb):
    wide = b"loss," * 1_000_000 + b"step\n" + b"1," * 1_000_000 + b"1\n"
    (tmp_path / name).write_bytes(wide if bomb == "wide" else BOMBS[bomb])
    with pytest.raises(TuimonError) as caught:
        read(str(tmp_path / name))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_store_that_promises_gigabytes_is_none(tmp_path, bounded):
    cache = Cache(tmp_path / "cache")
    assert cache.store("a", {}, {"x": np.arange(3)})
    path = tmp_path / "cache" / "a.tuimon"
    for shape in ([2**40], [2**62, 4], [2**32, 2**32], [0] * 40, [1] * 100):
        header = json.dumps({"meta": {}, "arrays": [{"name": "x", "dtype": "<i8", "shape": shape, "crc": 0}]}).encode()
        path.write_bytes(struct.pack("<8sII", b"TUIMONC1", len(header), zlib.crc32(header)) + header + bytes(4096))
        found = cache.load("a")
        assert found is None or all(array.size == 0 for array in found.arrays.values())
    path.write_bytes(struct.pack("<8sII", b"TUIMONC1", 2**32 - 1, 0) + bytes(100))
    assert cache.load("a") is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([2**80, -(2**80), "NaN", 1e308, "\ud800"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4), max_leaves=8)


def _damaged_descriptions(folder, key, value, deeper):
    run = create_run("x", folder)
    run.write_info(RunInfo("x", identity(), argv=("a",)))
    body = json.loads(run.run_json.read_bytes())
    (body["process"] if deeper else body)[key] = value
    run.run_json.write_text(json.dumps(body))
    try:
        info = run.read_info()
    except LogError:
        pass
    else:
        assert isinstance(info.name, str)
        assert all(isinstance(word, str) for word in info.argv)
    status(run)


def _odd_commands(folder, raw, flips):
    spool.prepare(folder / "commands")
    body = bytearray(encode(Command("a1", "stop", issued=0.0)))
    for at, value in flips:
        body[at % len(body)] = value
    for i, data in enumerate((raw, bytes(body))):
        (folder / "commands" / "new" / f"{i}").write_bytes(data)
    for found in Inbox(folder / "commands", 1, clock=lambda: 0.0).poll():
        assert isinstance(found, Command) or found.why
        if isinstance(found, Command):
            assert found.who.uid == os.geteuid()


KEYS = st.sampled_from(["schema", "name", "process", "attempt", "argv", "started", "tensors", "probes", "versions", "eps", "total_steps",
                        "pid", "boot_id", "host", "unknown"])
FLIPS = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4)


@settings(max_examples=60)
@given(KEYS, JSON, st.booleans())
def test_a_description_with_anything_in_it_is_read_or_refused(tmp_path_factory, key, value, deeper):
    _damaged_descriptions(tmp_path_factory.mktemp("law"), key, value, deeper)


@settings(max_examples=60)
@given(st.binary(max_size=300), FLIPS)
def test_a_file_in_the_spool_is_a_command_or_is_refused(tmp_path_factory, raw, flips):
    _odd_commands(tmp_path_factory.mktemp("law"), raw, flips)


@pytest.mark.nightly
@settings(max_examples=5000)
@given(KEYS, JSON, st.booleans(), st.binary(max_size=2000), FLIPS)
def test_the_same_for_a_long_time(key, value, deeper, raw, flips):
    with tempfile.TemporaryDirectory() as folder:   # pytest's own way to name one would look through all those before
        _damaged_descriptions(Path(folder), key, value, deeper)
        _odd_commands(Path(folder), raw, flips)
