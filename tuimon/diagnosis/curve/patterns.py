"""Which of the notebook's six patterns a curve looks like. Pure.

The notebook draws its patterns and leaves recognising them to the eye. This does it from our own reading, worst first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tuimon.diagnosis.curve.model import CurveReading
from tuimon.diagnosis.curve.words import SLOW, last_jump, recovered, steps
from tuimon.diagnosis.wording import number

Name = Literal[
    "healthy", "overfitting", "learning rate too high", "learning rate too low", "exploding", "no learning",
]
ENOUGH = 64
"""Points from which standing still is called no learning."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """One of the six, or none of them."""

    name: Name | None
    why: str
    """What it is recognised by, or why it is none, in a few words."""


def pattern_of(reading: CurveReading) -> Pattern:
    """The pattern that a curve looks like so far."""
    if not reading.points:
        return Pattern(None, "there is no loss to look at")
    if not reading.ends_finite:
        return Pattern("exploding", "the loss is no number any more")
    if reading.blown_up:
        return Pattern("exploding", f"from {number(reading.level + reading.drop)} it has grown to "
                                    f"{number(max(reading.level, reading.latest))}")
    trend = reading.trend
    if trend is None or reading.noise is None:
        return Pattern(None, f"{reading.points} points are too few")
    if reading.validation is not None and reading.validation.turned:
        return Pattern("overfitting", f"validation was best at step {steps(reading.validation.best_step)} and rises, "
                                      "while training goes on falling")
    if reading.level > 0 and reading.drop < -max(6 * reading.noise, 0.5 * abs(reading.level)):
        return Pattern("exploding", "it stands far above its start")
    if trend.word == "rising" and trend.slope * (trend.last - trend.first) / 100 > 2 * reading.noise:
        if reading.improved:
            return Pattern("overfitting", "it came down and rises again, which the notebook draws for validation; "
                                          "a training loss does so when its learning rate is too high")
        return Pattern("exploding", "it rises")
    if reading.oscillation is not None and reading.oscillation.matters:
        return Pattern("learning rate too high", f"it swings with a period of {number(reading.oscillation.period)} "
                                                 "steps")
    return _calm(reading)


def _calm(reading: CurveReading) -> Pattern:
    """Of what neither rises nor swings."""
    assert reading.trend is not None
    assert reading.noise is not None
    jump = last_jump(reading.changes)
    if jump is not None and jump.direction == "up" and jump.size > 3 * reading.noise and not recovered(reading, jump):
        return Pattern(None, f"it jumped up at step {steps(jump.step)} and has not come back")
    if not reading.improved:
        if reading.points < ENOUGH:
            return Pattern(None, "no clear direction yet")
        return Pattern("no learning", "it is not below its start by more than noise")
    fallen = 100 * reading.drop / abs(reading.level) if reading.level else 100.0
    if reading.trend.word == "falling" and reading.laws.better == "line" and 0 < fallen < SLOW:
        return Pattern("learning rate too low", f"a straight descent of only {fallen:.2g} % since the start")
    if reading.plateau is not None and reading.plateau.state == "flat":
        return Pattern("healthy", "it came down and has flattened out")
    return Pattern("healthy", f"it has come down from {number(reading.level + reading.drop)} to "
                              f"{number(reading.level)}")
