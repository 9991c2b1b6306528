"""The parts of measuring that can be judged alone: the ring, the cadence, the blocks of update buffers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tuimon.instrument.cadence import (
    BUDGET,
    EARLY_BYTES,
    EARLY_SECONDS,
    EARLY_STEPS,
    SPARE,
    SPARSEST,
    Cadence,
    vector_stride,
)
from tuimon.instrument.tracked import Tracked
from tuimon.instrument.transfer import Parcel, Ring, on_host
from tuimon.instrument.updates import Updates, blocks_of

CPU = torch.device("cpu")


class Queue:
    """A device's queue that a test moves on by hand: events fire when told."""

    def __init__(self) -> None:
        self.clock, self.passed = 0.0, -1.0


class Place:
    """An event in it."""

    def __init__(self, queue: Queue) -> None:
        self.queue, self.at = queue, math.inf

    def record(self) -> None:
        self.queue.clock += 1.0
        self.at = self.queue.clock

    def query(self) -> bool:
        return self.at <= self.queue.passed

    def elapsed_time(self, end: Place) -> float:
        return (end.at - self.at) * 1e3


def test_a_full_ring_gives_the_scratch_row_and_never_one_in_flight() -> None:
    queue = Queue()
    ring = Ring(4, CPU, slots=3, events=[Place(queue) for _ in range(3)])
    taken = [ring.take() for _ in range(3)]
    for slot in taken:
        ring.send(slot, 4)
    assert taken == [0, 1, 2]
    assert ring.take() == ring.scratch
    assert ring.dropped == 1
    assert not ring.has_arrived(0)
    queue.passed = 1.0
    assert ring.has_arrived(0)
    assert not ring.has_arrived(1)
    ring.release(0)
    assert ring.take() == 0


def test_a_row_is_read_as_it_was_written() -> None:
    ring = Ring(3, CPU, slots=2)
    slot = ring.take()
    ring.rows[slot].copy_(torch.tensor([1.0, math.nan, math.inf]))
    ring.send(slot, 3)
    assert ring.has_arrived(slot)
    assert [str(x) for x in ring.read(slot).tolist()] == ["1.0", "nan", "inf"]


@pytest.mark.parametrize(("value", "number"), [
    (3, 3.0), (True, 1.0), (torch.tensor([2.5]), 2.5), (torch.tensor(7), 7.0), ("x", None), (None, None),
    (torch.ones(2), None), (10**400, None), (np.ones(1), 1.0), (np.ones(2), None), (np.complex64(1j), None), (1j, None),
    (torch.tensor(0.5).to(torch.float8_e4m3fn), 0.5),
], ids=lambda v: f"{v!r:.20}")
def test_a_number_on_the_host_is_read_and_anything_else_is_none(value: object, number: float | None) -> None:
    assert on_host(value) == number


def test_a_parcel_keeps_the_value_of_its_moment() -> None:
    tensor = torch.tensor(1.5)
    parcel = Parcel(tensor)
    tensor.fill_(9.0)
    assert parcel.has_arrived()
    assert parcel.value() == 1.5


@pytest.mark.parametrize(("always", "extra", "stride"), [(1e-4, 1e-4, 1), (1e-4, 3.5e-3, 4), (9e-4, 1e-2, 16)])
def test_the_stride_keeps_the_measured_cost_within_its_share(always: float, extra: float, stride: int) -> None:
    cadence = Cadence("auto", 50, timed=True)
    for _ in range(50):
        cadence.learn(0.1, always, extra)
    assert cadence.stride == stride
    assert stride == SPARSEST or cadence.overhead <= BUDGET * 1.01


def test_where_every_step_costs_the_whole_share_already_half_a_percent_is_left_for_weights_and_updates() -> None:
    cadence = Cadence("auto", 50, timed=True)
    for _ in range(50):
        cadence.learn(0.01, 5e-4, 3e-4)
    assert cadence.stride == 8
    assert cadence.overhead == pytest.approx(0.05 + SPARE * 0.75)


def test_a_small_run_has_its_first_thirty_updates_within_its_first_thirty_steps() -> None:
    cadence = Cadence("auto", 50, timed=True, from_step=1000)
    asked = []
    for n in range(1001, 1200):
        asked.append(cadence.wants_all(n))
        cadence.learn(0.01, 2e-4, 4e-4 if asked[-1] else None)
    assert all(asked[:EARLY_STEPS])
    assert sum(asked[EARLY_STEPS:]) == (199 - EARLY_STEPS) // cadence.stride


