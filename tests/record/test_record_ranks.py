"""The logs of several ranks are read as one run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tuimon.diagnosis.engine import Engine
from tuimon.diagnosis.model import RunContext
from tuimon.formats.read import read_run
from tuimon.record import history, track
from tuimon.record.cache import Cache
from tuimon.record.chunk import Chunk, Mark
from tuimon.record.history import History
from tuimon.record.ranks import RanksReader, reader_of
from tuimon.record.reader import LogReader, segment_paths
from tuimon.record.recall import read_anew
from tuimon.record.rundir import RunDir
from tuimon.record.segments import LogWriter, Row
from tuimon.viewer.following import Followed
from tuimon.viewer.judging import Later

T0 = 1_000_000.0


OPEN: list[LogWriter] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


def writer(folder: Path, rank: int, world: int, *, attempt: int = 1, from_step: int = 0) -> LogWriter:
    OPEN.append(LogWriter(folder, attempt=attempt, from_step=from_step, tensors=0, rank=rank, world=world))
    return OPEN[-1]


def row(rank: int, step: int, **values: float) -> Row:
    given: dict[str, Any] = {"loss": 1.0 + rank, "grad_square": float(step), "step_time": 0.1 * (rank + 1),
                             "tokens": 10.0, "own_time": 0.01 * (rank + 1), "lr": 0.5}
    return Row(step, T0 + step, {**given, **values})


def date(folder: Path, rank: int, when: float) -> None:
    """The time at which a rank's newest file was written."""
    os.utime(segment_paths(folder, rank)[-1], (when, when))


def curve(chunks: list[Chunk], name: str) -> dict[int, float]:
    return {int(s): float(v) for c in chunks for s, v in zip(*c.measured(name), strict=True)}


def polled(reader: RanksReader | LogReader) -> list[Chunk]:
    found: list[Chunk] = []
    while more := reader.poll():
        found += more
    return found


def test_a_run_of_one_rank_is_read_as_ever(tmp_path: Path) -> None:
    LogWriter(tmp_path, attempt=1, from_step=0, tensors=0).append([row(0, 1)])
    assert isinstance(reader_of(tmp_path), LogReader)


def test_global_numbers_come_from_all_ranks(tmp_path: Path) -> None:
    for rank in range(3):
        writer(tmp_path, rank, 3).append([row(rank, s) for s in (1, 2, 3)])
    chunks = polled(reader_of(tmp_path))
    assert curve(chunks, "loss") == {1: 2.0, 2: 2.0, 3: 2.0}
    assert curve(chunks, "grad_norm") == pytest.approx({s: (3 * s) ** 0.5 for s in (1, 2, 3)})
    assert curve(chunks, "tokens")[1] == 30.0
    assert curve(chunks, "throughput")[1] == pytest.approx(100.0)
    assert curve(chunks, "slowest_rank")[2] == 2.0
    assert curve(chunks, "median_step_time")[2] == pytest.approx(0.02)
    assert curve(chunks, "lr")[3] == 0.5
    assert not any(name in c.columns for c in chunks for name in ("grad_square", "own_time"))


def test_a_rank_that_is_late_is_waited_for_and_then_shown_as_missing(tmp_path: Path) -> None:
    one, other = writer(tmp_path, 0, 2), writer(tmp_path, 1, 2)
    one.append([row(0, s) for s in range(1, 6)])
    other.append([row(1, s) for s in range(1, 3)])
    now = T0 + 6
    date(tmp_path, 0, now)
    date(tmp_path, 1, now)
    reader = RanksReader(tmp_path, 2, clock=lambda: now)
    assert list(curve(polled(reader), "loss")) == [1, 2]
    assert reader.ranks.missing == ()
    now += 6
    date(tmp_path, 0, now)
    chunks = polled(reader)
    assert curve(chunks, "loss") == {}
    assert curve(chunks, "grad_norm") == {}
    assert curve(chunks, "rank0_loss") == {3: 1.0, 4: 1.0, 5: 1.0}
    assert reader.ranks.missing == (1,)
    assert reader.ranks.ranks[1].state == "silent"
    other.append([row(1, s) for s in range(3, 7)])   # it comes back
    one.append([row(0, 6)])
    date(tmp_path, 1, now)
    date(tmp_path, 0, now)
    assert curve(polled(reader), "loss") == {6: 1.5}
    assert reader.late == 3
    assert reader.ranks.missing == ()


def test_a_rank_that_never_started_is_missing(tmp_path: Path) -> None:
    writer(tmp_path, 0, 2).append([row(0, s) for s in (1, 2)])
    reader = RanksReader(tmp_path, 2)
    chunks = polled(reader)
    assert curve(chunks, "loss") == {}
    assert curve(chunks, "lr") == {1: 0.5, 2: 0.5}
    assert [r.state for r in reader.ranks.ranks] == ["live", "missing"]


def test_a_long_log_of_a_run_that_has_ended_has_nobody_missing(tmp_path: Path) -> None:
    """What was not read yet is not what was not written."""
    for rank in range(2):
        log, size = writer(tmp_path, rank, 2), 50 if rank else 3000   # one is read further than the other at a time
        for begin in range(1, 9000, size):
            log.append([row(rank, s) for s in range(begin, min(9000, begin + size))])
        date(tmp_path, rank, T0)
    reader, found = RanksReader(tmp_path, 2), list[Chunk]()
    while more := reader.poll(1):
        found += more
    assert len(curve(found, "loss")) == 8999


