"""The map of the layers as a text picture: trouble is seen where it is, the cursor reads what the log has."""

from __future__ import annotations

import numpy as np
import pytest
from layered import calm, exploding, view

from tuimon.diagnosis.axes import XAxis
from tuimon.viewer.charts.chart import VMark
from tuimon.viewer.glyphs import ASCII, BRAILLE
from tuimon.viewer.lines import text_of
from tuimon.viewer.places.layers import draw, look, shades
from tuimon.viewer.places.layers.look import Look, moved, shown, timed
from tuimon.viewer.places.layers.quantities import QUANTITIES, QUANTITY, turned


def picture(what, how=Look(), width=60, height=12, glyphs=ASCII, marks=()):  # noqa: B008 - a frozen value
    return [line.rstrip() for line in draw.draw_map(what, how, marks, width, height, glyphs).lines]


def test_gradients_that_explode_with_depth_are_a_wedge_and_the_worst_is_named():
    found = picture(view(exploding(40, 4, since=20), before=21), Look(layer="blocks.2", at=30), 60, 6)
    assert found == [
        " layers - gradient RMS               worst blocks.3 0.759 X",
        " blocks.0  ...................................|............",
        " blocks.1  ...................................:::::::::::::",
        ">blocks.2  ..............................::::::++++++######",
        " blocks.3  ............................:::::+++#####@@@@@@@",
        "          0           10          20          ^30         40",
    ]


def test_a_healthy_map_is_all_usual_and_names_no_worst():
    found = picture(view(calm(40, 4)), height=6)
    assert found[0] == " layers - gradient RMS"
    assert {c for line in found[1:5] for c in line[11:].strip()} == {"."}


def test_not_measured_is_blank_and_not_finite_is_a_cross():
    values, seen = calm(40, 3), np.ones((40, 3), np.bool_)
    seen[:20, 1] = False
    values[30:, 2] = np.nan
    found = picture(view(values, seen=seen), height=5)
    assert found[2][11:34].strip(" ") == ""
    assert set(found[2][36:].strip()) == {"."}
    assert found[3].endswith("X" * 10)


@pytest.mark.parametrize(("quantity", "values", "glyphs"), [
    ("attention_logit", [8, 26, 60, 120, 2000], ".:+#@"),
    ("attention_entropy", [0.7, 0.29, 0.14, 0.04, 0.001], ".~-,_"),
    ("dead_units", [0.1, 0.31, 0.7, 0.95, 1.0], ".:+#@"),
])
def test_shares_and_logits_have_shades_of_their_own_whatever_is_usual(quantity, values, glyphs):
    what = view(np.tile(np.array(values), (30, 1)), quantity=quantity)
    found = picture(what, height=7)
    assert [line[11:].strip()[-1] for line in found[1:6]] == list(glyphs)
    said = "".join(words for words, _ in shades.legend(what.about, ASCII, wide=True))
    assert all(f"{glyph} " in said for glyph in glyphs)
    assert what.about.limit in said


def test_the_legend_of_a_relative_scale_says_how_many_times_a_shade_is():
    said = "".join(words for words, _ in shades.legend(QUANTITY["gradient"], ASCII, wide=True))
    assert said.startswith(". usual   : 3.2x  + 10x  # 32x  @ 180x above")
    for words in ("3.2x", "10x", "32x", "180x", "above", "below", "not finite"):
        assert words in said
    assert len("".join(words for words, _ in shades.legend(QUANTITY["gradient"], ASCII, wide=False))) < 79


def test_what_a_run_does_not_log_is_dim_in_the_menu_and_turning_to_it_says_why():
    what = view(calm(20, 2), offered=("gradient", "attention_logit"))
    line = draw.menu(what, 120)
    tones = {span.text.strip(" ▸◌"): span.tone for span in line}
    assert tones["gradient RMS"] == "strong"
    assert tones["attention logit"] == "plain"
    assert tones["weight RMS"] == tones["update ratio"] == "dim"
    assert turned("gradient", 1) == "update"
    assert turned("gradient", -1) == "dead_units"
    assert turned("dead_units", 1) == "gradient"
    assert len(text_of(draw.menu(what, 80))) <= 80
    assert all(q.needs for q in QUANTITIES)


