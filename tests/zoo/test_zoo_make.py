"""The zoo's trainings are real, labelled with what was done to them, and the same again for the same seed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.zoo.kinds import KINDS
from tests.zoo.train import lost, make, slowed
from tuimon.diagnosis.rules import RULES
from tuimon.record.chunk import Chunk

SLUGS = {rule.slug for rule in RULES} | {
    "attention-collapse", "dead-units", "logit-drift", "throughput-drop", "data-starved", "memory-growth", "straggler",
}


def losses(recording):
    return np.concatenate([chunk.measured("loss")[1] for chunk in recording.chunks])


def test_a_planted_nan_stands_at_the_step_that_the_label_names(tmp_path):
    made = make("log-of-zero", 1, tmp_path)
    found = losses(made)
    assert made.label.onset == made.label.lost == 1 + int(np.argmax(~np.isfinite(found)))
    assert np.median(found[made.label.onset - 33:made.label.onset - 1]) < 0.5 * np.median(found[:3])
    assert made.context.total_steps == made.label.onset + 60
    assert (made.model, made.optimizer, made.context.optimizer) == ("vit", "SGD", "SGD")


def test_the_same_kind_and_seed_train_alike_and_another_seed_does_not(tmp_path):
    torch.manual_seed(5)
    first = losses(make("wrong-unit", 2, tmp_path))
    again = losses(make("wrong-unit", 2, tmp_path))
    assert np.array_equal(first, again, equal_nan=True)
    assert not np.array_equal(first, losses(make("wrong-unit", 3, tmp_path)))
    assert torch.initial_seed() == 5


def test_a_resumed_run_is_two_attempts_of_one_run(tmp_path):
    short = replace(KINDS["resumed"], build=lambda seed: _shortened(KINDS["resumed"].build(seed)))
    made = make("resumed", 1, tmp_path, kinds={"resumed": short})
    steps = np.concatenate([chunk.steps for chunk in made.chunks]).tolist()
    assert steps == list(range(1, 61))
    attempts = [m for chunk in made.chunks for m in chunk.marks if m.kind == "attempt"]
    assert [m.step for m in attempts] == [0, 40]


def _shortened(training):
    training.steps, training.interrupted = 60, 40 if training.interrupted else None
    return training


@pytest.mark.parametrize(("curve", "onset", "expected"), [
    ([3.0] * 40 + [2.0] * 40, 30, None),
    ([2.0] * 40 + [math.nan] * 5, 41, 41),
    ([2.0] * 40 + [math.nan] + [2.0] * 40, 41, None),
    ([2.0] * 40 + [9.0] * 40, 41, 41),
    ([2.0] * 40 + [9.0] * 20 + [2.0] * 40, 41, None),
    ([4.0] * 3 + [3.0] * 40 + [5.0] * 40, 44, 44),
    ([4.0] * 3 + [6.0] * 40, 1, 10),
    ([2.0] * 40 + [9.0] * 40 + [math.nan] * 5, 41, 41),
    ([4.0] * 3 + [3.0] * 9 + [math.nan] * 9, 1, 13),
])
def test_a_run_is_lost_where_its_loss_leaves_for_good(curve, onset, expected):
    found = lost(curve, onset)
    assert found == expected or (found is not None and expected is not None and abs(found - expected) <= 2)


def test_every_kind_names_causes_that_exist_and_only_faults_have_any():
    assert sum(not kind.healthy for kind in KINDS.values()) >= 24
    assert sum(kind.healthy for kind in KINDS.values()) >= 12
    for name, kind in KINDS.items():
        assert kind.name == name
        assert bool(kind.causes) is not kind.healthy
        assert {*kind.causes, *kind.also} <= SLUGS
        assert not {*kind.causes} & {*kind.also}
        assert not (kind.healthy and kind.catastrophic)


def test_a_slower_clock_stretches_what_is_time_and_nothing_else():
    chunk = replace(Chunk.of(step_time=[0.5, 0.25], throughput=[8.0, 16.0], loss=[2.0, 1.0]), times=np.array([7.0, 7.25]))
    slow = slowed(chunk, 4.0)
    assert {name: column.tolist() for name, column in slow.columns.items()} == {
        "step_time": [2.0, 1.0], "throughput": [2.0, 4.0], "loss": [2.0, 1.0]}
    assert slow.times.tolist() == [7.0, 8.0]


@pytest.mark.nightly
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.catastrophic])
def test_a_run_that_counts_as_catastrophic_is_lost(kind, tmp_path):
    assert make(kind, 20, tmp_path).label.lost is not None
