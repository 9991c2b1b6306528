"""An opened layer: its history as a chart. Pure."""

from __future__ import annotations

import math

import numpy as np

from tuimon.diagnosis.figures import number
from tuimon.viewer.charts.chart import ChartSpec, Level, VMark
from tuimon.viewer.charts.series import Series
from tuimon.viewer.glyphs import State
from tuimon.viewer.layers import WORDS
from tuimon.viewer.places.layers.model import LayersView, Page
from tuimon.viewer.text import squeeze


def history_spec(view: LayersView, page: Page, marks: tuple[VMark, ...]) -> ChartSpec:
    """The chosen quantity of one layer, with what is usual for it, or with the limit that a rule has for it."""
    about, history = view.about, page.history
    now = view.usual_at(None)
    usual = float(now[page.index]) if page.index < len(now) else math.nan
    levels: tuple[Level, ...] = ()
    if about.scale != "usual":
        levels = (Level(about.marks[2], f"{number(about.marks[2])}: {about.limit}", "warning"),)
    elif math.isfinite(usual) and usual > 0:
        levels = (Level(usual, f"usual {number(usual)}"),)
    log = about.scale == "usual" or about.name == "attention_logit"
    found = np.flatnonzero(np.isfinite(history.last))
    value = number(float(history.last[found[-1]])) if len(found) else ""
    if len(history) and history.bad[-1]:
        value = "not finite"
    return ChartSpec(
        f"{squeeze(page.layer, WORDS)} · {about.title}" + (" · log" if log else ""), value, _state(view, page),
        (Series.thin(history),), log, marks=marks, levels=levels, robust=not log,
        waiting=f"no {about.title} of {squeeze(page.layer, WORDS)} in these steps")


def _state(view: LayersView, page: Page) -> State | None:
    if not len(view.ranks) or page.index >= view.ranks.shape[1]:
        return None
    rank = int(view.ranks[-1, page.index])
    return "critical" if rank >= 8 else "warning" if rank >= 4 else None
