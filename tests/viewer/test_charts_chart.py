"""A chart says what it was given, at any size, whatever the data."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tuimon.diagnosis import axes
from tuimon.diagnosis.axes import XAxis
from tuimon.record.chunk import Chunk
from tuimon.record.history import History
from tuimon.viewer.charts.chart import Band, ChartSpec, VMark, _backdrop, area, draw
from tuimon.viewer.charts.picture import NOTHING, Picture, Run
from tuimon.viewer.charts.series import Series
from tuimon.viewer.glyphs import ASCII, GLYPHS, ascii_of

X = XAxis(0, 100)


def picture(spec, width=60, height=12, *, x=X, glyphs=ASCII, y=None) -> Picture:
    return draw(spec, width, height, x, y or axes.fit(None, spec.series, x, log=spec.log, robust=spec.robust), glyphs)


def series(values, role="data"):
    return Series.of(np.arange(1, len(values) + 1), values, role)


def column_of(step):
    """Cell column of a step in a picture of 60 cells."""
    place = area(60, 12)
    return place.left + step * place.width // 101


def test_the_whole_chart_as_a_picture():
    spec = ChartSpec(
        "loss", "4.71", "warning", (series(np.r_[np.linspace(10, 2, 50), np.full(20, 2.0)]),),
        bands=(Band(1.8, 3.2, "usual", "usual 1.8-3.2"),), marks=(VMark(80, "onset"), VMark(60, "snapshot")),
    )
    assert picture(spec, 46, 11).lines == [
        "+- loss ---------------------------- 4.71 ! -+",
        "|    10 +-.                          :       |",
        "|       |  '-.                       :       |",
        "|       |    ''-.                    :       |",
        "|       |       ''..                 :       |",
        "|     5 +          ''..              :       |",
        "|       |             '-..           :       |",
        "|       [                '--------   :       |",
        "|       +---------------------i--------------|",
        "|        0                50   usual 1.8-3.2 |",
        "+--------------------------------------------+",
    ]


def test_a_band_is_ground_axis_and_word():
    spec = ChartSpec("n", series=(series([1.0] * 99 + [9.0]),), bands=(Band(4, 6, "healthy", "healthy 4-6"),))
    found = picture(spec)
    rows = [y for y, row in enumerate(found.rows) if any(run.ground == "healthy" for run in row)]
    assert 1 <= len(rows) <= 3
    for y in rows:
        axis = next(run for run in found.rows[y] if run.role == "band-healthy")
        assert axis.text.strip() in {ASCII.band_down, ASCII.band_tick}
    assert "healthy 4-6 |" in found.lines[-2]


def test_a_thin_band_still_takes_a_row_and_one_out_of_sight_takes_none():
    spec = ChartSpec("n", series=(series([1.0, 9.0]),), bands=(Band(4.99, 5.0, "usual", ""),))
    assert sum(any(run.ground == "usual" for run in row) for row in picture(spec).rows) == 1
    spec = ChartSpec("n", series=(series([1.0, 9.0]),), bands=(Band(40, 50, "usual", ""),))
    assert not any(run.ground == "usual" for row in picture(spec).rows for run in row)


def test_an_open_band_reaches_the_edge():
    spec = ChartSpec("n", series=(series([1.0, 9.0]),), bands=(Band(5, float("inf"), "usual", ""),))
    assert any(run.ground == "usual" for run in picture(spec).rows[1])


def test_a_later_line_covers_an_earlier_one():
    raw, smooth = series([1.0, 5.0] * 50, "data-dim"), series([3.0] * 100, "data")
    found = picture(ChartSpec("n", series=(raw, smooth)))
    across = [run for row in found.rows for run in row if run.role == "data"]
    assert len(across) == 1 and len(across[0].text.strip()) == 50


def test_the_current_value_stands_at_the_right_end_of_the_title_in_its_role():
    found = picture(ChartSpec("grad norm", "212", "critical", (series([1.0, 2.0]),)), glyphs=GLYPHS["braille"])
    assert found.lines[0].endswith(" 212 ✖ ─╮")
    assert [(run.text, run.role) for run in found.rows[0] if run.text != " "] == [
        ("╭─", "frame"), ("grad norm", "title"), ("─" * 38, "frame"), ("212", "critical"), ("✖", "critical"), ("─╮", "frame"),
    ]
    calm = picture(ChartSpec("lr", "3.0e-2", "good", (series([1.0, 2.0]),)))
    assert {"value", "good"} <= {run.role for run in calm.rows[0]}


def test_a_value_gives_way_to_the_name_of_what_it_is():
    spec = ChartSpec("blocks 7 and 0 · log", "0.00473 / 1.6e-8", None, (series([1.0, 2.0]),))
    top = picture(spec, width=26, glyphs=GLYPHS["braille"]).lines[0]
    assert "blocks 7 and 0" in top and "0.00473" not in top


def test_samples_that_are_not_finite_are_marked_in_the_top_row_where_they_fell():
    values = np.full(100, 2.0)
    values[49], values[79] = np.nan, np.inf
    found = picture(ChartSpec("n", series=(series(values),)))
    assert [run.text for run in found.rows[1] if run.role == "critical"] == ["X", "X"]
    assert found.lines[1].index("X") == column_of(50)


def test_a_value_beyond_the_axis_is_marked_at_the_edge():
    values = np.linspace(4, 2, 100)
    values[40] = 1e30
    found = picture(ChartSpec("n", series=(series(values),)))
    assert "^" in found.lines[1]
    assert "4" in found.lines[1] + found.lines[2]


def test_what_is_not_positive_is_marked_at_the_bottom_of_a_log_axis():
    values = np.full(100, 2.0)
    values[[10, 60]] = 0.0, -3.0
    bottom = picture(ChartSpec("n", series=(series(values),), log=True)).lines[-4]
    assert bottom.count("v") == 2


def test_an_empty_chart_says_what_it_waits_for():
    found = picture(ChartSpec("loss", waiting="waiting for the first step"))
    assert "waiting for the first step" in "".join(found.lines)
    assert not any(run.role == "axis" for row in found.rows for run in row)


def test_a_diamond_stands_on_the_axis_above_its_step():
    found = picture(ChartSpec("n", series=(series([1.0, 2.0]),), marks=(VMark(50, "snapshot", "good"),)))
    row = found.lines[-3]
    assert row[column_of(50)] == ascii_of("◆") == "i"   # as the diary and the help call it


def test_the_cursor_stands_in_the_column_of_its_sample():
    values = np.zeros(100)
    values[49] = 9.0
    found = picture(ChartSpec("n", series=(series(values),), marks=(VMark(50, "cursor", "cursor"),), robust=False))
    column = column_of(50)
    assert all(line[column] != " " for line in found.lines[1:-3])


ODD = {
    "nothing": [], "NaN": [np.nan] * 5, "infinite": [np.inf, -np.inf], "zero": [0.0] * 9, "constant": [7.0] * 50,
    "one point": [3.0], "huge": [1.0, 2.0, 1e30, 1.5, 1.2], "opposite": [1e308, -1e308], "tiny": [5e-324, 1e-300],
    "negative": [-1.0, -2.0], "mixed": [1.0, np.nan, 0.0, -1.0, np.inf, 1e30, 2.0],
}


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("glyphs", GLYPHS.values(), ids=lambda g: g.name)
@pytest.mark.parametrize("values", ODD.values(), ids=ODD.keys())
def test_odd_data_make_a_whole_picture(values, glyphs, log):
    found = picture(ChartSpec("n", series=(series(values),), log=log), glyphs=glyphs)
    assert [len(line) for line in found.lines] == [60] * 12
    drawn = {run.role for row in found.rows for run in row}
    if any(np.isfinite(v) and (v > 0 or not log) for v in values):
        assert "data" in drawn
    if any(not np.isfinite(v) for v in values):
        assert "critical" in drawn


@given(st.integers(-2, 40), st.integers(-2, 20), st.sampled_from(["loss", "层归一化", ""]))
def test_any_size_makes_a_picture_of_that_size_that_shows_data(width, height, title):
    spec = ChartSpec(title, "4.71", "critical", (series([1.0, 3.0, np.nan, 2.0]),), marks=(VMark(1, "onset"),),
                     bands=(Band(1, 2, "usual", "usual"),))
    found = picture(spec, width, height, x=XAxis(0, 4), glyphs=GLYPHS["braille"])
    assert found.width == max(1, width) and found.height == max(1, height)
    assert {cell_len(line) for line in found.lines} == {max(1, width)}
    assert any(run.role in {"data", "critical"} for row in found.rows for run in row)


def test_more_steps_within_the_axis_change_only_cells_at_their_right():
    rng = np.random.default_rng(3)
    values = 2 + rng.standard_normal(100)
    y = axes.fit(None, (series(values),), X, log=False)
    before = picture(ChartSpec("n", series=(series(values[:60]),)), y=y)
    after = picture(ChartSpec("n", series=(series(values[:64]),)), y=y)
    column = area(60, 12).left + 58 // 2
    assert [line[:column] for line in before.lines] == [line[:column] for line in after.lines]
    assert before.lines != after.lines


def test_equal_specs_make_equal_rows_and_a_different_value_changes_its_own_cells_only():
    one = ChartSpec("n", "1.00", series=(series([1.0, 2.0]),))
    other = ChartSpec("n", "1.01", series=(series([1.0, 2.0]),))
    assert picture(one).changed(picture(one)) == []
    assert picture(other).changed(picture(one)) == [(0, 56, 57)]
    assert picture(one).changed(NOTHING) == [(y, 0, 60) for y in range(12)]


TEXTS = st.lists(st.tuples(st.sampled_from(["a", "ab", "ba", "⣀⡠", "宽", "e", "e\u0301", " "]), st.sampled_from(["data", "axis"])), max_size=6)


@given(TEXTS, TEXTS)
def test_between_two_pictures_all_that_differs_is_drawn_again(one, other):
    width = 12

    def row(parts):
        found = tuple(Run(text, role, "none") for text, role in parts)
        return (*found, Run(" " * (width - sum(cell_len(run.text) for run in found)), "blank", "none"))

    def cells(found):
        """Per cell what stands there; a wide character in both of its cells, marks that take none with what they follow."""
        looks = []
        for run in found:
            for character in run.text:
                if cell_len(character) == 0:
                    looks[-1] = (looks[-1][0] + character, looks[-1][1])
                looks += [(character, run.role)] * cell_len(character)
        return looks

    old, new = row(one), row(other)
    changed = Picture(width, (new,)).changed(Picture(width, (old,)))
    inside = {x for _, first, last in changed for x in range(first, last)}
    assert {x for x, (a, b) in enumerate(zip(cells(old), cells(new), strict=True)) if a != b} <= inside


def test_steps_stand_above_each_other_in_charts_of_equal_width():
    small = picture(ChartSpec("a", series=(series([1.0, 2.0]),), marks=(VMark(30, "onset"),)))
    large = picture(ChartSpec("b", series=(series([1e-7, 2e9]),), marks=(VMark(30, "onset"),), log=True))
    assert small.lines[5].index(":") == large.lines[5].index(":")


def test_a_history_thinned_to_columns_shows_the_same_extremes_and_marks():
    values = 2 + 0.1 * np.random.default_rng(5).standard_normal(9_000)
    values[[4_000, 6_000]] = 9.0, np.nan
    history = History(None)
    history.extend(Chunk.of(loss=values.tolist()))
    x = XAxis().grown(9_000)
    thin = Series.thin(history.thin("loss", int(x.first), int(x.last), 2 * area(60, 12).width))
    found = picture(ChartSpec("loss", series=(thin,)), x=x)
    assert found == picture(ChartSpec("loss", series=(Series.of(np.arange(1, 9_001), values),)), x=x)
    assert sum(line.count("X") for line in found.lines) == 1


@pytest.mark.parametrize("width", [24, 50, 78, 120])
def test_what_is_awaited_is_said_in_full_wherever_it_fits_on_several_lines(width):
    message = "weight RMS: this run's log holds no norms of the weights per layer, only that of all of them together"
    rows = draw(ChartSpec("loss", waiting=message), width, 12, XAxis(0, 10), axes.YAxis(0, 1)).lines
    assert " ".join(row.strip("│ ") for row in rows[1:-1] if row.strip("│ ")) == message


def test_a_chart_is_the_same_whatever_was_drawn_before_it():
    """What stands under the data is kept from one drawing to the next."""
    rng, y = np.random.default_rng(1), axes.fit(None, (series([1.0, 3.0]),), X, log=False)
    marks, bands = (VMark(20, "onset", word="what"), VMark(30, "cursor")), (Band(1, 2, "usual", "usual"),)
    variants = [ChartSpec("n", "1.0"), ChartSpec("m", "22", "critical"), ChartSpec("n", marks=marks), ChartSpec("n", bands=bands),
                ChartSpec("n", focused=True), ChartSpec("n", in_bytes=True), ChartSpec("n", in_bytes=True, binary=True)]
    lines = [series(1 + 2 * rng.random(50)) for _ in range(2)]
    cases = [(replace(spec, series=(line,)), width, 12, X, axis, glyphs) for spec, line, width, axis, glyphs in itertools.product(
        variants, lines, (40, 60), (y, axes.YAxis(-1.0, 5.0)), (ASCII, GLYPHS["braille"]))]
    found = [draw(*case) for case in cases]
    for case, picture in zip(cases, found, strict=True):
        _backdrop.cache_clear()
        assert picture == draw(*case)
