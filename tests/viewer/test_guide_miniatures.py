"""The guide's curves: from real runs, small, showing what the text says of them, and calm while they are drawn."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from rich.cells import cell_len

from tuimon.demo.scenarios import SCENARIOS
from tuimon.viewer.glyphs import ASCII, BRAILLE
from tuimon.viewer.places.guide.content import chapters
from tuimon.viewer.places.guide.draw import Look, draw_list, draw_text, inside, shape, text_lines
from tuimon.viewer.places.guide.miniatures import HERE, MINIATURES, SECONDS, draw_curve, recording, share, spec

CURVES = [(name, curve) for name, curves in MINIATURES.items() for curve in curves]
each = pytest.mark.parametrize(("name", "curve"), CURVES, ids=[f"{name}: {curve.title}" for name, curve in CURVES])


def test_recordings_are_small_and_say_where_they_come_from():
    for path in HERE.iterdir():
        assert path.stat().st_size < 12_000
        command = json.loads(path.read_text(encoding="utf-8"))["command"].split()
        assert command[:2] == ["tuimon", "demo"]
        assert command[2] in SCENARIOS
    assert {path.stem for path in HERE.iterdir()} == {c.recording for _, c in CURVES if not c.recording.startswith("pattern ")}


def test_every_failure_and_pattern_has_a_miniature():
    for one in chapters():
        assert one.shows or one.slug == "glossary"


def test_the_curves_show_what_the_text_says():
    exploding, slow, vanishing = recording("exploding").series, recording("slow").series, recording("vanishing").series
    norm = exploding["grad_norm"].last
    assert np.median(norm[-20:]) > 10 * np.median(norm[50:150])
    assert 0.1 < np.median(vanishing["grad_norm"].last) < 10
    assert np.median(vanishing["grad_rms blocks.7"].last) > 1e5 * np.median(vanishing["grad_rms blocks.0"].last)
    assert np.median(slow["grad_param_ratio"].last) > 0.1      # "too high", says the notebook
    assert np.median(slow["update_ratio"].last) == pytest.approx(1.5e-7, rel=0.1)
    assert recording("from-start").series["loss"].bad[-1]
    rescue = recording("rescue")
    assert rescue.rollbacks
    assert rescue.series["loss"].last[-1] < 3


@each
def test_a_curve_grows_and_nothing_else_moves(name, curve):
    x_axes, y_axes, points = set(), set(), []
    for drawn in (0.0, 0.3, 0.7, 1.0):
        chart, x, y = spec(curve, drawn)
        x_axes.add(x)
        y_axes.add(y)
        points.append(sum(map(len, chart.series)))
    assert len(x_axes) == len(y_axes) == 1
    assert points == sorted(points)
    assert points[0] < points[1] < points[2] < points[3]


@each
def test_a_curve_is_drawn_at_any_size(name, curve):
    for width, height in ((20, 5), (46, 9), (72, 14)):
        for glyphs in (BRAILLE, ASCII):
            for drawn in (0.0, 0.01, 0.5, 1.0):
                lines = draw_curve(curve, drawn, width, height, glyphs).lines
                assert {cell_len(line) for line in lines} == {width}
                assert glyphs is BRAILLE or all(line.isascii() for line in lines)


def test_what_is_drawn_depends_on_the_time_that_has_passed_and_ends():
    assert [share(t) for t in (-1, 0, SECONDS / 2, SECONDS, 9e9)] == [0, 0, 0.5, 1, 1]


@pytest.mark.parametrize(("width", "height"), [(40, 8), (60, 22), (80, 22), (120, 38), (200, 58), (250, 68)])
def test_list_and_text_fit_every_screen(width, height):
    for at, one in enumerate(chapters()):
        look = Look(at)
        found = shape(width, height, look.charts)
        listed = (width, found.listed) if found.kind == "above" else (found.listed, height)
        lines = draw_list(look, *listed, BRAILLE).lines
        assert len(lines) == listed[1]
        assert not any("…" in line for line in lines)
        assert sum("▸" in line for line in lines) == 1
        columns = width if found.kind == "above" else width - found.listed - (found.curves if found.kind == "wide" else 0)
        rows = height - (found.listed if found.kind == "above" else 0) - (found.curves if found.kind != "wide" else 0)
        assert columns >= 40
        assert rows >= 5
        text = draw_text(look, columns, rows, BRAILLE).lines
        assert {cell_len(line) for line in text} == {columns}
        if columns >= 56:
            assert not any("…" in line for line in text)
        assert one.title[:12] in text[0]
        assert all(line.isascii() for line in [*draw_list(look, *listed, ASCII).lines, *draw_text(look, columns, rows, ASCII).lines])


def test_a_chapter_is_read_to_its_end_and_the_next_from_its_beginning():
    look = Look(1)
    lines = text_lines(look.chapter, 57, BRAILLE)
    _, rows = inside(57, 22)
    seen = []
    for _ in range(20):
        seen += [line.strip("│ ") for line in draw_text(look, 57, 22, BRAILLE).lines[1:-1]]
        look = look.read(rows - 1, len(lines), rows)
    assert len(set(seen)) >= len({"".join(span.text for span in line).strip() for line in lines})
    assert re.search(r"─ end ─╮$", draw_text(look, 57, 22, BRAILLE).lines[0])
    assert look.moved(1) == Look(2)
    assert Look(0).moved(-1) == Look(0)
    assert Look(len(chapters()) - 1).moved(1) == Look(len(chapters()) - 1)
