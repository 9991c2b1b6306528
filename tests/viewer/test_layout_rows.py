"""How the overview shares out a terminal's rows."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.viewer.arrange import paint, verdict
from tuimon.viewer.first import empty_frame
from tuimon.viewer.glyphs import BRAILLE
from tuimon.viewer.lines import say, text_of
from tuimon.viewer.screens.layout import LEAST, divide


@given(st.integers(LEAST[0], 260), st.integers(LEAST[1], 80), st.integers(0, 200), st.integers(0, 6), st.booleans(),
       st.booleans())
def test_no_row_is_given_twice_and_none_is_lost(width, height, layers, charts, heated, alone):
    d = divide(width, height, layers, 1 if alone else charts, heated=heated, alone=alone)
    used = 1 + 1 + d.gap + d.verdict + d.sparks + d.charts + d.heat + d.events + 1
    assert used == height or (d.kind != "compact" and not charts and not heated and used < height)
    assert d.verdict >= 3
    assert d.events >= 1


@pytest.mark.parametrize("height", range(16, 32))
def test_a_chart_made_large_on_a_small_screen_takes_the_rows_of_the_strips(height):
    large, shared = (divide(80, height, 6, 1, alone=alone) for alone in (True, False))
    assert large.sparks == large.heat == 0
    assert large.charts > shared.charts


TOLD = ("▲ Learning rate too low",
        ("Each step changes the weights by 1.4e-5 % (update ratio 1.4e-7, usual 1.0e-4 to 0.020) and the loss has not moved "
        "from its start."),
        ("Raise the learning rate from 1e-8 to 1e-7 or more at once: it is off by several orders of magnitude. Check that the "
        "schedule is not stuck."),
        "x  hold the run    k  end it")


@pytest.mark.parametrize(("width", "height"), [(120, 40), (160, 50), (200, 60)])
def test_evidence_what_to_do_and_its_keys_have_room_on_a_large_screen(width, height):
    frame = replace(empty_frame("slow", "nothing"), verdict=tuple(map(say, TOLD)))
    rows = [text_of(row)[2:].rstrip() for row in verdict(frame, width, divide(width, height, 7).verdict)]
    said = " ".join(rows)
    assert TOLD[1] in said
    assert TOLD[2].partition(". ")[0] + "." in said
    assert rows[-1] == TOLD[3]
    assert all(len(row) <= width - 3 for row in rows)   # a sentence that has no room is left out, not cut


def test_a_sentence_that_does_not_fit_is_cut_between_words():
    statement = "Learning rate 1e-8 (the notebook's): gradients are healthy, weights hardly move: the loss stays where it is."
    frame = replace(empty_frame("slow", "nothing"), narrow=(*map(say, TOLD[:1] * 3), say(statement)))
    (row,) = paint(verdict(frame, 80, 4)[3:], 80, 1, BRAILLE).lines
    assert row.rstrip().endswith("gradients are healthy, weights hardly…")
