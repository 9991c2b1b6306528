"""What lies over a place is drawn with the terminal's characters, and whole, at any size."""

from __future__ import annotations

import pytest
import synthetic
from test_app_overview import panel

from tuimon.viewer.first import empty_frame
from tuimon.viewer.glyphs import ASCII
from tuimon.viewer.screens.palette import entries, matching


@pytest.mark.parametrize(("key", "words"), [("x", "Hold this run?"), ("ctrl+p", "emergency stop"), ("question_mark", "keys")])
async def test_dialogs_palette_and_help_are_ascii_where_the_terminal_is(key, words):
    async with panel(synthetic.healthy(60), (80, 24), glyphs=ASCII) as p:
        await p.until("Healthy")
        await p.pilot.press(key)
        assert (await p.until(words)).isascii()


@pytest.mark.parametrize("size", [(40, 10), (60, 15), (80, 24), (120, 40)])
async def test_the_palette_has_an_end_on_the_screen_and_what_is_chosen_is_in_sight(size):
    async with panel(synthetic.healthy(60), size) as p:
        await p.until("Healthy")
        await p.pilot.press("ctrl+p", *(["down"] * 15))
        assert "▸ " in await p.until("what do you want to do?")
        box = p.app.screen.query_one("Vertical").region
        assert box in p.app.screen.region


def test_the_palette_offers_the_key_that_is_typed_first():
    known = entries("overview", empty_frame("a", "b"))
    assert [matching(known, key)[0].shown for key in ("s", "z", "?", "y")] == ["s", "z Z", "?", "y"]
    assert matching(known, "layers")[0].shown == "l"