def test_more_layers_than_rows_share_rows_and_the_worst_of_each_shows():
    values = calm(40, 1000)
    values[25:, 700] *= 1000
    what = view(values, before=21)
    found = picture(what, width=70, height=22)
    assert "1,000 in 20 rows" in found[0]
    rows = [line for line in found[1:-1] if "@" in line]
    assert len(rows) == 1
    assert "blocks.700" in rows[0]   # the first of its row
    assert "worst blocks.700" in found[0]


def test_unfolded_rows_scroll_with_the_cursor_and_stand_still_otherwise():
    what = view(calm(30, 100))
    how = Look(folded=False)
    assert "1–10 of 100" in picture(what, how, height=12, glyphs=BRAILLE)[0]
    for _ in range(15):
        how = moved(what, how, 1, 10)
    assert how.layer == "blocks.14"
    found = picture(what, how)
    assert "6-15 of 100" in found[0]
    assert found[10].startswith(">blocks.14")
    how = moved(what, how, -3, 10)
    assert "6-15 of 100" in picture(what, how)[0]   # the cursor moves, the rows do not
    assert moved(what, how, 1000, 10).layer == "blocks.99"
    assert moved(what, how, -1000, 10).layer == "blocks.0"


def test_the_filter_wants_all_words_and_says_what_is_left():
    names = [f"blocks.{i}.{part}" for i in range(6) for part in ("Attn", "mlp")]
    what = view(calm(30, 12), names=names)
    found = picture(what, Look(filter="attn 3"))
    assert "1 of 12" in found[0]
    assert [line.split()[0] for line in found[1:-1] if "blocks" in line] == ["blocks.3.Attn"]
    assert "no layer is called xyz" in "\n".join(picture(what, Look(filter="xyz")))


def test_worst_first_is_an_order_of_its_moment_and_stays_until_asked_anew():
    values = exploding(40, 6, since=20)
    what = view(values, before=21)
    how = Look().sorted(what)
    assert how.worst == ("blocks.5", "blocks.4", "blocks.3", "blocks.2", "blocks.1", "blocks.0")
    assert how.layer == "blocks.5"
    later = values.copy()
    later[-1, 0] *= 1e6
    assert shown(view(later, before=21), how, 10).order.tolist() == [5, 4, 3, 2, 1, 0]
    assert how.sorted(what).worst is None
    assert how.sorted(what).sorted(view(later, before=21)).worst[0] == "blocks.0"


def test_the_readout_says_the_value_that_the_log_has_at_that_layer_and_step():
    values = exploding(40, 5, since=20).astype(np.float32)
    what = view(values, steps=np.arange(40) * 10 + 10, before=201)
    for layer, step in ((2, 150), (4, 400), (0, 10)):
        said = text_of(draw.readout(what, Look(layer=f"blocks.{layer}", at=step), 10))
        row = step // 10 - 1
        assert f"blocks.{layer} · step {step} · {draw.number(float(values[row, layer]))}" in said
        assert "its usual" in said
    now = text_of(draw.readout(what, Look(layer="blocks.1"), 10))
    assert f"step 400 · {draw.number(float(values[-1, 1]))}" in now
    between = text_of(draw.readout(what, Look(layer="blocks.1", at=157), 10))
    assert "step 150" in between
    assert "choose a layer" in text_of(draw.readout(what, Look(), 10))


