"""The log: what was written is what is read, whatever happens to the file."""

from __future__ import annotations

import errno
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuimon.record import log
from tuimon.record.chunk import Mark
from tuimon.record.files import OsFiles
from tuimon.record.segments import LogReader, LogWriter, Row, TensorRow, segment_paths

FLOATS = st.floats(allow_nan=True, allow_infinity=True, width=64)
NAMES = st.one_of(st.sampled_from(["loss", "grad_norm", "lr"]), st.text(min_size=1, max_size=30))
VALUES = st.dictionaries(NAMES, FLOATS, max_size=5)


def write(folder: Path, items, *, attempt=1, from_step=0, tensors=2, files=None):
    folder.mkdir(parents=True, exist_ok=True)
    writer = LogWriter(folder, attempt=attempt, from_step=from_step, tensors=tensors, **({"files": files} if files else {}))
    writer.append(items)
    writer.close()
    return segment_paths(folder)[-1]


def read(folder: Path):
    reader, chunks = LogReader(folder), []
    while more := reader.poll():
        chunks += more
    return reader, chunks


def rows_of(chunks):
    """[(step, {name: value})] as they were given."""
    found = []
    for chunk in chunks:
        for i, step in enumerate(chunk.steps):
            found.append((int(step), {k: float(v[i]) for k, v in chunk.columns.items() if chunk.present[k][i]}))
    return found


def same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


def equal(a, b) -> bool:
    return len(a) == len(b) and all(
        s == t and v.keys() == w.keys() and all(same(v[k], w[k]) for k in v) for (s, v), (t, w) in zip(a, b, strict=True)
    )


def sample(n: int) -> list[Row]:
    return [Row(i + 1, float(i), {"loss": 5.0 / (i + 1), **({"update_ratio": 1e-3} if i % 4 == 0 else {})}) for i in range(n)]


