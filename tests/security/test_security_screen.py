"""The real panel on a real terminal over runs that say what they should not: only its own vocabulary gets through."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pty_terminal import Terminal, leaves_a_clean_terminal

from tests.security.hostile_runs import foreign_logs, hostile_run, unreadable_run
from tests.security.hostile_text import NASTY, PAYLOADS, TOKEN, odd_characters, strangers
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


PASTED = f"\x1b[200~{NASTY}\x1b[201~"

ROUND = (
    ("", "held"),
    ("?", "emergency stop"), ("\x1b", "loss"), ("\x10", "what do you want"), (PASTED, "abc"), ("\x1b", "loss"),
    ("r", "leave it alone"), ("n", "loss"), ("c", "leave it alone"), ("n", "loss"), ("k", "leave it alone"), ("n", "loss"),
    ("[[[", "step"), ("{{", "step"), ("\x1b", "held"),
    ("i", "incidents"), ("jj\x1b[6~", "incidents"), ("v", "loss"),
    ("l", "layers"), ("j\r", "tensors"), ("\x1b", "layers"), ("p", "parameters"), ("/", "filter"), (PASTED, "abc"), ("\r", "layers"), ("v", "loss"),
    ("a", "loss"), ("t", "loss"), (PASTED, "abc"), ("\x1b", "loss"), ("v", "held"),
    ("o", "console"), ("\x1b[H", "epoch"), ("w#", "epoch"), ("/", "search"), (PASTED, "abc"), ("\r", "console"), ("v", "held"),
    ("g", "chapter"), ("v", "held"), ("m", "process"), ("v", "held"), (",", "theme"), ("v", "held"),
    ("b", "runs"), ("j", "runs"), ("e", "name"), (PASTED, "abc"), ("\r", "called"), ("n", "note"), (PASTED, "abc"), ("\r", "saved"),
    ("/", "filter"), (PASTED, "abc"), ("\x1b", "runs"), ("\x1b[F \x1b[A \x1b[Ad", "compare"), ("d", "differ"), ("\x1b\x1b", "runs"),
)


def test_no_place_of_the_panel_lets_anything_through(tmp_path):
    hostile_run(directory="other", end="crashed", alive=False)
    unreadable_run()
    hostile_run(directory="waiting", attached=False, alive=False)
    hostile_run()
    with Terminal([sys.executable, "-m", "tuimon", "watch"], 140, 44, {"TUIMON_RUNS": str(runs_root()), "XDG_CONFIG_HOME": str(tmp_path)}, cwd=tmp_path) as terminal:
        for keys, seen in ROUND:
            terminal.press(keys)
            try:
                terminal.wait_for(seen, 8)
            except AssertionError as error:
                print("KEYS", repr(keys), str(error)[-6000:])
        terminal.press("q")
        assert terminal.wait_for_exit() == 0
        assert strangers(bytes(terminal.raw)) == []
        assert TOKEN.encode() not in b"".join(terminal.raw.split(b"\x1b]")[1:])
        assert leaves_a_clean_terminal(bytes(terminal.raw))
