"""The settings as pictures: the list, and a sample of everything that a theme colours. Pure."""

from __future__ import annotations

import textwrap
from functools import lru_cache
from typing import Final

import numpy as np
from rich.cells import cell_len

from tuimon.diagnosis.axes import XAxis
from tuimon.viewer.arrange import put_lines
from tuimon.viewer.charts.chart import Band, ChartSpec, VMark, draw_heading, state_role
from tuimon.viewer.charts.heat import HeatSpec
from tuimon.viewer.charts.picture import Canvas, Picture, Role
from tuimon.viewer.charts.series import Series
from tuimon.viewer.charts.spec import VALIDATION, tagged
from tuimon.viewer.glyphs import GlyphSet, State
from tuimon.viewer.lines import Line, Span
from tuimon.viewer.palettes import THEMES
from tuimon.viewer.places.settings.model import RowView, SettingsView
from tuimon.viewer.text import fit

TITLE: Final = 17
"""Cells of the names."""
VALUE: Final = 25
"""Cells of the values with their arrows."""
STEPS: Final = 240
_LAYERS: Final = ("embed", "blocks.0", "blocks.1", "blocks.2", "blocks.3", "head")
_LINES: Final[tuple[Role, ...]] = ("data", "data-2", "data-3", "data-4", "data-5", "data-6", "data-7", "data-8")


