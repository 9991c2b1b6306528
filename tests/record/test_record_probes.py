"""Activation probes in the log: what was sampled is what is read, and logs of before there were any stay readable."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuimon.record import log
from tuimon.record.chunk import Chunk, Mark, ProbeRows, TensorRows
from tuimon.record.history import History
from tuimon.record.liveness import ProcessIdentity
from tuimon.record.metrics import METRICS
from tuimon.record.probes import QUANTITIES, ProbeEntry, ProbeLayers, ProbeRow
from tuimon.record.rundir import RunInfo, create_run
from tuimon.record.segments import LogReader, LogWriter, Row, WeightRow, segment_paths

VALUES = st.floats(width=32, allow_nan=True, allow_infinity=True)
TABLES = st.integers(0, 9).flatmap(lambda k: st.tuples(
    st.just(k), st.lists(st.lists(st.tuples(VALUES, st.booleans()), min_size=k, max_size=k), min_size=1, max_size=30)))


def probe_row(step: int, *values: float, seen: list[bool] | None = None) -> ProbeRow:
    return ProbeRow(step, np.array(values, np.float32), np.array([True] * len(values) if seen is None else seen, np.bool_))


def written(folder, items, *, probes, attempt=1, from_step=0):
    folder.mkdir(parents=True, exist_ok=True)
    writer = LogWriter(folder, attempt=attempt, from_step=from_step, tensors=0, probes=probes)
    writer.append(items)
    writer.close()
    return segment_paths(folder)[-1]


def read(folder):
    reader, chunks = LogReader(folder), []
    while more := reader.poll():
        chunks += more
    return reader, chunks


def rows_of(kind, given_rows):
    """Of steps 1, 2, ..., out of pairs of a value and whether it was seen."""
    return [kind(i + 1, np.array([v for v, _ in row], np.float32), np.array([s for _, s in row], np.bool_))
            for i, row in enumerate(given_rows)]


@given(TABLES)
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_every_probe_row_comes_back_as_it_was_with_what_was_not_seen_still_unseen(tmp_path_factory, table):
    count, rows = table[0], rows_of(ProbeRow, table[1])
    folder = tmp_path_factory.mktemp("probes")
    written(folder, rows, probes=count)
    reader, (chunk,) = read(folder)
    assert chunk.probes.steps.tolist() == [r.step for r in rows]
    np.testing.assert_array_equal(chunk.probes.values, np.stack([r.values for r in rows]))
    np.testing.assert_array_equal(chunk.probes.seen, np.stack([r.seen for r in rows]))
    assert reader.damaged == 0


@given(st.integers(0, 6), st.integers(0, 6), st.binary(max_size=120))
@settings(max_examples=200, deadline=None)
def test_a_probes_frame_that_contradicts_itself_is_refused_not_misread(m, count, rest):
    payload = memoryview(np.array([m, count], "<u4").tobytes() + rest)
    need = 8 * m + 4 * m * count + (m * count + 7) // 8
    if len(rest) < need:
        with pytest.raises(ValueError):  # numpy's words or ours
            log.decode_sparse(payload)
    else:
        assert log.decode_sparse(payload).values.shape == (m, count)


def test_a_frame_of_another_probe_table_is_damage_and_costs_only_itself(tmp_path):
    path = written(tmp_path, [probe_row(1, 2.0, 3.0), Row(1, 0.0, {"loss": 1.0})], probes=2)
    with path.open("ab") as file:
        file.write(log.encode_sparse(log.PROBES, 9, [probe_row(2, 1.0, 2.0, 3.0)]))
        file.write(log.encode_sparse(log.PROBES, 10, [probe_row(3, 5.0, 6.0)]))
    reader, (chunk,) = read(tmp_path)
    assert chunk.probes.steps.tolist() == [1, 3]
    assert reader.damaged == 1


def test_a_log_of_before_there_were_probes_reads_as_having_none(tmp_path):
    head = {"attempt": 1, "from_step": 0, "tensors": 0, "rank": 0}
    (tmp_path / "r0-000.tlog").write_bytes(
        log.encode_json(log.HEAD, 0, head) + log.encode_rows(1, [Row(1, 0.0, {"loss": 1.0})]))
    reader, (chunk,) = read(tmp_path)
    assert (len(chunk), len(chunk.probes), reader.damaged) == (1, 0, 0)


def test_a_kind_that_this_reader_does_not_know_is_passed_over(tmp_path):
    path = written(tmp_path, [Row(1, 0.0, {"loss": 1.0})], probes=0)
    with path.open("ab") as file:
        file.write(log.encode_frame(200, 5, b"of tomorrow") + log.encode_rows(6, [Row(2, 0.0, {"loss": 2.0})]))
    reader, (chunk,) = read(tmp_path)
    assert (chunk.steps.tolist(), reader.damaged) == ([1, 2], 0)


def test_many_probe_rows_go_into_several_frames_and_come_back_in_order(tmp_path, monkeypatch):
    from tuimon.record import segments

    monkeypatch.setattr(segments, "VECTOR_BYTES_PER_FRAME", 64)
    written(tmp_path, [probe_row(i, float(i), -1.0) for i in range(1, 40)], probes=2)
    _, (chunk,) = read(tmp_path)
    assert chunk.probes.values[:, 0].tolist() == list(range(1, 40))


@pytest.mark.parametrize("cuts", [[], [0], [1], [3], [1, 1, 2]])
def test_a_stretch_cut_into_pieces_keeps_each_probe_row_once(cuts):
    rows = ProbeRows(np.array([1, 3]), np.array([[1.0], [3.0]], np.float32), np.ones((2, 1), np.bool_))
    whole = Chunk.of(loss=[1.0, 2.0, 3.0], probes=rows)
    parts = [p.probes for p in whole.pieces(cuts)]
    assert ProbeRows.join(parts).values.tolist() == [[1.0], [3.0]]


def test_stretches_with_rows_and_without_are_one():
    probes = ProbeRows(np.array([1, 3]), np.array([[1.0], [3.0]], np.float32), np.ones((2, 1), np.bool_))
    tensors = TensorRows(probes.steps, probes.values, probes.values, probes.seen)
    for rows, none in ((probes, ProbeRows.empty()), (tensors, TensorRows.empty())):
        for parts in ([none, rows], [rows, none], [none, rows, none]):
            assert type(rows).join(parts) is rows
        assert type(rows).join([rows, none, rows]).steps.tolist() == [1, 3, 1, 3]
        assert len(type(rows).join([none, none])) == 0


def test_history_keeps_what_still_holds_after_a_resume_and_follows_a_new_probe_table():
    def stretch(steps, width, *, mark=None):
        rows = ProbeRows(np.array(steps), np.ones((len(steps), width), np.float32), np.ones((len(steps), width), np.bool_))
        return Chunk.of(steps, loss=[1.0] * len(steps), probes=rows, marks=(mark,) if mark else ())

    history = History()
    assert len(history.probe_rows()) == 0
    history.extend(stretch([10, 20, 30], 2))
    history.extend(stretch([21, 31], 2, mark=Mark(20, "attempt", {"number": 2, "from_step": 20})))
    assert history.probe_rows().steps.tolist() == [10, 20, 21, 31]
    history.extend(stretch([32, 33], 3, mark=Mark(31, "attempt", {"number": 3, "from_step": 31})))
    assert history.probe_rows().values.shape == (2, 3)


def test_the_probe_table_stands_in_run_json_and_may_be_absent_there(tmp_path):
    run = create_run("probed", tmp_path)
    table = (ProbeEntry("blocks.0.attn", "attention_logit"), ProbeEntry("", "logit_scale"))
    run.write_info(RunInfo("probed", ProcessIdentity(1, 2.0, "b", "h"), probes=table))
    found = run.read_info()
    assert found is not None
    assert found.probes == table
    body = json.loads(run.run_json.read_text())
    del body["probes"]
    run.run_json.write_text(json.dumps(body))
    found = run.read_info()
    assert found is not None
    assert found.probes == ()


def test_the_scalars_of_a_probe_row_are_the_worst_over_modules_and_only_what_was_seen():
    table = [ProbeEntry(f"blocks.{i}", q) for q in ("attention_logit", "attention_entropy", "dead_units") for i in (0, 1)]
    values = np.array([3.0, 9.0, 0.4, 0.2, 0.1, math.nan], np.float32)
    seen = np.array([True, True, True, True, False, False])
    grouped = ProbeLayers(table)
    assert grouped.scalars(values, seen) == pytest.approx({"attention_logit": 9.0, "attention_entropy": 0.2})
    assert math.isnan(grouped.scalars(values, ~seen | seen)["dead_units"])
    assert ProbeLayers([ProbeEntry("x", "of_tomorrow")]).scalars(np.ones(1, np.float32), np.ones(1, np.bool_)) == {}


def test_the_modules_of_one_layer_speak_for_it_together_and_idle_experts_do_not_kill_it():
    table = ProbeLayers([
        *(ProbeEntry(f"layers.0.experts.{i}", "dead_units") for i in range(4)),
        ProbeEntry("layers.0.self_attn", "attention_logit"), ProbeEntry("layers.0.cross_attn", "attention_logit"),
        ProbeEntry("", "logit_scale"),
    ])
    values = np.array([1.0, 0.0, 0.0, 0.0, 3.0, 90.0, 5.5], np.float32)
    assert table.of(values, np.ones(7, np.bool_)) == {
        "dead_units": {"layers.0": 0.25}, "attention_logit": {"layers.0": 90.0}, "logit_scale": {"": 5.5}}


def test_the_codes_of_metrics_stay_where_logs_have_them():
    assert list(METRICS).index("changed") == 17
    assert list(METRICS)[18:23] == ["memory", "attention_logit", "attention_entropy", "dead_units", "logit_scale"]
    assert all(name == quantity.name and quantity.meaning.endswith(".") for name, quantity in QUANTITIES.items())


@given(TABLES)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_the_weights_norms_come_back_as_they_were_and_those_of_another_table_cost_only_themselves(tmp_path_factory, table):
    count, rows = table[0], rows_of(WeightRow, table[1])
    folder = tmp_path_factory.mktemp("weights")
    writer = LogWriter(folder, attempt=1, from_step=0, tensors=count, probes=count + 1)
    writer.append([Row(1, 0.0, {"loss": 1.0}), *rows])
    writer.close()
    with segment_paths(folder)[-1].open("ab") as file:
        file.write(log.encode_sparse(log.WEIGHTS, 9, [WeightRow(99, np.ones(count + 1, np.float32), np.ones(count + 1, np.bool_))]))
    reader, (chunk,) = read(folder)
    assert chunk.steps.tolist() == [1]
    assert chunk.weights.steps.tolist() == [r.step for r in rows]
    np.testing.assert_array_equal(chunk.weights.values, np.stack([r.values for r in rows]))
    np.testing.assert_array_equal(chunk.weights.seen, np.stack([r.seen for r in rows]))
    assert reader.damaged == 1
    assert [p.weights.steps.tolist() for p in Chunk.join([chunk, chunk]).pieces([])] == [2 * [r.step for r in rows]]
