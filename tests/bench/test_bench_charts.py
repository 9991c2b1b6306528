"""What a frame of charts costs, beside plotext drawing the same in the same run.

    pytest -m bench tests/bench/test_bench_charts.py -s
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import plotext
import pytest

from tuimon.diagnosis import axes
from tuimon.diagnosis.axes import XAxis
from tuimon.viewer.charts import heat as heat_strip
from tuimon.viewer.charts.chart import Band, ChartSpec, draw
from tuimon.viewer.charts.heat import HeatSpec
from tuimon.viewer.charts.picture import NOTHING
from tuimon.viewer.charts.series import Series

POINTS, WIDTH, HEIGHT, FRAMES = 5_000, 60, 12, 40


def frames():
    """Four series that grow by 20 points a frame up to POINTS."""
    rng = np.random.default_rng(0)
    steps = np.arange(1, POINTS + 1)
    columns = [2 + 8 * np.exp(-steps / 500), np.full(POINTS, 1.1), np.full(POINTS, 1.2e-3), 3e-4 * np.minimum(1, steps / 200)]
    columns = [c * np.exp(0.15 * rng.standard_normal(POINTS)) for c in columns]
    for frame in range(FRAMES):
        count = POINTS - 20 * (FRAMES - 1 - frame)
        yield steps[:count], [c[:count] for c in columns]


def ours(changed):
    x, ys, before = XAxis(), [None] * 4, [NOTHING] * 4
    for steps, columns in frames():
        began = time.perf_counter()
        x = x.grown(steps[-1])
        rows = 0
        for i, values in enumerate(columns):
            spec = ChartSpec("chart", "1.00", "good", (Series.of(steps, values),), log=i in {1, 2},
                             bands=(Band(0.9, 1.4, "usual", "usual 0.9–1.4"),))
            ys[i] = axes.fit(ys[i], spec.series, x, log=spec.log)
            picture = draw(spec, WIDTH, HEIGHT, x, ys[i])
            rows += len(picture.changed(before[i]))
            before[i] = picture
        changed.append(rows)
        yield 1e3 * (time.perf_counter() - began)


def thinned(steps, values):
    """Least and greatest of each of two columns per cell: what a careful user of plotext would feed it."""
    edges = np.linspace(0, len(values), 2 * WIDTH, endpoint=False).astype(int)
    both = np.stack([np.minimum.reduceat(values, edges), np.maximum.reduceat(values, edges)], 1).ravel()
    return np.repeat(steps[edges], 2), both


def theirs(*, thin):
    plotext.limit_size(False, False)
    for steps, columns in list(frames())[-10:]:
        began = time.perf_counter()
        for i, values in enumerate(columns):
            at, heights = thinned(steps, values) if thin else (steps, values)
            plotext.clear_figure()
            plotext.plot_size(WIDTH, HEIGHT)
            plotext.title("chart")
            plotext.plot(at, np.log10(heights) if i in {1, 2} else heights, marker="braille")
            plotext.build()
        yield 1e3 * (time.perf_counter() - began)


def strip():
    rng = np.random.default_rng(0)
    steps = np.arange(1.0, POINTS, 4)
    values = 10 ** (0.1 * rng.standard_normal((len(steps), 50)))
    spec = HeatSpec("layers", tuple(f"blocks.{i}" for i in range(50)), steps, values)
    for _ in range(FRAMES):
        began = time.perf_counter()
        heat_strip.draw(spec, 120, 8, XAxis().grown(POINTS))
        yield 1e3 * (time.perf_counter() - began)


@pytest.mark.bench
def test_a_frame_of_four_charts_costs_a_fraction_of_plotext():
    changed: list[int] = []
    table = {
        "tuimon": list(ours(changed)), "plotext 5": list(theirs(thin=False)),
        "plotext 5, thinned": list(theirs(thin=True)), "heat strip, 50 layers": list(strip()),
    }
    print(f"\nfour charts of {WIDTH}x{HEIGHT}, {POINTS:,} points each, {FRAMES} frames; ms per frame")
    print(f"{'':24}{'min':>9}{'median':>9}{'max':>9}")
    for name, times in table.items():
        print(f"{name:24}{min(times):9.2f}{statistics.median(times):9.2f}{max(times):9.2f}")
    middle = {name: statistics.median(times) for name, times in table.items()}
    ratio = min(table["plotext 5, thinned"]) / min(table["tuimon"])
    print(f"plotext / tuimon, medians: {middle['plotext 5'] / middle['tuimon']:.0f}x; thinned, minima: {ratio:.0f}x")
    print(f"rows changed per frame of {4 * HEIGHT}, after the first: median {statistics.median(changed[1:]):g}, "
          f"max {max(changed[1:])}")
    assert ratio > 5
