"""The loss analysis as pictures and words: law, forecast and band, changes, both verdicts, the target."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tuimon.diagnosis import axes
from tuimon.diagnosis.curve.forecast import reach
from tuimon.diagnosis.curve.model import Change
from tuimon.diagnosis.curve.patterns import pattern_of
from tuimon.diagnosis.curve.report import facts, judge_source
from tuimon.diagnosis.curve.sources import Source
from tuimon.diagnosis.notebook_curves import generate_example_patterns
from tuimon.diagnosis.wording import number
from tuimon.record.history import thin
from tuimon.viewer.charts.chart import VMark
from tuimon.viewer.charts.chart import draw as draw_chart
from tuimon.viewer.glyphs import ASCII, BRAILLE
from tuimon.viewer.lines import text_of
from tuimon.viewer.places.loss import draw
from tuimon.viewer.places.loss.model import LossView


def view(losses, *, total=None, val=None, target=None, last=None, **more) -> LossView:
    losses = np.asarray(losses, np.float64)
    steps = np.arange(1, len(losses) + 1)
    judged = judge_source(Source("loss", steps.astype(float), losses, total, val))
    if target is not None:
        judged = replace(judged, reach=reach(judged.reading.outlook, target))
    evaluations = None if val is None else thin(np.asarray(val[0], np.int64), np.asarray(val[1]), 0, len(steps), 512)
    return LossView(1, len(steps), len(steps), 0.0, float(last or len(steps)), current=f"{losses[-1]:.2f}",
                    target=target, judged=judged, pattern=pattern_of(judged.reading),
                    loss=thin(steps, losses, 0, len(steps), 512), validation=evaluations, **more)


def falling(count=600, noise=0.03, seed=0):
    return 2 + 4 * (np.arange(count) + 20.0) ** -0.4 + noise * np.random.default_rng(seed).standard_normal(count)


def chart(what, width=70, height=14, glyphs=ASCII, marks=(), **more):
    spec = draw.curve_spec(what, marks, log=what.log, **more)
    x = draw.x_of(what)
    y = axes.fit(None, spec.extent, x, log=spec.log, robust=spec.robust)
    return draw_chart(spec, width, height, x, y, glyphs), spec


def roles(picture, role):
    """Columns in which something has this role."""
    found = set()
    for row in picture.rows:
        at = 0
        for run in row:
            if run.role == role:
                found.update(range(at, at + len(run.text)))
            at += len(run.text)
    return found


def said(what, width=76):
    first, second = draw.boxes(what, width)
    return "\n".join(text_of(line).rstrip() for line in (*first.lines, (), *second.lines))


def test_the_forecast_goes_on_where_the_curve_ends_to_the_end_of_the_run_within_its_shaded_band():
    what = view(falling(), total=1200.0)
    assert draw.x_of(what).last == 1200
    picture, spec = chart(what)
    ahead, drawn = roles(picture, "data-4"), roles(picture, "data")
    assert min(ahead) > 33
    assert max(ahead) >= 66
    assert max(drawn | roles(picture, "data-3")) < min(ahead) + 2
    shaded = {x for row in picture.rows for x in _grounds(row)}
    assert shaded
    assert min(shaded) >= min(ahead) - 2
    low, middle, high = what.judged.reading.outlook.at([1200.0])
    np.testing.assert_allclose([spec.fans[0].low[-1], spec.series[-1].last[-1], spec.fans[0].high[-1]],
                               [low[0], middle[0], high[0]])


def _grounds(row):
    at = 0
    for run in row:
        if run.ground == "usual":
            yield from range(at, at + len(run.text))
        at += len(run.text)


def test_in_a_window_the_axis_is_the_windows():
    what = view(falling(), total=1200.0, is_whole=False)
    assert draw.x_of(what).last == 600


def test_the_law_lies_over_the_curve_and_its_legend_names_it():
    what = view(falling(), total=1200.0)
    picture, _ = chart(what)
    assert len(roles(picture, "data-3")) > 20
    words = "".join(words for words, _ in draw.legend(what, ASCII))
    assert any(name in words for name in ("power law", "exponential law"))
    assert "forecast, 80 % band" in words
    assert "validation" not in words
    assert "law" not in "".join(draw.draw_legend(what, 12, 1, ASCII).lines)


def test_a_jump_is_marked_where_it_is():
    losses = falling()
    losses[400:] -= 0.5
    what = view(losses)
    (change,) = what.judged.reading.changes
    _, spec = chart(what)
    assert [mark.step for mark in spec.marks] == [change.step]
    assert abs(change.step - 400) < 30
    assert "change" in "".join(words for words, _ in draw.legend(what, ASCII))
    assert "a jump of -0.5" in said(what)


def test_the_best_evaluation_has_a_diamond_of_its_own_and_the_words_say_best_and_gap():
    at = np.arange(30, 601, 30)
    what = view(falling(), val=(at.astype(float), falling()[at - 1] + 0.3))
    _, spec = chart(what, marks=(VMark(10, "onset"),))
    assert [(m.kind, m.step) for m in spec.marks][-1] == ("best", what.judged.reading.validation.best_step)
    assert "validation best" in said(what)
    assert "above training" in said(what)


def test_a_steep_start_does_not_flatten_what_is_read():
    losses = 2 + 9 * np.exp(-np.arange(800) / 12) + 0.03 * np.random.default_rng(0).standard_normal(800)
    what = view(losses)
    picture, spec = chart(what)
    assert spec.since > 1
    assert "as of" not in spec.title   # another title is another axis
    assert "the descent at its start is cut off" in spec.title
    assert picture.lines[1].count("^") > 0
    high = axes.fit(None, spec.extent, draw.x_of(what), log=False).high
    assert high < 3
    assert chart(replace(what, log=True))[1].since == -np.inf
    assert chart(view(falling()[100:]))[1].since == -np.inf


def test_both_verdicts_stand_side_by_side_with_where_they_differ_and_why():
    what = view(generate_example_patterns()["overfitting"], total=300.0)
    words = " ".join(said(what, 200).split())
    assert "tuimon ✖ It rises by" in words
    assert "notebook ● Strong improvement" in words
    assert "The notebook disagrees: it compares the first ten losses with the last ten" in words
    assert "pattern overfitting: it came down and rises again" in words
    assert "last ten against first ten 0.434 (above 0.2 strong improvement, 0.05 improving" in words


@pytest.mark.parametrize(("target", "words"), [
    (2.1, "2.10 in "), (0.5, "never reached as it goes"), (5.0, "5.00 is reached: the loss is"),
])
def test_the_time_to_a_target_is_told(target, words):
    what = view(falling(noise=0.01), total=6000.0, target=target)
    found = said(what, 200)
    assert words in found
    assert [level.word for level in chart(what)[1].levels] == [f"target {number(target)}"]
    if words.startswith("2.10"):
        middle = what.judged.reach.middle
        assert f"{round(middle):,} steps, at step {round(600 + middle):,}" in found
        assert "soonest" in found


def test_without_a_target_it_says_which_key_sets_one():
    assert "t sets a loss" in said(view(falling()))


def test_too_little_says_what_is_awaited():
    words = said(view(falling(10)))
    assert "Too early to judge: 10 points" in words
    assert "laws of descent: 24 points, there are 10" in words
    nothing = LossView(awaited="waiting for the first loss")
    assert "waiting for the first loss" in said(nothing)
    assert "waiting for the first loss" in "\n".join(chart(nothing)[0].lines)


def test_at_the_crosshair_the_title_has_the_value_there():
    spec = chart(view(falling()), cursor=123, readout=2.5)[1]
    assert spec.value == "2.50 at 123"
    assert chart(view(falling()), cursor=123)[1].value == "– at 123"


@pytest.mark.parametrize("width", [30, 42, 58, 76, 120])
def test_no_line_is_wider_than_its_box_and_labels_stand_in_a_column(width):
    first, second = draw.boxes(view(falling(), total=1200.0, target=1.5), width)
    for line in (*first.lines, *second.lines):
        assert len(text_of(line)) <= width
        assert text_of(line)[10:11] in {"", " "}


@pytest.mark.parametrize("size", [(40, 6), (58, 18), (118, 20), (10, 2)])
@pytest.mark.parametrize("glyphs", [ASCII, BRAILLE])
def test_every_size_is_filled_exactly_and_says_what_is_left(size, glyphs):
    box = draw.joined(draw.boxes(view(falling(), total=1200.0), draw.inside(*size)[0]))
    for top in (0, 5, 1000):
        drawn = draw.draw_box(box, top, *size, glyphs)
        assert (drawn.width, drawn.height) == size
        assert all(len(line) == size[0] for line in drawn.lines)
        if glyphs is ASCII:
            assert "".join(drawn.lines).isascii()
    if size[0] == 58:
        assert f"of {len(box.lines)} lines" in drawn.lines[0]


@pytest.mark.parametrize(("kind", "size", "says"), [
    ("knee", 107.6, "turning up from step 200 (+108 nats per 100 steps)"),
    ("knee", -1432.0, "steeper from step 200 (-1432 nats per 100 steps)"),
    ("jump", 0.0423, "a jump of +0.0423 at step 200"),
])
def test_a_change_is_written_as_every_other_number(kind, size, says):
    judged = view(falling()).judged
    changed = replace(judged.reading, changes=(Change(kind, 200.0, size, 9.0, 2.0),))
    assert ("changes", says) in facts(replace(judged, reading=changed))
