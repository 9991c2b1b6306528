"""The place System in the panel: this very process is the training that is looked at."""

from __future__ import annotations

import os
import threading

import synthetic
from test_app_overview import panel


def watches():
    return [thread for thread in threading.enumerate() if thread.name == "tuimon-machine"]


async def test_m_shows_the_machine_its_digits_turn_panels_and_esc_goes_back():
    async with panel(synthetic.healthy()) as p:
        await p.until("● Healthy")
        assert not watches()   # nothing is sampled before somebody looks
        await p.pilot.press("m")
        text = await p.until(lambda t: f"pid {os.getpid()}" in t and "5 step time" in t and "training" in t)
        for word in ("1 cpu", "2 memory", "3 disk and network", "7 processes", "whole step", "1-7 panels", "q quit"):
            assert word in text
        await p.pilot.press("1", "t", "down")
        text = await p.until(lambda t: "1 cpu" not in t and "7 processes by cpu" in t)
        await p.pilot.press("1")
        await p.pilot.resize_terminal(80, 24)
        await p.until(lambda t: " cpu " in t and "5 step time" in t and "q quit" in t and max(map(len, t.splitlines())) == 80)
        await p.pilot.press("escape")
        await p.until("● Healthy")
        assert len(watches()) == 1   # looks on, less often: coming back finds the minutes in between
    for thread in watches():
        thread.join(10)
    assert not watches()
