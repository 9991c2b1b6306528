"""Two readings of counters make rates; what cannot be told is None, never a number."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tuimon.viewer.machine import rates
from tuimon.viewer.machine.model import HostCounts, ProcessCounts
from tuimon.viewer.machine.ring import NAMES, Ring

MB = 2**20
TRAINING = ProcessCounts(100, 5.0, "python", "training", 10.0, 300 * MB, 100 * MB, 8, 1_000, 20, 5 * MB, 0, "running")
WORKER = ProcessCounts(101, 6.0, "pt_data_worker", "data worker", 1.0, 150 * MB, 90 * MB, 2, 10, 5, 0, 0, "sleeping")
HOST = HostCounts((10.0, 20.0), (100.0, 100.0), 1_000, 2_000, (1.0, 2.0, 3.0), 64 * MB, 32 * MB, 0, 0, None, None)


def test_a_rise_over_two_seconds_is_told_per_second():
    later = replace(TRAINING, cpu=13.0, switches=1_600, read=9 * MB)
    one = rates.process(TRAINING, later, 2.0)
    assert (one.cores, one.switches, one.read, one.written) == (1.5, 300, 2 * MB, 0)


def test_the_first_reading_tells_what_stands_still_and_no_rates():
    one = rates.process(None, TRAINING, 1.0)
    assert one.cores is None and one.read is None
    assert (one.resident, one.threads, one.files) == (300 * MB, 8, 20)


def test_a_number_that_another_process_took_over_tells_no_rate():
    assert rates.process(TRAINING, replace(TRAINING, started=9.0, cpu=50.0), 1.0).cores is None


@given(st.floats(0, 1e12), st.floats(0, 1e12), st.floats(-10, 0) | st.floats(1e-3, 10))
def test_a_counter_never_makes_a_negative_or_a_made_up_rate(before, after, seconds):
    found = rates.per_second(before, after, seconds)
    assert found is None or (found >= 0 and math.isfinite(found) and seconds > 0)
    assert (found is None) == (after < before or seconds <= 0)


def test_what_may_not_be_read_stays_unknown_and_does_not_count_as_zero():
    hidden = replace(WORKER, files=None, read=None, written=None)
    tree = rates.tree({100: TRAINING, 101: hidden}, [TRAINING, hidden], 1.0)
    assert tree.denied == 1
    assert tree.processes[1].read is None and tree.processes[1].files is None
    assert tree.files == 20 and tree.read == 0
    alone = rates.tree({101: hidden}, [hidden], 1.0)
    assert alone.read is None and alone.files is None


def test_pages_that_processes_share_count_once():
    tree = rates.tree({}, [TRAINING, WORKER], 1.0)
    assert tree.resident_sum == 450 * MB
    assert tree.resident == (200 + 60 + 100) * MB
    assert tree.threads == 10


def test_open_files_may_be_of_an_earlier_count():
    tree = rates.tree({}, [replace(TRAINING, files=None), replace(WORKER, files=None)], 1.0, files={100: 33, 101: None})
    assert [one.files for one in tree.processes] == [33, None]


def test_the_machine_between_two_readings():
    later = replace(HOST, busy=(10.5, 21.0), total=(101.0, 101.0), received=3_000, sent=1_000)
    host = rates.host(HOST, later, 2.0)
    assert host.busy == (0.5, 1.0) and host.cpu == 0.75
    assert host.received == 1_000
    assert host.sent is None   # an interface was reset
    assert rates.host(None, HOST, 0.0).cpu is None
    assert rates.host(replace(HOST, busy=(1.0,), total=(2.0,)), later, 1.0).busy is None   # a core came or went


def test_the_ring_keeps_the_newest_and_never_grows():
    ring = Ring(size=4)
    for i in range(10):
        ring.add(float(i), {"cpu": i / 10, "gpu": None if i % 2 else 1.0})
    found = ring.traces()
    assert found.times.tolist() == [6, 7, 8, 9]
    assert found.of("cpu").tolist() == [0.6, 0.7, 0.8, 0.9]
    assert np.isnan(found.of("gpu")).tolist() == [False, True, False, True]
    assert np.isnan(found.of("never")).all() and len(found.of("never")) == 4


def test_a_column_that_comes_late_is_empty_before_and_one_that_goes_is_empty_after():
    ring = Ring(size=4)
    ring.add(0.0, {"a": 1.0})
    ring.add(1.0, {"b": 2.0})
    ring.add(0.5, {"a": 9.0})   # time went back
    found = ring.traces()
    assert found.times.tolist() == [0, 1]
    assert np.isnan(found.of("b")[0]) and np.isnan(found.of("a")[1])
    ring.add(2.0, {f"more {i}": 1.0 for i in range(2 * NAMES)})
    assert len(ring.traces().values) == NAMES
