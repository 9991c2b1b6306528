"""Names of layers as people and libraries give them: long ones stay apart, foreign ones are drawn as far as can be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from layered import view
from read_run import layered as read_layers
from rich.cells import cell_len

from tuimon.diagnosis.axes import XAxis
from tuimon.diagnosis.model import Diagnosis, Incident
from tuimon.record.chunk import Chunk, TensorRows
from tuimon.record.history import History
from tuimon.record.tensors import TensorEntry, TensorTable
from tuimon.viewer.charts.heat import HeatSpec
from tuimon.viewer.charts.heat import draw as draw_strip
from tuimon.viewer.glyphs import ASCII, BRAILLE
from tuimon.viewer.layers import LayerStrip
from tuimon.viewer.places.layers import draw
from tuimon.viewer.places.layers.detail import LayersDetail
from tuimon.viewer.places.layers.look import Look, moved
from tuimon.viewer.places.layers.model import Ask
from tuimon.viewer.text import squeeze
from tuimon.viewer.wanted import Wanted

STEM = "base_model.model.model.vision_tower.vision_model.encoder.layers"
LONG = [f"{STEM}.{i}" for i in range(4)]
FOREIGN = ["層.0", "層.1", "Schicht.größe"]


def history(names: list[str], grads: list[float]) -> History:
    found = History(TensorTable(tuple(TensorEntry(f"{name}.weight", (4, 4), "torch.float32") for name in names)))
    count = 5
    rows = TensorRows(np.arange(1, count + 1), np.tile(np.float32(grads), (count, 1)),
                      np.full((count, len(names)), 1e-3, np.float32), np.ones((count, len(names)), np.bool_))
    found.extend(Chunk.of(np.arange(1, count + 1), loss=[2.0] * count, tensors=rows))
    return found


def test_the_worst_layer_is_named_with_its_own_number_however_long_its_name():
    log = history(LONG, [4.0, 8.0, 12.0, 16.0])
    strip = LayerStrip(log.table)
    strip.update(log)
    trouble = Incident("exploding-gradients", "T110", "gradients", "critical", "open", 2, 3, None, LONG[2], "high", "h", "w",
                       (), (), "exploding")
    words = strip.view(replace(Diagnosis.nothing(), incidents=(trouble,))).worst
    assert words.endswith("layers.2 3.00")


def test_the_cursor_goes_from_one_long_name_to_the_next_and_each_can_be_opened():
    log = history(LONG, [4.0, 8.0, 12.0, 16.0])
    read = read_layers(np.ones((5, 2)), layers=1)
    read.history = log
    detail = LayersDetail()
    shown = detail.update(read, Wanted(place="layers"), 0.0, 0.0)
    look = Look()
    for _ in range(3):
        look = moved(shown, look, 1, 8)
    assert look.layer == shown.layers[2]
    opened = detail.update(read, Wanted(place="layers", ask=Ask(layer=look.layer)), 0.0, 0.0).page
    assert opened is not None
    assert opened.index == 2
    assert opened.tensors.names == (f"{LONG[2]}.weight",)


@pytest.mark.parametrize("width", [60, 120])
def test_rows_of_long_names_can_be_told_apart(width):
    what = view(np.ones((6, 4)), names=LONG)
    lines = draw.draw_map(what, Look(layer=LONG[1]), (), width, 12, BRAILLE).lines
    assert next(line for line in lines if "▸" in line).split()[0].endswith(".1")
    spec = HeatSpec("layers", tuple(LONG), np.arange(1.0, 7.0), np.ones((6, 4)))
    assert all(f".{i} " in line for i, line in enumerate(draw_strip(spec, width, 6, XAxis(0, 10), BRAILLE).lines[1:5]))


def test_names_that_a_terminal_cannot_draw_are_drawn_in_its_own_signs():
    what = view(np.ones((6, 3)), names=FOREIGN)
    assert "".join(draw.draw_map(what, Look(layer="層.1"), (), 80, 12, ASCII).lines).isascii()
    spec = HeatSpec("layers", tuple(FOREIGN), np.arange(1.0, 7.0), np.ones((6, 3)), value="worst 層.1 3.0")
    assert "".join(draw_strip(spec, 80, 6, XAxis(0, 10), ASCII).lines).isascii()


@pytest.mark.parametrize("text", ["short", STEM, "漢字の名前の実行.層の名前.十一", "e\u0301" * 30])
@pytest.mark.parametrize("width", [0, 1, 2, 3, 8, 16, 40])
def test_a_name_that_is_squeezed_keeps_both_ends_and_never_takes_more_cells(text, width):
    found = squeeze(text, width)
    assert cell_len(found) <= width
    assert cell_len(text) > width or found == text
    assert width < 8 or (found[0], found[-1]) == (text[0], text[-1])
