"""The incidents of a run in the real program on a real terminal of the usual size."""

from __future__ import annotations

import re
import sys

import synthetic
from pty_terminal import Terminal, leaves_a_clean_terminal

from tuimon.record.rundir import runs_root


def test_incidents_can_be_read_with_their_curve_and_their_page_on_80_columns():
    run = synthetic.exploding(alive=False)
    argv = [sys.executable, "-m", "tuimon", "watch", run.dir.name]
    with Terminal(argv, 80, 24, {"TUIMON_RUNS": str(runs_root())}) as terminal:
        terminal.wait_for("Died")
        terminal.wait_for("i incidents")
        terminal.press("i")
        terminal.wait_for(lambda text: "▸" in text and "limit" in text and "enter go there" in text)
        terminal.press("\x1b[B")
        terminal.wait_for(lambda text: re.search("▸ [├└] ✖.*Exploding", text))
        terminal.wait_for("grad norm around step")
        for words in ("What to do", "exploding-gradients (T110)"):
            terminal.press("\x1b[6~")
            terminal.wait_for(words)
        terminal.press("i")
        terminal.wait_for("┃ ✝ Died")
        terminal.press("q")
        assert terminal.wait_for_exit() == 0
        assert leaves_a_clean_terminal(bytes(terminal.raw))
