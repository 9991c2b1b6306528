"""Files that the libraries themselves wrote, whole, cut off and damaged, and directories as their trainings leave them."""

from __future__ import annotations

import gzip
import json
import math
import os
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from tuimon.errors import LogError
from tuimon.formats import Reading, only, read, sources
from tuimon.formats.crc32c import masked_crcs
from tuimon.formats.names import metric_of
from tuimon.record.metrics import METRICS
from tuimon.record.rundir import create_run
from tuimon.record.segments import LogWriter, Row

HERE = Path(__file__).parent / "data"
EVENTS = HERE / "tfevents" / "one" / "events.out.tfevents.1000000000.host.1.0"


def loss(step: int) -> float:
    """What the fixtures were made with."""
    return math.nan if step >= 180 else 2.0 + 3.0 * math.exp(-step / 40)


def column(reading: Reading, name: str) -> tuple[list[int], np.ndarray]:
    found = [chunk.measured(name) for chunk in reading.chunks]
    return np.concatenate([s for s, _ in found]).tolist(), np.concatenate([v for _, v in found])


def events(scalars: list[tuple[int, bytes, float]]) -> bytes:
    """An event file as its format is described: framing, checksums, one scalar an event."""
    written = b""
    for step, tag, value in scalars:
        inner = b"\x0a" + bytes([len(tag)]) + tag + b"\x15" + struct.pack("<f", value)
        message = b"\x09" + struct.pack("<d", 1.0) + b"\x10" + bytes([step]) + b"\x2a" + bytes([len(inner) + 2]) + b"\x0a" + bytes([len(inner)]) + inner
        head = struct.pack("<Q", len(message))
        first, second = (int(masked_crcs([part])[0]) for part in (head, message))
        written += head + struct.pack("<I", first) + message + struct.pack("<I", second)
    return written


@pytest.fixture
def offline(tmp_path) -> Path:
    path = tmp_path / "run-abcdefgh.wandb"
    path.write_bytes(gzip.decompress((HERE / "offline.wandb.gz").read_bytes()))
    return path


@pytest.mark.parametrize(("folder", "every"), [("one", 1), ("tensors", 10)])
def test_event_files_of_both_styles_give_back_what_was_logged(folder, every):
    reading = read(HERE / "tfevents" / folder)
    steps, values = column(reading, "loss")
    assert steps == list(range(0, 200, every))
    np.testing.assert_allclose(values, [loss(s) for s in steps], rtol=1e-6)
    assert column(reading, "val_loss")[0] == [0, 50, 100, 150]
    assert (reading.kind, reading.cadence) == ("tfevents", every)
    assert reading.columns == {"loss": "train/loss", "val_loss": "val/loss", "grad_norm": "grad_norm"}
    assert reading.chunks[0].times.tolist() == [1e9 + s for s in steps]


def test_a_directory_with_the_event_files_of_a_resumed_run_is_one_run_in_two_attempts():
    reading = read(HERE / "tfevents" / "resumed")
    assert [(int(c.steps[0]), int(c.steps[-1])) for c in reading.chunks] == [(0, 99), (80, 199)]
    assert [m.kind for c in reading.chunks for m in c.marks] == ["attempt"]
    assert reading.notes == ("resumed at step 80",)


def test_a_tree_of_several_runs_is_listed_not_guessed_at():
    assert [os.path.basename(s.path) for s in sources(str(HERE / "tfevents"))] == ["one", "resumed", "tensors"]
    with pytest.raises(LogError, match=r"holds 3 runs, name one of 'one', 'resumed', 'tensors'"):
        read(HERE / "tfevents")


def test_train_and_validation_folders_are_one_run(tmp_path):
    for sub, offset in (("train", 0), ("validation", 1)):
        (tmp_path / "fit" / sub).mkdir(parents=True)
        (tmp_path / "fit" / sub / "events.out.tfevents.1.x.v2").write_bytes(events([(s, b"epoch_loss", s + offset) for s in range(20)]))
    reading = read(tmp_path / "fit")
    assert column(reading, "loss")[1].tolist() == list(range(20))
    assert column(reading, "val_loss")[1].tolist() == list(range(1, 21))
    assert reading.columns == {"loss": "epoch_loss", "val_loss": "val/epoch_loss"}
    assert reading.notes == ()


