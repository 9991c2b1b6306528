"""How the overview shares out a terminal's rows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
