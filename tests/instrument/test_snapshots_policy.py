"""Which snapshots are kept, and who may use their memory."""

import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tuimon.errors import CheckpointError
from tuimon.instrument.snapshots import Snapshots
from tuimon.instrument.state import TrainingState

torch.set_num_threads(1)


def fresh(slots=4):
    net = nn.Linear(3, 3)
    return net, Snapshots(TrainingState(net, torch.optim.SGD(net.parameters(), lr=0.1)), slots)


def test_the_initial_one_stays_until_another_has_earned_its_health():
    _, snapshots = fresh()
    for step in range(0, 100, 10):
        snapshots.capture(step)
    assert snapshots.initial.step == 0
    assert snapshots.healthy is None
    snapshots.promote(snapshots.pending[0])
    snapshots.capture(100)
    assert snapshots.initial is None
    assert snapshots.healthy.step == 10


def test_superseded_ones_make_room_before_any_pending_one_does():
    _, snapshots = fresh()
    for step in (0, 10, 20, 30):
        snapshots.capture(step)
    snapshots.promote(10)
    snapshots.promote(20)
    snapshots.capture(40)
    assert snapshots.steps == (0, 20, 30, 40)
    snapshots.capture(50)
    assert snapshots.steps == (20, 30, 40, 50)


def test_the_oldest_pending_one_is_not_starved_by_new_ones():
    _, snapshots = fresh(slots=3)
    for step in range(0, 200, 10):
        snapshots.capture(step)
    assert snapshots.pending[0] == 10
    assert snapshots.steps == (0, 10, 190)


def test_the_digest_comes_with_the_seal_and_is_the_same_for_the_same_weights():
    net, snapshots = fresh()
    snapshots.capture(1)
    assert snapshots.initial.sha256 == ""
    first = snapshots.seal(1)
    assert len(first) == 64
    snapshots.capture(2)
    assert snapshots.seal(2) == first == snapshots.restore(2).sha256
    with torch.no_grad():
        net.bias.add_(1)
    snapshots.capture(3)
    assert snapshots.seal(3) != first


def test_a_missing_step_is_named_with_those_that_exist():
    _, snapshots = fresh()
    snapshots.capture(5)
    assert not snapshots.promote(7)
    assert snapshots.seal(7) == ""
    with pytest.raises(CheckpointError, match="no snapshot of step 7; there are: 5"):
        snapshots.restore(7)


def test_restoring_voids_what_came_after():
    _, snapshots = fresh()
    for step in (0, 10, 20, 30):
        snapshots.capture(step)
    snapshots.promote(10)
    assert snapshots.restore(10).proven
    assert snapshots.steps == (0, 10)
    assert snapshots.void_after(5) == (10,)
    assert snapshots.healthy is None


def test_lent_memory_is_not_overwritten_and_comes_back():
    net, snapshots = fresh(slots=3)
    snapshots.capture(0)
    snapshots.capture(1)
    lent, again = snapshots.detach(1), snapshots.detach(1)
    kept = lent.tensors["param/weight"].clone()
    lent.release()
    snapshots.void_after(0)
    with torch.no_grad():
        net.weight.fill_(7.0)
    for step in range(2, 9):
        snapshots.capture(step)
    assert torch.equal(again.tensors["param/weight"], kept)


def test_a_seal_beside_new_captures_never_vouches_for_the_wrong_bytes():
    net, snapshots = fresh(slots=3)
    done, errors = threading.Event(), []

    def sealing():
        try:
            while not done.is_set():
                for step in snapshots.steps:
                    snapshots.seal(step)
        except Exception as error:
            errors.append(error)

    writer = threading.Thread(target=sealing)
    writer.start()
    for step in range(300):
        with torch.no_grad():
            net.weight.fill_(float(step))
        snapshots.capture(step)
        if step % 10 == 0:
            snapshots.restore(step)
    done.set()
    writer.join(20)
    assert not errors
    for step in reversed(snapshots.steps):
        snapshots.restore(step)


actions = st.lists(st.tuples(st.sampled_from(["capture", "promote", "void"]), st.integers(0, 40)), max_size=40)


@settings(max_examples=60, deadline=None)
@given(actions, st.integers(3, 5))
def test_whatever_happens_there_is_a_way_back(script, slots):
    """Bounded, ordered; the newest healthy one is never dropped to make room, nor the initial one before."""
    net, snapshots = fresh(slots)
    step, healthy = 0, None
    snapshots.capture(0)
    for action, number in script:
        if action == "capture":
            step += 1 + number % 5
            with torch.no_grad():
                net.weight.fill_(float(step))
            oldest = snapshots.pending[:1]
            snapshots.capture(step)
            assert step in snapshots.steps
            assert not oldest or oldest[0] in snapshots.steps
        elif action == "promote":
            if snapshots.promote(number):
                healthy = max(number, healthy or 0)
        else:
            snapshots.void_after(max(number, healthy or 0))  # what has earned its health lies before any onset
            healthy = snapshots.healthy.step if snapshots.healthy else None
        assert len(snapshots.steps) <= slots
        assert list(snapshots.steps) == sorted(set(snapshots.steps))
        assert (snapshots.healthy.step if snapshots.healthy else None) == healthy
        assert snapshots.initial is not None or healthy is not None
        assert len(snapshots._spare) + len(snapshots._slots) <= slots
    back = snapshots.restore((snapshots.healthy or snapshots.initial).step)
    if back.step:
        assert torch.equal(net.weight, torch.full((3, 3), float(back.step)))
