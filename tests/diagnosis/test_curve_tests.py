"""The single tests behind a reading: swings, changes, plateaus, validation, and when a loss is reached."""

from __future__ import annotations

import math

import numpy as np
import pytest
from labelled_curves import CURVES, lines, needs_curves

from tuimon.diagnosis.curve import read_curve
from tuimon.diagnosis.curve.changes import find_changes
from tuimon.diagnosis.curve.forecast import reach
from tuimon.diagnosis.curve.periodogram import examine, find_oscillation
from tuimon.diagnosis.curve.points import points_of
from tuimon.diagnosis.curve.trend import student


def smooth(n: int, seed: int, noise: float = 0.05):
    rng = np.random.default_rng(seed)
    t = np.arange(n)
    shape = np.exp(-t / (n * rng.uniform(0.01, 0.5))) if seed % 2 else (1 + t / (n * rng.uniform(0.002, 0.05))) ** -rng.uniform(0.2, 1)
    return 2 + 4 * shape + noise * rng.standard_t(4, n)


def found(losses):
    return find_changes(points_of(range(len(losses)), losses))


def test_noise_around_a_smooth_descent_is_no_change():
    assert not [seed for seed in range(60) if found(smooth([200, 1000, 4000][seed % 3], seed, [0.0, 0.02, 0.1][seed % 3]))]


@pytest.mark.parametrize("size", [0.3, -0.3, 1.0])
def test_a_jump_of_the_level_is_found_where_it_is(size):
    losses = 3 - 0.001 * np.arange(1000) + np.random.default_rng(2).normal(0, 0.1, 1000)
    losses[600:] += size
    (change,) = found(losses)
    assert change.kind == "jump"
    assert change.direction == ("up" if size > 0 else "down")
    assert abs(change.step - 600) <= 24
    assert change.size == pytest.approx(size, abs=0.12)


def test_a_learning_rate_decay_is_one_knee_downwards():
    t = np.arange(1000)
    (change,) = found(3 + np.random.default_rng(4).normal(0, 0.1, 1000) - np.maximum(0, t - 500) * 0.002)
    assert (change.kind, change.direction) == ("knee", "down")
    assert abs(change.step - 500) <= 60
    assert change.size == pytest.approx(-0.2, abs=0.08)


def test_a_loss_that_turns_upwards_is_a_knee_upwards():
    t = np.arange(1000)
    changes = found(2 + 3 * np.exp(-t / 60) + np.random.default_rng(5).normal(0, 0.05, 1000) + np.maximum(0, t - 600) * 0.003)
    assert [(c.kind, c.direction) for c in changes] == [("knee", "up")]


def test_single_bad_batches_are_no_change():
    losses = smooth(1000, 1)
    losses[[300, 301, 700]] += 20
    assert found(losses) == ()


def test_a_change_of_the_logging_pace_is_no_change_of_the_curve():
    x = np.concatenate([np.arange(100), np.arange(100, 20_000, 100)])
    y = 2 + 5 * (1 + x / 200) ** -0.5 + np.random.default_rng(6).normal(0, 0.02, len(x))
    assert find_changes(points_of(x, y)) == ()


@pytest.mark.parametrize("period", [2, 3, 10, 25, 90, 200])
def test_a_swing_is_found_with_its_period(period):
    t = np.arange(4096)
    swing = (-1.0) ** t * 0.2 if period == 2 else 0.15 * math.sqrt(2) * np.sin(2 * np.pi * t / period)
    seen = find_oscillation(points_of(t, smooth(4096, 1, 0.1) + swing))
    assert seen.period == pytest.approx(period, rel=0.12)
    assert seen.matters


def test_noise_has_no_swing():
    assert not [s for s in range(60) if find_oscillation(points_of(range(4096), smooth(4096, s, 0.1)))]


def test_fishers_test_is_as_rare_on_noise_as_it_says():
    rows = np.random.default_rng(0).standard_t(3, (8000, 128))
    assert (examine(rows).p_values < 1e-2).mean() < 2e-2
    assert (examine(rows).p_values < 1e-4).sum() <= 5


def test_a_small_steady_swing_is_known_but_does_not_matter():
    t = np.arange(2048)
    losses = 10 + 0.02 * np.sin(2 * np.pi * t / 16) + np.random.default_rng(1).normal(0, 0.01, 2048)
    reading = read_curve(t, losses)
    assert reading.oscillation is not None
    assert not reading.oscillation.matters
    assert "swings" not in reading.verdict


def flat(n, noise, slope=0.0, seed=0):
    return 3.0 - slope * np.arange(n) + np.random.default_rng(seed).normal(0, noise, n)


def test_a_plateau_needs_enough_points_for_its_noise_and_says_how_many():
    wanted = 12 * (2.33 * 0.05 / (0.005 * 3)) ** 2
    early = read_curve(range(300), flat(300, 0.05)).plateau
    assert early.state == "undecided"
    assert early.steps_needed == pytest.approx(2 * (wanted - 150), rel=0.35)
    late = [read_curve(range(6000), flat(6000, 0.05, seed=s)).plateau.state for s in range(20)]
    assert late.count("flat") >= 12
    assert "improving" not in late[:1]


