"""A curve drawn: what was logged, the law through it, the forecast with its band. Pure, through the adapter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from tuimon.diagnosis.curve.model import CurveReading
from tuimon.diagnosis.curve.points import blocks_of, points_of
from tuimon.diagnosis.curve.sources import Source
from tuimon.diagnosis.plotting import Chart, Colour, Layer, draw
from tuimon.diagnosis.wording import number
from tuimon.record.chunk import Floats

RAW: Final = (110, 140, 175)
LAW: Final = (230, 159, 0)
BAND: Final = (0, 178, 135)
VALIDATION: Final = (204, 121, 167)
RUNS: Final[tuple[Colour, ...]] = (
    (86, 180, 233), (230, 159, 0), (0, 178, 135), (204, 121, 167), (240, 228, 66), (213, 94, 0), (160, 160, 160),
)
"""Okabe and Ito's colours, which colour-blind eyes tell apart."""
MARKS: Final = "abcdefghijklmnopqrstuvwxyz"
START: Final = 0.05
"""Share of the steps at the start that may lie above the picture."""
LOG_FROM: Final = 100.0
"""Ratio of highest to lowest from which the axis is logarithmic."""


def _axis(steps: Floats, losses: Floats) -> tuple[bool, float, str]:
    """Whether to take logarithms, the highest value that is drawn in place, and what to say of it."""
    finite = np.isfinite(losses)
    if not finite.any():
        return False, np.inf, ""
    x, y = steps[finite], losses[finite]
    low = float(y.min())
    later = y[x > x[0] + START * (x[-1] - x[0])]
    if not len(later):
        return False, np.inf, ""
    top = float(later.max())
    if low > 0 and top > LOG_FROM * low:
        return True, np.inf, ", log"
    highest = float(y.max())
    if highest - low > 1.3 * (top - low) > 0:
        return False, top + 0.02 * (top - low), f", from {number(float(y[0]))}"
    return False, np.inf, ""


def draw_curve(
    source: Source, reading: CurveReading, *, width: int, height: int, colour: bool, ascii_only: bool
) -> str:
    """One curve with its law, its forecast and its evaluations."""
    steps, losses = source.steps, source.losses
    if source.val is not None:
        steps, losses = np.concatenate([steps, source.val[0]]), np.concatenate([losses, source.val[1]])
    order = np.argsort(steps, kind="stable")
    log, top, note = _axis(steps[order], losses[order])
    layers: list[Layer] = []
    law = reading.laws.chosen
    if law is not None:
        x = np.linspace(law.origin, reading.last, 4 * width)
        layers.append(Layer(f"{law.form} law", x.tolist(), law.at(x).tolist(), LAW, "o"))
    if reading.forecast is not None and reading.outlook is not None:
        x = np.linspace(reading.last, reading.forecast.step, 2 * width)
        low, middle, high = reading.outlook.at(x)
        layers += [
            Layer("forecast", x.tolist(), middle.tolist(), BAND, "+"),
            Layer("80 % band", x.tolist(), low.tolist(), BAND, "-"),
            Layer("80 % band", x.tolist(), high.tolist(), BAND, "-"),
        ]
    if source.val is not None:
        layers.append(Layer("validation", source.val[0].tolist(), source.val[1].tolist(), VALIDATION, "v"))
    chart = Chart(
        f"{source.name}: loss{note}", source.steps.tolist(), source.losses.tolist(), RAW, log=log, layers=tuple(layers),
        label="loss", top=top,
    )
    return draw(chart, width=width, height=height, colour=colour, ascii_only=ascii_only)


def draw_together(sources: Sequence[Source], *, width: int, height: int, colour: bool, ascii_only: bool) -> str:
    """Several curves over each other, averaged to some two points a column so that they can be told apart."""
    layers = []
    for k, source in enumerate(sources):
        points = points_of(source.steps, source.losses)
        blocks = blocks_of(points.steps, points.clipped, 2 * width)
        layers.append(Layer(source.name, blocks.steps.tolist(), blocks.losses.tolist(), RUNS[k % len(RUNS)],
                            MARKS[k % len(MARKS)]))
    filled = [layer for layer in layers if layer.x]
    if not filled:
        return "loss: nothing to draw"
    everything = np.concatenate([np.asarray(layer.y) for layer in filled])
    steps = np.concatenate([np.asarray(layer.x) for layer in filled])
    order = np.argsort(steps, kind="stable")
    log, top, _ = _axis(steps[order], everything[order])
    chart = Chart("loss, smoothed" + (", log" if log else ""), (), (), log=log, layers=tuple(filled), top=top)
    return draw(chart, width=width, height=height, colour=colour, ascii_only=ascii_only)