def test_a_training_loop_that_was_run_again_with_the_same_writer_is_two_attempts(tmp_path):
    path = tmp_path / "events.out.tfevents.1.x"
    path.write_bytes(events([(s, b"Loss/train", s) for _ in range(2) for s in range(20)]))
    assert [len(chunk) for chunk in read(path).chunks] == [20, 20]


def test_a_wandb_file_gives_back_what_was_logged_across_its_blocks(offline):
    assert offline.stat().st_size > 2 * (1 << 15)
    for path in (offline, offline.parent):
        reading = read(path)
        steps, values = column(reading, "loss")
        assert steps == list(range(200))
        np.testing.assert_array_equal(values, [loss(s) for s in steps])
        np.testing.assert_array_equal(column(reading, "grad_norm")[1], [1 + s / 1000 for s in steps])
        assert reading.chunks[0].tensors.steps.tolist() == list(range(0, 200, 10))
        assert reading.context.layers == {"b0": (0,), "b1": (1,)}
        assert (reading.kind, reading.state, reading.notes) == ("wandb", "finished", ())


def test_a_trainer_state_gives_back_its_history_with_the_losses_that_its_filter_hid():
    reading = read(HERE / "trainer_state.json")
    history = json.loads((HERE / "trainer_state.json").read_text())["log_history"]
    hidden = [r["step"] for r in history if r.get("loss") == 0.0]
    steps, values = column(reading, "loss")
    assert steps == list(range(5, 101, 5))
    assert hidden == [s for s, v in zip(steps, values, strict=True) if math.isnan(v)] == [80, 85, 90, 95, 100]
    assert column(reading, "val_loss")[0] == [50, 100]
    assert (reading.state, reading.context.total_steps, reading.cadence) == ("finished", 100, 5)
    assert any("5 losses of 0.0" in note for note in reading.notes)


def test_a_loss_of_zero_beside_a_finite_gradient_stays_zero(tmp_path):
    rows = [{"step": 1, "loss": 0.0, "grad_norm": 0.5}, {"step": 2, "loss": 0.0, "grad_norm": "nan"}]
    (tmp_path / "trainer_state.json").write_text(json.dumps({"log_history": rows}))
    np.testing.assert_array_equal(column(read(tmp_path), "loss")[1], [0.0, math.nan])


def test_a_trainers_output_directory_is_its_newest_checkpoint(tmp_path):
    for step in (5, 10, 100):
        (tmp_path / f"checkpoint-{step}").mkdir()
        body = {"log_history": [{"step": s, "loss": 1.0} for s in range(1, step + 1)], "global_step": step, "max_steps": 200}
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(json.dumps(body))
    shutil.copytree(HERE / "tfevents" / "one", tmp_path / "runs" / "today")
    reading = read(tmp_path)
    assert (sum(map(len, reading.chunks)), reading.kind, reading.state) == (100, "trainer state", "unknown")
    assert sum(map(len, read(tmp_path / "checkpoint-10").chunks)) == 10


def test_lightnings_metrics_are_one_row_a_step(tmp_path):
    shutil.copytree(HERE, tmp_path / "version_0", ignore=lambda _, names: [n for n in names if n != "metrics.csv"])
    reading = read(tmp_path)
    assert column(reading, "loss")[0] == list(range(1, 60, 2))
    assert column(reading, "val_loss")[0] == [19, 39, 59]
    assert column(reading, "lr")[1].tolist() == [0.01] * 30
    assert dict(reading.columns) == {"loss": "train_loss_step", "val_loss": "val_loss", "lr": "lr-AdamW"}
    assert [len(c) for c in reading.chunks] == [30]
    assert reading.cadence == 2


def test_a_run_of_ours_is_read_by_its_directory_and_by_its_metrics_file(tmp_path):
    run = create_run("mine", tmp_path)
    writer = LogWriter(run.metrics, attempt=1, from_step=0, tensors=0)
    writer.append([Row(i, float(i), {"loss": 1.0}) for i in range(1, 51)])
    writer.close()
    for path in (run.path, next(run.metrics.iterdir())):
        reading = read(path)
        assert (reading.name, reading.kind, sum(map(len, reading.chunks))) == (run.name, "run", 50)
    assert only(str(tmp_path)).kind == "run"
    lost = tmp_path / "r0-000.tlog"
    lost.write_bytes(b"")
    with pytest.raises(LogError, match="belongs into RUN/metrics"):
        read(lost)


