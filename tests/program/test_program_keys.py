"""Whatever keys come, in whatever order: nothing breaks, and the panel goes on following a live run."""

from __future__ import annotations

import random
import re
import sys

import pytest
from pty_terminal import Terminal, leaves_a_clean_terminal

from tuimon.record.rundir import runs_root

KEYS = [
    *"vilaogmb,", "?", "\x10", *"yntTzZHLfpPdDwWeN/+-0123456789[]{}<>#j.", "\x1b", "\x1b", "\x1b", "\t", "\x1b[Z", "\r",
    "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D", "\x1b[5~", "\x1b[6~", "\x1b[H", "\x1b[F", "\x1b[1;2C", "\x1b[1;2D", "\x7f",
    "\x1b[<0;20;10M\x1b[<0;20;10m", "\x1b[<64;40;12M", "\x1b[<65;40;12M", "\x1b[<0;70;3M\x1b[<32;60;3M\x1b[<0;60;3m",
]
"""All but those that end or hold the run, or leave: q, k, x, r, space, ctrl+z; where text is typed they are letters."""
STEP = re.compile(r"step ([\d,]+)")


def step(text: str) -> int:
    found = STEP.search(text)
    return int(found[1].replace(",", "")) if found else -1


@pytest.mark.parametrize(("seed", "count", "size", "demo"), [
    (0, 60, (120, 40), ("healthy",)),
    *(pytest.param(seed, 500, size, demo, marks=[pytest.mark.nightly, pytest.mark.timeout(1800)])
      for seed, (size, demo) in enumerate([
          ((80, 24), ("--all",)), ((120, 40), ("exploding",)), ((200, 60), ("--all",)), ((80, 24), ("vanishing", "--deep")),
          ((250, 70), ("nan",)), ((60, 15), ("exploding",))], 1)),
])
def test_after_keys_in_any_order_the_panel_follows_the_run(seed, count, size, demo, tmp_path):
    chance = random.Random(seed)
    env = {"TUIMON_RUNS": str(runs_root()), "XDG_CONFIG_HOME": str(tmp_path)}
    pressed: list[str] = []
    with Terminal([sys.executable, "-m", "tuimon", "demo", *demo, "--speed", "20", "--steps", "1000000"], *size, env, tmp_path) as terminal:
        terminal.wait_for(lambda text: step(text) > 0, 120)
        for _ in range(count):
            pressed.append(chance.choice(KEYS))
            terminal.press(pressed[-1])
            assert terminal.pump(chance.choice([0.0, 0.05, 0.3])), f"it has ended after {pressed}\n{terminal.text}"
        for _ in range(10):   # out of every layer, one at a time: two at once are one key to a terminal
            terminal.press("\x1b")
            terminal.pump(0.3)
        terminal.press("v")
        seen = step(terminal.wait_for(lambda text: step(text) > 0 and "LIVE" in text))
        terminal.wait_for(lambda text: step(text) > seen)
        terminal.press("q")
        terminal.wait_for("running")
        terminal.press("e")
        assert terminal.wait_for_exit() == 0
        assert leaves_a_clean_terminal(bytes(terminal.raw))
