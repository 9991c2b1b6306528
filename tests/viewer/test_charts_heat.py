"""The heat strip shows exploding and vanishing as a picture, and a healthy run as nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.diagnosis.axes import XAxis
from tuimon.diagnosis.calm import Calm
from tuimon.viewer.charts.chart import VMark
from tuimon.viewer.charts.heat import HeatSpec, draw, group_name, grouped
from tuimon.viewer.glyphs import ASCII, GLYPHS

STEPS = np.arange(1.0, 41.0)
X = XAxis(0, 40)
NATURAL = np.array([3e-4, 2e-3, 3e-3, 8e-3])
NAMES = ("embed", "blocks.0", "blocks.1", "head")


def spec(values, names=NAMES, **more):
    return HeatSpec("layers", names, STEPS, np.asarray(values), framed=False, **more)


def lines(what, width=50, height=None, glyphs=ASCII):
    return [line.rstrip() for line in draw(what, width, height or len(what.layers), X, glyphs).lines]


def cells(line):
    return line.split(" ", 1)[1].strip() if not line.startswith(" ") else line.strip().split(" ", 1)[1].strip()


def test_a_healthy_run_is_all_usual_however_layers_differ_by_nature():
    rng = np.random.default_rng(0)
    found = lines(spec(NATURAL * 10 ** (0.1 * rng.standard_normal((40, 4)))))
    assert {c for line in found for c in cells(line)} == {"."}


def test_exploding_and_vanishing_leave_the_usual_on_opposite_sides():
    grow = np.ones((40, 4))
    grow[20:, 1] = np.logspace(0, 4, 20)
    grow[20:, 2] = np.logspace(0, -4, 20)
    found = lines(spec(NATURAL * grow, before=20))
    assert found == [
        "   embed  ........................................",
        "blocks.0  .......................::+++###@@@@@@@@@",
        "blocks.1  .......................~~---,,,_________",
        "    head  ........................................",
    ]


def test_what_follows_an_incident_that_is_over_is_shaded_by_what_is_usual_since():
    grow = np.ones((40, 4))
    grow[14:20], grow[20:] = 1e3, 0.02   # explodes; a rescued run goes on with smaller gradients
    (line,) = {cells(line) for line in lines(spec(NATURAL * grow, before=15, again=(Calm(21, None),)))}
    assert line == 14 * "." + 6 * "@" + 20 * "."
    (line,) = {cells(line) for line in lines(spec(NATURAL * grow, before=15, again=(Calm(21, 23),)))}
    assert line == 14 * "." + 6 * "@" + 20 * ",", "two rows tell too little"


def test_a_net_whose_gradients_die_with_depth_shows_it_from_the_first_step():
    depth = 10.0 ** -np.arange(8)
    found = lines(spec(np.full((40, 8), depth), names=tuple(f"layers.{i}" for i in range(8))))
    first = [cells(line)[0] for line in found]
    assert first[0] == "@" and first[3] == "." and first[-1] == "_"


def test_the_usual_is_learned_before_the_onset():
    values = np.tile(NATURAL, (40, 1))
    values[10:] *= 1000
    assert cells(lines(spec(values))[0])[0] == "_"
    late = cells(lines(spec(values, before=11))[0])
    assert late[0] == "." and late[-1] == "@"


def test_values_that_are_not_finite_are_marked_and_what_was_never_measured_is_blank():
    values = np.tile(NATURAL, (40, 1))
    values[5, 1], values[6, 3] = np.nan, np.inf
    values[:, 2] = np.nan
    found = lines(spec(values))
    assert [line.count("X") for line in found] == [0, 1, 0, 1]
    assert found[2].strip() == "blocks.1"


def test_the_callers_word_on_what_was_measured_counts():
    values = np.tile(NATURAL, (40, 1))
    values[:, 2] = np.nan
    seen = np.ones((40, 4), bool)
    assert set(cells(lines(spec(values, seen=seen))[2])) == {"X"}
    values[8, 1] = np.nan
    seen[8, 1] = False
    assert "X" not in lines(spec(values, seen=seen))[1]


def test_a_gradient_of_exactly_zero_is_farthest_below():
    values = np.tile(NATURAL, (40, 1))
    values[30:, 1] = 0.0
    assert cells(lines(spec(values, before=30))[1]).endswith("_")


def test_one_bad_step_among_many_in_a_cell_is_not_lost():
    values = np.tile(NATURAL, (40, 1))
    values[17, 2] *= 1000
    assert "@" in lines(spec(values), width=16)[2]


def test_too_many_layers_are_grouped_and_the_worst_of_each_group_shows():
    values = np.full((40, 12), 1e-3)
    values[20:, 7] *= 1e3
    names = tuple(f"blocks.{i}" for i in range(12))
    found = lines(spec(values, names=names, before=20), height=4)
    assert [line.split()[0] for line in found] == ["blocks.0-2", "blocks.3-5", "blocks.6-8", "blocks.9-11"]
    assert ["@" in line for line in found] == [False, False, True, False]


def test_a_group_is_named_by_its_ends():
    assert group_name(("blocks.3",), "–") == "blocks.3"
    assert group_name(("blocks.3", "blocks.4", "blocks.5"), "–") == "blocks.3–5"
    assert group_name(("embed", "blocks.0"), "–") == "embed–blocks.0"


@given(st.integers(1, 300), st.integers(1, 40))
def test_groups_cover_every_layer_once_in_order(layers, rows):
    groups = grouped(layers, rows)
    assert len(groups) == min(layers, rows)
    assert [i for a, b in groups for i in range(a, b)] == list(range(layers))


def test_rows_on_a_cadence_leave_no_holes_between_them_and_nothing_after_the_last():
    sparse = HeatSpec("", NAMES, np.array([1.0, 11, 21]), np.tile(NATURAL, (3, 1)), framed=False)
    text = cells(lines(sparse)[0])
    assert set(text) == {"."} and 18 <= len(text) <= 22


def test_an_onset_runs_through_what_is_usual_only():
    values = np.tile(NATURAL, (40, 1))
    values[15:, 1] *= 1e4
    found = lines(spec(values, before=16, marks=(VMark(20, "onset"),)))
    assert [":" in line for line in found] == [True, False, True, True]


def test_two_blocks_side_by_side_hold_all_layers():
    found = lines(spec(np.tile(NATURAL, (40, 1)), columns=2), height=2)
    assert [line.split()[0::2] for line in found] == [["embed", "blocks.1"], ["blocks.0", "head"]]


def test_nothing_measured_says_what_is_awaited():
    none = HeatSpec("layers", (), np.zeros(0), np.zeros((0, 0)), waiting="per-layer rows come every 10 steps")
    assert any("per-layer rows come every 10 steps" in line for line in draw(none, 60, 5, X).lines)


@pytest.mark.parametrize("glyphs", GLYPHS.values(), ids=lambda g: g.name)
@given(width=st.integers(-1, 40), height=st.integers(-1, 9), columns=st.integers(1, 3), framed=st.booleans())
def test_any_size_makes_a_picture_of_that_size(glyphs, width, height, columns, framed):
    what = replace(spec(np.tile(NATURAL, (40, 1))), columns=columns, framed=framed, value="worst", state="good")
    found = draw(what, width, height, X, glyphs)
    assert (found.width, found.height) == (max(1, width), max(1, height))
    assert {len(line) for line in found.lines} == {max(1, width)}


@given(st.lists(st.sampled_from([0.0, 1e-30, 1.0, 1e30, np.nan, np.inf, -np.inf, -1.0]), min_size=4, max_size=40))
def test_odd_values_never_break_it(values):
    m = len(values) // 4
    what = HeatSpec("l", NAMES, STEPS[:m], np.array(values[:4 * m]).reshape(m, 4))
    draw(what, 60, 8, X)


def test_between_two_rare_rows_the_earlier_one_stands_also_where_neither_is_in_sight():
    values = np.tile(NATURAL, (4, 1))
    values[1, 3] *= 1000
    rare = replace(spec(values, before=10.0), steps=np.array([1.0, 10.0, 50.0, 90.0]))
    inside = draw(rare, 50, 4, XAxis(20, 40), ASCII).lines
    assert cells(inside[3].rstrip()) == "@" * len(cells(inside[3].rstrip()))
    assert cells(inside[0].rstrip()).strip(".") == ""
