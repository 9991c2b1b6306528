"""A chart that is not drawn again would have looked the same."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tuimon.diagnosis.axes import XAxis, fit
from tuimon.diagnosis.heat import ranked, reach
from tuimon.record.chunk import Chunk
from tuimon.record.history import History
from tuimon.viewer.charts import heat
from tuimon.viewer.charts.alike import charts_alike, headed, heats_alike, named
from tuimon.viewer.charts.chart import Band, ChartSpec, VMark, area, draw
from tuimon.viewer.charts.heat import HeatSpec
from tuimon.viewer.charts.series import Series
from tuimon.viewer.glyphs import ASCII, BRAILLE

X = XAxis(0, 1000)
VALUES = st.lists(st.one_of(st.floats(-3, 30), st.sampled_from([math.nan, math.inf, 0.0, 1e300])), min_size=1, max_size=120)


def spec_of(history: History, columns: int, *, log: bool, value: str = "") -> ChartSpec:
    return ChartSpec("loss", value, series=(Series.thin(history.thin("loss", 0, 1000, columns)),), log=log)


@given(VALUES, VALUES, st.integers(1, 40), st.sampled_from([60, 1024]), st.integers(12, 90), st.booleans())
@settings(max_examples=400, deadline=None)
def test_what_is_called_alike_is_alike(values, more, every, columns, width, log):
    history, height = History(), 12
    history.extend(Chunk.of(np.arange(1, len(values) + 1) * every, loss=values))
    before = spec_of(history, columns, log=log, value="1.0")
    y = fit(None, before.extent, X, log=log)
    drawn = draw(before, width, height, X, y, BRAILLE)
    for i, one in enumerate(more):
        history.extend(Chunk.of([len(values) * every + i + 1], loss=[one]))
        after = spec_of(history, columns, log=log, value="2.0")
        if charts_alike(before, after, X, y, area(width, height)):
            got = headed(drawn, after, BRAILLE, framed=area(width, height).framed)
            assert got.lines == draw(after, width, height, X, y, BRAILLE).lines


PLACE = area(30, 12)


def fitted(spec: ChartSpec):
    return fit(None, spec.extent, X, log=spec.log)


def test_on_a_flat_stretch_most_steps_draw_nothing_and_a_spike_always_does():
    rng, history = np.random.default_rng(0), History()
    history.extend(Chunk.of(loss=2 + 0.1 * rng.normal(size=400)))
    drawn, last = 0, spec_of(history, 1024, log=False)
    y = fitted(last)
    for step in range(401, 501):
        history.extend(Chunk.of([step], loss=[2 + 0.1 * rng.normal()]))
        now = spec_of(history, 1024, log=False)
        if not charts_alike(last, now, X, y, PLACE):
            drawn, last = drawn + 1, now
    assert 4 <= drawn <= 35, "each new column, and what widens one"
    history.extend(Chunk.of([501], loss=[9.0]))
    assert not charts_alike(last, spec_of(history, 1024, log=False), X, y, PLACE)


def test_a_band_whose_edges_move_by_less_than_a_row_is_not_drawn_again():
    history = History()
    history.extend(Chunk.of(loss=[1.0, 2.0, 1.5]))
    spec = spec_of(history, 1024, log=False)
    y = fitted(spec)
    row = (y.high - y.low) / PLACE.height
    middle = y.high - 4.2 * row
    kept = 0
    for moved, word in itertools.product(np.linspace(-2, 2, 41) * row, ("usual 1-2", "usual 1-3")):
        one, other = (replace(spec, bands=(Band(middle - 2 * row + at, middle + at, "usual", said),))
                      for at, said in ((0.0, "usual 1-2"), (moved, word)))
        looks = [draw(each, 30, 12, X, y, BRAILLE) for each in (one, other)]
        is_alike = charts_alike(one, other, X, y, PLACE)
        assert is_alike == (looks[0].rows[:-2] == looks[1].rows[:-2])
        assert not is_alike or named(looks[0], other, X, BRAILLE) == looks[1]
        kept += is_alike
    assert 10 <= kept <= 30
    assert not charts_alike(one, replace(one, bands=(replace(one.bands[0], word="usual 1-3"),)), XAxis(500, 900), y, PLACE), "nothing in sight"
    tiny = draw(one, 30, 3, X, y, BRAILLE)
    assert named(tiny, one, X, BRAILLE) == tiny, "no room for labels"
    assert not charts_alike(one, spec, X, y, PLACE)


def test_what_widens_a_column_by_less_than_a_dot_draws_nothing():
    history = History()
    history.extend(Chunk.of(loss=[10.0, 1.0, 2.0]))
    spec = spec_of(history, 1024, log=False)
    y = fitted(spec)
    dot = (y.high - y.low) / (4 * PLACE.height - 1)
    for loss, is_alike in ((10.0 + dot / 50, True), (10.0 + dot, False), (y.high + dot / 50, False), (math.nan, False)):
        more = History()
        more.extend(Chunk.of(loss=[10.0, 1.0, 2.0, loss]))
        assert charts_alike(spec, spec_of(more, 1024, log=False), X, y, PLACE) == is_alike


@given(st.text(st.sampled_from("ab ·€漢-…"), max_size=12), st.sampled_from(["", "2.1", "12 GB", "漢 1"]), st.sampled_from([None, "good", "critical"]),
       st.integers(1, 40), st.integers(1, 6), st.booleans(), st.sampled_from([BRAILLE, ASCII]))
@settings(max_examples=300, deadline=None)
def test_a_heading_looks_the_same_alone_and_with_its_chart(title, value, state, width, height, focused, glyphs):
    spec = ChartSpec(title, value, state, focused=focused)
    whole = draw(spec, width, height, X, fit(None, (), X, log=False), glyphs)
    alone = headed(whole, spec, glyphs, framed=area(width, height).framed)
    looks = [[(letter, letter == " " or run.role) for run in one.rows[0] for letter in run.text] for one in (alone, whole)]
    assert looks[0] == looks[1] and alone.lines == whole.lines


def test_whatever_else_is_new_is_drawn():
    history = History()
    history.extend(Chunk.of(loss=[2.0] * 50))
    spec = spec_of(history, 100, log=False)
    y = fitted(spec)
    assert charts_alike(spec, replace(spec, title="loss · smooth", value="3", state="warning"), X, y, PLACE)
    for other in (replace(spec, log=True), replace(spec, marks=(VMark(3, "event"),)), replace(spec, focused=True), replace(spec, series=()),
                  replace(spec, series=(replace(spec.series[0], role="data-2"),))):
        assert not charts_alike(spec, other, X, y, PLACE)
    empty = ChartSpec("loss")
    assert charts_alike(empty, replace(empty, title="waiting"), X, None, PLACE)
    assert not charts_alike(empty, spec, X, None, PLACE)


@given(st.lists(st.lists(st.sampled_from([1e-4, 1e-2, 1.0, 1.1, 30.0, math.nan, math.inf, 0.0]), min_size=3, max_size=3), min_size=30, max_size=60),
       st.integers(4, 20), st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_heat_strip_that_is_called_alike_is_alike(rows, every, measured):
    """Of what is usual as it was: that is learned from what comes before the onset."""
    steps, values = np.arange(1, len(rows) + 1) * float(every), np.array(rows)
    seen = np.isfinite(values) if measured else None

    def spec_of(count):
        return HeatSpec("layers", ("a", "b", "c"), steps[:count], values[:count], None if seen is None else seen[:count],
                        before=every * 10.0)

    drawn = 20
    for count in range(21, len(rows) + 1):
        cells = heat.plan(spec_of(count), 60, 5, BRAILLE).cells
        if heats_alike(spec_of(drawn), spec_of(count), X, cells):
            got = headed(heat.draw(spec_of(drawn), 60, 5, X), spec_of(count), BRAILLE, framed=True)
            assert got.lines == heat.draw(spec_of(count), 60, 5, X).lines
        else:
            drawn = count


EDGES = (-0.5, 1.0, 2.25)   # decades at which a shade begins


@given(st.one_of(st.floats(-40, 38), st.sampled_from(EDGES)), st.one_of(st.just(0.0), st.floats(-1.0, 1.0)), st.floats(0, 1))
@settings(max_examples=100, deadline=None)
def test_a_shade_reaches_as_far_as_it_is_the_same(log, off, share):
    """To within a hair: what lies between the bounds has its rank, what lies beyond them has another."""
    one, usual = np.array([10.0 ** log]), np.array([round(4 * off + (0 if log in EDGES else log), 1)])
    (least,), (most,) = reach(one, usual)
    rank = ranked(one, usual)[0]
    assert least <= one[0] <= most
    most = min(most, 1e300)
    for value in (least, most, least + share * (most - least)):
        assert ranked(np.array([value]), usual)[0] == rank
    if least < one[0] < most:
        for value in (least * (1 - 1e-6), most * (1 + 1e-6)):
            assert ranked(np.array([value]), usual)[0] != rank or value in (0.0, 1e300 * (1 + 1e-6))
    for odd in (math.nan, math.inf):
        assert np.array_equal(reach(np.array([odd]), usual), [[odd], [odd]], equal_nan=True)


def test_a_heat_strip_stands_while_nothing_is_worse_in_its_last_cell():
    rng = np.random.default_rng(0)
    steps, values = np.arange(1.0, 301), rng.uniform(0.9, 1.1, (300, 2))
    values[90] = 9.0

    def stands(drawn, count):
        one, other = (HeatSpec("layers", ("a", "b"), steps[:n], values[:n]) for n in (drawn, count))
        return heats_alike(one, other, X, 50)

    kept = sum(stands(count - 1, count) for count in range(51, 91))
    assert 35 <= kept <= 38, "all but the first of each cell: what is further from the usual has the same shade"
    assert not stands(90, 91), "a row that is worse"
    assert not stands(95, 120), "another cell"
    one, two, three = np.array([[1.0], [math.inf]]), np.array([[1.0], [math.inf], [2.0]]), np.array([True, False, True])[:, None]
    before = HeatSpec("layers", ("a",), steps[:2], one, three[:2])
    assert not heats_alike(before, HeatSpec("layers", ("a",), steps[:3], two, three), X, 50), "what was not seen shades nothing"
    spec = HeatSpec("layers", ("a", "b"), steps, values)
    same = HeatSpec("layers", ("a", "b"), steps.copy(), values.copy(), value="worst b")
    assert heats_alike(spec, same, X, 50)
    assert headed(heat.draw(spec, 60, 6, X), same, BRAILLE, framed=True).lines == heat.draw(same, 60, 6, X).lines
