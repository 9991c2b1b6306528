"""The heat strip: depth x time, how far each layer's gradient RMS is from the usual. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from tuimon.viewer.charts.axes import XAxis
from tuimon.viewer.charts.chart import VMark
from tuimon.viewer.charts.picture import Picture
from tuimon.viewer.charts.series import Bools, Floats
from tuimon.viewer.glyphs import BRAILLE, GlyphSet, State


@dataclass(frozen=True, slots=True, eq=False)
class HeatSpec:
    """Layers over time, as `TensorTable.layer_grad_rms` gives them."""

    title: str
    layers: tuple[str, ...]
    """(L) in model order."""
    steps: Floats
    """(m,)"""
    values: Floats
    """(m, L) gradient RMS."""
    seen: Bools | None = None
    """(m, L) whether it was measured. None: NaN counts as not measured until the layer's first finite value."""
    before: float | None = None
    """The usual is learned from steps before this one (an onset); None: from all."""
    value: str = ""
    state: State | None = None
    marks: tuple[VMark, ...] = ()
    waiting: str = "no layers measured yet"
    framed: bool = True
    columns: int = 1
    """Blocks side by side (2 on a narrow screen)."""
    focused: bool = False


def draw(spec: HeatSpec, width: int, height: int, x: XAxis, glyphs: GlyphSet = BRAILLE) -> Picture:
    """The strip in exactly `width` x `height` cells; neighbouring layers are grouped, worst shown, where rows are short."""
    raise NotImplementedError
