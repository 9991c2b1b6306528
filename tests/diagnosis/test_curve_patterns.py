"""Which of the notebook's six patterns a curve looks like: all six are told apart, and what is none of them is none."""

from __future__ import annotations

import numpy as np
import pytest

from tuimon.diagnosis.curve.patterns import pattern_of
from tuimon.diagnosis.curve.reading import read_curve
from tuimon.diagnosis.curve.report import facts, gap_of, judge_source
from tuimon.diagnosis.curve.sources import Source
from tuimon.diagnosis.notebook_curves import generate_example_patterns


def named(losses, **more):
    return pattern_of(read_curve(np.arange(1, len(losses) + 1), losses, **more))


@pytest.mark.parametrize("seed", range(3))
def test_each_of_the_six_is_recognised_as_itself(seed):
    assert {name: named(losses).name for name, losses in generate_example_patterns(300, seed).items()} == {
        name: name for name in generate_example_patterns(300, seed)}


def test_validation_that_turns_while_training_falls_is_overfitting():
    rng = np.random.default_rng(0)
    t = np.arange(1, 601)
    losses = 0.5 + 3 * np.exp(-t / 200) + 0.02 * rng.standard_normal(600)
    at = np.arange(30, 601, 30)
    val = 0.8 + 3 * np.exp(-at / 150) + 1.5 * np.maximum(0, at / 600 - 0.5) + 0.01 * rng.standard_normal(len(at))
    found = named(losses, val=(at, val))
    assert found.name == "overfitting"
    assert "validation was best at step" in found.why
    assert named(losses).name == "healthy"


@pytest.mark.parametrize(("losses", "words"), [
    ([], "no loss"), ([4.0, 3.9, 3.8], "too few"), (list(np.random.default_rng(1).normal(4, 0.5, 40)), "no clear"),
])
def test_too_little_is_none_of_them_and_says_why(losses, words):
    found = named(losses)
    assert found.name is None
    assert words in found.why


def test_a_loss_that_ends_as_no_number_is_exploding_and_a_jump_that_stays_is_none():
    falls = 2 + 2 * np.exp(-np.arange(200) / 40) + 0.02 * np.random.default_rng(0).standard_normal(200)
    assert named([*falls, np.nan]).name == "exploding"
    jumped = falls.copy()
    jumped[120:] += 0.8
    found = named(jumped)
    assert found.name is None
    assert "jumped up at step" in found.why


def test_the_reading_says_how_validation_goes_and_how_far_it_is_from_training():
    steps = np.arange(1.0, 101.0)
    losses = np.full(100, 2.0) + 0.01 * np.sin(steps)
    source = Source("x", steps, losses, None, (np.array([50.0, 100.0]), np.array([2.4, 2.5])))
    assert gap_of(source) == pytest.approx(0.5, abs=0.02)
    (row,) = [words for label, words in facts(judge_source(source)) if label == "validation"]
    assert row.startswith("best 2.40 at step 50, 2.50 now; 0.5")
    assert row.endswith("above training")
    assert gap_of(Source("x", steps, losses, None, None)) is None
