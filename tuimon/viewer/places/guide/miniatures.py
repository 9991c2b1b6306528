"""The guide's moving curves: recorded runs and the six patterns, drawn as far as they have come. Reads this package."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from tuimon.diagnosis.axes import XAxis, YAxis, fit
from tuimon.diagnosis.figures import number
from tuimon.diagnosis.notebook_curves import generate_example_patterns
from tuimon.viewer.charts.chart import Band, ChartSpec, Level, VMark, draw
from tuimon.viewer.charts.picture import Picture, Role
from tuimon.viewer.charts.series import Series
from tuimon.viewer.charts.spec import tagged
from tuimon.viewer.glyphs import GlyphSet

HERE: Final = Path(__file__).parent / "recordings"
SECONDS: Final = 12.0
"""How long a curve takes to be drawn."""
PATTERNS: Final[Mapping[str, str]] = {
    "pattern-healthy": "healthy", "pattern-overfitting": "overfitting", "pattern-rate-high": "learning rate too high",
    "pattern-rate-low": "learning rate too low", "pattern-exploding": "exploding", "pattern-no-learning": "no learning",
}
"""Miniature -> the notebook's name for it."""


@dataclass(frozen=True, slots=True)
class Curve:
    """What one chart of a miniature shows."""

    title: str
    recording: str
    metrics: tuple[str, ...]
    """One or two series, of two each with its letter; "healthy/loss" is one of another recording."""
    log: bool = False
    bands: tuple[Band, ...] = ()
    levels: tuple[Level, ...] = ()


_NORM: Final = (Band(0.1, 10.0, "healthy", "zone 0.1 to 10"),)
_RATIO: Final = (Band(1e-4, 2e-2, "usual", "usual 1e-4 to 2e-2"),)
MINIATURES: Final[Mapping[str, tuple[Curve, ...]]] = {
    "panel": (
        Curve("loss", "healthy", ("loss",)),
        Curve("grad norm · log", "healthy", ("grad_norm",), log=True, bands=_NORM),
    ),
    "exploding": (
        Curve("loss · log", "exploding", ("loss",), log=True),
        Curve("grad norm · log", "exploding", ("grad_norm",), log=True, bands=_NORM),
    ),
    "vanishing": (
        Curve("grad norm · log", "vanishing", ("grad_norm",), log=True, bands=_NORM),
        Curve("blocks 7 (a) and 0 (b) · log", "vanishing", ("grad_rms blocks.7", "grad_rms blocks.0"), log=True),
    ),
    "learning-rate": (
        Curve("loss at lr 1", "from-start", ("loss",)),
        Curve("loss at lr 1e-8 (a) and 3e-4 (b)", "slow", ("loss", "healthy/loss")),
    ),
    "monitor": (
        Curve("|g|/|w| at lr 1e-8 · log", "slow", ("grad_param_ratio",), log=True,
              levels=(Level(0.1, "too high from here"),)),
        Curve("|dw|/|w| at lr 1e-8 · log", "slow", ("update_ratio",), log=True,
              levels=(Level(1e-4, "usual from here"),)),
    ),
    "rescue": (
        Curve("loss", "rescue", ("loss",)),
        Curve("grad norm · log", "rescue", ("grad_norm",), log=True, bands=_NORM),
    ),
    "practice": (
        Curve("learning rate", "healthy", ("lr",)),
        Curve("update ratio · log", "healthy", ("update_ratio",), log=True, bands=_RATIO),
    ),
    **{name: (Curve("validation loss" if what == "overfitting" else "loss", f"pattern {what}", ("loss",)),)
       for name, what in PATTERNS.items()},
}
"""Name -> one or two charts, side by side or one below the other."""
_ROLES: Final[tuple[Role, ...]] = ("data", "data-2")


@dataclass(frozen=True, slots=True)
class Recording:
    """Some series of one run."""

    command: str
    series: Mapping[str, Series]
    rollbacks: tuple[int, ...] = ()

    @property
    def last(self) -> float:
        """The last step."""
        return max(float(one.steps[-1]) for one in self.series.values())


@cache
def recording(name: str) -> Recording:
    """A recording of this package, or one of the notebook's patterns ("pattern healthy")."""
    if name.startswith("pattern "):
        losses = generate_example_patterns()[name.removeprefix("pattern ")]
        return Recording("tuimon curve --gallery", {"loss": Series.of(np.arange(1, len(losses) + 1), losses)})
    body = json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))
    found = {
        key: Series.of(one["steps"], [math.nan if value is None else value for value in one["values"]])
        for key, one in body["series"].items()
    }
    return Recording(body["command"], found, tuple(step for step, kind in body["marks"] if kind == "rollback"))


def share(elapsed: float) -> float:
    """How much of a curve is drawn after so many seconds: 0 to 1, and then it stays."""
    return min(1.0, max(0.0, elapsed / SECONDS))


def spec(curve: Curve, drawn: float) -> tuple[ChartSpec, XAxis, YAxis]:
    """The chart when `drawn` of it is there (0 to 1). Its axes are those of the whole: nothing moves but the line."""
    run = recording(curve.recording)
    lines = tuple(replace(_line(run, metric), role=_ROLES[i]) for i, metric in enumerate(curve.metrics))
    x = XAxis().grown(run.last)
    now = run.last * drawn
    shown = tuple(line.between(0, now) for line in lines)
    whole = ChartSpec(curve.title, series=lines, log=curve.log, levels=curve.levels)
    y = fit(None, whole.extent, x, log=curve.log, robust=False)
    marks = tuple(VMark(step, "rollback") for step in run.rollbacks if step <= now)
    letters = "ab" if len(shown) > 1 else ""
    tags = [tag for line, letter in zip(shown, letters, strict=False) for tag in tagged(line, letter, now)]
    value = " / ".join(number(_latest(line)) for line in shown if len(line))
    chart = ChartSpec(curve.title, value, series=shown, log=curve.log, bands=curve.bands, marks=marks, waiting="",
                      tags=tuple(tags), levels=curve.levels if any(map(len, shown)) else ())
    return chart, x, y


def _line(run: Recording, metric: str) -> Series:
    other, _, name = metric.rpartition("/")
    return (recording(other) if other else run).series[name]


def _latest(line: Series) -> float:
    return math.nan if line.bad[-1] else float(line.last[-1])


def draw_curve(curve: Curve, drawn: float, width: int, height: int, glyphs: GlyphSet) -> Picture:
    """One chart of a miniature."""
    chart, x, y = spec(curve, drawn)
    return draw(chart, width, height, x, y, glyphs)
