"""The loss analysis as a place of the panel: curve, words, a target that is typed in."""

from __future__ import annotations

import pytest
import synthetic
from test_app_overview import has_charts, panel

SIZES = [(80, 24), (120, 40), (200, 60)]


@pytest.mark.parametrize("size", SIZES)
async def test_a_shows_the_curve_with_its_law_and_forecast_and_both_readings(size):
    async with panel(synthetic.healthy(320), size) as p:
        await p.until("● Healthy")
        await p.pilot.press("a")
        text = await p.until(lambda t: has_charts(t) and "as of step 320" in t)
        for words in ("tuimon", "notebook", "Strong improvement", "exponential law", "validation", "what both say"):
            assert words in text
        assert size[0] < 100 or "forecast, 80 % band" in text
        seen = text
        for _ in range(8):
            await p.pilot.press("pagedown")
            seen += p.text
        for words in ("forecast", "at step 600", "tau 4", "noise", "plateau", "swings"):
            assert words in seen
        await p.pilot.press("escape")
        await p.until("┃ ● Healthy")


async def test_a_target_that_is_typed_is_answered_and_nonsense_is_refused():
    async with panel(synthetic.healthy(320)) as p:
        await p.until("● Healthy")
        await p.pilot.press("a")
        await p.until("t sets a loss")
        await p.pilot.press("t", *"soon", "enter")
        await p.until("soon is no loss")
        await p.pilot.press("t", *"1.9", "enter")
        await p.until("1.90")
        await p.pilot.press("escape")
        await p.until("t sets a loss")
        await p.pilot.press("y")
        await p.until("loss · log")


async def test_without_a_loss_it_says_what_is_awaited():
    async with panel(synthetic.Run()) as p:
        await p.pilot.press("a")
        await p.until("waiting for the first loss")
