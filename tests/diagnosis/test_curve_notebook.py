"""The notebook's analysis of a loss curve: each threshold on both sides, and the six patterns told apart."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tuimon.diagnosis.notebook import LossCurveAnalyzer, generate_example_patterns
from tuimon.diagnosis.notebook_curves import direction_changes

analyze = LossCurveAnalyzer().analyze_pattern


def ending_at(change: float) -> list[float]:
    """Twenty losses whose last ten are lower than the first ten by this share."""
    return [1.0] * 10 + [1.0 - change] * 10


@pytest.mark.parametrize(("change", "word"), [
    (0.21, "strong improvement"), (0.19, "improving"), (0.051, "improving"), (0.049, "slow improvement"),
    (0.011, "slow improvement"), (0.009, "plateau"), (-0.009, "plateau"), (-0.011, "worsening"), (0.5, "strong improvement"),
    (-5.0, "worsening"),
])
def test_the_trend_compares_the_first_window_with_the_last(change, word):
    said = analyze(ending_at(change))
    assert said["trend"] == word
    assert said["relative_change"] == pytest.approx(change)


def test_a_change_exactly_on_a_threshold_counts_as_the_calmer_word():
    assert analyze([4.0] * 10 + [3.0] * 10)["relative_change"] == 0.25
    assert analyze([5.0] * 10 + [4.0] * 10)["trend"] == "improving"
    assert analyze([100.0] * 10 + [101.0] * 10)["trend"] == "worsening"


@pytest.mark.parametrize(("spread", "word"), [(0.21, "high"), (0.19, "moderate"), (0.051, "moderate"), (0.049, "low"), (0.0, "low")])
def test_volatility_is_the_last_windows_standard_deviation_over_its_mean(spread, word):
    said = analyze([9.0, 1.0] * 20 + [1.0 - spread, 1.0 + spread] * 5)
    assert said["volatility"] == word
    assert said["volatility_ratio"] == pytest.approx(spread)


@pytest.mark.parametrize(("turns", "word"), [(6, "high"), (5, "moderate"), (2, "moderate"), (1, "low"), (0, "low"), (18, "high")])
def test_direction_changes_are_counted_over_the_last_twenty_losses(turns, word):
    moves = [(-1.0) ** k for k in range(turns)] + [(-1.0) ** turns] * (19 - turns)
    said = analyze([50.0, 1.0] * 30 + list(40 + np.cumsum([0.0, *moves])))
    assert said["oscillation"] == word
    assert said["direction_changes"] == pytest.approx(turns / 18)


@pytest.mark.parametrize(("last", "word"), [
    (math.nan, "not finite"), (math.inf, "not finite"), (math.nextafter(100, 200), "exploded"), (100.0, "healthy"),
    (1e-6, "healthy"), (math.nextafter(1e-6, 0), "vanished"), (0.0, "vanished"),
])
def test_health_is_about_the_last_loss_and_any_that_is_no_number(last, word):
    assert analyze([2.0] * 30 + [last])["health"] == word


def test_a_loss_that_was_no_number_once_is_never_forgotten():
    assert analyze([2.0, math.nan] + [2.0] * 30)["health"] == "not finite"


@pytest.mark.parametrize("losses", [[], [2.0], [2.0] * 9])
def test_fewer_losses_than_a_window_are_unknown_but_for_their_health(losses):
    said = analyze(losses)
    assert (said["trend"], said["volatility"], said["oscillation"]) == ("unknown",) * 3
    assert said["health"] == ("healthy" if losses else "unknown")


@pytest.mark.parametrize("losses", [
    [0.0] * 20, [-1.0] * 20, [math.nan] * 20, [1e308] * 20, [0.0] * 10 + [1.0] * 10, [5e-324] * 30, [math.inf, -math.inf] * 10,
])
def test_odd_losses_get_an_answer(losses):
    said = analyze(losses)
    assert set(said) == {"trend", "volatility", "oscillation", "health", "relative_change", "volatility_ratio", "direction_changes", "losses"}
    assert said["losses"] == len(losses)


def test_a_wider_window_looks_at_more_and_none_is_refused():
    losses = [4.0] * 10 + [1.0] * 10 + [4.0] * 10
    assert analyze(losses)["trend"] == "plateau"
    assert analyze(losses, window_size=20)["relative_change"] == 0.0
    with pytest.raises(ValueError, match="at least 1"):
        analyze(losses, window_size=0)


def test_there_are_six_patterns_each_a_curve_of_finite_losses_the_same_every_time():
    patterns = generate_example_patterns()
    assert list(patterns) == [
        "healthy", "overfitting", "learning rate too high", "learning rate too low", "exploding", "no learning"]
    assert patterns == generate_example_patterns()
    assert all(len(curve) == 300 and np.isfinite(curve).all() for curve in patterns.values())


@pytest.mark.parametrize(("name", "trend", "health"), [
    ("healthy", "strong improvement", "healthy"), ("learning rate too low", "slow improvement", "healthy"),
    ("exploding", "worsening", "exploded"), ("no learning", "plateau", "healthy"),
])
@pytest.mark.parametrize("seed", range(5))
def test_the_notebook_knows_the_patterns_that_it_can_know(name, trend, health, seed):
    said = analyze(generate_example_patterns(seed=seed)[name])
    assert (said["trend"], said["health"]) == (trend, health)


@pytest.mark.filterwarnings("error")
def test_losses_as_large_as_numbers_get_have_turns_too():
    assert direction_changes(np.array([1.7e308, -1.7e308, 1.7e308])) == 1.0