def test_an_elastic_restart_starts_over_with_another_world(tmp_path: Path) -> None:
    for rank in range(2):
        writer(tmp_path, rank, 2).append([row(rank, s) for s in range(1, 6)])
    for rank in range(3):
        writer(tmp_path, rank, 3, attempt=2, from_step=3).append([row(rank, s) for s in range(4, 8)])
    reader, kept = reader_of(tmp_path), History()
    chunks = polled(reader)
    for chunk in chunks:
        kept.extend(chunk)
    assert kept.series("loss").steps.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert kept.series("loss").values.tolist() == [1.5] * 3 + [2.0] * 4
    assert reader.attempt == 2


def test_a_reader_that_goes_on_tells_only_what_is_new(tmp_path: Path) -> None:
    for rank in range(2):
        writer(tmp_path, rank, 2).append([row(rank, s) for s in range(1, 4)])
    for rank in range(2):
        writer(tmp_path, rank, 2, attempt=2, from_step=3).append([row(rank, s) for s in range(4, 6)])
    first = RanksReader(tmp_path, 2)
    polled(first)
    for rank in range(2):
        writer(tmp_path, rank, 2, attempt=2, from_step=3).append([row(rank, s) for s in range(6, 9)])
    assert list(curve(polled(RanksReader(tmp_path, 2, start=first.place)), "loss")) == [6, 7, 8]
    assert list(curve(RanksReader(tmp_path, 2).poll(upto=first.place), "loss")) == [1, 2, 3, 4, 5]


_STEPS = st.lists(st.booleans(), min_size=12, max_size=12)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(has=st.lists(_STEPS, min_size=3, max_size=3), order=st.lists(st.integers(0, 3), min_size=36, max_size=60))
def test_how_the_logs_are_polled_does_not_matter(
        tmp_path_factory: pytest.TempPathFactory, has: list[list[bool]], order: list[int]) -> None:
    folder = tmp_path_factory.mktemp("ranks")
    logs = [writer(folder, rank, 3) for rank in range(3)]
    live, found = RanksReader(folder, 3, clock=lambda: 0.0), list[Chunk]()
    at = [0, 0, 0]
    for who in [*order, *(r for r in range(3) for _ in range(13))]:
        if who == 3:
            found += polled(live)
        elif at[who] <= 12:
            step = at[who] = at[who] + 1
            if step == 13 or has[who][step - 1]:
                values = {"val_loss": 1.0} if (step + who) % 3 == 0 else {}
                logs[who].append([row(who, step, **values), Mark(step, "note", {"text": str(step)})][:1 + (who == 0)])
    found += polled(live)
    whole = polled(RanksReader(folder, 3, clock=lambda: 0.0))
    for name in ("loss", "grad_norm", "val_loss", "tokens", "lr", "rank0_loss", "slowest_rank"):
        assert curve(found, name) == curve(whole, name), name
    assert [m for c in found for m in c.marks] == [m for c in whole for m in c.marks]
    assert np.array_equal(np.concatenate([c.steps for c in found]), np.concatenate([c.steps for c in whole]))


def test_a_run_of_ranks_is_read_whole_by_who_takes_it_in_at_once(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.metrics.mkdir(parents=True)
    for rank in range(2):
        writer(run.metrics, rank, 2).append([row(rank, s) for s in (1, 2)])
    assert curve(list(read_run(run).chunks), "loss") == {1: 1.5, 2: 1.5}
    followed = Followed(run.metrics, None, (), Later(lambda: Engine(RunContext())), rules="rules",
                        cache=Cache(tmp_path / "cache"))
    followed.poll(0.0)
    assert followed.history.series("loss").values.tolist() == [1.5, 1.5]


def test_a_long_run_is_looked_at_closely_out_of_the_logs_of_all_its_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded as that of one rank is; what is not kept any more is read again, restarts and all."""
    for name, module, value in (("KEPT", track, 32), ("AGAIN", track, 32), ("LEAST", history, 16), ("BLOCKS", history, 16)):
        monkeypatch.setattr(module, name, value)
    for rank in range(2):
        writer(tmp_path, rank, 2).append([row(rank, s, loss=s + rank) for s in range(1, 400)])
    for rank in range(3):
        writer(tmp_path, rank, 3, attempt=2, from_step=200).append([row(rank, s, loss=s + rank) for s in range(201, 900)])
    read = read_anew(tmp_path, None, ())
    for chunk in polled(read.log):
        read.history.extend(chunk)
    assert len(read.history.series("loss")) < 200
    for name, before, after in (("loss", 0.5, 1.0), ("grad_norm", 0.0, 0.0)):
        found = read.history.window(name, 150, 250)
        assert found.steps.tolist() == list(range(150, 251)), name
        if name == "loss":
            assert found.values.tolist() == [s + (before if s <= 200 else after) for s in range(150, 251)]
        else:
            assert found.values == pytest.approx([((2 if s <= 200 else 3) * s) ** 0.5 for s in range(150, 251)])
    assert read.history.value_at("throughput", 300) == pytest.approx(30 / 0.3)


def test_who_judges_a_log_is_told_which_rank_was_slow_and_which_is_not_there(tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    run.metrics.mkdir(parents=True)
    for rank in (0, 1, 2):
        writer(run.metrics, rank, 4).append([row(rank, s, own_time=0.1 * (1 + (rank == 1))) for s in range(1, 65)])
    notes = read_run(run).notes
    assert notes == ("of 4 ranks not all are there: rank 3 missing", "rank 1 is 2.0x slower than the median since step 1")
