"""Every role has a look at every depth, and none rests on colour alone."""

from __future__ import annotations

import dataclasses

import pytest
from rich.cells import cell_len

from tuimon.viewer.charts.picture import GROUNDS, ROLES
from tuimon.viewer.glyphs import ASCII, BRAILLE, GLYPHS, choose
from tuimon.viewer.theme import PALETTES, Ink, depth_of

DEPTHS = ("truecolor", "256", "16", "none")


def luminance(rgb):
    """WCAG 2.1 relative luminance."""
    parts = [int(rgb[i:i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("palette", PALETTES.values(), ids=lambda p: p.name)
@pytest.mark.parametrize("depth", DEPTHS)
def test_every_role_has_a_style(palette, depth):
    ink = Ink(palette, depth)
    for role in ROLES:
        for ground in GROUNDS:
            style = ink.style(role, ground)
            assert style is ink.style(role, ground)
            assert (style.bgcolor is None) == (ground == "none" or ink.depth in {"16", "none"})
            assert depth != "none" or style.color is None


@pytest.mark.parametrize("palette", PALETTES.values(), ids=lambda p: p.name)
def test_what_must_be_read_stands_out_from_every_ground(palette):
    for ground in palette.grounds.values():
        for role in ("data", "value", "critical", "warning", "good", "info", "data-2"):
            assert contrast(palette.inks[role].rgb, ground.rgb) >= 3.9, (role, ground)
    for role in ("label", "note", "title", "text"):
        assert contrast(palette.inks[role].rgb, palette.background) >= 4.5, role


@pytest.mark.parametrize("palette", PALETTES.values(), ids=lambda p: p.name)
def test_severities_differ_at_every_depth(palette):
    for field in ("rgb", "c256", "c16"):
        looks = [getattr(palette.inks[role], field) for role in ("good", "info", "warning", "critical")]
        assert len(set(looks)) == 4


def test_grounds_are_visible_where_they_are_drawn():
    for palette in PALETTES.values():
        for depth in ("truecolor", "256"):
            ink = Ink(palette, depth)
            assert palette.is_own or ink.style("data", "usual").bgcolor != ink.style("data", "healthy").bgcolor


@pytest.mark.parametrize("glyphs", GLYPHS.values(), ids=lambda g: g.name)
def test_every_glyph_takes_one_cell_and_badges_differ(glyphs):
    texts = [v for f in dataclasses.fields(glyphs) if isinstance(v := getattr(glyphs, f.name), str) and f.name != "name"]
    assert all(cell_len(c) == 1 for text in (*texts, *glyphs.badges.values()) for c in text)
    assert len(set(glyphs.badges.values())) == 6
    assert len(glyphs.bars) == 8 and len(set(glyphs.bars)) == 8
    assert len(glyphs.heat) == 9 and len(set(glyphs.heat)) == 9 and glyphs.bad not in glyphs.heat
    assert glyphs is not ASCII or "".join(texts).isascii()


@pytest.mark.parametrize(("environ", "encoding", "wanted"), [
    ({"TERM": "xterm-256color"}, "utf-8", BRAILLE),
    ({"TERM": "xterm"}, "UTF8", BRAILLE),
    ({"TERM": "linux"}, "utf-8", ASCII),
    ({"TERM": "dumb"}, "utf-8", ASCII),
    ({"TERM": "xterm"}, "latin-1", ASCII),
    ({"TERM": "xterm"}, None, ASCII),
    ({"TERM": "linux", "TUIMON_GLYPHS": "block"}, None, GLYPHS["block"]),
    ({"TERM": "xterm", "TUIMON_GLYPHS": "nonsense"}, "utf-8", BRAILLE),
])
def test_the_glyph_set_fits_the_terminal(environ, encoding, wanted):
    assert choose(environ, encoding) is wanted


@pytest.mark.parametrize(("system", "environ", "depth"), [
    ("truecolor", {}, "truecolor"), ("256", {}, "256"), ("standard", {}, "16"), ("windows", {}, "16"), (None, {}, "none"),
    ("truecolor", {"NO_COLOR": "1"}, "none"), ("truecolor", {"NO_COLOR": ""}, "truecolor"),
])
def test_the_depth_is_what_the_terminal_has(system, environ, depth):
    assert depth_of(system, environ) == depth
