"""Our reading of a loss curve: known parameters come back, invariances hold, and what cannot be told is said."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuimon.diagnosis.curve import read_curve
from tuimon.diagnosis.notebook import generate_example_patterns

N = 1200


def steps(n: int = N):
    return np.arange(1.0, n + 1)


def exponential(n: int = N, *, tau: float = 200.0, noise: float = 0.05, seed: int = 0):
    rng = np.random.default_rng(seed)
    return 2.0 + 4.0 * np.exp(-np.arange(n) / tau) + noise * rng.standard_t(4, n)


def power(n: int = N, *, alpha: float = 0.5, offset: float = 20.0, noise: float = 0.03, seed: int = 0):
    rng = np.random.default_rng(seed)
    return 2.0 + 5.0 * (1 + np.arange(n) / offset) ** -alpha + noise * rng.standard_t(4, n)


def test_the_time_constant_of_an_exponential_comes_back_within_its_own_interval():
    held = 0
    for seed in range(20):
        tau = 60.0 + 20 * seed
        reading = read_curve(steps(), exponential(tau=tau, seed=seed))
        held += tau in reading.laws.exponential.interval
        assert reading.laws.exponential.constant == pytest.approx(tau, rel=0.1)
        assert reading.laws.better == "exponential"
    assert held >= 17


def test_the_exponent_of_a_power_law_comes_back_within_its_own_interval():
    held = 0
    for seed in range(20):
        alpha = 0.3 + 0.04 * seed
        reading = read_curve(steps(), power(alpha=alpha, seed=seed))
        held += alpha in reading.laws.power.interval
        assert reading.laws.better == "power"
    assert held >= 17


def test_the_fitted_law_lies_on_the_curve():
    for clean, noisy in ((exponential(noise=0.0), exponential()), (power(noise=0.0), power())):
        law = read_curve(steps(), noisy).laws.chosen
        assert np.abs(law.at(steps()) - clean)[20:].max() < 0.02


@pytest.mark.parametrize(("losses", "better"), [
    (4.0 - 0.001 * np.arange(N) + 0.05 * np.random.default_rng(1).normal(size=N), "line"),
    (2.0 + 0.001 * np.arange(N) + 0.05 * np.random.default_rng(1).normal(size=N), {"neither", "line"}),
    (3.0 + np.cos(np.arange(N) / 150) + 0.01 * np.random.default_rng(1).normal(size=N), "neither"),
    (np.full(N, 3.0), "neither"),
])
def test_what_is_no_such_descent_is_not_called_one(losses, better):
    laws = read_curve(steps(), losses).laws
    assert laws.better in (better if isinstance(better, set) else {better})
    assert laws.chosen is None


def test_the_interval_of_the_trend_covers_the_true_slope_as_often_as_it_says():
    inside = 0
    for seed in range(200):
        noise = np.random.default_rng(seed).standard_t(4, 300)
        inside += -0.1 in read_curve(steps(300), 3.0 - 0.001 * steps(300) + 0.1 * noise).trend.interval
    assert 180 <= inside <= 198


def test_noise_is_measured_around_the_trend_and_an_outlier_does_not_raise_it():
    losses = exponential(noise=0.0) + np.random.default_rng(3).normal(0, 0.07, N)
    losses[[700, 900, 1000]] += 50.0
    reading = read_curve(steps(), losses)
    assert reading.noise == pytest.approx(0.07, rel=0.15)
    assert reading.outliers == 3
    assert reading.changes == ()
    assert abs(reading.trend.slope) < 0.05


@settings(max_examples=25, deadline=None)
@given(shift=st.integers(0, 10**9), seed=st.integers(0, 5))
def test_where_the_counting_of_steps_begins_changes_nothing(shift, seed):
    here = read_curve(steps(400), exponential(400, tau=80, seed=seed), 800)
    there = read_curve(steps(400) + shift, exponential(400, tau=80, seed=seed), 800 + shift)
    assert there.laws.exponential.constant == pytest.approx(here.laws.exponential.constant, rel=1e-6)
    assert there.trend.slope == pytest.approx(here.trend.slope, rel=1e-6, abs=1e-9)
    assert there.forecast.middle == pytest.approx(here.forecast.middle, rel=1e-6)
    assert [c.step - shift for c in there.changes] == [c.step for c in here.changes]
    assert there.mood == here.mood


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 5))
def test_losses_in_another_unit_give_the_same_shape_and_scaled_numbers(scale, seed):
    losses = exponential(400, tau=80, seed=seed)
    here, there = read_curve(steps(400), losses, 800), read_curve(steps(400), scale * losses, 800)
    assert there.laws.better == here.laws.better
    assert there.laws.exponential.constant == pytest.approx(here.laws.exponential.constant, rel=1e-6)
    assert there.noise == pytest.approx(scale * here.noise, rel=1e-6)
    assert there.trend.slope == pytest.approx(scale * here.trend.slope, rel=1e-5, abs=1e-9 * scale)
    assert there.trend.relative == pytest.approx(here.trend.relative, rel=1e-5, abs=1e-9)
    assert there.forecast.middle == pytest.approx(scale * here.forecast.middle, rel=1e-5)
    assert there.mood == here.mood


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(6)), seed=st.integers(0, 3))
def test_the_order_in_which_stretches_arrive_changes_nothing(order, seed):
    x, y = np.array_split(steps(360), 6), np.array_split(exponential(360, tau=70, seed=seed), 6)
    y[2][4] = math.nan
    straight = read_curve(np.concatenate(x), np.concatenate(y), 500)
    mixed = read_curve(np.concatenate([x[i] for i in order]), np.concatenate([y[i] for i in order]), 500)
    assert repr(mixed) == repr(straight)


def test_rows_of_the_same_step_count_as_their_mean():
    x, y = steps(200), exponential(200, tau=60)
    twice = read_curve(np.concatenate([x, x]), np.concatenate([y + 0.5, y - 0.5]))
    assert twice.points == 200
    assert twice.level == pytest.approx(read_curve(x, y).level)


@pytest.mark.parametrize(("n", "missing"), [(0, "everything"), (5, "noise"), (12, "trend"), (20, "laws"), (30, "plateau"), (40, "change"), (200, "oscillation")])
def test_with_few_points_it_says_what_it_needs_instead_of_guessing(n, missing):
    reading = read_curve(steps(n), exponential(n, tau=60))
    assert any(text.startswith(missing) for text in reading.waiting)
    if n < 16:
        assert reading.trend is None
        assert reading.mood == "unknown"


ODD = {
    "all nan": [math.nan] * 50, "one": [2.0], "two": [2.0, 1.0], "nan at the end": [2.0] * 40 + [math.nan], "constant": [2.0] * 300,
    "zeros": [0.0] * 300, "negative": list(-2 - np.exp(-np.arange(300) / 50) * -3), "huge": [1e300, 1e308] * 100, "tiny": [1e-300] * 100,
    "infinite amid": [2.0, math.inf, -math.inf, math.nan] * 60, "steps up": [1.0] * 100 + [2.0] * 100, "falls without noise": list(np.exp(-np.arange(400) / 30)),
}


@pytest.mark.parametrize("losses", ODD.values(), ids=ODD.keys())
def test_any_losses_get_a_verdict(losses):
    reading = read_curve(range(len(losses)), losses, 2 * len(losses), val=([1], [2.0]))
    assert reading.verdict
    assert "\n" not in reading.verdict


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(width=32)), max_size=120))
def test_no_losses_whatever_raise(rows):
    reading = read_curve([s for s, _ in rows], [v for _, v in rows], 10**6)
    assert reading.points <= len(rows)


def test_unequal_numbers_of_steps_and_losses_are_refused_in_one_line():
    with pytest.raises(ValueError, match="2 steps and 3 losses"):
        read_curve([1, 2], [1.0, 2.0, 3.0])


@pytest.mark.parametrize("quantum", [1e-4, 2**-6])
def test_rounded_logs_give_the_same_reading_as_exact_ones(quantum):
    losses = exponential()
    exact, rounded = read_curve(steps(), losses), read_curve(steps(), np.round(losses / quantum) * quantum)
    assert rounded.laws.better == exact.laws.better
    assert rounded.laws.exponential.constant == pytest.approx(exact.laws.exponential.constant, rel=0.03)
    assert rounded.noise == pytest.approx(exact.noise, rel=0.2)
    assert rounded.mood == exact.mood


def test_bf16_losses_with_a_dozen_distinct_values_show_neither_change_nor_swing():
    losses = np.round(exponential(2000, noise=0.02) * 32) / 32
    reading = read_curve(steps(2000), losses)
    assert reading.changes == ()
    assert reading.oscillation is None
    assert reading.noise >= 1 / 32 / math.sqrt(12)


def test_a_curve_logged_every_hundred_steps_is_read_in_steps_not_rows():
    sparse = read_curve(100 * steps(300), exponential(300, tau=60))
    assert sparse.spacing == 100
    assert 6000 in sparse.laws.exponential.interval
    assert sparse.trend.last == 30_000


def test_a_million_points_are_read_whole():
    n = 10**6
    reading = read_curve(np.arange(n), exponential(n, tau=5e4, noise=0.1), 2 * n)
    assert reading.points == n
    assert reading.laws.exponential.constant == pytest.approx(5e4, rel=0.01)
    assert reading.changes == ()
    assert reading.forecast.interval.low < 2.0 < reading.forecast.interval.high


@pytest.mark.parametrize(("name", "mood", "word"), [
    ("healthy", "good", "come down|learns"), ("overfitting", "bad", "rises"), ("learning rate too high", "watch", "swings"),
    ("learning rate too low", "watch", "straight line"), ("exploding", "bad", "blown up"), ("no learning", "bad", "no sign of learning|never learned"),
])
@pytest.mark.parametrize("seed", range(4))
def test_each_of_the_six_patterns_is_called_by_its_name(name, mood, word, seed):
    losses = generate_example_patterns(seed=seed)[name]
    reading = read_curve(steps(len(losses)), losses)
    assert reading.mood == mood, reading.verdict
    assert any(part in reading.verdict.lower() for part in word.split("|"))


def test_a_loss_that_is_no_number_at_the_end_comes_before_all_else():
    reading = read_curve(steps(300), [*exponential(298), math.nan, math.nan])
    assert reading.mood == "bad"
    assert "first at step 299" in reading.verdict
