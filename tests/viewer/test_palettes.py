"""Every theme can be read, its meanings are told apart, and the safe ones hold for colour-blind eyes."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.viewer.charts.picture import GROUNDS, ROLES
from tuimon.viewer.palettes import LIGHT_ONES, PALETTES, THEMES
from tuimon.viewer.palettes import colours as c
from tuimon.viewer.palettes.grown import LINES, SIGNS
from tuimon.viewer.theme import Ink

ALL = pytest.mark.parametrize("name", THEMES)
SAFE = [name for name in THEMES if name.startswith("safe")]
GROWN = [name for name in THEMES if name not in {"dark", "light", "ansi", "ansi-light"}]
COLOURS = st.tuples(*[st.integers(0, 255)] * 3).map(lambda t: "#{:02x}{:02x}{:02x}".format(*t))

EYES = {  # Machado, Oliveira and Fernandes 2009, severity 1: rows of linear red, green, blue
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def seen(rgb: str, eyes: str) -> str:
    """The colour as these eyes see it."""
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in c.parse(rgb)]
    mixed = [min(1.0, max(0.0, sum(a * b for a, b in zip(row, linear, strict=True)))) for row in EYES[eyes]]
    return c.write(tuple(12.92 * v if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055 for v in mixed))


def apart(palette, roles, look=lambda rgb: rgb) -> float:
    """How different the two most similar of the roles look."""
    return min(c.distance(look(palette.inks[a].rgb), look(palette.inks[b].rgb)) for a, b in combinations(roles, 2))


@ALL
def test_every_theme_has_every_role_and_ground(name):
    palette = PALETTES[name]
    assert palette.name == name
    assert set(palette.inks) == set(ROLES)
    assert set(palette.grounds) == set(GROUNDS)
    assert palette.dark == (name not in LIGHT_ONES) == c.is_dark(palette.background)


@ALL
def test_words_lines_and_signs_are_read_on_their_grounds(name):
    palette = PALETTES[name]
    words = 7.0 if name.startswith("contrast") else 4.5
    for role in ("text", "title", "value", "label", "note"):
        assert c.contrast(palette.inks[role].rgb, palette.background) >= words, role
    for role in (*LINES, *SIGNS):
        for ground in palette.grounds.values():
            assert c.contrast(palette.inks[role].rgb, ground.rgb) >= 3.5, role
    assert c.contrast(palette.inks["frame"].rgb, palette.background) >= (3.0 if words == 7.0 else 1.35)


@ALL
def test_what_means_different_things_looks_different(name):
    palette = PALETTES[name]
    assert apart(palette, SIGNS) >= 0.06
    assert name == "mono" or apart(palette, LINES) >= 0.06
    background, usual, healthy = (palette.grounds[ground].rgb for ground in ("none", "usual", "healthy"))
    assert min(c.distance(a, b) for a, b in combinations((background, usual, healthy), 2)) >= 0.012


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("name", SAFE)
def test_the_safe_themes_are_told_apart_by_colour_blind_eyes(name, eyes):
    palette = PALETTES[name]
    assert apart(palette, ("good", "warning", "critical"), lambda rgb: seen(rgb, eyes)) >= 0.15
    assert apart(palette, SIGNS, lambda rgb: seen(rgb, eyes)) >= 0.08
    assert apart(palette, LINES, lambda rgb: seen(rgb, eyes)) >= 0.08
    assert apart(palette, ("heat-low-4", "heat-usual", "heat-high-4"), lambda rgb: seen(rgb, eyes)) >= 0.15


def test_the_simulation_confuses_what_such_eyes_confuse():
    red, green = "#b05a3c", "#7a7a2a"
    assert c.distance(red, green) > 0.12
    assert c.distance(seen(red, "deuteranopia"), seen(green, "deuteranopia")) < 0.05
    assert c.distance(seen("#ffffff", "protanopia"), "#ffffff") < 0.02


@ALL
def test_heat_grows_evenly_away_from_the_background(name):
    palette = PALETTES[name]
    away = 1 if palette.dark else -1
    for side in ("low", "high"):
        roles = ("heat-usual", *(f"heat-{side}-{i}" for i in (1, 2, 3, 4)))
        light = [away * c.oklab(palette.inks[role].rgb)[0] for role in roles]
        assert light == sorted(light)
        steps = [b - a for a, b in pairwise(light)]
        assert min(steps) > (0.03 if name in GROWN else 0.015)


@pytest.mark.parametrize("name", GROWN)
def test_256_colours_keep_the_order_of_the_heat(name):
    palette = PALETTES[name]
    for side in ("low", "high"):
        indices = [palette.inks[f"heat-{side}-{i}"].c256 for i in (1, 2, 3, 4)]
        light = [c.oklab(c.of_256(i))[0] for i in indices]
        assert abs(light[3] - light[0]) > 0.1
        assert light == sorted(light, reverse=not palette.dark)


def test_the_ansi_theme_leaves_all_colours_to_the_terminal():
    for name in ("ansi", "ansi-light"):
        for depth in ("truecolor", "256", "16"):
            ink = Ink(PALETTES[name], depth)
            for role in ROLES:
                colour = ink.style(role).color
                assert colour is None or (colour.number is not None and colour.number < 16)
                assert ink.style(role, "healthy").bgcolor is None
            assert ink.style("value").color is None
    assert Ink(PALETTES["ansi"], "none").depth == "none"


def test_names_cost_nothing_and_palettes_come_on_demand():
    code = ("import sys; from tuimon.viewer.palettes import PALETTES; assert 'gruvbox' in list(PALETTES); "
            "assert not {'numpy', 'rich', 'tuimon.viewer.palettes.seeds'} & set(sys.modules); "
            "PALETTES['gruvbox']; assert PALETTES['gruvbox'] is PALETTES['gruvbox']")
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(KeyError):
        PALETTES["no such theme"]


@given(COLOURS, COLOURS)
def test_colours_come_back_from_oklab_and_mixing_ends_where_it_should(a, b):
    assert c.distance(c.of_oklab(c.oklab(a)), a) < 0.005
    assert c.distance(c.mix(a, b, 0.0), a) < 0.005
    assert c.distance(c.mix(a, b, 1.0), b) < 0.005
    low, high = sorted((c.oklab(a)[0], c.oklab(b)[0]))
    assert low - 0.01 <= c.oklab(c.mix(a, b, 0.5))[0] <= high + 0.01


@given(COLOURS, COLOURS)
def test_readable_keeps_what_is_read_and_lifts_the_rest(colour, ground):
    found = c.readable(colour, (ground,), 4.5)
    assert c.contrast(found, ground) >= 4.5
    assert c.contrast(colour, ground) < 4.5 or found == colour


@given(st.integers(16, 255))
def test_a_colour_of_the_256_is_its_own_nearest(index):
    assert c.of_256(c.nearest_256(c.of_256(index))) == c.of_256(index)
