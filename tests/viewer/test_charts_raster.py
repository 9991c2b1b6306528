"""Lines become dots, and no sample is lost on the way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.viewer.charts.raster import TABLES, columns_of, glyphs, rasterise
from tuimon.viewer.charts.series import Series


def raster(values, *, width=4, height=1, steps=None, x=None, y=None):
    steps = np.arange(len(values)) if steps is None else steps
    one = Series.of(steps, values)
    finite = one.low[np.isfinite(one.low)]
    y = y or (float(finite.min()), float(finite.max()))
    x = x or (0.0, float(steps[-1]))
    return rasterise(one.steps, one.low, one.high, one.last, one.bad, x=x, y=y, width=width, height=height)


def dots(found):
    return ["".join("#" if dot else "." for dot in row) for row in found.dots]


def text(found, name):
    return ["".join(map(chr, row)) for row in glyphs(found.dots, name)]


def test_a_rising_line_is_closed():
    assert dots(raster([0, 1, 2, 3, 4, 5, 6, 7], height=2)) == [
        ".......#",
        "......#.",
        ".....#..",
        "....#...",
        "...#....",
        "..#.....",
        ".#......",
        "#.......",
    ]


def test_neighbours_meet_half_way_and_a_spike_keeps_its_full_height():
    assert dots(raster([0, 0, 0, 3, 0, 0, 0, 0])) == [
        "...#....",
        "...#....",
        "..#.#...",
        "###.####",
    ]


def test_sparse_samples_are_joined_by_a_straight_line():
    found = raster([0, 3], steps=np.array([0, 7]))
    assert dots(found) == [
        "......##",
        "....##..",
        "..##....",
        "##......",
    ]


def test_a_line_breaks_where_a_sample_is_not_finite_and_the_place_is_marked():
    found = raster([0, 0, 0, np.nan, 3, 3, np.inf, 3])
    assert dots(found) == [
        "....##.#",
        "........",
        "........",
        "###.....",
    ]
    assert found.bad.tolist() == [False, True, False, True]


def test_what_was_not_measured_is_joined_across():
    nothing = np.array([np.nan])
    low = np.concatenate(([0.0], np.repeat(nothing, 6), [0.0]))
    found = rasterise(np.arange(8.0), low, low, low, np.zeros(8, bool), x=(0, 7), y=(0, 3), width=4, height=1)
    assert dots(found)[3] == "########"
    assert not found.bad.any()


def test_a_column_with_good_and_bad_samples_shows_both_and_stands_alone():
    found = raster([0, 0, 3, np.nan, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], width=4)
    assert found.bad.tolist() == [True, False, False, False]
    assert dots(found) == [
        ".#......",
        "........",
        "........",
        "#.######",
    ]


def test_samples_off_the_axis_are_flagged_where_they_are():
    found = raster([1, 9, 1, 1, 1, -9, 1, 1], y=(0.0, 2.0))
    assert found.over.tolist() == [True, False, False, False]
    assert found.under.tolist() == [False, False, True, False]


def test_the_log_of_nothing_positive_is_a_flag_and_a_gap_not_a_dive():
    low = np.array([1.0, 1.0, 1.0, -np.inf, 1.0, 1.0, 1.0, 1.0])
    found = rasterise(np.arange(8.0), low, low, low, np.zeros(8, bool), x=(0, 7), y=(0, 2), width=4, height=1)
    assert found.under.tolist() == [False, True, False, False]
    assert [row.count("#") for row in dots(found)] in ([0, 7, 0, 0], [0, 0, 7, 0])


def test_one_slope_in_three_glyph_sets():
    found = raster([0, 1, 2, 3, 4, 5, 6, 7], height=2)
    assert text(found, "braille") == ["  ⡠⠊", "⡠⠊  "]
    assert text(found, "block") == ["  ▄▀", "▄▀  "]
    assert text(found, "ascii") == ["  .'", ".'  "]


@pytest.mark.parametrize("name", ["braille", "block", "ascii"])
def test_every_pattern_but_the_empty_one_has_a_visible_glyph(name):
    table = TABLES[name]
    assert len(table) == 256
    assert [i for i in range(256) if table[i] == 0x20] == [0]
    assert all(chr(code).isprintable() for code in table)


finite = st.floats(-1e12, 1e12, allow_nan=False)


@given(st.lists(finite, min_size=2, max_size=400), st.integers(1, 40), st.integers(1, 8))
def test_the_greatest_and_the_least_value_light_the_outermost_rows(values, width, height):
    if max(values) - min(values) < 1e-3:
        return
    found = raster(values, width=width, height=height)
    assert found.dots[0].any()
    assert found.dots[-1].any()
    top = int(columns_of(np.array([float(np.argmax(values))]), 0, len(values) - 1, 2 * width)[0])
    assert found.dots[0, top]


@given(st.lists(finite, min_size=3, max_size=200), st.integers(1, 199))
def test_more_samples_change_only_columns_at_their_right(values, cut):
    cut = min(cut, len(values) - 1)
    x, y = (0.0, 250.0), (-1e12, 1e12)
    before = raster(values[:cut], width=30, height=4, x=x, y=y)
    after = raster(values, width=30, height=4, x=x, y=y)
    same = max(0, int(columns_of(np.array([cut - 1.0]), *x, 60)[0]) - 1)
    assert (before.dots[:, :same] == after.dots[:, :same]).all()


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=60), st.integers(1, 9))
def test_no_input_breaks_the_raster(values, width):
    found = raster(values, width=width, height=2, x=(0.0, 30.0), y=(-1.0, 1.0))
    assert found.dots.shape == (8, 2 * width)
    inside = np.array(values[:31])
    assert found.bad.any() == bool((~np.isfinite(inside)).any())


def test_a_line_comes_from_and_goes_to_what_lies_beyond_the_edges():
    found = raster([0, 3, 3, 0], steps=np.array([-8, 0, 7, 15]), x=(0.0, 7.0), y=(0.0, 3.0))
    assert dots(found) == dots(raster([3, 3], steps=np.array([0, 7]), y=(0.0, 3.0)))
    between = raster([0, 3], steps=np.array([-8, 15]), x=(0.0, 7.0), y=(0.0, 3.0))   # no sample in sight
    assert dots(between) == [
        "........",
        "....####",
        "####....",
        "........",
    ]
    assert not between.over.any()


@given(st.integers(1, 10_000_000), st.integers(1, 10_000_000), st.floats(-5, 5), st.floats(-5, 5))
def test_however_far_away_the_neighbours_are_the_picture_is_as_large(before, after, a, b):
    found = raster([a, 1.0, b], steps=np.array([-before, 4, 8 + after]), x=(0.0, 7.0), y=(0.0, 3.0))
    assert found.dots.shape == (4, 8)
    assert found.dots[:, 4].any()


def test_a_point_without_any_other_is_seen():
    assert dots(raster([1.5], steps=np.array([3]), x=(0.0, 7.0), y=(0.0, 3.0))) == [
        "........",
        "........",
        "..##....",
        "..##....",
    ]


def test_what_is_not_finite_beyond_the_edge_leads_nowhere():
    found = raster([np.nan, 3, 3], steps=np.array([-4, 4, 7]), x=(0.0, 7.0), y=(0.0, 3.0))
    assert not found.dots[:, :4].any()
    assert not found.bad.any()
