"""`read_curve`: everything that can be said of a loss curve, from its numbers alone. A pure function.

Works with numpy only, on anything from no point to millions, and says what it cannot tell yet and what that needs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tuimon.diagnosis.curve import changes as change_test
from tuimon.diagnosis.curve import fit, forecast, periodogram, trend, validation
from tuimon.diagnosis.curve.model import Change, CurveReading, Forecast, Outlook
from tuimon.diagnosis.curve.points import Points, points_of
from tuimon.diagnosis.curve.stretches import even_stretches
from tuimon.diagnosis.curve.words import judge, last_jump


def read_curve(
    steps: Any, losses: Any, total_steps: float | None = None, val: tuple[Any, Any] | None = None
) -> CurveReading:
    """Read a curve: (n,) steps in any order, (n,) losses in nats, NaN and inf allowed.

    `total_steps` is the step at which the run ends, for the forecast; `val` is (steps, losses) of the evaluations.
    Raises ValueError where steps and losses differ in number.
    """
    points = points_of(steps, losses)
    if not len(points):
        return _judged(_nothing(points))
    found = change_test.find_changes(points)
    swing = periodogram.find_oscillation(points)
    if swing is not None and swing.matters:
        found = tuple(c for c in found if c.kind == "jump")
    since = _since(points, found)
    level = float(np.median(points.losses[-max(3, min(64, len(points) // 20)) :]))
    drop = max(float(points.losses[0]), float(np.median(points.losses[:3]))) - level
    laws = fit.fit_laws(points.steps[since:], points.clipped[since:], points.noise)
    now = trend.recent_trend(points, since, drop)
    rises = now is not None and now.interval.low > 0 and laws.chosen is None
    ahead = None if rises else forecast.outlook(points, since, laws)   # nothing says how far a rise will go
    return _judged(replace(
        _nothing(points),
        level=level, drop=drop, improved=_improved(points, level, drop),
        blown_up=_blown_up(points),
        noise=None if math.isnan(points.noise) else points.noise,
        trend=now, laws=laws, oscillation=swing, changes=found, outlook=ahead,
        forecast=_forecast(points, ahead, total_steps), plateau=trend.plateau(points, since, level, drop),
        validation=None if val is None else validation.read_validation(points, points_of(*val)),
        waiting=tuple(_waiting(points, total_steps, rises=rises)),
    ))


def _improved(points: Points, level: float, drop: float) -> bool:
    noise = 0.0 if math.isnan(points.noise) else points.noise
    tenth = max(3, len(points) // 10)
    gain = float(points.clipped[:tenth].mean() - points.clipped[-tenth:].mean())
    return bool(max(drop - 4 * noise, gain - 4 * noise * (2 / tenth) ** 0.5) > 0.01 * abs(level))


def _blown_up(points: Points) -> bool:
    y = points.losses
    if len(y) < 5:
        return False
    return bool((y[-2:] > max(2 * float(y.min()), 1.5 * float(np.median(y[:3])))).all() and y.min() >= 0)


def _nothing(points: Points) -> CurveReading:
    n = len(points)
    return CurveReading(
        points=n, not_finite=points.not_finite, first_not_finite=points.first_not_finite,
        ends_finite=points.ends_finite, first=float(points.steps[0]) if n else math.nan,
        last=float(points.steps[-1]) if n else math.nan, spacing=points.spacing,
        latest=float(points.losses[-1]) if n else math.nan, level=math.nan, drop=math.nan,
        improved=False, blown_up=False,
        outliers=points.outliers, noise=None, trend=None, laws=fit.fit_laws(points.steps[:0], points.losses[:0], 0.0),
        oscillation=None, changes=(), outlook=None, forecast=None, plateau=None, validation=None,
        waiting=("everything needs losses",) if not n else (), verdict="", mood="unknown",
    )


def _judged(reading: CurveReading) -> CurveReading:
    verdict, mood = judge(reading)
    return replace(reading, verdict=verdict, mood=mood)


def _since(points: Points, found: Sequence[Change]) -> int:
    """Index at which the stretch begins that laws and trend are about: the last jump, where enough came after it."""
    jump = last_jump(tuple(found))
    if jump is None:
        return 0
    index = int(np.searchsorted(points.steps, jump.step))
    return index if len(points) - index >= change_test.LEAST else 0


def _forecast(points: Points, ahead: Outlook | None, total: float | None) -> Forecast | None:
    if ahead is None or total is None or total <= points.steps[-1]:
        return None
    seen = float(points.steps[-1] - points.steps[0]) / (total - float(points.steps[0]))
    return forecast.forecast(ahead, total) if seen >= forecast.EARLIEST else None


def _waiting(points: Points, total: float | None, *, rises: bool) -> list[str]:
    n = len(points)
    wants = (
        ("noise", 8, n), ("trend", trend.LEAST, n), ("laws of descent", fit.LEAST, n), ("plateau", 32, n),
    )
    said = [f"{what}: {least} points, there are {have}" for what, least, have in wants if have < least]
    for what, least in (("change points", change_test.LEAST), ("oscillation", periodogram.LEAST)):
        if not even_stretches(points.steps, least):
            said.append(f"{what}: {least} points at an even pace")
    if rises:
        said.append("forecast: a curve that does not rise")
    elif total is None:
        said.append("forecast: the number of steps of the whole run")
    elif total > points.steps[-1]:
        seen = float(points.steps[-1] - points.steps[0]) / (total - float(points.steps[0]))
        if seen < forecast.EARLIEST:
            said.append(f"forecast: a quarter of the run, {seen:.0%} is here")
        elif n < forecast.LEAST:
            said.append(f"forecast: {forecast.LEAST} points, there are {n}")
    return said
