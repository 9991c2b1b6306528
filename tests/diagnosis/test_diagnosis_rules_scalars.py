"""Golden pairs of the rules that need scalars only: what each must convict, and the nearest innocent run."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from labelled_curves import calm, judged, of_rule

from tuimon.diagnosis.model import RunContext
from tuimon.record.chunk import Chunk, Mark


def run(n: int = 600, context: RunContext | None = None, marks: tuple[Mark, ...] = (), **changes):
    columns, _ = calm(n)
    for name, change in changes.items():
        columns[name] = change(columns[name]) if callable(change) else change
    return judged(Chunk.of(**columns, marks=marks), context)


def only(diagnosis, slug):
    found = of_rule(diagnosis, slug)
    assert len(found) == 1, diagnosis.incidents
    return found[0]


def put(at, *values):
    return lambda column: column[:at] + list(values) + column[at + len(values):]


# ---------------------------------------------------------------- bad-init


def starting_at(high, n=200):
    return lambda column: [v + (high - 5) * math.exp(-i / 20) for i, v in enumerate(column)]


def test_bad_init_is_a_first_loss_far_above_a_uniform_guess():
    found = only(run(context=RunContext(vocab_size=150), loss=starting_at(25)), "bad-init")
    assert (found.severity, found.onset_step, found.detected_step, found.state) == ("warning", 1, 2, "resolved")
    assert "uniform guess among 150 costs 5.01" in found.why


def test_a_start_at_the_uniform_guess_is_no_bad_init():
    assert not of_rule(run(context=RunContext(vocab_size=150), loss=starting_at(5.9)), "bad-init")
    assert not of_rule(run(loss=starting_at(13)), "bad-init")


def test_without_a_vocabulary_bad_init_is_for_information_only():
    assert only(run(loss=starting_at(25)), "bad-init").severity == "info"


def test_a_log_that_begins_later_says_nothing_of_the_initial_weights():
    columns, _ = calm(100)
    late = Chunk.of(steps=range(5000, 5100), loss=[v + 30 for v in columns["loss"]])
    assert not of_rule(judged(late, RunContext(vocab_size=150)), "bad-init")


def test_one_odd_first_loss_is_no_bad_init():
    assert not of_rule(run(context=RunContext(vocab_size=150), loss=put(0, 40.0)), "bad-init")


# ---------------------------------------------------------------- outlier-batch


def test_an_outlier_batch_is_one_loss_and_its_gradient():
    found = only(run(loss=put(300, 2.7), grad_norm=put(300, 12.0)), "outlier-batch")
    assert (found.severity, found.state, found.onset_step, found.detected_step) == ("info", "resolved", 301, 302)
    assert only(run(loss=put(300, 4.0)), "outlier-batch").onset_step == 301


def test_what_lasts_or_is_small_is_no_outlier_batch():
    assert not of_rule(run(loss=put(300, 2.3)), "outlier-batch")
    assert not of_rule(run(loss=put(300, 4.0, 4.0, 4.0, 4.0)), "outlier-batch")


# ---------------------------------------------------------------- loss-drift


def shifted(by, seed=0, n=900):
    """The loss is `by` higher from step 501 on; noise 0.03."""
    noise = np.random.default_rng(seed).normal(0, 0.03, n)
    return judged(Chunk.of(loss=[2 + math.exp(-i / 100) + by * (i >= 500) + e for i, e in enumerate(noise)]))


def test_loss_drift_is_a_small_shift_that_no_spike_rule_sees():
    found = [of_rule(shifted(0.039, seed), "loss-drift") for seed in range(12)]
    hits = [drift[0] for drift in found if drift]
    assert len(hits) >= 9
    assert all(abs(drift.onset_step - 501) <= 5 and drift.detected_step <= 570 for drift in hits)
    assert {(drift.severity, drift.state) for drift in hits} == {("warning", "resolved")}


def test_a_drift_is_told_against_the_level_before_its_onset():
    found = only(judged(Chunk.of(**calm(900, loss=2.0 + np.clip((np.arange(900) - 600) / 3000, 0, 1)
                                        + np.random.default_rng(3).normal(0, 0.03, 900))[0])), "loss-drift")
    level, rise, before = map(float, re.search(r": ([\d.]+), ([\d.]+) above its level before \(([\d.]+);", found.why).groups())
    assert before == pytest.approx(2.0, abs=0.02)
    assert level - before == pytest.approx(rise, abs=0.011)
    assert level > before + 0.02


def test_what_jumps_is_a_spike_and_what_stays_is_nothing():
    assert not of_rule(shifted(0.6), "loss-drift")
    assert not any(of_rule(shifted(0.0, seed), "loss-drift") for seed in range(12))


# ---------------------------------------------------------------- sudden-drop


def test_a_loss_that_falls_by_a_third_out_of_a_quiet_stretch_is_told():
    found = only(run(loss=lambda c: [v * (0.6 if i >= 400 else 1) for i, v in enumerate(c)]), "sudden-drop")
    assert 385 <= found.onset_step <= 401
    assert found.severity == "warning"


def test_a_loss_that_comes_back_from_where_it_should_not_have_been_has_not_fallen_suddenly():
    def risen(i, v):
        return v + (6 * (i - 300) / 40 if 300 <= i < 340 else 6 if 340 <= i < 400 else 0)
    assert not of_rule(run(loss=lambda c: [risen(i, v) for i, v in enumerate(c)]), "sudden-drop")


def leaping(i, v, to):
    return v + 1.5 * math.exp((400 - i) / 6) - (v - to) * (1 - math.exp((400 - i) / 15)) if i >= 400 else v


def test_a_leap_that_ends_far_below_the_level_before_it_is_the_first_sign_of_a_sudden_drop():
    diagnosis = run(loss=lambda c: [leaping(i, v, 0.5) for i, v in enumerate(c)])
    found = only(diagnosis, "sudden-drop")
    assert 400 <= found.onset_step <= 402
    assert found.detected_step <= 480
    assert "Loss leapt at step 40" in found.why
    assert only(diagnosis, "loss-spike").cause == "sudden-drop"
    assert not of_rule(run(loss=lambda c: [leaping(i, v, 1.8) for i, v in enumerate(c)]), "sudden-drop")


def test_a_steady_decay_of_the_learning_rate_does_not_hide_that_half_of_the_loss_is_gone():
    decaying = [3e-3 * 0.997 ** i for i in range(600)]
    fallen = lambda to: run(loss=lambda c: [v * (to if i >= 400 else 1) for i, v in enumerate(c)], lr=decaying)
    assert only(fallen(0.4), "sudden-drop").onset_step in range(398, 403)
    assert not of_rule(fallen(0.6), "sudden-drop")


def test_a_decay_of_the_learning_rate_and_the_first_descent_are_no_sudden_drops():
    drop = lambda c: [v * (0.6 if i >= 400 else 1) for i, v in enumerate(c)]
    decayed = [3e-3] * 398 + [3e-4] * 202
    assert not of_rule(run(loss=drop, lr=decayed), "sudden-drop")
    steep = lambda c: [10 * math.exp(-i / 60) + v for i, v in enumerate(c)]
    assert not of_rule(run(loss=steep), "sudden-drop")


# ---------------------------------------------------------------- overfitting


def validated(values, every=100, train=None, n=None):
    n = n or every * len(values)
    rng = np.random.default_rng(0)
    loss = list((train or (lambda t: 2.0 + 2 * np.exp(-t / 200)))(np.arange(n)) + rng.normal(0, 0.02, n))
    column = [values[i // every] if (i + 1) % every == 0 else None for i in range(n)]
    return judged(Chunk.of(loss=loss, val_loss=column))


def test_overfitting_begins_where_validation_turned():
    found = only(validated([3.0, 2.6, 2.5, 2.6, 2.75, 2.9, 3.1]), "overfitting")
    assert (found.onset_step, found.detected_step, found.state) == (300, 700, "open")
    assert found.category == "generalisation"


@pytest.mark.parametrize("values", [
    [3.0, 2.6, 2.5, 2.52, 2.49, 2.53, 2.5, 2.51],            # noise around the lowest
    [3.0, 2.6, 2.5, 2.9, 2.45, 2.9, 2.44, 2.4],              # noisy validations
    [3.0, 2.8, 2.6, 2.5, 2.4, 2.35, 2.33, 2.32],             # it falls
    [3.0, 2.6, 2.5, 2.6],                                    # too few
])
def test_validation_that_has_not_turned_is_no_overfitting(values):
    assert not of_rule(validated(values), "overfitting")


def test_when_the_training_loss_rises_too_it_is_no_overfitting():
    both = validated([3.0, 2.6, 2.5, 2.6, 2.75, 2.9, 3.1], train=lambda t: 2.0 + np.abs(t - 300) / 500)
    assert not of_rule(both, "overfitting")


# ---------------------------------------------------------------- lr-schedule-fault


def warmed(n, then=lambda i: 1.0, peak=3e-3, warm=100):
    return [peak * min(1.0, (i + 1) / warm) * then(i) for i in range(n)]


def test_a_learning_rate_that_leaves_the_level_it_had_settled_at_is_a_fault():
    found = only(run(lr=warmed(600, lambda i: 30.0 if 400 <= i < 415 else 1.0)), "lr-schedule-fault")
    assert (found.onset_step, found.detected_step, found.state) == (401, 401, "resolved")
    running = only(run(lr=warmed(600, lambda i: 1.2 ** max(0, i - 400) if i < 430 else 1.2 ** 30)), "lr-schedule-fault")
    assert running.state == "open"
    assert 402 <= running.onset_step <= 404


def test_a_rate_that_is_overridden_is_no_fault_of_the_schedule_any_more():
    cut = Mark(430, "override", {"lr_scale": 0.1, "clip": 1.0})
    lr = warmed(600, lambda i: 1.0 if i < 400 else 80.0 if i < 430 else 8.0)
    found = only(run(lr=lr, marks=(cut,)), "lr-schedule-fault")
    assert (found.state, found.resolved_step) == ("resolved", 430)
    assert found.why.endswith("The learning rate has been overridden since.")


@pytest.mark.parametrize("lr", [
    warmed(600, warm=400),
    warmed(600, lambda i: 0.5 * (1 + math.cos(math.pi * i / 600))),
    [3e-3 * (0.55 + 0.45 * math.cos(2 * math.pi * (i % 150) / 300)) for i in range(600)],      # warm restarts
    warmed(600, lambda i: 0.1 if i >= 400 else 1.0),
    [0.0, *warmed(599)],
], ids=["long warm-up", "cosine", "warm restarts", "step decay", "warm-up from zero"])
def test_schedules_that_people_use_are_no_fault(lr):
    assert not of_rule(run(lr=lr), "lr-schedule-fault")


def test_a_learning_rate_of_zero_is_a_fault_except_at_the_end():
    zero = warmed(600, lambda i: 0.0 if i >= 560 else 1.0)
    found = only(run(lr=zero), "lr-schedule-fault")
    assert (found.headline, found.onset_step, found.detected_step) == ("Learning rate is zero", 561, 580)
    assert not of_rule(run(lr=zero, context=RunContext(total_steps=600)), "lr-schedule-fault")


def test_a_schedule_that_is_over_after_a_quarter_of_the_run_is_a_fault():
    lr = warmed(600, lambda i: max(1e-4, 1 - i / 250))
    found = only(run(lr=lr, context=RunContext(total_steps=1000)), "lr-schedule-fault")
    assert found.headline == "Learning rate at its floor too early"
    assert not of_rule(run(lr=lr, context=RunContext(total_steps=300)), "lr-schedule-fault")


# ---------------------------------------------------------------- loss-scale-collapse


def amp(skips, scales, n=400):
    columns, _ = calm(n)
    return judged(Chunk.of(**columns, skipped=[float(s) for s in skips], loss_scale=scales))


def scaler(skipped, n=400, start=65536.0, growth=2000):
    """What a GradScaler does: halve at a skip, double after `growth` clean steps."""
    scale, scales, clean = start, [], 0
    for i in range(n):
        scales.append(scale)
        clean = 0 if skipped(i) else clean + 1
        scale = scale / 2 if skipped(i) else scale * 2 if clean % growth == 0 else scale
    return amp([skipped(i) for i in range(n)], scales, n)


def test_a_scale_that_only_falls_is_critical_when_training_stands_still():
    found = only(scaler(lambda i: i >= 200), "loss-scale-collapse")
    assert (found.severity, found.onset_step, found.state) == ("critical", 202, "open")
    assert found.detected_step <= 210


def test_many_skips_are_a_warning():
    assert only(scaler(lambda i: i > 100 and i % 12 == 0, growth=5), "loss-scale-collapse").severity == "warning"


@pytest.mark.parametrize("skipped", [lambda i: i < 12, lambda i: i == 200, lambda i: i in (100, 300)], ids=["start-up", "one", "two"])
def test_the_skips_of_every_scaler_are_no_finding(skipped):
    assert not scaler(skipped).incidents


# ---------------------------------------------------------------- clip-saturated


def test_a_norm_at_a_ceiling_is_the_clipped_one():
    found = only(run(grad_norm=lambda c: [min(1.0, 1.2 * v) for v in c]), "clip-saturated")
    assert (found.severity, found.headline) == ("info", "Gradient norm is logged after clipping")


def test_a_limit_far_below_every_norm_is_told():
    found = only(run(grad_norm=lambda c: [5 * v for v in c], clipped=[1.0] * 600), "clip-saturated")
    assert found.headline == "Clipping cuts nearly every step"
    assert not run(grad_norm=lambda c: [1.3 * v for v in c], clipped=[1.0] * 600).incidents
    assert not run(clipped=[1.0] * 600).incidents


def test_a_limit_at_a_fiftieth_of_every_norm_is_told_soon_and_from_its_beginning():
    found = only(run(200, clipped=[0.02] * 200), "clip-saturated")
    assert (found.onset_step, found.detected_step, found.severity) == (1, 192, "info")
    later = only(run(600, clipped=[0.02 if i >= 300 else 10.0 for i in range(600)]), "clip-saturated")
    assert later.onset_step == 301


def stuck_and_clipped(optimizer):
    rng = np.random.default_rng(0)
    diagnosis = run(600, RunContext(optimizer=optimizer, vocab_size=150), loss=list(5.0 + rng.normal(0, 0.03, 600)), clipped=[0.02] * 600,
                    update_ratio=[5e-6] * 600)
    return {i.rule: i for i in diagnosis.open_incidents}


def test_an_update_ratio_that_is_sampled_rarely_is_not_waited_for_longer_than_adams_first_steps():
    noise = np.random.default_rng(0).normal(0, 0.03, 600)
    sampled = [5e-6 if i % 10 == 0 else None for i in range(600)]
    diagnosis = run(600, RunContext(vocab_size=150), loss=list(5.0 + noise), update_ratio=sampled)
    assert only(diagnosis, "learning-rate-too-low").detected_step <= 224


def test_clipping_makes_small_steps_where_they_follow_the_gradient_and_not_with_adam():
    assert stuck_and_clipped("SGD")["learning-rate-too-low"].cause == "clip-saturated"
    assert "like a learning rate 49x lower" in stuck_and_clipped("SGD")["clip-saturated"].why
    assert stuck_and_clipped("AdamW")["learning-rate-too-low"].cause is None
    assert "learning rate" not in stuck_and_clipped("AdamW")["clip-saturated"].why


# ---------------------------------------------------------------- low-precision-stagnation


def test_weights_that_hardly_change_are_a_matter_of_precision():
    changed = [0.09 if i % 10 == 0 else None for i in range(600)]
    found = only(run(changed=changed), "low-precision-stagnation")
    assert (found.severity, found.onset_step, found.detected_step) == ("warning", 1, 41)
    hardly = [0.01 if i % 10 == 0 else None for i in range(600)]
    assert only(run(changed=hardly), "low-precision-stagnation").severity == "critical"
    assert not run(changed=[0.5 if i % 10 == 0 else None for i in range(600)]).incidents
    skipped = run(changed=hardly, skipped=[1.0] * 600, loss_scale=[8.0] * 600)
    assert not of_rule(skipped, "low-precision-stagnation")


def test_updates_that_round_away_while_the_rate_warms_up_are_told_only_if_they_still_do_afterwards():
    lr = [1e-3 * min(1.0, (i + 1) / 100) for i in range(600)]
    fine = run(lr=lr, changed=[0.01 if i < 60 else 0.5 for i in range(600)])
    assert not of_rule(fine, "low-precision-stagnation")
    found = only(run(lr=lr, changed=[0.01] * 600), "low-precision-stagnation")
    assert (found.severity, found.onset_step) == ("critical", 1)
    assert 100 < found.detected_step < 120


def test_updates_that_round_away_at_the_end_of_a_schedule_are_for_information():
    lr = [1e-3 * (1 - i / 600) for i in range(600)]
    found = only(run(lr=lr, changed=[0.5 if i < 500 else 0.01 for i in range(600)]), "low-precision-stagnation")
    assert (found.severity, found.onset_step) == ("info", 501)


@pytest.mark.parametrize(("dtypes", "needs"), [
    ((), "changed"), (("bfloat16", "float32"), "changed"), (("float16",), "changed"),
    (("float32",), "weights in bfloat16 or float16"),
])
def test_a_model_in_float32_is_not_said_to_lack_a_measurement(dtypes, needs):
    waiting = {n.rule: n.needs for n in run(context=RunContext(dtypes=dtypes)).not_evaluated}
    assert waiting["low-precision-stagnation"] == (needs,)


# ---------------------------------------------------------------- oscillation


def swinging(period, size, n=800, noise=0.03, seed=0):
    e = np.random.default_rng(seed).normal(0, noise, n)
    return judged(Chunk.of(loss=[2 + math.exp(-i / 100) + size * math.sin(2 * math.pi * i / period + 0.3) + e[i] for i in range(n)]))


@pytest.mark.parametrize(("period", "size", "severity"), [(2, 0.2, "warning"), (16, 0.05, "warning"), (7.3, 0.06, "warning"), (32, 0.005, "info")])
def test_a_wave_in_the_loss_is_told_with_its_period(period, size, severity):
    found = only(swinging(period, size, noise=0.03 if size > 0.01 else 0.003), "oscillation")
    assert (found.severity, found.state) == (severity, "open")
    told = float(found.why.split("about ")[1].split(" ")[0])
    assert told == pytest.approx(period, rel=0.1)


def test_noise_and_the_descent_are_no_wave():
    assert not any(of_rule(swinging(16, 0.0, seed=seed), "oscillation") for seed in range(20))
    rng = np.random.default_rng(0)
    steep = [3 + 8 * math.exp(-i / 40) + e for i, e in enumerate(rng.normal(0, 0.02, 600))]
    assert not of_rule(judged(Chunk.of(loss=steep)), "oscillation")


@pytest.mark.parametrize(("every", "period"), [(8, "8.00"), (6, "6.10"), (12, "11.6")])
def test_one_loss_in_so_many_that_stands_out_is_a_wave_and_the_outliers_are_its_signs(every, period):
    noise = np.random.default_rng(0).normal(0, 0.1, 700)
    pulses = [2.5 + v + (2.0 if i >= 256 and i % every == 0 else 0.0) for i, v in enumerate(noise)]
    diagnosis = judged(Chunk.of(loss=pulses))
    found = only(diagnosis, "oscillation")
    assert (found.severity, found.onset_step, found.detected_step) == ("warning", 257, 512)
    assert f"period of about {period} steps" in found.why
    late = [i for i in of_rule(diagnosis, "outlier-batch") if i.onset_step > 257]
    assert {i.cause for i in late} <= {"oscillation"}
    alone = [2.5 + v + (2.0 if i in (300, 311, 390, 450) else 0.0) for i, v in enumerate(noise)]
    assert not of_rule(judged(Chunk.of(loss=alone)), "oscillation")



# ---------------------------------------------------------------- plateau


def flattening(n=6000, noise=0.01, slope=0.0, total=None, lr=None, **more):
    rng = np.random.default_rng(1)
    loss = [2 + 3 * math.exp(-i / 200) - slope * i + e for i, e in enumerate(rng.normal(0, noise, n))]
    columns = {"loss": loss, **more} | ({"lr": lr} if lr else {})
    return judged(Chunk.of(**columns), RunContext(total_steps=total))


def test_a_loss_that_has_stopped_falling_is_on_a_plateau():
    found = only(flattening(total=100_000), "plateau")
    assert found.severity == "warning"
    assert 1000 <= found.onset_step <= 2500
    assert only(flattening(), "plateau").severity == "info"


def test_a_plateau_says_of_what_kind_it_is():
    def told(val=lambda i: None, ratio=lambda i: None):
        columns = {"val_loss": [val(i) if i % 100 == 0 else None for i in range(6000)],
                   "update_ratio": [ratio(i) if i % 10 == 0 else None for i in range(6000)]}
        found = only(flattening(total=100_000, **columns), "plateau")
        return found.headline, found.severity
    assert told() == ("Loss on a plateau", "warning")
    assert told(ratio=lambda i: 1e-3) == ("Loss on a plateau: stalled", "warning")
    assert told(ratio=lambda i: 1e-3 * 10 ** (-i / 800)) == ("Loss on a plateau: standing still", "warning")
    assert told(val=lambda i: 2.2 + 0.002 * math.sin(i * i), ratio=lambda i: 1e-3) == ("Loss has converged", "info")
    assert told(val=lambda i: 2.2 + i / 3000, ratio=lambda i: 1e-3)[0] == "Loss on a plateau: stalled"


def test_slow_progress_noise_and_a_decayed_learning_rate_are_no_plateau():
    assert not of_rule(flattening(slope=2e-5), "plateau")
    noisy = flattening(noise=0.2)
    assert not of_rule(noisy, "plateau")
    assert next(n.needs[0] for n in noisy.not_evaluated if n.rule == "plateau").endswith("more values of loss, to tell a plateau from noise")
    decayed = [1e-3 * max(0.01, 1 - i / 1500) for i in range(6000)]
    assert not of_rule(flattening(lr=decayed), "plateau")
