"""The real panel on a real terminal over runs that say what they should not: only its own vocabulary gets through."""

from __future__ import annotations

import sys

from hypothesis import given
from hypothesis import strategies as st
from pty_terminal import Terminal, leaves_a_clean_terminal

from tests.security.hostile_runs import hostile_run, unreadable_run
from tests.security.hostile_text import PAYLOADS, odd_characters, strangers
from tuimon.record.rundir import runs_root
from tuimon.viewer.arrange import paint
from tuimon.viewer.charts.picture import Canvas
from tuimon.viewer.glyphs import BRAILLE
from tuimon.viewer.lines import Span
from tuimon.viewer.palettes import PALETTES
from tuimon.viewer.screens.confirm import laid, styled
from tuimon.viewer.theme import Ink

HOSTILE = st.lists(st.one_of(st.text(max_size=6), st.sampled_from(sorted(PAYLOADS.values()))), max_size=4).map("".join)


@given(HOSTILE, st.integers(-5, 30))
def test_a_canvas_takes_nothing_that_is_not_seen(text, x):
    canvas = Canvas(30, 1)
    assert canvas.put(x, 0, text, "text") >= x
    assert odd_characters("".join(canvas.picture().lines)) == []


@given(HOSTILE, st.integers(1, 30))
def test_a_line_of_words_takes_nothing_that_is_not_seen(text, width):
    picture = paint([(Span(text), Span(text, "strong"))], width, 1, BRAILLE)
    assert odd_characters("".join(picture.lines)) == []


@given(HOSTILE)
def test_a_dialog_takes_nothing_that_is_not_seen(text):
    ink = Ink(PALETTES["dark"], "truecolor")
    assert odd_characters(styled((Span(text),), ink, BRAILLE).plain) == []
    assert laid((Span("1"), Span(text)), ink, BRAILLE) is not None


PASTED = "\x1b[200~Qq\u202e\x9d52;c;Pwned\x9c\x9b31m\u2066\u200b\u3164\x1b]52;c;Pwned\x07\x1bP+qPwned\x1b\\[/red]\x1b[201~"
ESCAPE, UP, END, HOME, DELETE = "\x1b", "\x1b[A", "\x1b[F", "\x1b[H", "\x1b[3~"
ROUND = (
    # keys, what is on the screen then, what is gone
    ("", "Held at step 183", ""), ("?", "emergency stop", ""), (ESCAPE, "", "emergency stop"),
    ("\x10", "what do you want", ""), (PASTED, "Qq", ""), (ESCAPE, "", "Qq"),
    ("r", "Rescue this run", ""), ("n", "", "Rescue this run"), ("c", "Write a checkpoint", ""), ("n", "", "Write a checkpoint"),
    ("k", "End this run", ""), ("n", "", "End this run"), ("[[[", "As it was at step", ""), (ESCAPE, "Held at step", ""),
    ("i", "could not look", ""), ("jj", "confidence", ""),
    ("l", "t  ▸gradient RMS", ""), ("j\r", "blocks.0 · gradient RMS", ""), (ESCAPE, "", "blocks.0 · gradient RMS"),
    ("p", "all parameters", ""), ("/", "\n filter", ""), (PASTED, "Qq", ""), ("\r", "0 tensors", ""),
    ("v", "Held at step", ""), ("a", "t target", ""), ("t", "when is the loss at", ""), (PASTED, "Qq", ""), (ESCAPE, "", "when is the loss at"),
    ("o", "1.0 MB in this line", ""), (HOME, "epoch", ""), ("#w", " 1 ▲ epoch", ""), ("/", "\n /", ""), (PASTED, "Qq", ""), ("\r", "", "\n /"),
    ("g", "Reading the panel", ""), ("m", "processes", ""), (",", "config.toml", ""),
    ("b", "cannot be read", ""), ("e", "\n name abch", ""), (PASTED + "\r", ": called abch", "\n name"), ("n", "\n note abch", ""), (PASTED + "\r", "", "\n note"),
    ("/", "\n /", ""), (PASTED, "Qq", ""), (ESCAPE, "", "\n /"), (END, "▸  abch", ""),
    (DELETE, "Delete", ""), ("n", "", "Delete"), (" ", "▸✓", ""), (HOME, "", ""), (" ", "", ""), ("d", "compare 2 runs", ""), ("d", "what differs", ""),
)


def test_no_place_of_the_panel_lets_anything_through(tmp_path):
    hostile_run(directory="other", end="crashed", alive=False)
    unreadable_run()
    hostile_run(directory="waiting", attached=False, alive=False)
    hostile_run()
    with Terminal([sys.executable, "-m", "tuimon", "watch"], 140, 44, {"TUIMON_RUNS": str(runs_root()), "XDG_CONFIG_HOME": str(tmp_path)}) as terminal:
        for keys, here, gone in ROUND:
            terminal.press(keys)
            terminal.wait_for(lambda text, here=here, gone=gone: here in text and not (gone and gone in text))
        terminal.press("q")
        assert terminal.wait_for_exit() == 0
        assert strangers(bytes(terminal.raw)) == []
        assert leaves_a_clean_terminal(bytes(terminal.raw))
