"""Where there is little room: what goes, what stays, and that nothing is cut without saying so."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import synthetic
from test_app_overview import panel

from tuimon.viewer.arrange import badges, paint, too_small
from tuimon.viewer.first import empty_frame
from tuimon.viewer.glyphs import BRAILLE
from tuimon.viewer.lines import Span, text_of
from tuimon.viewer.views import BadgeView, Frame

STATES = (("LOSS", "diverging", "✖", "critical"), ("GRADIENTS", "exploding", "✖", "critical"),
          ("UPDATES", "schedule", "▲", "warning"), ("NUMERICS", "ok", "●", "ok"), ("LAYERS", "ok", "●", "ok"),
          ("VALIDATION", "–", "◌", "dim"), ("SPEED", "ok", "●", "ok"), ("ACTIVATIONS", "dead", "◆", "info"))


def eight() -> Frame:
    """A run with something to say in every category."""
    views = tuple(BadgeView(label, word, glyph, tone) for label, word, glyph, tone in STATES)  # type: ignore[arg-type]  # literals
    return replace(empty_frame("run", "nothing"), badges=views)


@pytest.mark.parametrize(("width", "says"), [
    (120, "✖ LOSS diverging ✖ GRADIENTS exploding ▲ UPDATES schedule ● NUMERICS"),
    (100, "✖ LOSS  ✖ GRADIENTS  ▲ UPDATES  ● NUMERICS  ● LAYERS  ◌ VALIDATION  ● SPEED  ◆ ACTIVATIONS"),
    (80, "✖ LOSS  ✖ GRADS  ▲ UPDATES  ● NUMERICS  ● LAYERS  ◌ VALID  ● SPEED  ◆ ACTIV"),
    (60, "✖ LOSS ✖ GRAD ▲ UPD ● NUM ● LAY ◌ VAL ● SPD ◆ ACT"),
    (40, "✖ LOSS ✖ GRAD ▲ UPD ◆ ACT ● 3 ok ◌ 1 –"),
])
def test_badges_lose_calm_words_first_and_never_half_a_word(width, says):
    text = text_of(badges(eight(), width, 1)[0])
    assert says in text
    assert len(text) <= width


@pytest.mark.parametrize(("width", "says"), [(6, "ab cd…"), (5, "ab c…"), (8, "ab cd ef"), (9, "ab cd ef ")])
def test_a_line_that_is_cut_at_the_end_of_a_span_says_so(width, says):
    line = (Span("ab "), Span("cd "), Span("ef "))
    (row,) = paint([line], width, 1, BRAILLE).rows
    assert "".join(run.text for run in row) == says


@pytest.mark.parametrize("size", [(40, 10), (40, 11), (60, 10), (80, 15), (40, 22)])
async def test_the_keys_stand_at_the_bottom_of_the_smallest_screens(size):
    async with panel(synthetic.exploding(), size) as p:
        await p.until("Exploding")
        await p.until(lambda text: "q quit" in text.splitlines()[-1])


@pytest.mark.parametrize("panels", [("1", "2", "3", "4"), ("1", "2", "3", "4", "7")])
async def test_the_keys_stay_where_every_chart_is_hidden(panels):
    async with panel(synthetic.exploding()) as p:
        await p.until("grad norm · log")
        await p.pilot.press(*panels)
        await p.until(lambda text: "grad norm ·" not in text and "q quit" in text.splitlines()[-1])


@pytest.mark.parametrize("width", [20, 30, 39])
def test_what_is_too_small_says_how_much_is_needed(width):
    text = " ".join(text_of(line).strip() for line in too_small(eight(), width, 8))
    assert "40x10 is needed" in text
    assert all(len(text_of(line)) <= width for line in too_small(eight(), width, 8))


@pytest.mark.parametrize("size", [(80, 24), (100, 30), (60, 22)])
async def test_the_chart_of_a_small_screen_reaches_from_edge_to_edge(size):
    async with panel(synthetic.exploding(), size) as p:
        await p.until("blocks.3")
        (top,) = [line for line in (await p.until("grad norm · log")).splitlines() if "╭─ grad norm" in line]
        assert top.startswith("╭") and top.endswith("╮")
        assert len(top) == size[0]
        assert re.search(r"^ (embed|blocks)", p.text, re.MULTILINE)   # the strip keeps its margin