def test_a_run_that_still_improves_is_not_called_flat():
    states = [read_curve(range(3000), flat(3000, 0.05, 2e-5, s)).plateau.state for s in range(30)]
    assert states.count("flat") <= 2


def test_a_flat_start_is_called_never_learned_only_with_proof():
    reading = read_curve(range(6000), flat(6000, 0.02))
    assert reading.mood == "bad"
    assert "never learned" in reading.verdict


def test_validation_that_turns_while_training_falls_is_learning_by_heart():
    t = np.arange(1000)
    train = 1 + 3 * np.exp(-t / 300) + np.random.default_rng(0).normal(0, 0.03, 1000)
    at = np.arange(0, 1000, 100)
    turned = read_curve(t, train, val=(at, 3 + ((at - 300) / 500) ** 2))
    assert turned.validation.turned
    assert turned.validation.best_step == 300
    assert "by heart" in turned.verdict
    noisy = read_curve(t, train, val=(at, 2 + np.exp(-at / 300) + np.random.default_rng(1).normal(0, 0.05, 10)))
    assert not noisy.validation.turned
    late = read_curve(t, train, val=(at, [3, 2.5, 2.2, 2.0, 1.9, 1.8, 1.75, 1.7, 1.65, 1.9]))
    assert not late.validation.turned


def test_when_a_loss_is_reached_lies_between_soonest_and_latest():
    x = np.arange(2000)
    losses = 2 + 5 * (1 + x / 50) ** -0.5 + np.random.default_rng(0).normal(0, 0.02, 2000)
    ahead = read_curve(x, losses).outlook
    true = 50 * (5 / 0.65) ** 2 - 50 - 1999
    found_ = reach(ahead, 2.65)
    assert found_.soonest <= true <= found_.latest
    assert found_.middle == pytest.approx(true, rel=0.3)
    assert reach(ahead, 9.0).middle == 0
    assert reach(ahead, -5.0).soonest == math.inf


@pytest.mark.parametrize(("free", "wanted"), [(4, 2.776), (6, 2.447), (14, 2.145), (60, 2.000)])
def test_students_quantiles_are_the_tables(free, wanted):
    assert student(0.975, free) == pytest.approx(wanted, abs=0.008)


@needs_curves
def test_healthy_language_model_runs_show_no_jump_no_swing_and_a_good_mood():
    for run in lines(CURVES / "gpt_healthy.jsonl.gz"):
        reading = read_curve(range(len(run["loss"])), [float(v) for v in run["loss"]])
        assert not [c for c in reading.changes if c.kind == "jump"], run["name"]
        assert reading.oscillation is None
        assert reading.mood == "good", reading.verdict


@needs_curves
def test_the_decay_of_a_real_schedule_is_the_one_change_in_its_run():
    run = next(r for r in lines(CURVES / "gpt_healthy.jsonl.gz") if "AdamW" in r["name"])
    (change,) = read_curve(range(len(run["loss"])), run["loss"]).changes
    assert (change.kind, change.direction) == ("knee", "down")
    assert 7200 <= change.step <= 7900


@needs_curves
def test_a_bump_of_the_learning_rate_is_found_at_its_step_and_called_bad():
    rows = lines(CURVES / "tinygpt" / "lrbump30x.jsonl.gz")
    reading = read_curve([r["step"] for r in rows], [r["loss"] for r in rows])
    assert [c.kind for c in reading.changes] == ["jump"]
    assert abs(reading.changes[0].step - 601) <= 3
    assert reading.mood == "bad"


@needs_curves
def test_every_run_that_diverged_is_called_bad():
    runs = [r for r in lines(CURVES / "algoperf.jsonl.gz") if r["outcome"] == "diverged"]
    runs.append({"step": range(34), "loss": [float(r["loss"]) for r in lines(CURVES / "tinygpt" / "sgd_lr10_noclip.jsonl.gz")]})
    assert len(runs) == 7
    for run in runs:
        reading = read_curve(run["step"], run["loss"])
        assert reading.mood == "bad", reading.verdict


def test_a_loss_that_rises_for_long_is_worsening_not_flat():
    assert read_curve(range(2000), flat(2000, 0.02, -5e-4)).plateau.state == "worsening"


@needs_curves
def test_no_healthy_real_run_is_called_bad():
    runs = [r for file in ("gpt_healthy", "algoperf") for r in lines(CURVES / f"{file}.jsonl.gz") if r["outcome"] == "healthy"]
    said = {r["name"]: read_curve(r.get("step") or range(len(r["loss"])), np.array(r["loss"], float)) for r in runs}
    assert not [(name, reading.verdict) for name, reading in said.items() if reading.mood == "bad"]
