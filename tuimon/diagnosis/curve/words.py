"""The verdict on a curve in one line, as a good colleague would say it, and how it stands to the notebook's. Pure."""

from __future__ import annotations

import math
from typing import Literal

from tuimon.diagnosis.curve.model import Change, CurveReading
from tuimon.diagnosis.wording import count, number

Mood = Literal["good", "watch", "bad", "unknown"]
NOTEBOOK_MOODS: dict[str, Mood] = {
    "strong improvement": "good", "improving": "good", "slow improvement": "watch", "plateau": "watch",
    "worsening": "bad",
}

SLOW = 10.0
"""Per cent of the level below which a straight descent is called slow."""


def steps(value: float) -> str:
    """A whole number of steps."""
    return count(round(value))


def band(low: float, high: float) -> str:
    """An interval as people write it, with the digits that tell its ends apart."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return f"{number(low)} to {number(high)}"
    digits = max(0, min(6, 1 - math.floor(math.log10(max(high - low, 1e-6)))))
    digits = max(digits, 2) if max(abs(low), abs(high)) < 100 else digits
    return f"{low:.{digits}f} to {high:.{digits}f}"


def judge(reading: CurveReading) -> tuple[str, Mood]:
    """The verdict line and its mood, worst things first."""
    if not reading.points:
        return ("No finite loss in it.", "bad") if reading.not_finite else ("No loss in it.", "unknown")
    if not reading.ends_finite:
        at = steps(reading.first_not_finite) if reading.first_not_finite is not None else "?"
        return f"The loss is no number any more (first at step {at}): stop, go back to a checkpoint before that.", "bad"
    if reading.blown_up and reading.trend is None:
        return "It is blowing up: the last losses are far above the start; stop and lower the learning rate.", "bad"
    if reading.trend is None or reading.noise is None:
        return f"Too early to judge: {reading.points} points, 16 are wanted.", "unknown"
    said, mood = _going(reading)
    swing = reading.oscillation
    if swing is not None and swing.matters:
        said += (f", and swings with a period of {number(swing.period)} steps ({number(swing.amplitude)} nats): "
                 "look for what repeats at that pace, or lower the learning rate")
        mood = "bad" if mood == "bad" else "watch"
    if reading.validation is not None and reading.validation.turned:
        v = reading.validation
        said = (f"It learns by heart: validation was best at step {steps(v.best_step)} ({number(v.best)}) and is "
                f"{number(v.last)} now, while training goes on falling")
        mood = "bad"
    elif reading.forecast is not None and mood != "bad":
        low, high = reading.forecast.interval.low, reading.forecast.interval.high
        said += f"; likely {band(low, high)} at step {steps(reading.forecast.step)}"
    if reading.not_finite:
        said += f"; {count(reading.not_finite)} losses on the way were no numbers"
    return said[0].upper() + said[1:] + ".", mood


def _going(reading: CurveReading) -> tuple[str, Mood]:
    trend, flat, noise = reading.trend, reading.plateau, reading.noise
    assert trend is not None
    assert noise is not None
    jump = last_jump(reading.changes)
    if reading.blown_up or (reading.level > 0 and reading.drop < -max(6 * noise, 0.5 * abs(reading.level))):
        start = number(reading.level + reading.drop)
        return f"it has blown up: {number(max(reading.level, reading.latest))} now, {start} at the start", "bad"
    if noise == 0 and reading.drop == 0:
        return "it does not move at all: the same loss at every step, nothing is learned or nothing is measured", "bad"
    rise = trend.slope * (trend.last - trend.first) / 100
    if trend.word == "rising" and rise > 2 * noise:
        return f"it rises by {number(trend.slope)} nats per 100 steps: lower the learning rate, or stop and look", "bad"
    if jump is not None and jump.direction == "up" and jump.size > 3 * noise and not recovered(reading, jump):
        return (f"it jumped up by {number(jump.size)} nats at step {steps(jump.step)} and has not come back: "
                "consider a checkpoint from before"), "bad"
    stuck = not reading.improved
    if flat is not None and flat.state == "flat":
        if stuck:
            return "it has never learned: flat at its starting value beyond doubt", "bad"
        return f"it has stopped improving: flat within 0.5 % over the last {steps(flat.steps)} steps", "watch"
    fallen = 100 * reading.drop / abs(reading.level) if reading.level else math.inf
    if trend.word == "falling" and reading.laws.better == "line" and 0 < fallen < SLOW:
        return (f"it falls, but slowly and in a straight line, by {fallen:.2g} % since the start: the learning rate "
                "may be too low"), "watch"
    pace = f"falling by {band(-trend.interval.high, -trend.interval.low)} nats per 100 steps"
    if trend.word == "falling" and stuck and reading.points >= 64:
        return f"it is {pace}, but not below where it started by more than noise", "watch"
    if trend.word == "falling":
        return f"it learns: {pace}", "good"
    if stuck and reading.points >= 64:
        return "no sign of learning: not below its start by more than noise", "bad"
    lately = "it creeps up lately" if trend.word == "rising" else "lately too slow to be seen in the noise"
    if flat is not None and 0 < flat.steps_needed <= reading.last - reading.first:
        lately += f" ({steps(flat.steps_needed)} more steps would tell slow progress from a plateau)"
    if stuck:
        return f"no clear direction yet: {reading.points} points in this much noise say nothing", "unknown"
    come = f"it has come down from {number(reading.level + reading.drop)} to {number(reading.level)}"
    return f"{come}; {lately}", "watch" if trend.word == "rising" else "good"


def last_jump(changes: tuple[Change, ...]) -> Change | None:
    """The newest jump of the level."""
    return next((c for c in reversed(changes) if c.kind == "jump"), None)


def recovered(reading: CurveReading, jump: Change) -> bool:
    """Whether the loss has come back from a jump upwards."""
    assert reading.trend is not None
    after = [c for c in reading.changes if c.step > jump.step and c.direction == "down" and c.kind == "jump"]
    return bool(after) or reading.trend.level < jump.before + 3 * (reading.noise or 0.0)


def agreement(reading: CurveReading, notebook: dict[str, object]) -> str:
    """Whether the notebook's analysis says the same, and where not, why one may differ."""
    trend, health = str(notebook["trend"]), str(notebook["health"])
    theirs: Mood = "bad" if health not in {"healthy", "unknown"} else NOTEBOOK_MOODS.get(trend, "unknown")
    if "unknown" in {theirs, reading.mood}:
        return "The notebook cannot be held against it yet."
    if theirs == reading.mood:
        return "The notebook agrees."
    return f"The notebook disagrees: {_reason(reading, theirs)}"


def said(notebook: dict[str, object]) -> str:
    """The notebook's words in one phrase."""
    if notebook["health"] not in {"healthy", "unknown"}:
        return f"{notebook['health']}"
    return f"{notebook['trend']}, volatility {notebook['volatility']}, {notebook['oscillation']} oscillation"


def _reason(reading: CurveReading, theirs: Mood) -> str:
    if theirs == "good" and reading.validation is not None and reading.validation.turned:
        return "it does not look at validation."
    if theirs == "good":
        return "it compares the first ten losses with the last ten, and sees neither what lies between nor the present."
    if theirs == "watch" and reading.mood == "good":
        return "ten losses are too few to see a slow descent through this noise."
    if theirs == "watch":
        return "its thresholds on the overall change miss it."
    return "it looks at the level alone, or at ten noisy losses."
