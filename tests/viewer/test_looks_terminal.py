"""The real program on real terminals: light or dark by itself, no key lost, preferences kept."""

from __future__ import annotations

import os
import re
import sys
import time

import synthetic
from pty_terminal import Terminal, leaves_a_clean_terminal

from tuimon.record.rundir import runs_root
from tuimon.viewer.background import QUESTION
from tuimon.viewer.palettes import PALETTES

WHITE, FENCE = "\x1b]11;rgb:ffff/ffff/ffff\x07", "\x1b[?62;22c"


def ground(palette: str) -> bytes:
    """How a true colour terminal is told this theme's background."""
    red, green, blue = (int(PALETTES[palette].background[i:i + 2], 16) for i in (1, 3, 5))
    return f"48;2;{red};{green};{blue}".encode()


def watching(tmp_path, *flags: str, env: dict[str, str] | None = None) -> Terminal:
    run = synthetic.exploding(alive=False)
    argv = [sys.executable, "-m", "tuimon", "watch", run.dir.name, *flags]
    return Terminal(argv, 80, 24, {"TUIMON_RUNS": str(runs_root()), "XDG_CONFIG_HOME": str(tmp_path), "PYTHONPATH": os.getcwd(), **(env or {})})


def pump_until(terminal: Terminal, holds) -> None:
    deadline = time.monotonic() + 60
    while not holds(terminal.raw):
        assert terminal.pump(0.1)
        assert time.monotonic() < deadline, terminal.text


def test_a_white_terminal_gets_a_light_panel_and_what_was_typed_meanwhile(tmp_path):
    with watching(tmp_path) as terminal:
        pump_until(terminal, lambda raw: QUESTION in raw)
        terminal.press("i" + WHITE + FENCE)
        terminal.wait_for(lambda text: "enter go there" in text)   # i was pressed before there was a screen
        assert ground("light") in terminal.raw
        assert ground("dark") not in terminal.raw
        terminal.press("q")
        assert terminal.wait_for_exit() == 0
        assert leaves_a_clean_terminal(bytes(terminal.raw))


def test_a_late_answer_presses_no_key_and_what_is_chosen_is_kept(tmp_path):
    with watching(tmp_path) as terminal:
        terminal.wait_for("┃ ✝ Died")
        assert ground("dark") in terminal.raw
        terminal.press(WHITE[:9])
        terminal.press(WHITE[9:] + FENCE)
        pump_until(terminal, lambda raw: ground("light") in raw)
        terminal.press(",")
        terminal.wait_for("auto: light")
        terminal.press("\x1b[C" * 3)   # faster than the panel answers
        terminal.wait_for("< safe-dark >")
        pump_until(terminal, lambda raw: ground("safe-dark") in raw)
        terminal.press("q")
        assert terminal.wait_for_exit() == 0
    assert (tmp_path / "tuimon" / "config.toml").read_text().endswith('\ntheme = "safe-dark"\n')


def test_flags_are_heeded_and_no_color_sends_no_colour(tmp_path):
    with watching(tmp_path, "--ascii", "--no-mouse", env={"NO_COLOR": "1", "TUIMON_GLYPHS": "block", "TUIMON_THEME": "nord"}) as terminal:
        assert terminal.wait_for(lambda text: "| X Died" in text and "grad norm" in text).isascii()
        terminal.press("q")
        assert terminal.wait_for_exit() == 0
        assert b"\x1b[?1003h" not in terminal.raw
        codes = {code for sequence in re.findall(rb"\x1b\[([0-9;]+)m", terminal.raw) for code in sequence.split(b";")}
        assert codes <= {b"0", b"1", b"2", b"7", b"39", b"49"}
