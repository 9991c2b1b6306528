"""A golden pair for every rule: a run it must convict, and the nearest innocent one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from labelled_curves import calm, judged, layered, of_rule

from tuimon.diagnosis.engine import Engine
from tuimon.diagnosis.model import CATEGORIES, RunContext
from tuimon.diagnosis.rules import RULES
from tuimon.record.chunk import Chunk, TensorRows


def run(context: RunContext | None = None, n: int = 400, **changes):
    columns, _ = calm(n)
    for name, change in changes.items():
        columns[name] = change(columns[name])
    return judged(Chunk.of(**columns), context)


def only(diagnosis, slug):
    found = of_rule(diagnosis, slug)
    assert len(found) == 1, diagnosis.incidents
    return found[0]


def put(at, *values):
    return lambda column: column[:at] + list(values) + column[at + len(values):]


def grown(at, factor):
    return lambda column: column[:at] + [v * factor(i) for i, v in enumerate(column[at:])]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.slug)
def test_a_rule_has_a_manual_page_and_its_place(rule):
    page = __import__(rule.__module__, fromlist=["_"]).__doc__
    assert page.startswith(f"{rule.slug} ({rule.code}):")
    for part in ("Symptom:", "Why it happens:", "What to try:", "Confused with:", "Source:"):
        assert part in page
    assert rule.category in CATEGORIES
    assert rule.__module__.rsplit(".", 1)[1] == rule.slug.replace("-", "_")


def test_the_calm_run_is_silent():
    assert not run().incidents


def test_non_finite_two_losses_in_a_row_are_critical_one_recovers():
    assert only(run(loss=put(200, math.nan, math.inf)), "non-finite").severity == "critical"
    single = only(run(loss=put(200, math.nan)), "non-finite")
    assert (single.severity, single.state, single.resolved_step) == ("warning", "resolved", 231)
    assert only(run(grad_norm=put(200, math.inf)), "non-finite").severity == "info"


def test_a_loss_that_is_nan_has_no_sigmas_and_is_told_in_plain_words():
    columns, _ = calm(200)
    columns["loss"][150:] = [math.nan] * 50
    found = judged(Chunk.of(**columns, param_norm=[1.0] * 150 + [math.nan] * 50))
    spike = only(found, "loss-spike")
    assert "NaN sigma" not in spike.why
    assert "Loss is NaN; its level before was 2" in spike.why
    assert spike.cause == found.leading.rule == "non-finite"
    assert found.leading.why.startswith("Loss and parameters are NaN since step 151.")


def test_non_finite_parameters_are_critical_at_once():
    columns, _ = calm(50)
    found = only(judged(Chunk.of(**columns, param_norm=[1.0] * 40 + [math.nan] * 10)), "non-finite")
    assert (found.severity, found.onset_step, found.detected_step) == ("critical", 41, 41)


def scaled(skips: int, *, at: int = 10, **more):
    """A run under a GradScaler that overflows `skips` times in a row."""
    columns, _ = calm(100)
    columns["grad_norm"][at:at + skips] = [math.inf] * skips
    return judged(Chunk.of(**columns, loss_scale=[1024.0] * 100, **more))


@pytest.mark.parametrize(("skips", "at"), [(1, 60), (3, 60), (12, 0)])
def test_steps_that_a_gradscaler_skips_are_no_finding_of_any_rule(skips, at):
    assert not scaled(skips, at=at, skipped=[float(at <= i < at + skips) for i in range(100)]).incidents


def test_steps_that_a_gradscaler_skips_without_end_are_a_matter_of_its_scale_alone():
    found = scaled(40, at=50, skipped=[float(50 <= i < 90) for i in range(100)])
    assert [(i.rule, i.severity) for i in found.incidents] == [("loss-scale-collapse", "critical")]


def test_an_infinite_gradient_that_was_not_skipped_counts_under_a_gradscaler_too():
    assert only(scaled(2, skipped=[0.0] * 100), "non-finite").severity == "critical"


def test_a_log_with_a_loss_scale_but_no_skips_gets_the_benefit_of_the_doubt_for_twenty_rows():
    assert not of_rule(scaled(19), "non-finite")
    assert only(scaled(20), "non-finite").severity == "critical"


def test_a_loss_of_zero_beside_a_nan_gradient_is_a_nan_that_was_hidden():
    found = only(run(loss=put(200, *[0.0] * 200), grad_norm=put(200, *[math.nan] * 200)), "non-finite")
    assert found.severity == "critical"


def test_early_divergence_needs_two_rows_above_twice_the_lowest():
    assert only(run(loss=put(50, 9.0, 9.5)), "early-divergence").detected_step == 52
    assert not of_rule(run(loss=put(50, 9.0)), "early-divergence")
    assert not of_rule(run(loss=put(110, 9.0, 9.5)), "early-divergence")


def test_the_jumps_of_a_tiny_batch_are_no_divergence():
    squared = [0.057, 0.081, 0.017, 0.108, 0.548, 0.238, 0.155, 0.257, 0.012]
    assert not judged(Chunk.of(loss=squared)).incidents
    rng = np.random.default_rng(0)
    runs = [judged(Chunk.of(loss=list(np.exp(rng.normal(-2, 0.7, 60))))) for _ in range(200)]
    assert sum(bool(of_rule(run, "early-divergence")) for run in runs) <= 14
    steady = [0.05 * 1.3**i for i in range(20)]
    assert only(judged(Chunk.of(loss=steady)), "early-divergence").detected_step <= 9  # five times the start


def test_a_loss_that_explodes_with_the_first_steps_is_told_at_the_third():
    found = only(judged(Chunk.of(loss=[4.1, 32.5, 75.0, 70.5, 105.6, 112.0])), "early-divergence")
    assert (found.onset_step, found.detected_step, found.severity) == (2, 3, "critical")
    assert "where it began (4.10)" in found.why
    assert not judged(Chunk.of(loss=[4.1, 9.0, 20.0, 9.0, 6.0, 4.0, 3.5, 3.2])).incidents      # a rough start
    assert not judged(Chunk.of(loss=[0.4, 4.1, 4.0, 3.9, 3.8, 3.7, 3.7, 3.6, 3.6])).incidents  # one easy batch


def test_a_loss_that_starts_high_and_falls_is_no_divergence():
    found = run(loss=lambda column: [v + 20 * math.exp(-i / 15) for i, v in enumerate(column)])
    assert [(i.rule, i.severity) for i in found.incidents] == [("bad-init", "info")]


def test_divergence_stands_for_32_steps_and_does_not_fall():
    rng = np.random.default_rng(4)
    stands = put(200, *(4.0 + 0.001 * np.arange(60) + rng.normal(0, 0.02, 60)))
    falls = put(200, *(5.5 - 0.03 * np.arange(60) + rng.normal(0, 0.02, 60)))
    found = only(run(loss=stands, n=260), "divergence")
    assert (found.severity, found.onset_step) == ("critical", 201)
    assert found.detected_step <= 240
    assert not of_rule(run(loss=falls, n=260), "divergence")


def test_divergence_is_called_at_once_when_the_loss_is_far_above_where_training_began():
    found = only(run(loss=put(200, *(3.0 * 1.4 ** np.arange(20))), n=220), "divergence")
    assert found.detected_step == 205
    assert not of_rule(run(loss=put(200, 9.0), n=220), "divergence")


def test_spike_persists_an_outlier_batch_does_not():
    assert {i.rule for i in run(loss=put(250, 9.0)).incidents} == {"outlier-batch"}
    assert {i.rule for i in run(loss=put(250, 9.0, 2.1, 2.1, 9.0)).incidents} == {"outlier-batch"}
    found = only(run(loss=put(250, *[2.6] * 12)), "loss-spike")
    assert (found.onset_step, found.detected_step, found.state, found.headline) == (251, 253, "resolved", "Loss spike, recovered")
    stays = only(run(loss=lambda c: c[:250] + [v + 0.6 for v in c[250:]]), "loss-spike")
    assert (stays.state, stays.headline) == ("open", "Loss spike, not recovered")


def test_exploding_gradients_stay_ten_times_up_for_three_rows():
    found = only(run(grad_norm=grown(250, lambda _: 30)), "exploding-gradients")
    assert (found.onset_step, found.detected_step, found.severity) == (251, 253, "critical")
    assert not of_rule(run(grad_norm=put(250, 40.0, 40.0)), "exploding-gradients")
    assert not of_rule(run(grad_norm=lambda c: [v * 180 for v in c]), "exploding-gradients")
    assert not run(grad_norm=lambda c: [v * (1 + i / 100) for i, v in enumerate(c)]).incidents


def test_exploding_gradients_name_the_layer_that_grew_most():
    columns, tensors = calm(300, layers=5)
    columns["grad_norm"][250:] = [v * 30 for v in columns["grad_norm"][250:]]
    tensors.grad[25:] *= 10
    tensors.grad[25:, 3] *= 20
    found = only(judged(Chunk.of(**columns, tensors=tensors), layered(5)), "exploding-gradients")
    assert found.layer == "blocks.3"


def test_exploding_gradients_that_are_over_name_the_layer_of_their_worst_moment_and_not_where_they_faded_last():
    columns, tensors = calm(420, layers=5)
    columns["grad_norm"][250:] = [v * (30 if i < 40 else 5 if i < 80 else 1) for i, v in enumerate(columns["grad_norm"][250:])]
    tensors.grad[25:29, 3] *= 200
    tensors.grad[29:33, 0] *= 40
    engine, told = Engine(layered(5)), []
    for piece in Chunk.of(**columns, tensors=tensors).pieces([275, 325]):
        engine.feed(piece)
        told.append(only(engine.diagnosis, "exploding-gradients"))
    assert [(i.state, i.layer) for i in told] == [("open", "blocks.3"), ("open", "blocks.3"), ("resolved", "blocks.3")]


def test_gradient_instability_is_a_lasting_doubling():
    found = only(run(grad_norm=grown(250, lambda i: 2.6 if i < 30 else 1)), "gradient-instability")
    assert (found.onset_step, found.severity) == (251, "warning")
    assert not of_rule(run(grad_norm=grown(250, lambda i: 2.6 if i < 2 else 1)), "gradient-instability")
    assert not of_rule(run(grad_norm=lambda c: [v * 20 * math.exp(-i / 10) + v for i, v in enumerate(c)]), "gradient-instability")


def test_learning_rate_too_high_needs_a_companion():
    high = lambda c: [v * 20 for v in c]
    assert not run(update_ratio=high).incidents
    found = only(run(update_ratio=high, loss=put(250, *[2.6] * 150)), "learning-rate-too-high")
    assert found.severity == "warning"
    assert not of_rule(run(loss=put(250, *[2.6] * 150)), "learning-rate-too-high")


def test_the_notebooks_ratio_is_never_used():
    columns, _ = calm(300)
    assert not judged(Chunk.of(**columns, grad_param_ratio=[50.0] * 300)).incidents


def slow(n=400, vocab=150, **changes):
    columns, _ = calm(n)
    columns["loss"] = [5.0 - 1e-3 * i + e for i, e in enumerate(np.random.default_rng(0).normal(0, 0.01, n))]
    columns["update_ratio"] = [3e-5] * n
    columns["lr"] = [1e-5] * n
    return judged(Chunk.of(**columns | changes), RunContext(vocab_size=vocab))


def test_small_steps_of_what_may_be_a_fine_tuning_are_for_information():
    def severity(loss, ratio):
        found = slow(vocab=None, loss=[v - 3.0 + loss for v in loss_of(5.0)], update_ratio=[ratio] * 400)
        return [i.severity for i in of_rule(found, "learning-rate-too-low")]
    def loss_of(start):
        return [start - 1e-3 * i + e - 2.0 for i, e in enumerate(np.random.default_rng(0).normal(0, 0.01, 400))]
    assert severity(5.0, 3e-5) == ["warning"]
    assert severity(2.5, 3e-5) == ["info"]
    assert severity(2.5, 1e-6) == ["warning"]


def test_learning_rate_too_low_needs_slow_and_steady_progress():
    found = only(slow(), "learning-rate-too-low")
    assert "raise the learning rate from 1e-5 to 1e-4" in found.next
    assert not of_rule(slow(update_ratio=[1e-3] * 400), "learning-rate-too-low")
    columns, _ = calm(400)
    assert not of_rule(slow(loss=columns["loss"]), "learning-rate-too-low")
    assert not of_rule(slow(lr=[1e-5 * (1 + i) for i in range(400)]), "learning-rate-too-low")
    assert not of_rule(slow(loss=[2.0 - 5e-4 * i for i in range(400)]), "learning-rate-too-low")


def test_a_tiny_learning_rate_leads_over_that_nothing_is_learned():
    noise = np.random.default_rng(0).normal(0, 0.005, 400)
    found = slow(loss=list(5.0 + noise), update_ratio=[1e-7] * 400)
    assert [i.rule for i in found.open_incidents] == ["learning-rate-too-low", "no-learning"]
    assert found.leading.confidence == "high"


def test_no_learning_is_silent_about_noise_in_which_progress_may_hide():
    flat = np.random.default_rng(0).normal(0, 1, 400)
    assert only(judged(Chunk.of(loss=list(5 + 0.005 * flat))), "no-learning").severity == "warning"
    assert not judged(Chunk.of(loss=list(5 + 0.5 * flat))).incidents
    assert not judged(Chunk.of(loss=list(5 + 0.005 * flat), lr=[1e-6 * (i + 1) for i in range(400)])).incidents


def classifier(classes, loss):
    sizes = (48, 48 * classes, classes)
    return judged(Chunk.of(loss=list(loss)), RunContext(tensor_names=("norm.weight", "head.weight", "head.bias"), tensor_sizes=sizes))


def test_labels_that_carry_nothing_are_told_where_a_blind_guess_is_known():
    noise = np.random.default_rng(1).normal(0, 0.03, 400)
    found = only(classifier(8, np.log(8) + noise), "no-learning")
    assert (found.severity, found.detected_step) == ("warning", 208)
    assert "a blind guess among 8 is 2.08" in found.why
    assert not classifier(8, np.log(8) - np.arange(400) / 4_000 + noise).incidents
    assert not classifier(20, np.log(8) + noise).incidents            # the loss of something else: nobody can tell
    assert not classifier(8, np.log(8) + 10 * noise).incidents


def vanishing(scale, *, rows=30, eps=1e-8, layers=6, keep=0):
    rng = np.random.default_rng(0)
    grad = np.exp(rng.normal(0, 0.1, (rows, layers))).astype(np.float32) * 10
    grad[keep:] *= np.asarray(scale, np.float32)
    steps = np.arange(1, rows + 1) * 10
    tensors = TensorRows(steps, grad, np.full_like(grad, np.nan), np.ones_like(grad, np.bool_))
    context = layered(layers)
    context = RunContext(**{f: getattr(context, f) for f in context.__slots__} | {"eps": eps})
    columns, _ = calm(rows * 10)
    return judged(Chunk.of(**columns, tensors=tensors), context)


def test_vanishing_gradients_are_found_in_five_rows_and_named():
    found = only(vanishing([1e-5, 1e-4, 1, 1, 1, 1]), "vanishing-gradients")
    assert (found.layer, found.severity, found.detected_step, found.onset_step) == ("blocks.0", "critical", 50, 10)
    assert "2 of 6 layers fade" in found.why


def test_a_pre_norm_profile_does_not_vanish():
    assert not vanishing([5, 3, 1, 0.5, 0.3, 1]).incidents
    assert not vanishing([1e-5] * 6).incidents


def test_all_layers_below_ten_times_epsilon_are_critical():
    found = only(vanishing([1e-9] * 6), "vanishing-gradients")
    assert (found.severity, found.confidence) == ("critical", "high")
    assert "lower Adam's epsilon to 1e-15" in found.next


def test_a_layer_that_fades_to_a_hundredth_of_itself_is_a_warning():
    found = only(vanishing([3e-3, 1, 1, 1, 1, 1], keep=15), "vanishing-gradients")
    assert (found.severity, found.onset_step) == ("warning", 160)


def test_a_cut_off_layer_is_not_a_vanishing_one():
    assert [i.rule for i in vanishing([0, 0, 1, 1, 1, 1]).incidents] == ["detached-layer"]
    assert only(vanishing([0, 0, 1e-9, 1e-6, 1e-3, 1], eps=None), "vanishing-gradients").layer == "blocks.0"
