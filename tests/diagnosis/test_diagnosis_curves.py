"""What the rules say of labelled runs: silent on the healthy, right about the sick."""

from __future__ import annotations

import pytest
from labelled_curves import judged, labels, needs_curves, of_rule, scalar_runs, tiny

HEALTHY = (
    "healthy_s0", "healthy_s1", "healthy_nowarm", "healthy_gelu_noclip", "lr1e-4", "lr3e-4", "lr3e-3", "lr3e-2", "sgd_lr0.1",
    "zero_ish_std1e-4",
)


@needs_curves
@pytest.mark.parametrize("name", HEALTHY)
def test_a_run_without_one_of_these_faults_is_called_healthy(name):
    diagnosis = judged(*tiny(name))
    assert diagnosis.verdict == "healthy"
    assert not diagnosis.incidents


@needs_curves
def test_the_labels_are_the_ones_that_were_meant():
    assert {name for name, entry in labels().items() if entry["label"] == "healthy"} == set(HEALTHY)


@needs_curves
@pytest.mark.parametrize(("name", "rule", "onset", "within", "detected_by"), [
    ("sgd_lr10_noclip", "early-divergence", 0, 4, 8),
    ("sgd_lr10_noclip", "non-finite", 13, 0, 13),
    ("lrbump30x", "loss-spike", 600, 1, 605),
    ("nores_sigmoid_8l", "vanishing-gradients", 0, 0, 60),
    ("lr1e-5", "learning-rate-too-low", 0, 0, 400),
    ("fp32_lr1e-5_const", "learning-rate-too-low", 0, 0, 400),
    ("shuffle_labels", "no-learning", 0, 100, 400),
    ("badbatch1", "outlier-batch", 600, 0, 601),
    ("lrbump30x", "lr-schedule-fault", 600, 0, 600),
    ("overfit_6k", "overfitting", 200, 1, 700),
    ("std1", "bad-init", 1, 0, 2),
    ("detach_b2", "detached-layer", 0, 0, 20),
    ("lr1e-1", "learning-rate-too-high", 0, 0, 300),
])
def test_a_planted_fault_is_found_with_its_onset(name, rule, onset, within, detected_by):
    found = of_rule(judged(*tiny(name)), rule)
    assert len(found) == 1
    assert abs(found[0].onset_step - onset) <= within
    assert found[0].detected_step <= detected_by


@needs_curves
def test_a_vanishing_net_is_led_by_its_first_layer():
    leading = judged(*tiny("nores_sigmoid_8l")).leading
    assert (leading.rule, leading.layer, leading.severity) == ("vanishing-gradients", "emb", "critical")


@needs_curves
def test_one_warning_and_nothing_critical_in_a_hundred_thousand_healthy_gpt_steps():
    found = [i for _, _, chunk in scalar_runs("gpt_healthy") for i in judged(chunk).incidents]
    warned = sorted((i.rule, i.onset_step) for i in found if i.severity == "warning")
    assert warned == [("loss-drift", 14801)]
    assert not [i for i in found if i.severity == "critical"]
    assert sorted(i.rule for i in found if i.severity == "info") == ["bad-init"]


@needs_curves
def test_every_diverged_algoperf_run_is_critical_and_no_healthy_one_is_anything():
    for name, outcome, chunk in scalar_runs("algoperf"):
        diagnosis = judged(chunk)
        if outcome == "healthy":
            assert diagnosis.verdict in ("healthy", "info"), name
        elif outcome == "diverged":
            assert diagnosis.verdict == "critical", name
        else:
            assert "no-learning" in {i.rule for i in diagnosis.open_incidents}, name
