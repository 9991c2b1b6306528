"""The settings as pictures, and what a key does to them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from tuimon.diagnosis.axes import fit
from tuimon.diagnosis.figures import duration, size
from tuimon.viewer.charts.chart import draw as draw_chart
from tuimon.viewer.charts.heat import draw as draw_heat
from tuimon.viewer.charts.picture import ROLES
from tuimon.viewer.dressing import begins
from tuimon.viewer.frame import empty_frame
from tuimon.viewer.glyphs import ASCII, BRAILLE, GLYPHS
from tuimon.viewer.looks import Around, glyphs_of, ink_of, limits, meaning, palette_name, textual_theme
from tuimon.viewer.palettes import THEMES
from tuimon.viewer.places.settings import draw
from tuimon.viewer.places.settings.model import Look, view
from tuimon.viewer.settings import SETTINGS, Settings, settings_markdown, settle, themes_markdown
from tuimon.viewer.wanted import Wanted

LOCAL, FAR = Around("truecolor", BRAILLE, True), Around("16", ASCII, None, True)
README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


def listed(width, height, *, at=0, around=LOCAL, settled=None, glyphs=BRAILLE):
    settled = settled or settle({"theme": "nord"}, {"TUIMON_FPS": "2"}, {"glyphs": "block", "mouse": "maybe"})
    return draw.draw_list(view(Look(at, settled), around), width, height, glyphs).lines


def test_the_list_says_what_is_chosen_and_who_said_so():
    assert "\n".join(listed(60, 15)) == """\