@given(st.lists(VALUES, max_size=40))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_every_value_comes_back_as_it_was_and_absent_stays_absent(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("log")
    rows = [Row(i + 1, 0.5, v) for i, v in enumerate(values)]
    write(folder, rows)
    given_rows = [(r.step, {k.encode("utf-8", "replace")[:200].decode("utf-8", "replace"): v for k, v in r.values.items()}) for r in rows]
    assert equal(rows_of(read(folder)[1]), given_rows)


def test_tensor_vectors_come_back_with_what_was_not_measured_still_absent(tmp_path):
    nan = np.array([np.nan, np.inf], np.float32)
    write(tmp_path, [
        TensorRow(1, np.array([1, 2], np.float32), np.array([True, False]), None), *sample(1),
        TensorRow(2, nan, np.array([True, True]), np.array([1e-3, 0], np.float32)),
        Row(2, 0.0, {"loss": math.nan}),
    ])
    _, (chunk,) = read(tmp_path)
    assert chunk.tensors.steps.tolist() == [1, 2]
    assert chunk.tensors.grad_seen.tolist() == [[True, False], [True, True]]
    assert np.isnan(chunk.tensors.update[0]).all()
    assert chunk.tensors.update[1].tolist() == pytest.approx([1e-3, 0])
    assert np.isnan(chunk.tensors.grad[1, 0])
    assert np.isinf(chunk.tensors.grad[1, 1])
    assert chunk.columns["loss"][0] == 5.0
    assert math.isnan(chunk.columns["loss"][1])
    assert chunk.present["loss"].all()


def test_truncation_at_every_offset_leaves_a_prefix_and_nothing_wrong(tmp_path):
    rows = sample(30)
    folder = tmp_path / "whole"
    folder.mkdir()
    writer = LogWriter(folder, attempt=1, from_step=0, tensors=0)
    for i in range(0, 30, 3):
        writer.append(rows[i:i + 3])
    writer.close()
    whole = segment_paths(folder)[0].read_bytes()
    want = [(r.step, dict(r.values)) for r in rows]
    cut = tmp_path / "cut"
    cut.mkdir()
    file = cut / "r0-000.tlog"
    seen = set()
    for size in range(len(whole) + 1):
        file.write_bytes(whole[:size])
        got = rows_of(read(cut)[1])
        assert equal(got, want[: len(got)])
        seen.add(len(got))
    assert seen == {0, *range(3, 31, 3)}


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_flipped_bit_costs_its_own_frame_and_never_yields_a_wrong_row(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("flip")
    writer = LogWriter(folder, attempt=1, from_step=0, tensors=0)
    rows = sample(40)
    for i in range(0, 40, 5):
        writer.append(rows[i:i + 5])
    writer.close()
    path = segment_paths(folder)[0]
    raw = bytearray(path.read_bytes())
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << (bit % 8)
    path.write_bytes(raw)
    got = dict(rows_of(read(folder)[1]))
    want = {r.step: dict(r.values) for r in rows}
    assert all(got[s] == want[s] for s in got)
    assert len(got) >= 35


@given(st.binary(max_size=400))
@settings(max_examples=200, deadline=None)
def test_arbitrary_bytes_never_raise(tmp_path_factory, raw):
    folder = tmp_path_factory.mktemp("noise")
    (folder / "r0-000.tlog").write_bytes(raw)
    assert rows_of(read(folder)[1]) == []


@given(st.sampled_from([log.HEAD, log.ROWS, log.TENSORS, log.MARK, log.GAP, log.BEAT, log.PROBES, log.WEIGHTS, 77]), st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_a_frame_with_a_right_crc_but_a_senseless_payload_is_counted_not_raised(tmp_path_factory, kind, payload):
    folder = tmp_path_factory.mktemp("sense")
    path = write(folder, sample(2), tensors=0)
    with path.open("ab") as file:
        file.write(log.encode_frame(kind, 99, payload))
    assert [s for s, _ in rows_of(read(folder)[1])][:2] == [1, 2]


def test_a_reader_that_follows_sees_each_row_once_and_waits_for_a_torn_tail(tmp_path):
    writer = LogWriter(tmp_path, attempt=1, from_step=0, tensors=0)
    reader = LogReader(tmp_path)
    rows = sample(6)
    writer.append(rows[:3])
    assert [s for s, _ in rows_of(reader.poll())] == [1, 2, 3]
    assert reader.poll() == []
    writer.append(rows[3:])
    path = segment_paths(tmp_path)[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    assert reader.poll() == []
    path.write_bytes(whole)
    assert [s for s, _ in rows_of(reader.poll())] == [4, 5, 6]
    assert reader.damaged == 0
    writer.close()


def test_marks_stand_in_their_place_and_an_attempt_begins_a_new_chunk(tmp_path):
    write(tmp_path, [*sample(4), Mark(4, "rollback", {"to_step": 2, "loss": math.inf}), Row(5, 0, {"loss": 1.0})])
    write(tmp_path, [Row(3, 0, {"loss": 9.0})], attempt=2, from_step=2)
    _, chunks = read(tmp_path)
    assert [m.kind for c in chunks for m in c.marks] == ["attempt", "rollback", "attempt"]
    assert chunks[0].marks[1].step == 4
    assert chunks[0].marks[1].fields == {"to_step": 2, "loss": "Infinity"}
    assert [c.steps.tolist() for c in chunks] == [[1, 2, 3, 4, 5], [3]]


def test_repeated_steps_are_dropped_and_counted(tmp_path):
    write(tmp_path, [Row(1, 0, {"loss": 1.0}), Row(1, 0, {"loss": 2.0}), Row(2, 0, {"loss": 3.0})])
    reader, chunks = read(tmp_path)
    assert rows_of(chunks) == [(1, {"loss": 1.0}), (2, {"loss": 3.0})]
    assert reader.damaged == 1


class FullAfter(OsFiles):
    """A disk with room for so many bytes; a write over the edge is cut short first, as the kernel does."""

    def __init__(self, room: int) -> None:
        self.room = room

    def pwrite(self, fd, data, offset):
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "full")
        count = os.pwrite(fd, bytes(data[: self.room]), offset)
        self.room -= count
        return count


@pytest.mark.parametrize("room", range(200, 900, 37))
def test_a_full_disk_leaves_the_log_on_a_frame_boundary_and_writing_goes_on_when_space_returns(tmp_path, room):
    disk = FullAfter(room)
    writer = LogWriter(tmp_path, attempt=1, from_step=0, tensors=0, files=disk)
    rows = sample(30)
    failed = None
    for i in range(30):
        try:
            writer.append([rows[i]])
        except OSError:
            failed = i
            break
    assert failed is not None
    disk.room = 1 << 20
    writer.append(rows[failed:])
    writer.close()
    reader, chunks = read(tmp_path)
    assert [s for s, _ in rows_of(chunks)] == list(range(1, 31))
    assert reader.damaged == 0


def test_two_writers_get_two_files(tmp_path):
    a = LogWriter(tmp_path, attempt=1, from_step=0, tensors=0)
    b = LogWriter(tmp_path, attempt=1, from_step=0, tensors=0)
    assert len(segment_paths(tmp_path)) == 2
    a.close()
    b.close()


def test_files_are_private_from_the_moment_they_exist(tmp_path):
    old = os.umask(0)
    try:
        path = write(tmp_path / "metrics", sample(1))
    finally:
        os.umask(old)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_planted_link_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    folder = tmp_path / "metrics"
    folder.mkdir()
    (folder / "r0-000.tlog").symlink_to(victim)
    writer = LogWriter(folder, attempt=1, from_step=0, tensors=0)
    writer.append(sample(1))
    writer.close()
    assert victim.read_text() == "mine"
    assert LogReader(folder).poll()


def test_beats_and_gaps_are_told(tmp_path):
    writer = LogWriter(tmp_path, attempt=1, from_step=0, tensors=0)
    writer.beat(12.5, 3.0, "held")
    writer.gap(7, "disk full")
    writer.close()
    reader = LogReader(tmp_path)
    reader.poll()
    assert reader.beat is not None
    assert (reader.beat.wall, reader.beat.state) == (12.5, "held")
    assert reader.gaps == [{"dropped": 7, "why": "disk full"}]
