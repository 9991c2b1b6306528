"""Whatever is in a run's log, every place has something to show of it: its producer does not fail, poll after poll."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
import synthetic

from tuimon.diagnosis.axes import XAxis, fit
from tuimon.record.log import Row, TensorRow
from tuimon.record.segments import LogWriter
from tuimon.viewer.arrange import footer_keys
from tuimon.viewer.charts import chart, heat
from tuimon.viewer.choice import Choice
from tuimon.viewer.glyphs import BRAILLE
from tuimon.viewer.lines import text_of
from tuimon.viewer.places import PLACES
from tuimon.viewer.places.compare import model as compare
from tuimon.viewer.places.layers import model as layers
from tuimon.viewer.places.layers.thinning import HEAT_ROWS
from tuimon.viewer.plots import chart_spec, heat_spec, x_axis
from tuimon.viewer.reading import Reading
from tuimon.viewer.wanted import Wanted, Window

METRICS = ("loss", "val_loss", "grad_norm", "lr", "update_ratio", "step_time", "param_norm", "throughput", "tokens")


def same(value, count=60):
    run = synthetic.Run()
    for _ in range(count):
        run.values(**dict.fromkeys(METRICS, value))
    return run


def huge():
    run = synthetic.Run()
    for i in range(200):
        run.values(**dict.fromkeys(METRICS, 1e305 if i % 3 else -1e305))
    return run


def ends():
    run = synthetic.Run()
    for i in range(200):
        run.values(**dict.fromkeys(METRICS, sys.float_info.max if i % 3 else -sys.float_info.max))
    return run


def leaps():
    run = synthetic.Run()
    for step in (1, 5, 10**9, 10**9 + 5, 2 * 10**12, 2**53):
        run.step = step - 1
        run.values(loss=2.0, grad_norm=1.0)
    return run


def again():
    run = synthetic.Run().go(50)
    run.log.close()
    run.log = LogWriter(run.dir.metrics, attempt=2, from_step=20, tensors=len(synthetic.TENSORS))
    run.step = 20
    return run.go(30)


def broken_tensors():
    run, count = synthetic.Run(), len(synthetic.TENSORS)
    for i in range(50):
        run.step += 1
        grad = np.full(count, math.nan if i % 2 else math.inf, np.float32)
        update = np.full(count, math.inf if i % 3 else 3e38, np.float32)
        run.log.append([TensorRow(run.step, grad, np.ones(count, np.bool_), update),
                        Row(run.step, -1e18 if i % 2 else 4e18, {"loss": 1.0})])
    return run


RUNS = {
    "nothing": lambda: synthetic.Run(info=False), "one step": lambda: same(2.0, 1), "NaN": lambda: same(math.nan),
    "zero": lambda: same(0.0), "least": lambda: same(5e-324), "huge": huge,
    "greatest": lambda: same(sys.float_info.max), "both ends": ends, "leaps": leaps, "again": again,
    "broken tensors": broken_tensors,
}


@pytest.mark.parametrize("name", RUNS)
def test_no_place_fails_at_what_was_measured(name):
    run = RUNS[name]()
    sides = (compare.Source("", run.dir.path), compare.Source("gone", run.dir.path / "nowhere"))
    asks = {"compare": [compare.Ask(sides, across, smooth) for across, smooth in (("step", 0), ("time", 2), ("tokens", 3))],
            "layers": [None, layers.Ask("update"), layers.Ask(layer="blocks.1"), layers.Ask(tensors=True)]}
    reading = Reading(run.dir)
    for place in PLACES:
        for ask in asks.get(place, [None]):
            for at, window in ((None, Window()), (25, Window(3, 9)), (None, Window(follow=20)), (10**9, Window(1e9, 2e9))):
                for mono in (1e9, 2e9):
                    frame = reading.poll(1e9, mono, Wanted(place, at=at, window=window, cursor=at, ask=ask))
                    assert frame is None or not frame.problem, (place, ask, at)
    reading.close()


def frame_of(run):
    frame = Reading(run.dir).poll(0.0, 1.0)
    assert frame is not None
    return frame


def test_a_run_that_ended_untrained_waits_for_nothing_and_offers_nothing_that_acts_on_it():
    run = synthetic.Run(alive=False)
    run.end()
    frame = frame_of(run)
    said = "\n".join(map(text_of, frame.verdict))
    assert "Ended before any training step" in said
    assert "attached" not in said
    assert "What it printed was not kept" in said
    assert "console.log" not in said
    keys = text_of(footer_keys(frame, 200, 1)[0])
    assert "pause" not in keys and "rescue" not in keys
    assert "q quit" in keys


def test_where_all_is_nan_no_badge_says_that_what_is_nan_is_fine():
    run = synthetic.Run()
    for _ in range(60):
        run.values(loss=math.nan, grad_norm=math.nan, update_ratio=math.nan, lr=1e-3)
    badges = {badge.label: (badge.glyph, badge.word) for badge in frame_of(run).badges}
    assert badges["LOSS"] == badges["UPDATES"] == badges["GRADIENTS"] == ("✖", "NaN")
    assert badges["NUMERICS"][0] == "✖"


@pytest.mark.parametrize("rows", [50, 3 * HEAT_ROWS])
def test_layers_whose_gradients_are_nan_from_the_first_step_are_marked_in_the_strip(rows):
    run, count = synthetic.Run(), len(synthetic.TENSORS)
    grad = np.full(count, math.nan, np.float32)
    for _ in range(rows):
        run.step += 1
        run.log.append([TensorRow(run.step, grad, np.ones(count, np.bool_), grad), Row(run.step, 1.0, {"loss": math.nan})])
    frame = frame_of(run)
    strip = heat.draw(heat_spec(frame, framed=True, columns=1), 80, 8, x_axis(frame)).lines
    assert all("✗✗✗✗" in line for line in strip[1:-2])

@pytest.mark.parametrize("name", ["huge", "greatest", "both ends", "least"])
def test_smoothed_charts_of_what_was_measured_are_drawn(name):
    frame = Reading(RUNS[name]().dir).poll(1e9, 1e9, Wanted())
    for i in range(len(frame.charts)):
        for log in (False, True):
            choice = Choice(log={frame.charts[i].name: log}, smoothing=4)
            spec = chart_spec(frame, i, choice, focused=False)
            x = XAxis(0, 200)
            assert len(chart.draw(spec, 60, 12, x, fit(None, spec.extent, x, log=spec.log), BRAILLE).rows) == 12