╭─ settings ───────────────────────────────── config.toml ─╮
│ ▸ theme            < nord >                      --theme │
│   glyphs             block                   config.toml │
│   frames a second    2                        TUIMON_FPS │
│   mouse              auto: on                    default │
│   behind the data    usual                       default │
│   smoothing          0                           default │
│   sizes              decimal                     default │
│   times              clock                       default │
│   alerts             auto: bell                  default │
│                                                          │
│ nord: arctic blues on slate                              │
│ ▲ config.toml: mouse = 'maybe' is not one of auto, on,   │
│ off; auto is used                                        │
╰──────────────────────────────────────────────────────────╯"""


def test_no_word_of_what_is_said_is_cut():
    for at in range(len(SETTINGS)):
        shown = view(Look(at, settle({}, {}, {})), Around("256", BRAILLE, True))
        for width in (44, 64, 65, 66, 67, 80):
            text = " ".join(line.strip("│ ") for line in draw.draw_list(shown, width, 20, BRAILLE).lines)
            assert "…" not in text
            assert all(word in text for words in shown.about for word in words.split())


def test_in_little_room_the_chosen_one_stays_and_ascii_is_ascii():
    lines = listed(40, 8, at=8, around=FAR, glyphs=ASCII)
    assert "".join(lines).isascii()
    assert any(line.startswith("| > alerts") for line in lines)
    assert all(len(line) == 40 for line in lines)
    assert any("smoothing" in line for line in listed(30, 3, at=5, glyphs=ASCII))


@pytest.mark.parametrize("width", [20, 40, 64, 100, 196])
@pytest.mark.parametrize("height", [1, 3, 6, 15, 40])
def test_every_picture_has_the_size_it_was_asked_for(width, height):
    shown = view(Look(3, settle({}, {}, {"fps": "x"})), LOCAL)
    for picture in (draw.draw_list(shown, width, height, BRAILLE), draw.draw_themes(shown, width, height, BRAILLE),
                    draw.draw_signs(width, height, BRAILLE)):
        assert (picture.width, picture.height) == (width, height)
        assert all(len(line) == width for line in picture.lines)


def test_the_themes_are_listed_around_the_one_that_is_worn():
    whole = draw.draw_themes(view(Look(0, settle({}, {}, {})), replace(LOCAL, dark=False)), 60, 40, BRAILLE).lines
    assert [name for name in THEMES if not any(f" {name} " in line for line in whole)] == []
    assert [line.split()[2] for line in whole if "▸" in line] == ["light"]
    few = draw.draw_themes(view(Look(0, settle({"theme": "phosphor"}, {}, {})), LOCAL), 60, 6, ASCII).lines
    assert any(line.startswith("| > phosphor") for line in few)


def test_the_sample_shows_every_colour_that_means_something():
    chart = draw.sample_chart()
    pictures = [draw_chart(chart, 80, 16, draw.sample_axis(), fit(None, chart.extent, draw.sample_axis(), log=False, robust=True)),
                draw_heat(draw.sample_heat(), 100, 8, draw.sample_axis()), draw.draw_signs(80, 3, BRAILLE)]
    roles = {run.role for picture in pictures for row in picture.rows for run in row}
    unseen = {"frame-focus", "data-2-dim", "spark", "unknown", "cursor", "heat-bad", "mark"}
    assert set(ROLES) - roles == unseen
    assert {run.ground for row in pictures[0].rows for run in row} == {"none", "usual", "healthy"}


def test_keys_go_through_the_values_and_stop_at_the_ends_but_enter_goes_round():
    look = Look(0, settle({}, {}, {}))
    assert (look.turned(-1), look.turned(1)) == (None, "dark")
    last = Look(0, settle({}, {}, {"theme": "phosphor"}))
    assert (last.turned(1), last.turned(1, around=True)) == (None, "auto")
    odd = Look(2, settle({}, {}, {"fps": 3}))
    assert (odd.turned(-1), odd.turned(1)) == (2, 4)
    assert Look(2, settle({}, {}, {"fps": 0.5})).turned(-1) is None
    assert (look.moved(-1).at, look.moved(99).at) == (0, len(SETTINGS) - 1)


@pytest.mark.parametrize(("key", "around", "words"), [
    ("theme", LOCAL, "dark"), ("theme", FAR, "ansi"), ("glyphs", FAR, "ascii"), ("fps", LOCAL, "4"), ("fps", FAR, "2"),
    ("mouse", LOCAL, "on"), ("mouse", FAR, "off"), ("alerts", LOCAL, "bell"),
])
def test_auto_says_what_it_comes_to(key, around, words):
    assert meaning(key, Settings(), around) == words


def test_what_counts_again_later_is_said():
    settled = settle({"theme": "nord"}, {}, {}).preferring("theme", "ember")
    about = view(Look(0, settled), LOCAL).about
    assert about == ("ember: glowing coals on brown black",
                     "the command line or the environment says nord: that counts again at the next start")
    assert "a change counts from the next start on" in view(Look(3, settled), LOCAL).about
    assert limits(FAR) in view(Look(0, settled), FAR).about


@pytest.mark.parametrize(("theme", "dark", "worn"), [("nord", None, "ansi"), ("latte", None, "ansi-light"), ("nord", False, "ansi-light"), ("auto", True, "ansi")])
def test_sixteen_colours_are_the_terminals_own_on_its_own_background(theme, dark, worn):
    assert palette_name(Settings(theme=theme), Around("16", BRAILLE, dark)) == worn


def test_textual_wears_what_the_pictures_wear():
    ink = ink_of(Settings(theme="latte"), LOCAL)
    theme = textual_theme(ink)
    assert (theme.background, theme.dark, theme.ansi) == ("#eff1f5", False, False)
    for around in (FAR, Around("none", BRAILLE)):
        assert textual_theme(ink_of(Settings(), around)).ansi
    assert textual_theme(ink_of(Settings(theme="ansi"), LOCAL)).background == "ansi_default"
    assert glyphs_of(Settings(glyphs="block"), FAR) is GLYPHS["block"]
    assert glyphs_of(Settings(), FAR) is ASCII


@pytest.mark.parametrize(("words", "wanted"), [
    (size(2_147_483_648), "2.1 GB"), (size(2_147_483_648, binary=True), "2.0 GiB"), (size(1_000, binary=True), "1,000 B"),
    (size(1_047_000, binary=True), "1,022 KiB"), (size(1_048_300, binary=True), "1.0 MiB"), (size(2**60, binary=True), "1,024.0 PiB"),
    (duration(3_723), "1:02:03"), (duration(3_723, plain=True), "3,723 s"), (duration(float("nan"), plain=True), "–"),
])
def test_units_are_as_preferred(words, wanted):
    assert words == wanted


@pytest.mark.parametrize(("name", "table"), [("settings", settings_markdown()), ("themes", themes_markdown())])
def test_the_readme_has_the_table_of_the_program(name, table):
    found = re.search(rf"<!-- {name} -->\n(.*?)<!-- /{name} -->", README, re.DOTALL)
    assert found is not None
    assert found.group(1).strip() == table.strip()


def test_the_bell_rings_when_something_critical_begins_and_only_then():
    calm = replace(empty_frame("run", ""), revision=5, tone="ok", is_judged=True)
    alarm = replace(calm, revision=6, tone="critical")
    assert begins(calm, alarm)
    assert not begins(alarm, replace(alarm, revision=7))
    assert not begins(alarm, calm)
    assert not begins(empty_frame("run", ""), alarm), "it was there when the panel opened"
    assert not begins(calm, replace(alarm, wanted=Wanted(at=3))), "somebody looks back at it"