def draw_list(view: SettingsView, width: int, height: int, glyphs: GlyphSet) -> Picture:
    """One row per preference, then what the chosen one does; in little room the rows around the chosen one."""
    canvas = Canvas(width, height)
    framed = height >= 6 and width >= 30
    if framed:
        draw_heading(canvas, "settings", "config.toml" if width >= 50 else "", None, glyphs, framed=True, focused=False)
    edge = 1 if framed else 0
    inside = canvas.width - 4 * edge
    rows = canvas.height - 2 * edge
    about = _about(view, inside)
    told = min(len(about), max(2, rows - len(view.rows)), max(0, rows - 3))
    room = max(1, rows - told)
    first = min(max(0, view.chosen - room // 2), max(0, len(view.rows) - room))
    for y, row in enumerate(view.rows[first:first + room], edge):
        _put_row(canvas, 2 * edge, y, inside, row, glyphs, chosen=first + y - edge == view.chosen)
    below = edge + len(view.rows) + 1 if room > len(view.rows) else canvas.height - edge - told
    put_lines(canvas, about[:told], 2 * edge, min(canvas.height - edge - told, below), inside, told, glyphs)
    return canvas.picture()


def draw_themes(view: SettingsView, width: int, height: int, glyphs: GlyphSet) -> Picture:
    """Every theme with what it is like; in little room those around the chosen one."""
    canvas = Canvas(width, height)
    draw_heading(canvas, "themes", "", None, glyphs, framed=True, focused=False)
    room = max(1, canvas.height - 2)
    names = tuple(THEMES)
    at = names.index(view.worn) if view.worn in names else 0
    first = min(max(0, at - room // 2), max(0, len(names) - room))
    wide = max(map(len, names)) + 2
    for y, name in enumerate(names[first:first + room], 1):
        worn = name == view.worn
        canvas.put(2, y, glyphs.say("▸ ") if worn else "  ", "value")
        canvas.put(4, y, name, "value" if worn else "text")
        canvas.put(4 + wide, y, fit(THEMES[name], max(0, canvas.width - 6 - wide), glyphs.ellipsis), "note")
    return canvas.picture()


def _about(view: SettingsView, width: int) -> list[Line]:
    lines: list[Line] = []
    for i, words in enumerate(view.about):
        lines += [(Span(row, "plain" if i == 0 else "dim"),) for row in textwrap.wrap(words, max(10, width))]
    for words in view.problems:
        lines += [(Span(row, "warning"),) for row in textwrap.wrap(f"▲ {words}", max(10, width))]
    return lines


def _put_row(canvas: Canvas, x: int, y: int, width: int, row: RowView, glyphs: GlyphSet, *, chosen: bool) -> None:
    """Marker, name, value between arrows that say where there is more, origin at the right."""
    canvas.put(x, y, glyphs.say("▸") if chosen else " ", "value")
    at = x + 2
    title = min(TITLE, max(8, width * 9 // 20))
    canvas.put(at, y, fit(row.title, title - 1, glyphs.ellipsis), "value" if chosen else "text")
    at += title
    value = min(VALUE, width - 2 - title)
    words = fit(row.value, value - 4, glyphs.ellipsis)
    canvas.put(at + 2, y, words, "value" if chosen else "note" if row.is_default else "text")
    if chosen:
        canvas.put(at, y, " " if row.is_first else "<", "info")
        canvas.put(at + 3 + cell_len(words), y, " " if row.is_last else ">", "info")
    left = width - 2 - title - value
    if left >= cell_len(row.origin):
        canvas.put(x + width - cell_len(row.origin), y, row.origin, "note" if row.is_default else "label")


def draw_signs(width: int, height: int, glyphs: GlyphSet) -> Picture:
    """Badges with their words, kinds of words, and the colours of eight runs."""
    canvas = Canvas(width, height)
    states: tuple[tuple[State, str], ...] = (
        ("good", "healthy"), ("info", "to know"), ("warning", "warning"), ("critical", "critical"))
    at = 2
    for state, words in states:
        after = at + 2 + len(words)
        if after <= canvas.width:
            canvas.put(canvas.put(at, 0, f"{glyphs.badges[state]} ", state_role(state)), 0, words, state_role(state))
            at = after + 3
    kinds: tuple[tuple[str, Role], ...] = (
        ("value 0.0545", "value"), ("text", "text"), ("title", "title"), ("label", "label"), ("note", "note"))
    at = 2
    for words, role in kinds if canvas.height >= 3 else ():
        if at + len(words) <= canvas.width:
            at = canvas.put(at, 1, words, role) + 3
    each = max(2, (canvas.width - 4) // len(_LINES))
    row = canvas.height - 1
    for i, role in enumerate(_LINES if row else ()):
        canvas.put(2 + i * each, row, f"{i + 1}{glyphs.full * min(6, each - 2)}", role)
    return canvas.picture()


@lru_cache(1)
def sample_chart() -> ChartSpec:
    """A loss that is learned, breaks away and is caught: line, raw line, validation, bands, marks."""
    steps = np.arange(1, STEPS + 1, dtype=np.float64)
    random = np.random.default_rng(7)
    breaks = np.clip((steps - 150) / 20, 0, 1) - np.clip((steps - 185) / 12, 0, 1)
    smooth = 2.2 + 5.5 * np.exp(-steps / 30) + 4.2 * breaks
    raw = smooth + 0.35 * random.normal(size=STEPS)
    validation = smooth[::12] + 0.9
    return ChartSpec(
        "sample", "6.41", "warning",
        (Series.of(steps, raw, role="data-dim"), Series.of(steps, smooth, role="data"),
         Series.of(steps[::12], validation, role="data-2")),
        bands=(Band(1.6, 3.4, "healthy", ""), Band(3.8, 4.8, "usual", "usual 3.8–4.8")),
        marks=(VMark(150, "onset", "critical"), VMark(120, "snapshot", "good"), VMark(185, "rollback", "info")),
        tags=tagged(Series.of(steps[::12], validation, role="data-2"), VALIDATION, STEPS))


@lru_cache(1)
def sample_heat() -> HeatSpec:
    """Layers whose gradients vanish, then explode: every shade of the strip."""
    steps = np.arange(1, STEPS + 1, dtype=np.float64)
    depth = np.linspace(0.4, 1.0, len(_LAYERS))
    decades = np.where(steps < 110, -3.2 * np.clip((steps - 40) / 60, 0, 1), 3.2 * np.clip((steps - 130) / 90, 0, 1))
    values = 10.0 ** (decades[:, None] * depth[None, :])
    return HeatSpec("layers", _LAYERS, steps, values, before=40, value="worst head 1,600", state="critical",
                    marks=(VMark(150, "onset", "critical"),))


def sample_axis() -> XAxis:
    """The steps of the samples."""
    return XAxis(0, STEPS)
