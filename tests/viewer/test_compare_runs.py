"""Runs over each other: bounded memory that loses no extreme, axes that people read, and what differs."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import synthetic
from hypothesis import given, settings
from hypothesis import strategies as st

from tuimon.diagnosis.axes import XAxis, fit
from tuimon.diagnosis.model import RunContext
from tuimon.record.chunk import Chunk, Mark
from tuimon.record.segments import LogWriter, Row
from tuimon.viewer.charts.chart import draw as draw_chart
from tuimon.viewer.glyphs import ASCII, BRAILLE
from tuimon.viewer.places.compare import draw
from tuimon.viewer.places.compare.axis import x_axis
from tuimon.viewer.places.compare.detail import CompareDetail, Comparison
from tuimon.viewer.places.compare.draw import Look
from tuimon.viewer.places.compare.facts import Difference, arguments, differences
from tuimon.viewer.places.compare.model import LETTERS, LINES, METRICS, Ask, CompareView, Log, Side, Source
from tuimon.viewer.places.compare.rolled import COLUMNS, Rolled
from tuimon.viewer.theme import PALETTES
from tuimon.viewer.wanted import Window


def log_source(name: str, chunk: Chunk, **context) -> Source:
    return Source(name, log=Log((chunk,), RunContext(**context), "csv", "healthy"))


def view_of(*sources: Source, **ask) -> CompareView:
    return Comparison().view(Ask(sources, **ask), 0.0, 1.0, math.inf)


# ---------------------------------------------------------------------- columns


stretches = st.lists(st.tuples(st.integers(1, 5000), st.lists(st.one_of(st.floats(-100, 100), st.just(math.nan), st.just(math.inf)), min_size=1, max_size=40)),
                     min_size=1, max_size=8)


@settings(deadline=None)
@given(stretches)
def test_columns_keep_every_extreme_and_every_mark(given_stretches):
    rolled, steps, values = Rolled(), [], []
    at = 0
    for gap, some in given_stretches:
        these = np.arange(at + gap, at + gap + len(some))
        rolled.extend(these, np.array(some))
        steps += these.tolist()
        values += some
        at = int(these[-1])
    thin = rolled.thin()
    finite = [v for v in values if math.isfinite(v)]
    assert len(thin) <= COLUMNS
    assert thin.bad.any() == (len(finite) < len(values))
    assert thin.steps[-1] == steps[-1]
    assert (np.diff(thin.steps) > 0).all()
    if finite:
        assert np.nanmin(thin.low) == rolled.least == min(finite)
        assert np.nanmax(thin.high) == rolled.most == max(finite)
        assert thin.last[np.isfinite(thin.last)][-1] == finite[-1]
    else:
        assert rolled.least is None


@settings(deadline=None)
@given(st.integers(1, 30_000), st.lists(st.integers(1, 400), max_size=20))
def test_it_does_not_matter_in_which_stretches_a_run_is_read(count, cuts):
    steps, values = np.arange(1, count + 1), np.sin(np.arange(count))
    whole, parts = Rolled(), Rolled()
    whole.extend(steps, values)
    edges = [0, *np.minimum(count, np.cumsum(cuts)).tolist(), count]
    for a, b in pairwise(edges):
        parts.extend(steps[a:b], values[a:b])
    for field in ("steps", "low", "high", "last", "bad"):
        np.testing.assert_array_equal(getattr(whole.thin(), field), getattr(parts.thin(), field))


def test_a_smoothed_line_is_the_mean_around_it():
    rolled = Rolled()
    rolled.extend(np.arange(1, 1001), np.where(np.arange(1000) % 2, 3.0, 1.0))
    middle = rolled.smooth(0.1).last[100:900]
    assert np.abs(middle - 2.0).max() < 0.03
    assert rolled.smooth(0.0).last[0] == 1.0


def test_what_a_resumed_attempt_does_again_replaces_what_was():
    first = Chunk.of(loss=[5.0, 4.0, 3.0, 0.1])
    again = Chunk.of(steps=[3], loss=[3.5], marks=(Mark(2, "attempt", {"number": 2, "from_step": 2}),))
    side = view_of(Source("x", log=Log((first, again), RunContext(), "csv", "healthy")), smooth=0).sides[0]
    assert side.columns["loss"].low.tolist() == side.columns["loss"].high.tolist() == [5.0, 4.0, 3.5]
    assert (side.step, side.values["loss"]) == (3, 3.5)


# ---------------------------------------------------------------------- axes


def timed(name: str, seconds: float, tokens: list[float] | None = None) -> Source:
    columns = {"loss": [3.0, 2.0, 1.0]} | ({"tokens": tokens} if tokens else {})
    chunk = Chunk.of(**columns)
    return log_source(name, replace(chunk, times=1000.0 + seconds * np.arange(3)))


def test_the_x_axis_counts_steps_time_or_tokens_where_all_of_them_know_it():
    fast, slow = timed("fast", 10.0, [100, 100, 100]), timed("slow", 60.0, [500, 500, 500])
    view = view_of(fast, slow, across="time", smooth=0)
    assert view.known == ("step", "time", "tokens")
    assert [side.columns["loss"].steps.tolist() for side in view.sides] == [[0, 10, 20], [0, 60, 120]]
    assert view.end == 120
    view = view_of(fast, slow, across="tokens", smooth=0)
    assert [side.columns["loss"].steps.tolist() for side in view.sides] == [[100, 200, 300], [500, 1000, 1500]]
    untimed = log_source("untimed", Chunk.of(loss=[1.0, 2.0]))
    view = view_of(fast, untimed, across="time", smooth=0)
    assert (view.known, view.across) == (("step",), "step")


@pytest.mark.parametrize(("across", "end", "labels"), [
    ("step", 900, ["0", "200", "400", "600", "800", "1,000"]), ("time", 50, ["0", "10 s", "20 s", "30 s", "40 s", "50 s"]),
    ("time", 7000, ["0", "30 min", "60 min", "90 min", "120 min"]), ("time", 90_000, ["0", "6 h", "12 h", "18 h", "24 h"]),
    ("time", 900_000, ["0", "5 d", "10 d"]), ("tokens", 2.4e9, ["0", "500M", "1B", "1.5B", "2B", "2.5B"]),
])
def test_its_labels_are_what_a_person_reads(across, end, labels):
    assert [tick.label for tick in x_axis(across, end).ticks(64)] == labels


def test_turning_the_axis_goes_through_what_is_known():
    view = CompareView(known=("step", "tokens"), across="step")
    assert Look().turned(view).across == "tokens"
    assert Look().turned(replace(view, across="tokens")).across == "step"


# ---------------------------------------------------------------------- what differs


def test_options_are_read_as_people_write_them():
    found = arguments(("train.py", "--lr", "3e-4", "--wd=0.1", "--compile", "--seed", "-3", "batch=32", "file.txt"))
    assert found == {"--lr": "3e-4", "--wd": "0.1", "--compile": "yes", "--seed": "-3", "batch": "32"}


def test_only_what_differs_is_told():
    rows = differences(({"lr": "1", "model": "a", "--x": "yes"}, {"lr": "2", "model": "a"}, {"lr": "1", "model": "a", "host": "n"}))
    assert [(row.name, row.values) for row in rows] == [("lr", ("1", "2", "1")), ("--x", ("yes", "–", "–"))]


def test_what_differs_behind_a_long_beginning_is_told_and_can_be_seen(tmp_path):
    base = "shared/datasets/of/the/whole/department/openwebtext/tokenized/shards"
    views = []
    for heads, data in ((8, f"{base}/v1"), (12, f"{base}/v2")):
        argv = ("train.py", f"--model.encoder.attention.num_heads={heads}", "--model.encoder.attention.num_layers=4", "--data", data)
        run = synthetic.Run(tmp_path, name="same", alive=False).go(3)
        info = json.loads(run.dir.run_json.read_text())
        run.dir.run_json.write_text(json.dumps(info | {"argv": argv}))
        views.append(Source("", run.dir.path))
    view = view_of(*views)
    found = {row.name: row.values for row in view.differences}
    assert found["--model.encoder.attention.num_heads"] == ("8", "12")
    assert found["--data"] == (f"{base}/v1", f"{base}/v2")
    assert "--model.encoder.attention.num_layers" not in found
    for width in (60, 120):
        page = "\n".join(draw.draw_differences(view, width, 8, BRAILLE).lines)
        assert all(word in page for word in ("num_heads", "/v1", "/v2"))
    assert "/v2" in "\n".join(draw.draw_list(view, Look(), 200, 6, BRAILLE, framed=True).lines)


def test_the_page_of_differences_has_a_column_for_each_run_and_says_how_many_rows_have_no_room():
    sides = tuple(Side(LETTERS[i], LINES[i], f"r{i}", "", "healthy", "ok", 1) for i in range(8))
    facts = tuple(Difference(f"--a-rather-long-option-{k}", tuple(f"v{i}" for i in range(8))) for k in range(20))
    lines = draw.draw_differences(CompareView(sides, facts), 80, 12, BRAILLE).lines
    assert "9 of 20 facts" in lines[0]
    assert all(f" {letter} " in lines[1] for letter in LETTERS)
    assert all(line.rstrip("│ ").endswith("v7") for line in lines[2:-1])
    assert "20 facts" in draw.draw_differences(CompareView(sides, facts), 80, 24, BRAILLE).lines[0]


# ---------------------------------------------------------------------- pictures


def two(tmp_path) -> CompareView:
    runs = [synthetic.Run(tmp_path, name=name, seed=i, alive=False).go(150) for i, name in enumerate(("base", "other"))]
    runs[1].explode().go(60)
    runs[1].event("incident", rule="exploding-gradients", severity="critical", change="opened", onset_step=153, headline="Exploding gradients")
    runs[0].end()
    return view_of(*(Source("", run.dir.path) for run in runs))


def test_the_list_says_who_is_who_and_how_it_went(tmp_path):
    lines = draw.draw_list(two(tmp_path), Look(focus=1), 100, 6, ASCII, framed=True).lines
    assert "compare 2 runs - by step" in lines[0]
    assert "a base" in lines[2] and "+ healthy" in lines[2] and "150" in lines[2]
    assert "> b other" in lines[3] and "X exploding gradients since 153" in lines[3] and "210" in lines[3]
    assert "3.0e-4" in lines[2] and "3.0e-2" in lines[3]


def test_each_line_ends_in_its_letter_and_the_one_in_front_keeps_its_colour(tmp_path):
    view = two(tmp_path)
    x = x_axis(view.across, view.end)
    for focus in (None, 0, 1):
        spec = draw.chart_spec(view, Look(focus=focus), "loss", focused=False)
        picture = draw_chart(spec, 80, 16, x, fit(None, spec.series, x, log=spec.log), BRAILLE)
        roles = {letter: run.role for row in picture.rows[1:] for run in row for letter in "ab" if letter in run.text}
        for i, letter in enumerate("ab"):
            assert roles[letter] == (LINES[i] if focus in (None, i) else "mark")
    assert spec.series[-1].role == LINES[1]
    assert spec.value.startswith("b ")


def test_letters_that_would_cover_each_other_stand_above_each_other():
    sides = [log_source(f"r{i}", Chunk.of(loss=[3.0, 2.0, 1.5])) for i in range(4)]
    view = view_of(*sides)
    spec = draw.chart_spec(view, Look(), "loss", focused=False)
    x = XAxis(0, 10)
    text = "\n".join(draw_chart(spec, 60, 12, x, fit(None, spec.series, x, log=False), ASCII).lines)
    assert all(text.count(letter) >= 1 for letter in "abcd")


def test_a_run_without_a_metric_is_left_out_of_its_chart_and_a_chart_without_runs_says_so():
    view = view_of(log_source("a", Chunk.of(loss=[2.0, 1.0], grad_norm=[1.0, 1.0])), log_source("b", Chunk.of(loss=[2.0, 1.0])))
    assert len(draw.chart_spec(view, Look(), "grad_norm", focused=False).series) == 1
    spec = draw.chart_spec(view, Look(), "val_loss", focused=False)
    assert "none has logged a validation loss" in spec.waiting
    assert draw.shown(view, Look(), draw.divide(160, 50, 2)) == ("loss", "grad_norm", "update_ratio", "lr")
    assert draw.shown(view, Look(chart=2), draw.divide(80, 24, 2)) == ("grad_norm",)


@pytest.mark.parametrize(("width", "height", "kind"), [(80, 24, "one"), (120, 40, "all"), (200, 60, "all"), (120, 20, "one")])
def test_the_screen_is_divided_by_its_size(width, height, kind):
    assert draw.divide(width, height, 4).kind == kind
    assert draw.divide(width, height, 8).listed < height - 4


def test_eight_runs_can_be_told_apart():
    assert len(set(LINES)) == len(set(LETTERS)) == 8
    for palette in PALETTES.values():
        assert len({palette.inks[role].rgb for role in LINES}) == 8, palette.name


def test_reading_is_bounded_and_goes_on_with_the_others(tmp_path):
    runs = [synthetic.Run(tmp_path, name=f"r{i}", alive=False).go(30) for i in range(3)]
    now = iter(np.arange(0.0, 100.0, 0.06))
    comparison = Comparison(clock=lambda: float(next(now)))
    ask = Ask(tuple(Source("", run.dir.path) for run in runs))
    views = [comparison.view(ask, 0.0, 1.0) for _ in range(8)]
    assert views[0].reading
    assert not views[-1].reading
    assert all(side.step == 30 for side in views[-1].sides)


def test_a_live_run_goes_on_and_nothing_new_is_the_same_view(tmp_path):
    run = synthetic.Run(tmp_path).go(20)
    detail = CompareDetail()
    ask = Ask((Source("", run.dir.path), log_source("b", Chunk.of(loss=[1.0, math.nan]))))
    wanted = SimpleNamespace(place="compare", ask=ask)
    first = detail.update(None, wanted, 0.0, 1.0)
    while first.reading:
        first = detail.update(None, wanted, 0.0, 1.0)
    assert detail.update(None, wanted, 0.0, 1.1) == first
    rough = detail.update(None, SimpleNamespace(place="compare", ask=replace(ask, smooth=0)), 0.0, 1.1)
    assert rough != first   # what is drawn is not compared: the view says that it is another
    assert detail.update(None, wanted, 0.0, 1.1) == first
    run.go(5)
    again = detail.update(None, wanted, 0.0, 1.2)
    assert again != first
    assert again.sides[0].step == 25


def test_the_axis_of_other_runs_begins_anew():
    a, b, c = (log_source(name, Chunk.of(loss=[level, level])) for name, level in (("a", 1.0), ("b", 2.0), ("c", 3.0)))
    axes = [draw.chart_spec(view_of(*sources), Look(), "loss", focused=False).axis for sources in ((a, b), (a, b), (b, c))]
    assert axes[0] == axes[1] != axes[2]


def test_other_runs_in_the_place_of_the_first_have_their_own_curves():
    a, b, c = (log_source(name, Chunk.of(loss=[level, level])) for name, level in (("a", 1.0), ("b", 2.0), ("c", 3.0)))
    comparison = Comparison()

    def levels(*sources):
        view = comparison.view(Ask(sources, smooth=0), 0.0, 1.0, math.inf)
        return [float(side.columns["loss"].last[0]) for side in view.sides]

    assert levels(a, b) == [1.0, 2.0]
    assert levels(b, c) == [2.0, 3.0]
    assert levels(c) == [3.0]


def test_a_run_that_cannot_be_read_is_a_side_that_says_so(tmp_path):
    run = synthetic.Run(tmp_path).go(5)
    run.dir.run_json.write_text("{")
    view = view_of(Source("", run.dir.path), log_source("b", Chunk.of(loss=[1.0])))
    assert "not JSON" in view.sides[0].verdict
    assert "cannot be read: " in "\n".join(draw.draw_list(view, Look(), 100, 6, ASCII, framed=True).lines)


def test_a_million_steps_cost_no_more_memory_than_a_thousand(tmp_path):
    run = synthetic.Run(tmp_path, alive=False)
    log = LogWriter(run.dir.metrics, attempt=1, from_step=0, tensors=0)
    log.append([Row(step, float(step), dict.fromkeys(METRICS, 1.0)) for step in range(1, 40_000, 2)])
    log.close()
    side = view_of(Source("", run.dir.path)).sides[0]
    assert all(len(thin) <= COLUMNS for thin in side.columns.values())
    assert side.step == 39_999


def test_the_crosshair_reads_what_each_run_had_measured_there_and_nothing_where_it_had_ended():
    steps = np.arange(1, 101)
    long = log_source("long", Chunk.of(steps, loss=steps / 10.0))
    short = log_source("short", Chunk.of(steps[:50], loss=steps[:50] / 100.0))
    view = view_of(long, short, smooth=0)
    assert [draw.value_at(side, "loss", 50) for side in view.sides] == [5.0, 0.5]
    assert [draw.value_at(side, "loss", 51) for side in view.sides] == [5.1, None]
    assert draw.value_at(view.sides[0], "lr", 50) is None
    assert [draw.pointed_first(view, Look(focus=focus)) for focus in (None, 0, 1)] == [50, 100, 50]
    assert [row[:2] for row in draw.table_at(view, 51, 60)] == [("run", "loss"), ("long ", "5.10"), ("short", "–")]
    assert [len(row) for row in draw.table_at(view, 51, 12)] == [2, 2, 2]


def test_a_stretch_of_the_x_axis_has_labels_of_its_own_kind():
    seen = x_axis("time", 7200, Window(600, 4200))
    assert (seen.first, seen.last) == (600, 4200)
    assert [tick.label for tick in seen.ticks(40)] == ["20 min", "40 min", "60 min"]
    assert (seen.label(90), seen.label(3000), x_axis("tokens", 9e6).label(1.5e6)) == ("90 s", "50 min", "1.5M")


@pytest.mark.parametrize("framed", [False, True])
def test_the_run_in_front_is_in_sight_however_short_the_list_is(framed):
    view = view_of(*(log_source(f"run-{i}", Chunk.of(loss=[1.0, 2.0])) for i in range(8)))
    for focus in range(8):
        lines = draw.draw_list(view, Look(focus=focus), 60, 5, BRAILLE, framed=framed).lines
        assert next(line for line in lines if "▸" in line).split("▸")[1].split()[:2] == [LETTERS[focus], f"run-{focus}"]
        assert "loss" in lines[1]


def test_a_number_is_whole_or_left_out():
    view = view_of(*(log_source(f"run-{i}", Chunk.of(loss=[1.0, 1.8e308], val_loss=[2.0, 1.7e308])) for i in range(2)))
    for width in range(20, 80):
        said = "\n".join(draw.draw_list(view, Look(), width, 5, BRAILLE, framed=False).lines)
        assert not re.search(r"\d…", said), said
