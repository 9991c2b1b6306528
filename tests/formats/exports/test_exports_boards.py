"""TensorBoard sees what was exported and mirrored: scalars, restarts, texts; a mirror goes on where it ended."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from exported import STARTED, Run

from tuimon.cli import main
from tuimon.errors import UsageError
from tuimon.formats import protobuf, read
from tuimon.formats.exports import wire
from tuimon.formats.exports.boards import incident
from tuimon.formats.exports.export import Wish, export
from tuimon.formats.exports.mirror import STATE, Mirror, follow
from tuimon.formats.sources import only
from tuimon.record.events import Event


def board(path):
    """What TensorBoard makes of a directory."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(str(path), size_guidance={"scalars": 0, "tensors": 0})
    found.Reload()
    return found


def texts(found, tag):
    return [(one.step, one.tensor_proto.string_val[0].decode()) for one in found.Tensors(tag)]


def test_tensorboard_reads_scalars_layers_texts_and_forgets_what_was_done_over(tmp_path):
    run = Run(tmp_path)
    run.steps(1, 9, lr=float("inf"))
    run.layers(3)
    run.incident(3)
    run.incident(8)
    run.begin(6)
    run.steps(7, 8)
    run.events.append("note", 8, STARTED, {"text": "a | b"})
    (tmp_path / "out").mkdir()
    export(only(str(run.dir.path)), Wish("tfevents", str(tmp_path / "out"), layers=True, events=True))
    found = board(tmp_path / "out")
    assert [(s.step, s.wall_time) for s in found.Scalars("loss")] == [(step, STARTED + step) for step in range(1, 9)]
    np.testing.assert_allclose([s.value for s in found.Scalars("loss")], [1.1, 2.1, 3.1, 4.1, 5.1, 6.1, 7.2, 8.2], rtol=1e-6)
    assert {s.value for s in found.Scalars("lr")} == {float("inf")}
    assert [(s.step, s.value) for s in found.Scalars("layer_grad_norm/blocks.0")] == [(3, 5.0)]
    assert texts(found, "tuimon/incidents")[:1] == [(3, "**warning** (opened): loss \\*spiked\\* since step 2 in `blocks.0`\n\nIt is 9 times its usual.\n\n`T103 loss-spike`")]
    assert "| model | `GPT '2L'` |" in texts(found, "tuimon/run")[0][1]
    assert "| text | `a \\| b` |" in texts(found, "tuimon/events/note")[0][1]


def test_records_of_different_shapes_keep_the_order_of_the_rows():
    steps = np.array([-5, 0, 127, 128, 300, 1 << 60])
    here = np.array([True, False, True, True, False, True])
    tags = {f"tag{i}": (np.arange(6.0) + i, here if i % 2 else ~here) for i in range(600)}
    data = wire.scalars(steps, steps * 1.0, tags)
    seen, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at:at + 8], "little")
        message = {number: value for number, _, value in protobuf.fields(data[at + 12:at + 12 + size])}
        seen.append(protobuf.signed(message[2]))
        at += size + 16
    assert seen == [step for step in steps.tolist() for _ in range(3)]


def test_an_incident_without_fields_is_told_nevertheless():
    assert incident(Event(0, 0.0, 1, 1, "incident", {})) == "**incident**: "


def test_a_mirror_writes_what_is_new_and_nothing_twice(tmp_path):
    run = Run(tmp_path)
    run.steps(1, 5)
    run.incident(4)
    before = {path: os.stat(path).st_mtime_ns for path in run.dir.path.rglob("*") if path.is_file()}
    first = Mirror(run.dir, str(tmp_path / "tb"))
    assert (first.turn(), first.turn()) == (5, 0)
    assert {path: os.stat(path).st_mtime_ns for path in run.dir.path.rglob("*") if path.is_file()} == before
    with pytest.raises(UsageError, match="another mirror is writing there"):
        Mirror(run.dir, str(tmp_path / "tb"))
    run.steps(6, 7)
    assert first.turn() == 2
    first.close()
    run.steps(8, 9)
    run.incident(9)
    second = Mirror(run.dir, str(tmp_path / "tb"))
    assert second.turn() == 2
    second.close()
    assert [chunk.steps.tolist() for chunk in read(second.folder).chunks] == [list(range(1, 10))]
    assert len(os.listdir(second.folder)) == 2
    found = board(second.folder)
    assert [s.step for s in found.Scalars("loss")] == list(range(1, 10))
    assert [step for step, _ in texts(found, "tuimon/incidents")] == [4, 9]


def test_what_a_killed_mirror_had_not_finished_is_written_once(tmp_path):
    run = Run(tmp_path)
    run.steps(1, 5)
    first = Mirror(run.dir, str(tmp_path / "tb"))
    first.turn()
    state = Path(first.folder, STATE).read_text()
    run.steps(6, 7)
    first.turn()
    first.close()
    Path(first.folder, STATE).write_text(state)
    with open(f"{first.folder}/{first.place.file}", "ab") as file:
        file.write(b"half a rec")
    second = Mirror(run.dir, str(tmp_path / "tb"))
    assert os.path.getsize(f"{second.folder}/{second.place.file}") == second.place.size
    assert second.turn() == 2
    second.close()
    assert [chunk.steps.tolist() for chunk in read(second.folder).chunks] == [list(range(1, 8))]


