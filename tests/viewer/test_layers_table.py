"""The table of parameters: what is furthest from its usual first, names by their ends, totals, frozen tensors."""

from __future__ import annotations

import numpy as np
import pytest
from layered import tensors

from tuimon.viewer.glyphs import ASCII
from tuimon.viewer.places.layers.table import Reading, amount, draw_table, ordered, ratios, rows_for

NAMES = ("embed.weight", "blocks.0.attn.weight", "blocks.0.mlp.weight", "head.weight")


def table(**more):
    return tensors(NAMES, [1.0, 40.0, 0.001, 2.0], [1.0, 1.0, 1.0, 1.9], **more)


def lines(what, how=Reading(), width=100, height=8):  # noqa: B008 - a frozen value
    return [line.rstrip() for line in draw_table(what, how, "all parameters", width, height, ASCII).lines]


def test_a_row_has_the_name_the_sizes_the_gradient_now_and_usual_and_the_update():
    found = lines(table(), width=110)
    assert "all parameters" in found[0]
    assert "4 tensors, 64 elements - at step 100" in found[0]
    assert found[1].split() == ["|", "parameter", "shape", "type", "elements", "|grad|", "usual", "x", "usual", "update", "|"]
    assert found[3].split() == [
        "|", "blocks.0.attn.weight", "4", "x", "4", "float32", "16", "40.0", "1.00", "40x", "0.00100", "|"]


def test_the_weights_norms_stand_in_a_wide_table_where_the_log_has_them():
    said = lines(table(weights=2.5), width=124)
    assert said[1].split()[-3:] == ["update", "|weight|", "|"]
    assert said[2].split()[-2:] == ["2.50", "|"]
    assert "NaN" in lines(table(weights=float("nan")), width=124)[2]   # measured, and none
    assert all("weight|" not in lines(what, width=width)[1] for what, width in ((table(), 124), (table(weights=2.5), 110)))


def test_worst_first_counts_both_directions_and_puts_what_is_not_finite_before_all():
    assert [NAMES[i] for i in ordered(table(), Reading(worst=True))] == [
        "blocks.0.mlp.weight", "blocks.0.attn.weight", "head.weight", "embed.weight"]
    broken = tensors(NAMES, [1.0, 40.0, 0.001, np.nan], [1.0, 1.0, 1.0, 1.9])
    assert ordered(broken, Reading(worst=True))[0] == 3
    assert np.isinf(ratios(broken)[3])
    unseen = tensors(NAMES, [1.0, np.nan, 0.001, 2.0], [1.0, 1.0, 1.0, 1.9], seen=[True, False, True, True])
    assert ordered(unseen, Reading(worst=True))[-1] == 1
    assert ordered(table(), Reading()).tolist() == [0, 1, 2, 3]


def test_a_tensor_without_gradient_shows_a_dash_and_one_that_is_nan_says_so():
    what = tensors(NAMES, [1.0, np.nan, np.inf, np.nan], [1, 1, 1, 1], seen=[True, True, True, False])
    cells = [line.split() for line in lines(what, width=110)[2:6]]
    assert "NaN" in cells[1]
    assert "inf" in cells[2]
    assert cells[3][7] == "-"


def test_frozen_tensors_are_told_and_counted():
    found = lines(table(trained=[True, False, True, True]), width=110)
    assert "64 elements, 48 of them trained" in found[0]
    assert [("frozen" in line) for line in found[2:6]] == [False, True, False, False]
    assert not any("frozen" in line for line in lines(table()))


def test_the_filter_leaves_and_counts_what_fits_it():
    found = lines(table(), Reading(filter="blocks MLP"))
    assert "1 tensor," in found[0]
    assert "/blocks MLP" in found[0]
    assert "blocks.0.mlp.weight" in found[2]


def test_long_names_keep_both_ends_and_long_tables_their_place():
    names = [f"layers.{i}.a_very_long_module_name.that_goes_on.weight" for i in range(50)]
    what = tensors(names, np.ones(50), np.ones(50))
    found = lines(what, width=60, height=10)
    assert all(line.split()[1].startswith(f"layers.{i}.a") and line.split()[1].endswith("weight")
               for i, line in enumerate(found[2:9]))
    rows = rows_for(60, 10)
    how = Reading().read(1000, 50, rows)
    assert how.top == 50 - rows
    assert "layers.49." in lines(what, how, width=110, height=10)[-2]
    assert how.read(-1000, 50, rows).top == 0


def test_scrolling_moves_rows_that_were_drawn_and_another_table_has_its_own():
    names = [f"layers.{i}.weight" for i in range(50)]
    what, other = (tensors(names, np.full(50, grad), np.ones(50)) for grad in (1.0, 2.0))
    here, below = (draw_table(what, Reading(top=top), "", 110, 20, ASCII).rows for top in (0, 1))
    assert all(above is row for above, row in zip(here[3:19], below[2:18], strict=True))
    assert ["2.00" in line for line in lines(other, width=110, height=20)[2:19]] == [True] * 17
    assert all("1.00" in line for line in lines(what, width=110, height=20)[2:19])


@pytest.mark.parametrize(("count", "words"), [
    (812, "812"), (4_096, "4,096"), (131_072, "131k"), (999_700, "1M"), (38_597_376, "38.6M"), (1_200_000_000, "1.2B"),
    (2_000_000_000_000, "2T"),
])
def test_amounts_are_short(count, words):
    assert amount(count) == words


@pytest.mark.parametrize("size", [(40, 5), (80, 24), (120, 40), (200, 60), (10, 2)])
def test_every_size_is_filled_exactly(size):
    drawn = draw_table(table(trained=[True, False, True, True]), Reading(), "all parameters", *size, ASCII)
    assert (drawn.width, drawn.height) == size
    assert all(len(line) == size[0] for line in drawn.lines)
    assert "".join(drawn.lines).isascii()


@pytest.mark.parametrize(("ratio", "says"), [(17.2, "17x"), (1.42, "1.4x"), (0.31, "0.3x"), (0.0967, "1/10"), (0.0171, "1/58"), (1.1e-5, "1/9.1e4"), (0.0, "0x")])
def test_how_far_a_tensor_is_from_its_usual_reads_as_a_factor(ratio, says):
    assert says in lines(tensors(NAMES[:1], [ratio], [1.0]), width=110)[2].split()
