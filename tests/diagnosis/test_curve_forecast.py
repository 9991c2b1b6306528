"""The forecast holds what it promises on curves with a known end: back-tests of real runs, and laws without noise."""

from __future__ import annotations

import numpy as np
import pytest
from labelled_curves import CURVES, lines, needs_curves

from tuimon.diagnosis.curve import read_curve


def runs():
    for file in ("gpt_healthy", "algoperf"):
        for run in lines(CURVES / f"{file}.jsonl.gz"):
            if run["outcome"] != "diverged":
                yield np.array(run.get("step") or range(len(run["loss"])), float), np.array(run["loss"], float)
    for path in sorted((CURVES / "tinygpt").glob("*.jsonl.gz")):
        rows = lines(path)
        if len(rows) >= 100:
            yield np.array([r["step"] for r in rows], float), np.array([float(r["loss"]) for r in rows])


def end_of(x, y):
    late = y[x > x[-1] - 0.02 * (x[-1] - x[0])]
    return float(np.mean(late if len(late) >= 3 else y[-3:]))


@needs_curves
@pytest.mark.parametrize("seen", [0.5, 0.7])
def test_at_least_four_of_five_real_runs_end_within_their_band(seen):
    inside, widths = [], []
    for x, y in runs():
        known = x <= x[0] + seen * (x[-1] - x[0])
        forecast = read_curve(x[known], y[known], x[-1]).forecast
        if forecast is not None:
            inside.append(end_of(x, y) in forecast.interval)
            widths.append((forecast.interval.high - forecast.interval.low) / abs(forecast.middle))
    assert len(inside) >= 54
    assert np.mean(inside) >= 0.8
    assert np.median(widths) < 0.2


@pytest.mark.parametrize("seen", [0.3, 0.5, 0.7])
def test_a_run_that_follows_a_law_to_its_end_is_foretold(seen):
    n = 3000
    t = np.arange(n)
    inside = []
    for seed in range(24):
        rng = np.random.default_rng(seed)
        shape = np.exp(-t / (n * rng.uniform(0.05, 0.3))) if seed % 2 else (1 + t / rng.uniform(20, 200)) ** -rng.uniform(0.2, 0.8)
        losses = 2 + 4 * shape + rng.normal(0, 0.05, n)
        forecast = read_curve(t[: int(seen * n)], losses[: int(seen * n)], n).forecast
        inside.append(2 + 4 * shape[-60:].mean() in forecast.interval)
    assert np.mean(inside) >= 0.8


def test_the_band_widens_with_the_distance_and_holds_its_middle():
    outlook = read_curve(range(1000), 2 + 3 * np.exp(-np.arange(1000) / 200) + np.random.default_rng(0).normal(0, 0.05, 1000)).outlook
    low, middle, high = outlook.at(np.linspace(1000, 4000, 50))
    assert ((low < middle) & (middle < high)).all()
    assert (np.diff(high - low) > -1e-3).all()
    assert high[-1] - low[-1] > high[0] - low[0]


def test_no_forecast_where_too_little_is_known_or_nothing_is_left():
    losses = 2 + np.random.default_rng(0).normal(0, 0.05, 1000)
    assert read_curve(range(1000), losses, 10_000).forecast is None
    assert "a quarter of the run, 10% is here" in " ".join(read_curve(range(1000), losses, 10_000).waiting)
    assert read_curve(range(1000), losses, 900).forecast is None
    assert read_curve(range(1000), losses).forecast is None
    assert "number of steps" in " ".join(read_curve(range(1000), losses).waiting)


def test_a_loss_that_was_never_negative_is_not_foretold_to_be():
    losses = np.maximum(0.0, 1 - 0.0009 * np.arange(1000)) + 0.01
    forecast = read_curve(range(1000), losses + 0.001 * np.random.default_rng(0).random(1000), 2000).forecast
    assert 0 <= forecast.interval.low <= forecast.middle <= forecast.interval.high


def test_what_rises_without_a_law_is_not_foretold_below_where_it_is():
    falling = 2 + 8 * np.exp(-np.arange(200) / 40)
    losses = np.concatenate((falling, falling[-1] * np.exp(np.arange(60) * 0.03)))
    reading = read_curve(np.arange(1.0, 261.0), losses, total_steps=600)
    assert reading.trend.slope > 0
    assert reading.forecast is None
    assert "forecast: a curve that does not rise" in reading.waiting
