"""A console line is what a terminal would have shown of it, and never anything that a terminal would obey."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tuimon.viewer.glyphs import ASCII, BRAILLE
from tuimon.viewer.places.console.draw import draw
from tuimon.viewer.places.console.line import LIMIT, mood, show, shown
from tuimon.viewer.places.console.model import ConsoleView, Look


@pytest.mark.parametrize(("printed", "seen"), [
    ("plain", "plain"),
    ("\r 10%|#  |\r 20%|## |", " 20%|## |"),
    ("\r 99%|####|\rdone", "done|####|"),                       # a terminal leaves what was not written over
    ("\r 99%|####|\r\x1b[Kdone", "done"),
    ("\r 10%|█▏  |\r 20%|██  |\r\n", " 20%|██  |"),
    ("windows\r", "windows"),
    ("N\bNA\bAME", "NAME"),
    ("a\tb", "a       b"),
    ("\x1b[1;31mred\x1b[0m and \x1b[38;5;200mpink\x1b[m", "red and pink"),
    ("\x1b]0;a title\x07shown", "shown"),
    ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
    ("\x1b[2J\x1b[Hcleared", "cleared"),
    ("gone\x1b[2K\rnew", "new"),
    ("half\x1b[1K", ""),
    ("half\x1b[2D\x1b[1Kway", "  way"),
    ("\x1b[5Cfive\x1b[3Dx", "     fxve"),
    ("a\x1b[9999999999Cfar\rb", "b"),
    ("漢字\ra", "a 字"),
    ("漢字\b\bx", "漢x"),
    ("e\u0301\u0301\u0301\u0301\u0301\u0301", "e" + 4 * "\u0301"),
    ("user\u202egnp.exe", "usergnp.exe"),
    ("inner 4%\x1b[A\router 20%", "outer 20%"),
    ("\x9b31mred", "red"),
    ("bell\a and null\0", "bell and null"),
])
def test_a_line_is_what_a_terminal_would_have_shown(printed, seen):
    assert shown(printed) == seen


def test_nested_progress_bars_stand_one_below_the_other():
    file = "\router 0%\n\rinner 50%\x1b[A\n\rinner 99%\x1b[A\router 10%\n\rinner 50%\x1b[A"
    assert [shown(line) for line in file.split("\n")] == ["outer 0%", "inner 50%", "outer 10%", "inner 50%"]
    assert shown("\r\x1b[2K\x1b[1A\x1b[2Klive table") == "live table"


SPICES = st.sampled_from(["\x1b[", "\x1b]", "\x9b", "\x9d", "\r", "\b", "\t", "\x1b[A", "\x1b[2K", "\x1b[5C", "\x1b[4D", "\u202e", "漢",
                          "\u0301", "\x85", "\u2028", "\x07", "\x1b\\", "\ue000", "\ufe0f", "\U0001f469\u200d\U0001f4bb"])


@given(st.lists(st.one_of(st.text(max_size=8), SPICES), max_size=30).map("".join), st.binary(max_size=40))
@example("\x1b[31", b"\xff\xfe")
@example("漢\b\x1b[1K\r\u0301", b"")
def test_no_control_character_is_drawn_whatever_was_printed(text, tail):
    raw = text.replace("\n", " ").encode("utf-8", "surrogatepass") + tail.replace(b"\n", b" ")
    line = show(raw, len(raw))
    assert not {unicodedata.category(c) for c in line.text} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    view = ConsoleView("ready", 1, len(raw), 0, (line,))
    for glyphs in (BRAILLE, ASCII):
        rows = draw(view, Look(numbers=True, pattern="a"), 30, 14, glyphs).lines
        assert not {unicodedata.category(c) for row in rows for c in row} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
        assert glyphs is BRAILLE or all(row.isascii() for row in rows)


def test_a_long_line_ends_with_how_long_it_is():
    line = show(b"x" * 60_000, 2_000_000)
    assert len(line.text) == LIMIT
    assert line.cut == "2.0 MB in this line"
    assert show(b"short", 5).cut == ""


@pytest.mark.parametrize(("text", "kind"), [
    ("Traceback (most recent call last):", "critical"),
    ("ValueError: bad shape", "critical"),
    ("torch.OutOfMemoryError: CUDA out of memory.", "critical"),
    ("[ERROR] worker 3 has died", "critical"),
    ("Segmentation fault (core dumped)", "critical"),
    ("train.py:3: UserWarning: lr is 0", "warning"),
    ("WARNING:root:slow", "warning"),
    ("step 3 loss nan", "warning"),
    ("step 3 loss 2.1 error: 0.12", "plain"),
    ("done, 0 errors, no warnings", "plain"),
    ("information about infinity", "plain"),
    ("mirror terror", "plain"),
])
def test_lines_are_toned_by_words_that_a_person_would_look_for(text, kind):
    assert mood(text) == kind