def test_the_dense_start_of_a_large_model_ends_where_it_has_cost_its_fixed_sum() -> None:
    cadence, spent = Cadence("auto", 50, timed=True), 0.0
    for n in range(1, EARLY_STEPS + 1):
        if cadence.wants_all(n):
            dense = cadence.stride == 1 or n % cadence.stride != 0
            spent += 0.04 if dense else 0.0
        cadence.learn(0.2, 1e-3, 0.04 if cadence.wants_all(n) else None)
    assert spent <= EARLY_SECONDS + 0.04


def test_on_a_device_every_second_step_of_the_start_is_measured_unless_the_weights_are_large() -> None:
    assert [n for n in range(1, 99) if Cadence("auto", 50, timed=False).wants_all(n)] == [1, *range(2, 65, 2), 80, 96]
    large = Cadence("auto", 50, timed=False, weight_bytes=EARLY_BYTES + 1)
    assert [n for n in range(1, 49) if large.wants_all(n)] == [1, 16, 32, 48]


def test_one_slow_step_does_not_upset_the_plan() -> None:
    cadence = Cadence("auto", 50, timed=True)
    for _ in range(50):
        cadence.learn(0.1, 1e-4, 1e-4)
    cadence.learn(60.0, 30.0, 30.0)
    for _ in range(20):
        cadence.learn(0.1, 1e-4, 1e-4)
    assert cadence.stride == 1


def test_full_measures_everything_light_the_least_and_a_device_keeps_a_fixed_stride() -> None:
    assert all(Cadence("full", 999, timed=True).wants_all(n) for n in range(1, 50))
    assert [n for n in range(1, 33) if Cadence("light", 9, timed=True).wants_all(n)] == [1, 16, 32]
    device = Cadence("auto", 999, timed=False)
    device.learn(0.1, 1e-6, 1e-6)
    assert device.stride == SPARSEST
    assert vector_stride(20, "auto") == 1


def test_after_something_non_finite_the_next_steps_are_looked_at_closely() -> None:
    cadence = Cadence("auto", 999, timed=False)
    assert not cadence.wants_all(101)
    cadence.alert(100)
    assert all(cadence.wants_vectors(n) for n in range(101, 108))


@given(st.lists(st.integers(0, 60), max_size=30), st.integers(0, 100))
def test_blocks_hold_every_tensor_that_fits_once_and_none_is_too_large(sizes: list[int], limit: int) -> None:
    blocks = blocks_of(sizes, limit)
    covered = [i for first, last in blocks for i in range(first, last)]
    assert covered == [i for i, size in enumerate(sizes) if size <= limit]
    assert all(sum(sizes[first:last]) <= limit for first, last in blocks)


def test_where_memory_is_short_blocks_take_turns_and_each_is_right() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4))
    opt = torch.optim.SGD(model.parameters())
    tracked = Tracked(model, [opt], CPU)
    updates = Updates(tracked, limit=100)
    seen: dict[int, float] = {}
    for _ in range(3):
        updates.begin()
        assert not updates.covers_all
        with torch.no_grad():
            updates.before(0, 6)
            for i, p in enumerate(model.parameters()):
                p.add_((i + 1) / p.numel() ** 0.5)
            out = torch.full((6,), math.nan)
            updates.after(0, 6, out, torch.zeros(0))
        seen.update({i: x for i, x in enumerate(out.tolist()) if not math.isnan(x)})
    assert seen == pytest.approx({i: float(i + 1) for i in range(6)}, rel=1e-5)


def test_blocks_that_take_turns_count_each_tensors_changes_in_its_own_place() -> None:
    model = nn.Sequential(nn.Embedding(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)).to(torch.bfloat16)
    tracked = Tracked(model, [torch.optim.SGD(model.parameters())], CPU)
    assert tracked.counts.at.tolist() == [1, 2, 3, 4]
    updates = Updates(tracked, limit=50)
    seen: dict[int, float] = {}
    for _ in range(3):
        updates.begin()
        with torch.no_grad():
            updates.before(0, 5)
            for i, p in enumerate(model.parameters()):
                p.view(-1)[:i] += 1
            counts = torch.full((4,), math.nan)
            updates.after(0, 5, torch.zeros(5), counts)
        seen.update({i: x * x for i, x in enumerate(counts.tolist(), start=1) if not math.isnan(x)})
    assert seen == pytest.approx({1: 1, 2: 2, 3: 3, 4: 4})