def test_the_time_cursor_goes_from_measured_cell_to_measured_cell_and_back_to_now():
    what = view(calm(10, 3), steps=np.arange(1, 11) * 100)
    x, how = draw.x_of(what), Look(layer="blocks.0")
    seen = []
    for _ in range(12):
        how = timed(what, how, -1, x, 80)
        seen.append(how.at)
    assert seen == [900, 800, 700, 600, 500, 400, 300, 200, 100, 100, 100, 100]
    assert timed(what, how, 3, x, 80).at == 400
    assert timed(what, how, 1 << 20, x, 80).at is None
    assert timed(what, Look(at=440), 0, x, 80).at == 500   # snaps to what was measured
    assert timed(what, Look(), 1, XAxis(5000, 6000), 80) == Look()   # nothing in view


def test_a_click_is_the_layer_and_the_step_under_it():
    what = view(calm(50, 4), steps=np.arange(1, 51))
    size = (60, 8)
    place = draw.area(draw.names_of(what, shown(what, Look(), draw.map_rows(*size)), ASCII), *size)
    how = draw.clicked(what, Look(), (place.left + place.width // 2, place.top + 2), size, ASCII)
    assert how.layer == "blocks.2"
    assert 24 <= how.at <= 27
    assert draw.clicked(what, how, (0, 0), size, ASCII) == how
    assert draw.clicked(what, how, (1, place.top), size, ASCII).layer == "blocks.0"


def test_marks_of_the_run_stand_behind_what_is_unusual():
    values = exploding(40, 3, since=20)
    found = picture(view(values, before=21), marks=(VMark(30, "onset"),), height=5)
    column = found[1].index(":")
    assert found[3][column] != ":"


def test_few_layers_take_several_lines_each():
    found = picture(view(calm(30, 3)), height=15)
    assert sum("....." in line for line in found) == 12
    assert [line.split()[0] for line in found[1:13] if "blocks" in line] == ["blocks.0", "blocks.1", "blocks.2"]
    assert found[13].split()[0] == "0", "the axis stands where the layers end"
    assert not found[14].strip()


@pytest.mark.parametrize("size", [(40, 8), (80, 20), (120, 36), (200, 56), (7, 3)])
@pytest.mark.parametrize("glyphs", [ASCII, BRAILLE])
def test_every_size_is_filled_exactly(size, glyphs):
    what = view(exploding(30, 48, since=20), before=21)
    for how in (Look(), Look(layer="blocks.40", at=12, folded=False), Look(filter="nothing")):
        drawn = draw.draw_map(what, how, (), *size, glyphs)
        assert (drawn.width, drawn.height) == size
        assert all(len(line) == size[0] for line in drawn.lines)
        if glyphs is ASCII:
            assert "".join(drawn.lines).isascii()


def test_worst_of_several_is_the_one_that_is_off_at_that_step():
    values = calm(40, 5)
    values[10, 1] *= 100
    values[30, 3] *= 100
    what = view(values, before=5)
    members = np.arange(5)
    assert look.worst_of(what, members, 11) == 1
    assert look.worst_of(what, members, 31) == 3


@pytest.mark.parametrize(("factor", "says"), [(17.2, "17x above its usual"), (1 / 54, "54x below its usual"), (1.0, "1.0x its usual")])
def test_the_readout_says_how_far_from_the_usual_in_the_words_of_the_legend(factor, says):
    values = np.full((40, 2), 1e-3, np.float32)
    values[-1, 0] *= factor
    assert says in text_of(draw.readout(view(values, before=21), Look(layer="blocks.0"), 10))


def test_a_layer_of_several_rows_that_is_below_its_usual_is_one_bar_and_no_stripes():
    values = np.full((40, 2), 1e-3, np.float32)
    values[30:, 0] /= 5
    drawn = {glyphs.name: [line[-3] for line in draw.draw_map(view(values, before=21), Look(), (), 60, 13, glyphs).lines]
             for glyphs in (BRAILLE, ASCII)}
    assert drawn["braille"][1:11] == [" ", " ", "▄", "█", "█", *"·····"]
    assert drawn["ascii"][1:11] == [*"~~~~~", *"....."]
