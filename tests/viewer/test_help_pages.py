"""The help: every key of a place can be found, on as few pages as the screen allows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.cells import cell_len

from tuimon.viewer.actions import actions_at
from tuimon.viewer.first import empty_frame
from tuimon.viewer.glyphs import ASCII, BRAILLE
from tuimon.viewer.lines import text_of
from tuimon.viewer.places import PLACES
from tuimon.viewer.screens.help import GROUPS, draw_help, pages
from tuimon.viewer.screens.palette import entries

FRAME = empty_frame("run", "nothing")
SIZES = [(40, 10), (80, 24), (120, 40), (200, 60), (250, 70)]


@pytest.mark.parametrize("place", list(PLACES))
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_every_key_is_on_some_page_whole(place, width, height):
    found = pages(place, FRAME, width - 4, height - 3)
    said = " ".join(" ".join(text_of(line) for line in column) for page in found for column in page)
    words = " ".join(said.split())
    for action in actions_at(place):
        assert f"{action.shown} {action.help}" in words
    assert all(len(column) <= height - 3 for page in found for column in page)
    each = (width - 4) // max(len(page) for page in found)
    assert all(cell_len(text_of(line).rstrip()) <= each for page in found for column in page for line in column)


@pytest.mark.parametrize("place", list(PLACES))
def test_a_usual_terminal_needs_one_page(place):
    assert len(pages(place, FRAME, 116, 37)) == 1


def test_no_title_stands_at_the_foot_of_a_column():
    titles = {title for _, title in GROUPS}
    for height in range(8, 60):
        for page in pages("overview", FRAME, 116, height):
            assert not any(text_of(column[-1]) in titles for column in page)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_pages_are_turned_round_and_fill_their_size(width, height):
    count = len(pages("overview", FRAME, width - 4, height - 3))
    first, again = (draw_help("overview", FRAME, page, width, height, BRAILLE) for page in (0, count))
    assert first == again
    assert (first.width, first.height) == (width, height)
    assert all(line.isascii() for line in draw_help("overview", FRAME, 0, width, height, ASCII).lines)


def test_the_palette_offers_what_can_be_done_first():
    over = replace(empty_frame("run", "nothing"), state="finished", is_live=False)
    known = entries("overview", over)
    assert [entry.is_possible for entry in known] == sorted((entry.is_possible for entry in known), reverse=True)
    assert known[0].is_possible and not known[-1].is_possible
    alive = entries("overview", replace(over, state="running", is_live=True))
    assert alive[0].shown == "space"
