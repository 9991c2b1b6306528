"""What is exported is what is read back: steps, presence, values that are not finite, attempts, layers."""

from __future__ import annotations

import math
import sqlite3

import numpy as np
import pytest
from exported import Run, again, logged, same
from hypothesis import given, settings
from hypothesis import strategies as st

from tuimon.formats import read
from tuimon.formats.exports.blocks import ROWS, Cutter, Origin, numbered
from tuimon.formats.exports.export import Wish, export
from tuimon.formats.sources import only

NAMES = ("loss", "val_loss", "grad_norm", "lr", "skipped")
LAYERS = ("blocks.0", "blocks.1", 'odd, "name" %s')
VALUES = st.none() | st.floats(width=64) | st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 5e-324, 1e300])
SINGLES = st.none() | st.floats(min_value=0, width=32, allow_nan=False) | st.just(math.nan)


@st.composite
def logs(draw):
    """Records as a person may have them: sparse, with a time or not, with layers or not."""
    steps = sorted(draw(st.sets(st.integers(-1000, 1 << 52) | st.integers(0, 300), min_size=1, max_size=12)))
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    layers = draw(st.lists(st.sampled_from(LAYERS), max_size=3, unique=True))
    timed = draw(st.booleans())
    rows = []
    for i, step in enumerate(steps):
        row = {"step": step, **({"time": 1.7e9 + i / 7} if timed else {}), **{n: v for n in names if (v := draw(VALUES)) is not None}}
        norms = {layer: v for layer in layers if (v := draw(SINGLES)) is not None}
        shares = {layer: v for layer in layers if (v := draw(st.none() | st.floats(0, 1, width=32))) is not None}
        rows.append({**row, **({"layer_grad_norm": norms} if norms else {}), **({"layer_attention_entropy": shares} if shares else {})})
    kept = [row for row in rows if set(row) - {"step", "time"}]
    return kept or [{"step": 1, "loss": 2.0}]


@pytest.mark.parametrize("to", ["csv", "jsonl", "tfevents"])
@settings(max_examples=40)
@given(rows=logs())
def test_what_is_exported_is_read_back(tmp_path_factory, to, rows):
    here = tmp_path_factory.getbasetemp()
    source = logged(here / "law.jsonl", rows)
    same(read(source), again(source, to, here / f"out.{to}", layers=True), to)


@settings(max_examples=25)
@given(rows=logs())
def test_a_database_holds_the_same_cells(tmp_path_factory, rows):
    here = tmp_path_factory.getbasetemp()
    (chunk,) = read(logged(here / "db.jsonl", rows)).chunks
    export(only(str(here / "db.jsonl")), Wish("sqlite", str(here / "db.sqlite"), layers=True, force=True))
    base = sqlite3.connect(here / "db.sqlite")
    odd = {(step, metric): value for step, metric, value in base.execute("SELECT step, metric, value FROM non_finite")}
    found = {}
    columns = [c[1] for c in base.execute("PRAGMA table_info(metrics)")][3:]
    for _, step, _, *cells in base.execute("SELECT * FROM metrics"):
        found |= {(step, name): float(odd.get((step, name), cell)) for name, cell in zip(columns, cells, strict=True) if cell is not None or (step, name) in odd}
    wanted = {(step, name): value for name in chunk.columns for step, value in zip(*map(np.ndarray.tolist, chunk.measured(name)), strict=True)}
    assert found.keys() == wanted.keys()
    assert all(found[key] == value or (math.isnan(found[key]) and math.isnan(value)) for key, value in wanted.items())
    norms = base.execute("SELECT count(*), count(value) FROM tensors WHERE measured = 'layer_grad_norm'").fetchone()
    seen = chunk.tensors.grad[chunk.tensors.grad_seen]
    assert norms == (seen.size, int((~np.isnan(seen)).sum()))
    base.close()


@settings(max_examples=15)
@given(rows=logs())
def test_a_parquet_table_holds_the_same_cells(tmp_path_factory, rows):
    parquet = pytest.importorskip("pyarrow.parquet")
    here = tmp_path_factory.getbasetemp()
    (chunk,) = read(logged(here / "pq.jsonl", [*rows, {"step": 1 << 52, "loss": 1.0}])).chunks
    export(only(str(here / "pq.jsonl")), Wish("parquet", str(here / "pq.parquet"), force=True))
    table = parquet.read_table(here / "pq.parquet")
    there = np.logical_or.reduce([*chunk.present.values(), np.zeros(len(chunk), bool)])
    assert table["step"].to_pylist() == chunk.steps[there].tolist()
    for name, values in chunk.columns.items():
        wanted = [v if p else None for v, p in zip(values[there].tolist(), chunk.present[name][there].tolist(), strict=True)]
        assert str(table[name].to_pylist()) == str(wanted)


def test_a_resumed_run_is_read_back_with_its_attempts(tmp_path):
    run = Run(tmp_path)
    run.steps(1, 10)
    run.begin(6)
    run.steps(7, 14)
    ours = read(run.dir.path)
    for to in ("csv", "jsonl", "tfevents"):
        back = again(str(run.dir.path), to, tmp_path / f"x.{to}")
        assert [chunk.steps.tolist() for chunk in back.chunks] == [chunk.steps.tolist() for chunk in ours.chunks]
        assert [mark.fields for chunk in back.chunks for mark in chunk.marks] == [{"number": 2, "from_step": 6}]
    assert (tmp_path / "x.csv").read_text().splitlines()[:3] == ["step,time,attempt,loss,grad_norm", "1,1700000001.0,1,1.1,", "2,1700000002.0,1,2.1,0.5"]


def test_layers_of_a_run_are_its_tensors_together(tmp_path):
    run = Run(tmp_path)
    run.layers(1)
    run.steps(1, 2)
    run.layers(3)  # before its row, which never comes
    back = again(str(run.dir.path), "jsonl", tmp_path / "x.jsonl", layers=True)
    assert back.context.tensor_names == ("blocks.0", "head")
    (chunk,) = back.chunks
    assert chunk.tensors.steps.tolist() == [1, 3]
    np.testing.assert_allclose(chunk.tensors.grad, [[5, math.nan]] * 2)
    np.testing.assert_allclose(chunk.tensors.update, [[0.1, 0.2]] * 2, rtol=1e-6)
    assert chunk.weights.steps.tolist() == [1, 3]
    np.testing.assert_allclose(chunk.weights.values, [[10 / math.sqrt(6), math.nan]] * 2)
    assert chunk.probes.values.tolist() == [[0.75], [0.75]]
    assert (tmp_path / "x.jsonl").read_text().splitlines()[0].endswith('"logit_mean": {"model": -2}}')
    assert back.notes == ()


def test_a_long_log_is_written_a_stretch_at_a_time(tmp_path):
    source = tmp_path / "long.csv"
    source.write_text("step,loss\n" + "".join(f"{i},0.5\n" for i in range(3 * ROWS)))
    origin = Origin(only(str(source)))
    cutter = Cutter(origin.context)
    blocks = [block for attempt, chunk in numbered(origin.chunks()) for block in cutter.cut(attempt, chunk)]
    assert max(map(len, blocks)) <= ROWS
    same(read(source), again(str(source), "csv", tmp_path / "again.csv"))
