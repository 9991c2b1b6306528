"""Laws of reading: what was written is what is read, and no bytes whatever raise anything but LogError."""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from squeezed import squeezed

from tuimon.errors import LogError
from tuimon.formats import chunk_of, read
from tuimon.record.chunk import Chunk
from tuimon.record.metrics import METRICS

HERE = Path(__file__).parent / "data"
NAMES = ("loss", "val_loss", "grad_norm", "lr", "skipped")
VALUES = st.none() | st.floats(width=64)
WRITTEN = {
    "events.out.tfevents.1.x": (HERE / "tfevents" / "tensors" / "events.out.tfevents.1000000000.host.1.0").read_bytes(),
    "a.wandb": gzip.decompress((HERE / "offline.wandb.gz").read_bytes())[:4000],
    "trainer_state.json": (HERE / "trainer_state.json").read_bytes(), "metrics.csv": (HERE / "metrics.csv").read_bytes(),
    "a.jsonl.gz": squeezed(b'{"step": 1, "loss": 3.0, "g": {"a": 1.0}}\n' * 9), "a.csv.gz": squeezed(b"step,loss\n1,2\n"),
}


@st.composite
def tables(draw):
    steps = sorted(draw(st.sets(st.integers(-1000, 1 << 52), min_size=1, max_size=20)))
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    rows = [{"step": s, **{n: draw(VALUES) for n in names}} for s in steps]
    return [r for r in rows if any(r[n] is not None for n in names)]


def same(chunks: tuple[Chunk, ...], rows: list[dict]) -> None:
    (chunk,) = chunks
    wanted = chunk_of(rows)
    assert chunk.steps.tolist() == wanted.steps.tolist()
    assert chunk.columns.keys() == {n for n in wanted.columns if wanted.present[n].any()}
    for name, values in chunk.columns.items():
        np.testing.assert_array_equal(chunk.present[name], wanted.present[name])
        np.testing.assert_array_equal(values[chunk.present[name]], wanted.columns[name][wanted.present[name]])


def place(tmp_path_factory, name: str, data: bytes) -> str:
    path = tmp_path_factory.getbasetemp() / "law" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return str(path)


@settings(max_examples=60)
@given(rows=tables(), separator=st.sampled_from(",;\t"), end=st.sampled_from(["\n", "\r\n"]), quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
       blank=st.sampled_from(["", "null", "None"]))
def test_a_csv_that_was_written_is_read_back(tmp_path_factory, rows, separator, end, quoting, blank):
    if rows:
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), delimiter=separator, lineterminator=end, quoting=quoting)
        writer.writeheader()
        writer.writerows({k: blank if v is None else v for k, v in row.items()} for row in rows)
        same(read(place(tmp_path_factory, "w.csv", text.getvalue().encode())).chunks, rows)


@settings(max_examples=60)
@given(rows=tables(), words=st.booleans(), packed=st.booleans(), sparse=st.booleans())
def test_records_that_were_written_are_read_back(tmp_path_factory, rows, words, packed, sparse):
    def plain(value):
        return str(value) if words and isinstance(value, float) and not math.isfinite(value) else value
    if rows:
        lines = [json.dumps({k: plain(v) for k, v in row.items() if not (sparse and v is None)}) for row in rows]
        data = "\n".join(lines).encode()
        same(read(place(tmp_path_factory, "w.jsonl", squeezed(data) if packed else data)).chunks, rows)


@settings(max_examples=200)
@given(data=st.data(), name=st.sampled_from(sorted(WRITTEN)))
def test_damaged_files_raise_nothing_but_log_error(tmp_path_factory, data, name):
    body = bytearray(WRITTEN[name])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(body)))
        upto = at + data.draw(st.sampled_from([0, 0, 1, 1, 2, 7, 1000]))
        body[at:upto] = data.draw(st.binary(max_size=8) | st.sampled_from([b"\n", b'"', b"{", b"\0", b",", b"\xff" * 8, b"1e999"]))
    try:
        chunks = read(place(tmp_path_factory, name, bytes(body))).chunks
    except LogError as error:
        chunks, said = None, str(error)
    else:
        said = ""
    assert "\n" not in said
    if chunks is not None:
        lawful(chunks)


@settings(max_examples=150)
@given(body=st.binary(max_size=300), begins=st.sampled_from([
    b"", b"step,loss\n", b'{"loss":1}\n', b"[", b":W&B\xe1\xbe\x00", b"\x1f\x8b\x08", b"\xff\xfe", b"\x18" + bytes(7) + b'\xa3\x7fK"\t\0\0\x80brain.Event:2', b'{"log_history": [',
]), name=st.sampled_from(["a.csv", "a.jsonl", "a.json", "a.tfevents", "x", "trainer_state.json", "a.wandb"]))
def test_random_bytes_raise_nothing_but_log_error(tmp_path_factory, body, begins, name):
    try:
        chunks = read(place(tmp_path_factory, name, begins + body)).chunks
    except LogError as error:
        chunks, said = None, str(error)
    else:
        said = ""
    assert "\n" not in said
    if chunks is not None:
        lawful(chunks)


def lawful(chunks: tuple[Chunk, ...]) -> None:
    """What the engine may rely on."""
    assert sum(map(len, chunks)) > 0
    for chunk in chunks:
        assert set(chunk.columns) == set(chunk.present) <= set(METRICS)
        assert (np.diff(chunk.steps) > 0).all()
        assert (np.diff(chunk.tensors.steps) > 0).all()
        assert np.isfinite(chunk.times).all()
