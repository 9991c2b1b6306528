"""A long run of several ranks is opened where it was left: what was told is not read again, and nothing is lost or told twice."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuimon.record import halts
from tuimon.record.archive import RanksArchive
from tuimon.record.cache import Cache
from tuimon.record.chunk import Chunk, Mark, TensorRows
from tuimon.record.log import Row, TensorRow
from tuimon.record.plain import finite
from tuimon.record.ranks import RanksReader
from tuimon.record.reader import segment_paths
from tuimon.record.recall import Recall, read_anew
from tuimon.record.segments import LogWriter

WORLD, T0 = 3, 1_000_000.0


class Crew:
    """Three ranks that write what was planned for each, one ahead of the other; the second attempt does some of it again."""

    def __init__(self, metrics: Path) -> None:
        metrics.mkdir(parents=True, exist_ok=True)
        self.metrics = metrics
        self.plans = [[*((1, 0, s) for s in range(1, 41)), *((2, 30, s) for s in range(31, 71))] for _ in range(WORLD)]
        self.logs: dict[int, tuple[int, LogWriter]] = {}

    def write(self, rank: int, count: int) -> None:
        for attempt, after, step in self.plans[rank][:count]:
            if rank not in self.logs or self.logs[rank][0] != attempt:
                if rank in self.logs:
                    self.logs[rank][1].close()
                self.logs[rank] = attempt, LogWriter(
                    self.metrics, attempt=attempt, from_step=after, tensors=2, rank=rank, world=WORLD)
            values = {"loss": attempt * step + rank, "grad_square": 1.0, "own_time": math.nan if step == 17 else 1.0 + (rank == 1),
                      "lr": 0.1, **({"mine": 2.0 * step} if rank == 2 and step > 12 else {})}
            items: list[Row | TensorRow | Mark] = [Row(step, T0, values)]
            if step % 3 == 0:
                items.insert(0, TensorRow(step, np.full(2, rank + step, np.float32), np.ones(2, np.bool_), None))
            if rank == 0 and step % 7 == 0:
                items.append(Mark(step, "note", {"text": f"{attempt} {step}"}))
            self.logs[rank][1].append(items)
        del self.plans[rank][:count]
        for path in self.metrics.iterdir():
            os.utime(path, (T0, T0))

    def reader(self, halt: halts.Halt | None = None) -> RanksReader:
        return RanksReader(self.metrics, WORLD, is_archived=True, halt=halt, clock=lambda: T0)


def read(reader: RanksReader) -> list[Chunk]:
    found: list[Chunk] = []
    while chunks := reader.poll():
        found += chunks
    return found


def again(halt: halts.Halt | None) -> halts.Halt:
    """As from a file."""
    assert halt is not None
    meta, arrays = halts.told(halt)
    return halts.halt_of(json.loads(json.dumps(finite(meta), allow_nan=False)), {name: array.copy() for name, array in arrays.items()})


def said(chunks: list[Chunk]) -> tuple[object, ...]:
    """All that is told: rows, vectors, marks."""
    rows = [(int(step), {n: repr(float(c.columns[n][i])) for n in sorted(c.columns) if c.present[n][i]})
            for c in chunks for i, step in enumerate(c.steps)]
    tensors = TensorRows.join([c.tensors for c in chunks if len(c.tensors)])
    return rows, tensors.steps.tolist(), tensors.grad.tolist(), [(m.step, m.kind, dict(m.fields)) for c in chunks for m in c.marks]


@settings(max_examples=8, deadline=None)
@given(st.lists(st.tuples(st.integers(0, WORLD - 1), st.integers(1, 40), st.booleans()), max_size=12))
def test_a_reader_that_goes_on_where_another_stood_tells_what_that_one_would(tmp_path_factory: pytest.TempPathFactory, moves) -> None:
    crew = Crew(tmp_path_factory.mktemp("crew"))
    crew.write(0, 1)
    reader = crew.reader()
    told = read(reader)
    for rank, count, stops in moves:
        crew.write(rank, count)
        told += read(reader)
        if stops:
            reader = crew.reader(again(reader.halt))
    for rank in range(WORLD):
        crew.write(rank, 100)
    told += read(reader)
    whole = crew.reader()
    assert said(told) == said(read(whole))
    assert (reader.late, reader.place) == (whole.late, whole.place)
    np.testing.assert_array_equal(reader.paces.strip[1], whole.paces.strip[1])
    assert reader.paces.slow == whole.paces.slow
    for mine, theirs in zip(reader.places, whole.places, strict=True):
        assert mine.between(1, 70)[-1].last == theirs.between(1, 70)[-1].last
    assert [rank.last for rank in reader.ranks.ranks] == [rank.last for rank in whole.ranks.ranks]


@pytest.fixture
def crew(tmp_path: Path) -> Crew:
    found = Crew(tmp_path / "metrics")
    for rank, count in ((0, 60), (1, 55), (2, 58)):
        found.write(rank, count)
    return found


def kept(crew: Crew, cache: Cache) -> Recall:
    recall, one = Recall(cache, crew.metrics), read_anew(crew.metrics, None, ())
    for chunk in read(one.log):   # type: ignore[arg-type]  # several
        one.history.extend(chunk)
    assert recall.save(one)
    assert recall.save_note("judged", one.log, {"all": "well"})
    return recall


def test_what_was_read_of_all_ranks_comes_back_with_where_the_rows_lie(crew: Crew, tmp_path: Path) -> None:
    found = kept(crew, Cache(tmp_path / "cache")).load(None, ())
    assert found is not None
    before = found.log.consumed
    for rank in range(WORLD):
        crew.write(rank, 100)
    for chunk in read(found.log):   # type: ignore[arg-type]  # several
        found.history.extend(chunk)
    whole = read_anew(crew.metrics, None, ())
    for chunk in read(whole.log):   # type: ignore[arg-type]
        whole.history.extend(chunk)
    assert 0 < found.log.consumed - before < whole.log.consumed
    assert found.history.rows == whole.history.rows
    for name in ("loss", "mine"):
        mine, theirs = (RanksArchive(crew.metrics, one.log).window(name, 1, 70) for one in (found, whole))   # type: ignore[arg-type]
        assert mine.steps.tolist() == theirs.steps.tolist()
        np.testing.assert_array_equal(mine.values, theirs.values)


@pytest.mark.parametrize("rank", range(WORLD))
@pytest.mark.parametrize("harm", ["cut", "changed", "replaced", "gone"])
def test_nothing_is_recalled_where_the_log_of_any_rank_is_another(crew: Crew, tmp_path: Path, rank: int, harm: str) -> None:
    recall = kept(crew, Cache(tmp_path / "cache"))
    assert recall.load(None, ()) is not None
    assert recall.load_note("judged") is not None
    path = segment_paths(crew.metrics, rank)[0]
    raw = path.read_bytes()
    if harm == "cut":
        os.truncate(path, len(raw) - 3)
    elif harm == "changed":
        path.write_bytes(raw[:60] + b"x" + raw[61:])
    elif harm == "replaced":
        path.unlink()
        (path.parent / "aside").write_bytes(b"")   # so that it does not get the same number
        path.write_bytes(raw)
    else:
        path.unlink()
    assert recall.load(None, ()) is None
    assert recall.load_note("judged") is None


def test_a_store_of_one_rank_is_none_of_several(crew: Crew, tmp_path: Path) -> None:
    recall = kept(crew, Cache(tmp_path / "cache"))
    (path,) = [path for path in (tmp_path / "cache").iterdir() if "judged" not in path.name]
    stored = Cache(tmp_path / "cache").load(path.stem)
    assert stored is not None
    for odd in ({}, {"ranks": None}, {"ranks": {**stored.meta["ranks"], "worlds": [[0, 1, {}]]}}, {"ranks": {**stored.meta["ranks"], "lines": []}}):
        meta = {name: value for name, value in stored.meta.items() if name != "ranks"}
        Cache(tmp_path / "cache").store(path.stem, {**meta, **odd}, stored.arrays)
        assert recall.load(None, ()) is None
