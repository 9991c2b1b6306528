"""Each baseline fires where the rule that it restates says, and nowhere else."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.zoo.baselines import OTHERS
from tests.zoo.recording import Label, Recording
from tuimon.diagnosis.model import RunContext
from tuimon.record.chunk import Chunk

WELL = Label("well", True, (), (), None, None, False, None)
LISTEN = {judge.name: judge.listen for judge in OTHERS}


def alarms(name: str, **columns) -> list[tuple[str, int]]:
    chunk = Chunk.of(**{metric: list(values) for metric, values in columns.items()})
    return [(a.name, a.opened) for a in LISTEN[name](Recording(WELL, 0, "gpt", "", RunContext(), (chunk,))).alarms]


def level(n: int, value: float = 2.0, noise: float = 0.02, **changes: float) -> np.ndarray:
    """Noise around a level; `at150=9.0` sets step 150."""
    found = value + np.random.default_rng(0).normal(0, noise, n)
    for name, one in changes.items():
        found[int(name.removeprefix("at")) - 1] = one
    return found


def test_the_z_score_wants_a_full_window_and_six_sigma():
    assert alarms("mean + 6 sigma", loss=level(200, at150=2.2)) == [("loss-z-score", 150)]
    assert alarms("mean + 6 sigma", loss=level(200, at120=2.2)) == []
    assert alarms("mean + 6 sigma", loss=level(200, at150=2.08)) == []
    assert alarms("mean + 6 sigma", grad_norm=level(200, at160=9.0)) == [("gradient-z-score", 160)]
    assert alarms("mean + 6 sigma", loss=level(200, at150=math.nan, at160=9.0)) == []


def test_killing_a_spike_takes_five_losses_at_twice_the_mean():
    four, five = level(200), level(200)
    four[149:153], five[149:154] = 5.0, 5.0
    assert alarms("2x mean, patience 5", loss=four) == []
    assert alarms("2x mean, patience 5", loss=five) == [("loss-spike", 154)]
    assert alarms("2x mean, patience 5", loss=level(300, value=12.0)) == [("high-loss", 200)]


def test_the_tenfold_maximum_is_that_of_the_first_hundred():
    assert alarms("10x first maximum", loss=level(200, at50=5.0, at150=49.0)) == []
    assert alarms("10x first maximum", loss=level(200, at50=5.0, at150=51.0)) == [("unexpectedly-large", 150)]
    assert alarms("10x first maximum", loss=level(200, at3=math.nan)) == [("not-finite", 3)]


def test_the_debugger_compares_with_ten_steps_ago_and_looks_for_what_is_not_finite():
    falling = list(np.linspace(5, 1, 100))
    assert alarms("SageMaker Debugger", loss=falling) == []
    assert alarms("SageMaker Debugger", loss=falling[:50] + falling[49:50] * 15) == [("loss-not-decreasing", 61)]
    assert alarms("SageMaker Debugger", loss=falling, grad_norm=[1.0] * 99 + [math.inf]) == [("exploding-tensor", 100)]


@pytest.mark.parametrize(("metric", "name"), [("loss", "loss-divergence"), ("grad_norm", "exploding-gradient")])
def test_five_doublings_in_a_row_are_a_divergence(metric, name):
    assert alarms("DeepChecker", **{metric: [1.0] * 10 + [2.0**i for i in range(1, 6)]}) == [(name, 15)]
    assert alarms("DeepChecker", **{metric: [1.0] * 10 + [2.0**i for i in range(1, 5)] + [16.0] * 9}) == []


def test_the_notebook_is_its_own_rules_and_amounts_to_slugs_of_ours():
    loss = level(60)
    found = alarms("notebook", loss=loss, grad_norm=level(60, 1.0, at30=20.0, at31=200.0), grad_param_ratio=[1e-3] * 60)
    assert ("notebook-exploding", 30) in found
    assert ("notebook-emergency-stop", 31) in found


def test_firings_within_thirty_rows_are_one_alarm():
    grad = level(200, 1.0, noise=0.0, at50=20.0, at70=20.0, at150=20.0)
    assert alarms("notebook", grad_norm=grad, loss=np.linspace(5, 1, 200)) == [
        ("notebook-exploding", 50), ("notebook-exploding", 150),
    ]