def test_a_cut_event_file_keeps_what_is_whole(tmp_path):
    data = EVENTS.read_bytes()
    for size in (len(data) - 3, len(data) // 2, len(data) // 3 + 5):
        path = tmp_path / "events.out.tfevents.1.x"
        path.write_bytes(data[:size])
        reading = read(path)
        steps, values = column(reading, "loss")
        np.testing.assert_allclose(values, [loss(s) for s in steps], rtol=1e-6)
        assert 0 < len(steps) <= 200
        assert "torn" in reading.notes[0]


def test_a_cut_wandb_file_keeps_what_is_whole(offline):
    data = offline.read_bytes()
    for size in (len(data) - 3, (1 << 15) + 3, (1 << 15) - 2, 20_000):
        offline.write_bytes(data[:size])
        steps, values = column(read(offline), "loss")
        np.testing.assert_array_equal(values, [loss(s) for s in steps])
        assert len(steps) > 30


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_flipped_bit_in_a_log_with_checksums_is_never_taken_for_a_value(offline, tmp_path, share):
    said = set()
    for path in (offline, Path(shutil.copy(EVENTS, tmp_path / "events.out.tfevents.1.x"))):
        data = bytearray(path.read_bytes())
        for offset in range(int(len(data) * share), int(len(data) * share) + 60):
            data[offset] ^= 16
            path.write_bytes(data)
            data[offset] ^= 16
            try:
                reading = read(path)
            except LogError as error:
                said.add("byte" in str(error))
                continue
            steps, values = column(reading, "loss")
            np.testing.assert_allclose(values, [loss(s) for s in steps], rtol=1e-6)
    assert said == {True}


def test_a_length_that_promises_too_much_takes_no_memory(tmp_path):
    head = (1 << 60).to_bytes(8, "little")
    path = tmp_path / "events.out.tfevents.1.x"
    path.write_bytes(EVENTS.read_bytes() + head + int(masked_crcs([head])[0]).to_bytes(4, "little"))
    assert len(column(read(path), "loss")[0]) == 200
    path.write_bytes(EVENTS.read_bytes() + head + b"\0\0\0\0")
    with pytest.raises(LogError, match="checksum of a length"):
        read(path)


def test_checksums_are_those_of_the_standard():
    mask = lambda crc: (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    vectors = {bytes(32): 0x8A9136AA, b"\xff" * 32: 0x62A8AB43, bytes(range(32)): 0x46DD794E, b"123456789": 0xE3069283, b"": 0}
    assert masked_crcs(list(vectors)).tolist() == [mask(crc) for crc in vectors.values()]
    assert masked_crcs([]).tolist() == []


def test_directories_without_logs_and_links_in_circles_are_survived(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c").symlink_to(tmp_path / "a")
    with pytest.raises(LogError, match="without logs of a training"):
        read(tmp_path / "a")
    (tmp_path / "a" / "one.csv").write_text("loss\n1\n")
    assert read(tmp_path / "a").columns == {"loss": "loss"}


def test_every_metric_of_the_vocabulary_is_read_under_its_own_name(tmp_path):
    numbers = {name: 0.5 if name in ("attention_entropy", "dead_units") else 1e7 + i for i, name in enumerate(METRICS)}
    (tmp_path / "all.csv").write_text(",".join(METRICS) + "\n" + ",".join(map(str, numbers.values())) + "\n")
    (chunk,) = read(tmp_path / "all.csv").chunks
    assert {name: float(v[0]) for name, v in chunk.columns.items()} == numbers


@pytest.mark.parametrize(("header", "metric", "value", "read_as"), [
    ("gpu_mem_gb", "memory", 12.5, 12.5e9), ("peak_memory (GiB)", "memory", 2, 2.0**31), ("memory/max_reserved(GiB)", "memory", 2, 2.0**31),
    ("rss", "memory", 3e9, 3e9), ("system/memory_bytes", "memory", 12, 12), ("memory_mb", "memory", 640, 640e6),
    ("step_time_ms", "step_time", 230, 0.23), ("perf/iter_time (s)", "step_time", 0.23, 0.23), ("data_time_us", "data_time", 500, 5e-4),
])
def test_a_unit_in_the_name_is_understood(tmp_path, header, metric, value, read_as):
    (tmp_path / "log.csv").write_text(f"loss,{header}\n1,{value}\n1,{value}\n")
    reading = read(tmp_path / "log.csv")
    assert column(reading, metric)[1].tolist() == pytest.approx([read_as, read_as])
    assert any(header[:20] in note for note in reading.notes) == (value != read_as)


@pytest.mark.parametrize("header", ["memory", "gpu_memory"])
def test_memory_that_can_be_no_bytes_and_states_no_unit_is_left_out_and_said(tmp_path, header):
    (tmp_path / "log.csv").write_text(f"loss,{header}\n1,12.5\n1,12.6\n")
    reading = read(tmp_path / "log.csv")
    assert "memory" not in reading.columns
    assert all("memory" not in chunk.columns for chunk in reading.chunks)
    assert f"'{header}' is left out: up to 12.6 is no number of bytes; name its unit, as in memory_mb" in reading.notes


@pytest.mark.parametrize("header", ["loss_s", "loss_gb", "memory_ms", "step_time_mb", "memory_percent", "time_s", "gpu.0.memory"])
def test_a_unit_that_a_metric_cannot_have_makes_another_thing_of_it(header):
    assert metric_of(header) is None


def field(number: int, value: bytes) -> bytes:
    """A protobuf field of bytes shorter than 128."""
    tag = number << 3 | 2
    return (bytes([tag]) if tag < 128 else bytes([tag & 0x7F | 0x80, tag >> 7])) + bytes([len(value)]) + value


def framed(records: list[bytes]) -> bytes:
    """A .wandb file as its format is described, records split where a block ends."""
    out = bytearray(b":W&B\xe1\xbe\x00")
    for record in records:
        begun = False
        while True:
            left = (1 << 15) - len(out) % (1 << 15)
            if left < 7:
                out += bytes(left)
                continue
            part, record = record[:left - 7], record[left - 7:]  # noqa: PLW2901 - what is left of it
            kind = (3 if begun else 2) if record else (4 if begun else 1)
            out += struct.pack("<IHB", zlib.crc32(part, zlib.crc32(bytes([kind]))), len(part), kind) + part
            begun = True
            if not record:
                break
    return bytes(out)


def logged(step: int) -> bytes:
    """A history record with values as JSON, as a double and as a signed integer; long enough to be split somewhere."""
    items = [field(2, b"loss") + field(16, str(step / 8).encode()), field(1, b"grad_norm") + b"\x31" + struct.pack("<d", step / 4),
             field(2, b"_step") + b"\x28" + bytes([step << 1 & 0x7F | 0x80, step >> 6])]
    history = b"".join(field(1, item) for item in items)
    return field(2, history)


def test_records_that_a_block_end_splits_anywhere_are_put_together(tmp_path):
    path = tmp_path / "a.wandb"
    for shift in range(0, 70, 3):
        path.write_bytes(framed([field(3, bytes(shift)), *(logged(s) for s in range(1000))]))
        reading = read(path)
        assert column(reading, "loss")[0] == list(range(1000))
        assert column(reading, "loss")[1].tolist() == [s / 8 for s in range(1000)]
        assert column(reading, "grad_norm")[1].tolist() == [s / 4 for s in range(1000)]


def test_a_digit_that_was_changed_in_a_wandb_file_is_found(offline):
    data = offline.read_bytes()
    at = data.index(b"4.853688273502142")
    offline.write_bytes(data[:at] + b"9" + data[at + 1:])
    with pytest.raises(LogError, match=r"byte \d+: damaged \(checksum\)"):
        read(offline)


@pytest.mark.parametrize(("kind", "form", "value"), [(1, "<f", 0.5), (2, "<d", 0.1), (3, "<i", -7), (9, "<q", 1 << 40), (19, "<e", 0.25)])
def test_scalars_that_tensorflow_packs_as_bytes_are_read(tmp_path, kind, form, value):
    tensor = bytes([0x08, kind]) + field(4, struct.pack(form, value))
    message = b"\x10\x05" + field(5, field(1, field(1, b"loss") + field(8, tensor)))
    head = struct.pack("<Q", len(message))
    first, second = (struct.pack("<I", int(masked_crcs([part])[0])) for part in (head, message))
    path = tmp_path / "events.out.tfevents.1.x"
    path.write_bytes(head + first + message + second)
    assert column(read(path), "loss")[1].tolist() == [value]
