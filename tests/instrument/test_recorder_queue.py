"""The way to the writer thread: bounded, in order, thinned rather than cut off."""

from __future__ import annotations

import sys
import threading
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from steering_parts import DEADLINE

from tuimon.instrument import queueing
from tuimon.instrument.queueing import Intake, Note, thin
from tuimon.record.chunk import Mark
from tuimon.record.segments import ProbeRow, Row, TensorRow, WeightRow


def _row(step):
    return Row(step, float(step), {"loss": float(step)})


def _vectors(step, size=4):
    return TensorRow(step, np.zeros(size, np.float32), np.ones(size, np.bool_), None)


def _probes(step, size=4):
    return ProbeRow(step, np.zeros(size, np.float32), np.ones(size, np.bool_))


def _weights(step, size=4):
    return WeightRow(step, np.zeros(size, np.float32), np.ones(size, np.bool_))


def test_what_is_put_is_taken_once_and_in_order():
    intake = Intake()
    items = [_row(1), Mark(1, "note", {}), _vectors(2), _probes(2), _row(2)]
    for item in items:
        intake.put(item)
    intake.note(Note("note", 1, 0.0, {}))
    taken, notes, thinned = intake.take()
    assert taken == items
    assert len(notes) == 1
    assert thinned == 0
    assert intake.take() == ([], [], 0)


@given(st.lists(st.sampled_from("rtwpm"), max_size=60))
def test_thinning_keeps_order_all_marks_the_newest_row_and_counts_the_steps_that_it_drops(kinds):
    make = {"r": _row, "t": _vectors, "w": _weights, "p": _probes, "m": lambda step: Mark(step, "note", {})}
    items = [make[kind](step) for step, kind in enumerate(kinds)]
    kept, dropped = thin(items, 1000)
    assert dropped == max(sum(type(i) is kind for i in items) - sum(type(i) is kind for i in kept)
                          for kind in (Row, TensorRow, WeightRow, ProbeRow))   # a step has one row of each kind
    assert [i.step for i in kept] == sorted(i.step for i in kept)
    assert [i for i in kept if isinstance(i, Mark)] == [i for i in items if isinstance(i, Mark)]
    for kind in (Row, TensorRow, WeightRow, ProbeRow):
        of = [i for i in items if isinstance(i, kind)]
        left = [i for i in kept if isinstance(i, kind)]
        assert len(left) <= len(of) // 2 + 2
        assert left[:1] == of[:1]
        assert left[-1:] == of[-1:]


def test_a_writer_that_is_stuck_costs_resolution_not_the_beginning_or_the_end():
    intake = Intake(limit=64)
    for step in range(1, 1001):
        intake.put(_row(step))
        assert len(intake) < 64
    taken, _, thinned = intake.take()
    steps = [i.step for i in taken]
    assert len(steps) + thinned == 1000
    assert steps == sorted(set(steps))
    assert steps[-1] == 1000
    assert steps[0] == 1
    assert max(b - a for a, b in pairwise(steps)) <= 1000 // 8


@pytest.mark.parametrize("make", [_vectors, _probes])
def test_vectors_are_bounded_by_their_bytes_not_only_by_their_number(monkeypatch, make):
    monkeypatch.setattr(queueing, "BYTES", 10_000)
    intake = Intake()
    for step in range(1, 1001):
        intake.put(make(step, 100))
    taken, _, thinned = intake.take()
    held = sum(array.nbytes for item in taken for array in (getattr(item, name, None) for name in ("grad", "values", "seen")) if array is not None)
    assert 1_000 <= held <= 10_000
    assert len(taken) + thinned == 1000
    assert taken[-1].step == 1000


def test_marks_alone_cannot_fill_the_memory_either():
    intake = Intake(limit=64)
    for step in range(1000):
        intake.put(Mark(step, "note", {}))
    taken, _, thinned = intake.take()
    assert len(taken) < 64
    assert len(taken) + thinned == 1000
    assert taken[-1].step == 999


def test_putting_never_waits_for_a_writer_that_is_taking():
    intake = Intake(limit=8)
    with intake._draining:
        for step in range(100):
            intake.put(_row(step))
    assert len(intake) == 100
    intake.put(_row(100))
    assert len(intake) < 100


def test_rows_put_while_another_thread_takes_arrive_once_and_in_order():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    intake, count, got = Intake(limit=256), 20_000, []
    producer = threading.Thread(target=lambda: [intake.put(_row(i)) for i in range(count)])
    thinned = 0
    try:
        producer.start()
        while producer.is_alive() or len(intake):
            items, _, more = intake.take()
            got += [i.step for i in items]
            thinned += more
    finally:
        producer.join(DEADLINE)
        sys.setswitchinterval(before)
    assert got == sorted(set(got))
    assert len(got) + thinned == count
    assert got[-1] == count - 1


def test_a_closed_intake_keeps_nothing():
    intake = Intake()
    intake.is_closed = True
    intake.put(_row(1))
    intake.note(Note("note", 1, 0.0, {}))
    assert intake.take() == ([], [], 0)