def test_layers_that_are_logged_before_their_row_do_not_push_it_out(tmp_path):
    run = Run(tmp_path)
    run.steps(1, 2)
    mirror = Mirror(run.dir, str(tmp_path / "tb"), layers=True)
    mirror.turn()
    run.layers(3)
    mirror.turn()
    run.steps(3, 4)
    mirror.turn()
    mirror.close()
    (chunk,) = read(mirror.folder).chunks
    assert chunk.measured("loss")[0].tolist() == [1, 2, 3, 4]
    assert chunk.tensors.steps.tolist() == [3]


def test_an_attempt_that_goes_back_is_mirrored_as_a_restart_also_by_a_later_mirror(tmp_path):
    run = Run(tmp_path)
    run.steps(1, 9)
    first = Mirror(run.dir, str(tmp_path / "tb"))
    first.turn()
    first.close()
    run.begin(5)
    run.steps(6, 7)
    second = Mirror(run.dir, str(tmp_path / "tb"))
    second.turn()
    second.close()
    found = board(second.folder)
    assert [s.step for s in found.Scalars("loss")] == list(range(1, 8))
    server = importlib.import_module("tensorboard.backend.event_processing.plugin_event_accumulator").EventAccumulator(second.folder)
    server.Reload()  # what TensorBoard's own server keeps, by another rule
    assert [one.step for one in server.Tensors("loss")] == list(range(1, 8))
    assert found.Scalars("loss")[-1].value == pytest.approx(7.2)


def test_a_mirror_waits_for_a_run_that_is_but_starting(tmp_path):
    run = Run(tmp_path)
    os.rename(run.dir.run_json, tmp_path / "aside")
    mirror = Mirror(run.dir, str(tmp_path / "tb"))
    run.steps(1, 2)
    assert mirror.turn() == 0
    os.rename(tmp_path / "aside", run.dir.run_json)
    assert mirror.turn() == 2
    mirror.close()


def test_a_mirror_whose_file_is_gone_begins_anew(tmp_path):
    run = Run(tmp_path)
    run.steps(1, 5)
    first = Mirror(run.dir, str(tmp_path / "tb"))
    first.turn()
    first.close()
    os.unlink(f"{first.folder}/{first.place.file}")
    second = Mirror(run.dir, str(tmp_path / "tb"))
    assert second.turn() == 5
    second.close()


@pytest.mark.parametrize("state", [None, "{}", '{"schema": 1, "run": "blind-owl", "file": "../x.tfevents", "size": 0, "attempt": 0, "step": null, "events": 0}', "[" * 9999])
def test_files_of_others_are_left_alone(tmp_path, state):
    run = Run(tmp_path)
    theirs = tmp_path / "tb" / "blind-owl" / "events.out.tfevents.1700000000.tuimon"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"theirs")
    if state is not None:
        (theirs.parent / STATE).write_text(state)
    with pytest.raises(UsageError, match="has event files already"):
        Mirror(run.dir, str(tmp_path / "tb"))
    assert theirs.read_bytes() == b"theirs"


def test_a_mirror_does_not_write_into_a_run(tmp_path):
    run = Run(tmp_path)
    (tmp_path / "link").symlink_to(run.dir.path)
    for root in (run.dir.path, run.dir.path / "tb", tmp_path / "link", tmp_path):
        with pytest.raises(UsageError, match="lies within the run"):
            Mirror(run.dir, str(root))
    assert not (run.dir.path / "tb").exists()


def test_a_mirror_ends_with_its_run_and_has_what_was_written_last(tmp_path):
    run = Run(tmp_path)
    mirror = Mirror(run.dir, str(tmp_path / "tb"))
    turns = []

    def is_over():
        run.steps(len(turns) + 1, len(turns) + 1)
        turns.append(1)
        return len(turns) == 3

    assert follow(mirror, is_over, lambda _: False) == 3
    mirror.close()
    assert mirror.place.step == 3


def test_the_command_follows_a_live_run_until_told_to_go(tmp_path):
    run = Run(tmp_path)
    run.steps(1, 3)
    command = [sys.executable, "-m", "tuimon", "mirror", str(run.dir.path), "--tensorboard", str(tmp_path / "tb")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as started:
        assert "Ctrl+C ends the mirror, not the run" in started.stdout.readline()
        state = tmp_path / "tb" / "blind-owl" / STATE
        deadline = time.monotonic() + 60
        while json.loads(state.read_text())["step"] != 3:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        started.send_signal(signal.SIGTERM)
        assert started.communicate(timeout=60)[0] == "mirrored up to step 3\n"
    assert started.returncode == 0


def test_once_writes_what_is_there(tmp_path, capsys):
    run = Run(tmp_path)
    run.steps(1, 2)
    assert main(["mirror", str(run.dir.path), "--tensorboard", str(tmp_path / "tb"), "--once"]) == 0
    assert capsys.readouterr().out == "mirrored up to step 2\n"
    assert main(["mirror", str(run.dir.path), "--tensorboard", str(run.dir.path / "x"), "--once"]) == 2
