"""Runs that look odd and are well: each must raise nothing, and what is really wrong in the midst of it must be told."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from labelled_curves import judged, of_rule

from tuimon.diagnosis.model import RunContext
from tuimon.record.chunk import Chunk, Mark

N = 4000
T = np.arange(N)
WARM = np.minimum(1, (T + 1) / 200)
SEEDS = range(3)


def noise(seed, sigma=0.04):
    """Skewed, as the losses of batches are."""
    return sigma * (np.random.default_rng(seed).gamma(4, 0.5, N) - 2)


def learning(seed, sigma=0.04):
    return 2.0 + 3 * (1 + T / 30) ** -0.6 + noise(seed, sigma)


def norms(seed):
    return np.exp(np.random.default_rng(seed + 99).normal(0, 0.15, N)) * (1 + 4 * np.exp(-T / 30))


def found(marks=(), context=None, **columns):
    listed = {name: [None if v is None or (name == "val_loss" and math.isnan(v)) else float(v) for v in values]
              for name, values in columns.items()}
    return judged(Chunk.of(**listed, marks=marks), context or RunContext())


def silent(**run):
    incidents = found(**run).incidents
    return not incidents, [(i.rule, i.severity, i.onset_step, i.why) for i in incidents]


def assert_silent(**run):
    quiet, told = silent(**run)
    assert quiet, told


# ---------------------------------------------------------------- schedules


@pytest.mark.parametrize("total", [None, N])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_sharp_decay_at_the_end_of_a_schedule_is_no_drop_and_no_plateau(seed, total):
    end = np.clip((T - 3200) / 800, 0, 1)
    assert_silent(loss=learning(seed) - 0.25 * end**0.7, lr=3e-4 * WARM * (1 - end), grad_norm=norms(seed), context=RunContext(total_steps=total))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_step_of_the_schedule_lowers_the_loss_at_once(seed):
    assert_silent(loss=learning(seed) - 0.3 * (1 - np.exp(-np.maximum(0, T - 3200) / 20)), lr=3e-4 * WARM * np.where(T < 3200, 1, 0.1),
                  grad_norm=norms(seed))


PHASE = T % 800
CYCLES = 3e-4 * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * PHASE / 800))) * WARM


@pytest.mark.parametrize("rise", [0.15, 0.4, 1.0])
@pytest.mark.parametrize("seed", SEEDS)
def test_warm_restarts_lift_the_loss_for_a_while(seed, rise):
    lifted = np.where(T >= 800, rise * np.exp(-PHASE / 60) * (1 - np.exp(-(PHASE + 1) / 5)), 0)
    assert_silent(loss=learning(seed) + lifted, lr=CYCLES, grad_norm=norms(seed))


@pytest.mark.parametrize("after", [1, 40])
def test_a_restart_that_the_run_does_not_survive_is_told(after):
    blown = 0.3 * np.maximum(0, T - 1600 - after)
    diagnosis = found(loss=learning(0) + np.minimum(blown, 30), lr=CYCLES, grad_norm=norms(0) * (1 + 5 * np.minimum(blown, 30)))
    exploding = next(i for i in diagnosis.open_incidents if i.rule == "exploding-gradients")
    assert (exploding.severity, exploding.detected_step <= 1601 + after + 20) == ("critical", True)
    assert (after == 1) != any(i.rule in ("divergence", "loss-spike") for i in diagnosis.open_incidents)


def test_a_learning_rate_above_all_it_has_been_hides_nothing():
    lr = np.where((T >= 2000) & (T < 2060), 3e-2, 3e-4 * WARM)
    spiked = learning(0) + np.where((T >= 2001) & (T < 2100), 1.0, 0)
    (spike,) = of_rule(found(loss=spiked, lr=lr, grad_norm=norms(0)), "loss-spike")
    assert abs(spike.onset_step - 2002) <= 1


def test_a_rate_that_somebody_lowers_by_hand_hides_nothing():
    mark = Mark(2000, "override", {"lr_scale": 0.1, "clip": None})
    lr = 3e-4 * WARM * np.where(T < 2000, 1, 0.1)
    spiked = learning(0) + np.where((T >= 2001) & (T < 2100), 1.0, 0)
    assert of_rule(found(loss=spiked, lr=lr, marks=(mark,)), "loss-spike")


# ---------------------------------------------------------------- phases, batches, sequences, resumed runs


@pytest.mark.parametrize("by", [0.6, -0.9])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_second_phase_with_other_data_and_a_warm_up_of_its_own_has_its_own_level(seed, by):
    lr = np.where(T < 2000, 3e-4 * WARM, 2e-5 * np.minimum(1, (T - 1999) / 100))
    shift = np.where(T < 2000, 0, by - 0.3 * (1 - np.exp(-np.maximum(0, T - 2000) / 300)))
    assert_silent(loss=learning(seed) + shift, lr=lr, grad_norm=norms(seed) * np.where(T < 2000, 1, 1.6))


@pytest.mark.parametrize("times", [1 / 16, 1 / 4, 4])
@pytest.mark.parametrize("seed", SEEDS)
def test_another_batch_size_is_another_noise(seed, times):
    tokens = np.where(T < 2000, 32768, 32768 * times)
    rough = np.where(T < 2000, 1, times**-0.5)
    assert_silent(loss=learning(seed, 0) + noise(seed) * rough, tokens=tokens, lr=3e-4 * WARM, grad_norm=norms(seed) * np.where(T < 2000, 1, max(1, times**-0.5)))


@pytest.mark.parametrize("by", [0.2, -0.8])
@pytest.mark.parametrize("seed", SEEDS)
def test_longer_sequences_are_another_level(seed, by):
    assert_silent(loss=learning(seed) + np.where(T < 2000, 0, by), tokens=np.where(T < 2000, 32768, 65536), lr=3e-4 * WARM, grad_norm=norms(seed))


def test_the_last_batch_of_an_epoch_and_batches_of_any_length_leave_the_baseline_alone():
    rng = np.random.default_rng(0)
    for tokens in (np.where(T % 100 == 99, 1000, 32768), rng.integers(2000, 9000, N)):
        spiked = learning(0) + np.where((T >= 2000) & (T < 2100), 0.5, 0)
        (spike,) = of_rule(found(loss=spiked, tokens=tokens), "loss-spike")
        assert abs(spike.onset_step - 2001) <= 1


@pytest.mark.parametrize("seed", SEEDS)
def test_a_resumed_run_begins_a_little_higher(seed):
    resumed = (Mark(2000, "attempt", {"number": 2, "from_step": 2000}),)
    assert_silent(loss=learning(seed) + np.where(T >= 2000, 0.3 * np.exp(-(T - 2000) / 30), 0), lr=3e-4 * WARM, grad_norm=norms(seed), marks=resumed)


def test_validation_below_the_training_loss_is_what_dropout_does():
    assert_silent(loss=learning(0), val_loss=np.where(T % 200 == 199, learning(1, 0.01) - 0.15, np.nan))


# ---------------------------------------------------------------- losses that are no likelihood


@pytest.mark.parametrize("seed", SEEDS)
def test_a_policys_loss_around_zero_is_not_judged_by_what_a_loss_should_do(seed):
    walk = np.cumsum(np.random.default_rng(seed).normal(0, 0.01, N))
    for loss in (noise(seed, 0.02) + 0.005 * np.sin(T / 300), noise(seed, 0.05) + walk - 1,
                 noise(seed, 0.05) * (1 + T / 1000) + 0.5 * (1 - np.exp(-T / 800)) - 0.2):
        assert {(i.rule, i.severity) for i in found(loss=loss, lr=3e-4 * WARM, grad_norm=norms(seed)).incidents} <= {("loss-spike", "info")}


def test_a_negative_log_density_that_leaps_is_told_for_information_and_by_its_gradients():
    blown = np.minimum(0.5 * np.maximum(0, T - 2000), 40)
    diagnosis = found(loss=learning(0) - 4 + blown, grad_norm=norms(0) * (1 + blown))
    assert {"loss-spike": "info", "exploding-gradients": "critical"}.items() <= {i.rule: i.severity for i in diagnosis.open_incidents}.items()
    assert_silent(loss=learning(0) - 4, grad_norm=norms(0))


# ---------------------------------------------------------------- rounded logs


def bf16(values):
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.round(mantissa * 256) / 256, exponent)


@pytest.mark.parametrize("rounded", [bf16, lambda v: np.round(v, 2)], ids=["bfloat16", "two decimals"])
@pytest.mark.parametrize("sigma", [0.01, 0.003, 0.0005])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_log_that_is_rounded_more_coarsely_than_its_noise_is_no_spike_no_drift_and_no_wave(seed, sigma, rounded):
    assert_silent(loss=rounded(learning(seed, sigma) + 0.4), grad_norm=rounded(norms(seed)), lr=3e-4 * WARM)


@pytest.mark.parametrize("rounded", [bf16, lambda v: np.round(v, 2)], ids=["bfloat16", "two decimals"])
def test_a_spike_in_a_rounded_log_is_found_where_it_began(rounded):
    spiked = learning(0, 0.003) + np.where((T >= 3000) & (T < 3100), 0.3, 0)
    (spike,) = of_rule(found(loss=rounded(spiked + 0.4)), "loss-spike")
    assert abs(spike.onset_step - 3001) <= 1


def test_a_learning_rate_that_the_log_rounds_to_zero_is_none_while_the_loss_falls():
    assert_silent(loss=learning(0), lr=np.round(3e-5 * WARM, 4), grad_norm=norms(0))
    (fault,) = of_rule(found(loss=3.0 + noise(0), lr=np.zeros(N)), "lr-schedule-fault")
    assert (fault.headline, fault.onset_step, fault.detected_step) == ("Learning rate is zero", 1, 200)


# ---------------------------------------------------------------- skipped steps


@pytest.mark.parametrize("has_column", [True, False])
def test_the_skips_of_a_scaler_say_nothing_of_gradients_or_updates(has_column):
    skips = np.isin(T, [*range(12), 900, 2100, 3300])
    scale = 65536 / 2.0 ** np.cumsum(skips) * np.where(T > 1000, 2, 1)
    ratio = 2e-3 * np.exp(np.random.default_rng(0).normal(0, 0.05, N))
    more = {"skipped": skips} if has_column else {}
    assert_silent(loss=learning(0), grad_norm=np.where(skips, np.inf, norms(0)), loss_scale=scale, update_ratio=np.where(skips, 0 if has_column else ratio, ratio),
                  lr=3e-4 * WARM, **more)


def test_steps_that_were_skipped_do_not_lower_the_update_ratio():
    skips = T % 30 == 29
    ratio = np.where(skips, 0, 2e-3)
    diagnosis = found(loss=4 - T / 4000 + noise(0), loss_scale=np.full(N, 1024.0), skipped=skips, update_ratio=ratio, lr=3e-4 * WARM)
    assert not of_rule(diagnosis, "learning-rate-too-low")
    assert diagnosis.usual["update_ratio"].low == pytest.approx(2e-3)


# ---------------------------------------------------------------- noise that reaches further up than down


@pytest.mark.parametrize("seed", range(6))
def test_a_classifier_near_a_loss_of_zero_has_skewed_losses_and_noisy_gradients_and_no_fault(seed):
    rng = np.random.default_rng(seed)
    n = 1200
    loss = (0.08 + 2 * np.exp(-np.arange(n) / 60)) * np.exp(rng.normal(0, 0.8, n))
    grad = np.exp(rng.normal(0, 0.8, n))
    found = judged(Chunk.of(loss=list(loss), grad_norm=list(grad)))
    assert [i.rule for i in found.incidents if i.severity != "info"] == []


def test_a_true_explosion_is_found_in_noisy_gradients_too():
    rng = np.random.default_rng(0)
    grad = np.exp(rng.normal(0, 0.8, 600))
    grad[500:] *= np.minimum(1e6, 1.5 ** np.arange(100))
    found = judged(Chunk.of(loss=[1 + 0.01 * math.sin(i * i) for i in range(600)], grad_norm=list(grad)))
    (exploding,) = [i for i in found.incidents if i.rule == "exploding-gradients"]
    assert exploding.detected_step <= 518


# ---------------------------------------------------------------- logs of other tools


@pytest.mark.parametrize("seed", range(4))
def test_a_log_of_running_means_is_no_run_that_drifts_and_spikes(seed):
    rng = np.random.default_rng(seed)
    smooth, kept = 0.0, []
    for e in rng.normal(0, 0.05, 3000):
        smooth = 0.9 * smooth + 0.1 * e
        kept.append(smooth)
    losses = 2 + 2 * np.exp(-np.arange(3000) / 400) + np.array(kept)
    assert [i.rule for i in judged(Chunk.of(loss=list(losses))).incidents if i.severity != "info"] == []


def test_a_gradient_norm_that_grows_slowly_for_long_is_not_called_calm_at_its_top():
    rng = np.random.default_rng(0)
    grown = np.concatenate([np.ones(1500), 1.01 ** np.arange(700), np.full(800, 1.01**700)])
    found = judged(Chunk.of(loss=[2 + 0.01 * math.sin(i * i) for i in range(3000)],
                            grad_norm=list(grown * np.exp(rng.normal(0, 0.1, 3000)))))
    (unstable,) = of_rule(found, "gradient-instability")
    assert unstable.state == "open"
    assert float(re.search(r"average ([\d,]+)x", unstable.why).group(1).replace(",", "")) > 300


def test_a_run_that_is_nothing_but_a_nan_at_step_0_is_judged():
    assert of_rule(judged(Chunk.of([0], loss=[math.nan])), "non-finite")
