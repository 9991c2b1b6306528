"""Words reach the screen as the same cells, with and without a canvas; the first frame needs neither rules nor log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.diagnosis.model import Diagnosis
from tuimon.diagnosis.story import Story
from tuimon.viewer.arrange import paint, put_lines
from tuimon.viewer.charts.picture import GROUNDS, ROLES, Canvas
from tuimon.viewer.first import OPENING, empty_frame
from tuimon.viewer.frame import build_frame
from tuimon.viewer.glyphs import ASCII, BRAILLE
from tuimon.viewer.lines import Span, text_of
from tuimon.viewer.sources import Sources

LETTERS = st.text(st.sampled_from("ab1.·● é▲│⠿  "), max_size=12)
LINES = st.lists(st.lists(st.builds(Span, LETTERS, st.sampled_from(["plain", "dim", "ok"])), max_size=5).map(tuple),
                 max_size=4)


@given(LINES, st.integers(1, 40), st.integers(1, 4), st.sampled_from([BRAILLE, ASCII]))
def test_lines_are_painted_as_a_canvas_would(lines, width, height, glyphs):
    canvas = Canvas(width, height)
    put_lines(canvas, lines, 0, 0, width, height, glyphs)
    assert paint(lines, width, height, glyphs) == canvas.picture()


@given(st.lists(st.text(st.sampled_from("aé 日本\u0301\u200b"), max_size=9), max_size=4), st.integers(1, 20))
def test_wide_and_empty_characters_fill_the_row_exactly(texts, width):
    canvas = Canvas(width, 1)
    line = tuple(Span(text) for text in texts)
    put_lines(canvas, [line], 0, 0, width, 1, BRAILLE)
    painted = paint([line], width, 1, BRAILLE)
    assert painted.lines == canvas.picture().lines


def test_a_look_is_a_byte():
    assert len(ROLES) * len(GROUNDS) <= 256


@pytest.mark.parametrize("awaited", [OPENING, "x"])
def test_the_first_frame_is_that_of_a_run_of_which_nothing_is_known(awaited):
    assert empty_frame("gpt", awaited) == build_frame(Sources("gpt", Story(), Diagnosis.nothing(), awaited=awaited))


def test_until_a_run_has_been_read_nobody_says_that_it_has_not_begun():
    said = "\n".join(map(text_of, empty_frame("gpt", OPENING).verdict))
    assert "Opening the run" in said
    assert "first step" not in said
