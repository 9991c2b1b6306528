"""The guide in the panel: chapters are chosen, read and drawn; curves stand when they have been drawn."""

from __future__ import annotations

import pytest
import synthetic
from test_app_overview import has_charts, panel

from tuimon.viewer.places.guide.miniatures import SECONDS
from tuimon.viewer.places.guide.screen import GuideScreen


@pytest.fixture
def clock(monkeypatch):
    """Time that passes when it is told to."""
    now = [0.0]
    monkeypatch.setattr(GuideScreen, "clock", staticmethod(lambda: now[0]))
    return now


async def test_chapters_are_chosen_read_and_tried():
    async with panel(synthetic.healthy(), (80, 24)) as p:
        await p.until("● Healthy")
        await p.pilot.press("g")
        await p.until(lambda t: "▸ Reading the panel" in t and "Look for one second" in t)
        await p.pilot.press("down")
        text = await p.until(lambda t: "▸ Exploding gradients" in t and "throws the weights away" in t)
        assert "grad norm" in text
        await p.pilot.press("pagedown")
        await p.until(lambda t: "throws the weights away" not in t and "largest stretch" in t)
        await p.pilot.press("t")
        await p.until("try it in another terminal: tuimon demo exploding")
        await p.pilot.resize_terminal(60, 20)
        await p.until(lambda t: "▸ Exploding gradients" in t and "╭─ Exploding gradients" in t)
        await p.pilot.resize_terminal(200, 60)
        await p.until(lambda t: "Treatments" in t and "loss · log" in t)
        await p.pilot.press("escape")
        await p.until("● Healthy")


async def test_curves_are_drawn_once_and_again_on_a_key(clock):
    async with panel(synthetic.healthy(), (120, 40)) as p:
        await p.until("● Healthy")
        await p.pilot.press("g")
        await p.until("▸ Reading the panel")
        ticking = p.app.screen._ticking
        clock[0] = SECONDS / 2
        half = await p.until(has_charts)
        clock[0] = SECONDS
        whole = await p.until(lambda t: t != half and "2.75" in t)   # the last loss of the recording
        clock[0] = 9 * SECONDS
        await p.until(lambda _: not ticking._active.is_set())   # paused: nothing is drawn any more
        assert p.text == whole
        await p.pilot.press("enter")
        await p.until(lambda t: "2.75" not in t)
        assert ticking._active.is_set()
