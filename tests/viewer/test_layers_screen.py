"""The layers as a place of the panel: what keys do there, on a run that explodes and on one whose attention collapses."""

from __future__ import annotations

import re

import pytest
import synthetic
from test_app_overview import has_charts, panel

from tuimon.viewer.glyphs import ASCII
from tuimon.viewer.messages import ScrubTo

SIZES = [(80, 24), (200, 60)]


@pytest.mark.parametrize("size", SIZES)
async def test_l_shows_the_map_arrows_read_it_enter_opens_a_layer_and_esc_goes_back(size):
    async with panel(synthetic.exploding(), size) as p:
        await p.until("✖ Exploding gradients")
        await p.pilot.press("l")
        text = await p.until("worst head 379 ✖")
        for words in ("gradient", "update", "◌weight", "embed", "blocks.3", "██", "choose a layer", "not finite"):
            assert words in text
        await p.pilot.press("up", "down", "down", "down", "left", "left")
        text = await p.until(lambda t: "▸blocks.2" in t and "↑" in t)
        step = int(re.search(r"blocks\.2 · step (\d+) ·", text).group(1))
        assert step < 260
        await p.pilot.press("enter")
        text = await p.until(lambda t: "parameters of blocks.2" in t and has_charts(t))
        assert "blocks.2 · gradient RMS · log" in text
        assert text.index("blocks.2.mlp.weight") < text.index("blocks.2.attn.weight")   # worst first
        await p.pilot.press("escape")
        assert f"step {step} ·" in await p.until("▸blocks.2")
        await p.pilot.press("escape", "l")
        await p.until("┃ ✖ Exploding")


async def test_t_turns_to_what_probes_measured_and_to_what_is_not_there_with_the_reason():
    async with panel(synthetic.collapsing()) as p:
        await p.until("✖ Attention has collapsed")
        await p.pilot.press("l", "t", "t")
        await p.until("this run's log holds no norms of the weights per layer")
        await p.pilot.press("t", "t")
        text = await p.until("worst blocks.2 1,444 ✖")
        assert "100 (the softmax is nearly a choice of one)" in text
        await p.pilot.press("T")
        await p.until("no activation probe has measured it in this run")


async def test_p_lists_all_parameters_a_filter_narrows_them_while_it_is_typed_and_keys_are_letters_meanwhile():
    async with panel(synthetic.healthy(), glyphs=ASCII) as p:
        await p.until("Healthy")
        await p.pilot.press("l", "p")
        text = await p.until("10 tensors, 40,960 elements")
        assert text.isascii(), [c for c in text if not c.isascii()]
        await p.pilot.press("slash", *"q2 x", "backspace", "backspace", "backspace", "backspace", *"mlp 3")
        text = await p.until("1 tensor, ")
        assert "blocks.3.mlp.weight" in text
        await p.pilot.press("enter", "w")
        await p.until("worst first")
        await p.pilot.press("slash", *" attn")
        await p.until("0 tensors")
        await p.pilot.press("escape")
        await p.until("1 tensor, ")   # as it was before
        await p.pilot.press("escape")
        await p.until("layers - gradient RMS")


async def test_the_map_is_that_of_the_moment_and_of_the_steps_that_the_panel_shows():
    async with panel(synthetic.exploding()) as p:
        await p.until("✖ Exploding gradients")
        await p.pilot.press("l")
        await p.until("worst head 379")
        p.app.post_message(ScrubTo(150))
        text = await p.until(lambda t: "steps ago" in t and "worst" not in t)
        assert "█" not in text.split("usual", 1)[0]
        await p.pilot.press("escape", "z", "z")
        text = await p.until(lambda t: "worst head" in t and " 240 " in t and " 50 " not in t)
        await p.pilot.click("#map", offset=(60, 8))
        assert "·" in (await p.until("▸blocks.0")).split("blocks.0 · step ")[1]


async def test_zooming_goes_to_where_the_cursor_of_the_map_is():
    async with panel(synthetic.exploding()) as p:
        await p.until("✖ Exploding gradients")
        await p.pilot.press("l")
        await p.until("worst head 379 ✖")
        await p.pilot.press("down", *["shift+left"] * 8)
        text = await p.until(lambda t: re.search(r"embed · step \d+ ·", t) and "↑" in t)
        step = int(re.search(r"embed · step (\d+) ·", text).group(1))
        await p.pilot.press("z", "z")
        await p.until("0 all steps")
        first, last = p.app._span
        assert first <= step <= last < 200
