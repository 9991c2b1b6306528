"""Where the time of a step goes and whether memory grows, from a run's log; what is not logged is not guessed."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.record.chunk import Chunk
from tuimon.record.history import History
from tuimon.viewer.places.system.steps import RECENT, StepTimes, memory_trend, step_times
from tuimon.viewer.places.system.words import growth, unmeasured

MB = 2**20


def history(count=300, **columns):
    """Each column a number, or what it is at a step (None: not measured there)."""
    whole = History()
    values = {name: [value(s) if callable(value) else value for s in range(1, count + 1)] for name, value in columns.items()}
    whole.extend(Chunk.of(list(range(1, count + 1)), **values))
    return whole


def parts(times):
    return {part.name: part for part in times.parts}


def test_a_step_is_parted_into_waiting_measuring_and_the_rest():
    times = step_times(history(step_time=0.2, data_time=0.05, overhead=0.01, tokens=1_000.0))
    found = parts(times)
    assert [part.name for part in times.parts] == ["data", "rest", "tuimon"]
    assert (times.count, times.first, times.last) == (RECENT, 101, 300)
    assert found["data"].share == pytest.approx(0.25)
    assert found["tuimon"].half == pytest.approx(0.002)
    assert found["rest"].half == pytest.approx(0.148)
    assert (times.tokens, times.pace) == (pytest.approx(5_000), pytest.approx(5))
    assert unmeasured(times) == ["optimizer: not measured apart from the rest"]


def test_what_is_not_logged_is_said_and_is_no_part():
    times = step_times(history(step_time=0.2))
    assert [part.name for part in times.parts] == ["rest"]
    assert len(unmeasured(times)) == 3
    assert math.isnan(times.tokens)
    assert step_times(history(loss=1.0)).count == 0
    assert unmeasured(StepTimes()) == []


def test_the_optimizer_is_a_part_where_the_script_logs_it():
    found = parts(step_times(history(step_time=0.2, optimizer_time=0.02)))
    assert found["optimizer"].share == pytest.approx(0.1)
    assert found["rest"].share == pytest.approx(0.9)


@given(st.lists(st.tuples(st.floats(1e-4, 10), st.none() | st.floats(0, 20), st.none() | st.floats(0, 1)), min_size=1, max_size=60))
def test_the_shares_are_all_of_the_time_and_none_is_negative(rows):
    times = step_times(history(len(rows), step_time=lambda s: rows[s - 1][0], data_time=lambda s: rows[s - 1][1],
                               overhead=lambda s: rows[s - 1][2]))
    assert sum(part.share for part in times.parts) == pytest.approx(1)
    assert all(part.share >= 0 and part.half <= part.most for part in times.parts)


def test_the_tail_is_seen_in_the_95th_percentile_and_not_in_the_median():
    times = step_times(history(step_time=lambda s: 1.0 if s % 10 == 0 else 0.1))
    assert times.half == pytest.approx(0.1)
    assert times.most == pytest.approx(1.0)


def test_an_earlier_moment_is_told_as_it_was_then():
    whole = history(step_time=lambda s: 0.1 if s <= 100 else 0.4, overhead=0.01)
    assert step_times(whole, 100).half == pytest.approx(0.1)
    assert (step_times(whole, 100).first, step_times(whole, 100).last) == (1, 100)
    assert step_times(whole).half == pytest.approx(0.4)


def test_times_that_are_none_do_not_count():
    times = step_times(history(10, step_time=lambda s: [math.nan, math.inf, 0.0, -1.0, None][s % 5] if s <= 5 else 0.2))
    assert (times.count, times.half) == (5, pytest.approx(0.2))


def test_the_slowest_rank_is_named():
    times = step_times(history(step_time=0.3, slowest_step_time=0.25, median_step_time=0.2, slowest_rank=lambda s: 3 if s % 3 else 1))
    assert (times.slowest, times.middle, times.rank) == (0.25, 0.2, 3)


@pytest.mark.parametrize(("memory", "word", "said"), [
    (lambda s: 100 * MB + s * MB / 1_000 * 200, "grows", "grows 200 MiB per 1,000 steps"),
    (lambda s: 900 * MB - s * MB, "falls", "falls 0.98 GiB per 1,000 steps"),
    (lambda s: 100 * MB, "level", "level"),
    (lambda s: 100 * MB + (s % 7) * MB / 20, "level", "level"),   # breathes
    (lambda s: min(s, 100) * MB, "level", "level"),               # fills, then stands
    (lambda s: 100 * MB if s < 5 else None, "few", "cannot tell yet, 4 of 30 values"),
    (lambda s: None, "none", ""),
])
def test_whether_memory_grows_in_words(memory, word, said):
    trend = memory_trend(history(600, memory=memory))
    assert (trend.word, growth(trend, binary=True)) == (word, said)


def test_memory_that_began_to_grow_later_had_not_yet():
    whole = history(400, memory=lambda s: (100 + max(0, s - 200)) * MB)
    assert memory_trend(whole, 200).word == "level"
    assert memory_trend(whole).word == "grows"
    assert memory_trend(whole).held == 300 * MB


def test_a_long_run_is_looked_at_near_its_end():
    count = 200_000
    whole = History()
    whole.extend(Chunk(np.arange(1, count + 1), np.zeros(count), {"step_time": np.full(count, 0.1)},
                       {"step_time": np.ones(count, bool)}, Chunk.empty().tensors))
    assert (step_times(whole).first, step_times(whole).last) == (count - RECENT + 1, count)


def test_a_rank_that_no_rank_can_have_is_no_fault():
    assert step_times(history(step_time=0.3, slowest_rank=1e300)).rank == 1 << 16
