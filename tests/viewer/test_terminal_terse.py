"""Fewer bytes, the same screen."""

from __future__ import annotations

from types import SimpleNamespace

import pyte
from hypothesis import given
from hypothesis import strategies as st

from tuimon.viewer.terminal import terse_driver
from tuimon.viewer.terse import terse

COLOURS = st.sampled_from(["31", "97", "38;5;214", "38;2;147;205;243", "38;2;52;59;67"])
GROUNDS = st.sampled_from(["", "41", "48;2;15;19;23", "48;2;19;33;29", "48;5;236"])
ATTRIBUTES = st.sampled_from(["", "1", "2", "1;4", "7"])
STYLES = st.tuples(ATTRIBUTES, COLOURS, GROUNDS).map(lambda parts: ";".join(part for part in parts if part))
TEXTS = st.sampled_from([" ", "    ", "ab", "⣀⡠", "x y", "─"])
PIECES = st.one_of(
    st.tuples(STYLES, TEXTS).map(lambda p: f"\x1b[{p[0]}m{p[1]}\x1b[0m"), TEXTS,
    st.tuples(st.integers(1, 4), st.integers(1, 20)).map(lambda at: f"\x1b[{at[0]};{at[1]}H"),
    st.sampled_from(["\r\n", "\x1b[K", "\x1b[2J", "\x1b[m", "\x1b[?25l"]), STYLES.map(lambda style: f"\x1b[{style}m"),
)
WRITES = st.lists(st.lists(PIECES, max_size=12).map("".join), max_size=4)


def cells(writes):
    """What a terminal shows: text and colours of every cell; of a blank only what can be seen."""
    screen = pyte.Screen(24, 4)
    stream = pyte.Stream(screen)
    for write in writes:
        stream.feed(write)
        stream.feed("\x1b[0m")
    return [
        [(c.data, c.bg, c.underscore, c.reverse, *(() if c.data == " " and not c.reverse and not c.underscore else (c.fg, c.bold)))
         for c in (screen.buffer[y][x] for x in range(24))] for y in range(4)
    ]


@given(WRITES)
def test_every_cell_looks_the_same(writes):
    assert cells([terse(write) for write in writes]) == cells(writes)


def test_a_colour_is_said_once_and_the_ground_is_not_repeated():
    ground = "48;2;15;19;23"
    one, other = f"\x1b[38;2;1;2;3;{ground}m", f"\x1b[38;2;4;5;6;{ground}m"
    assert terse(f"{one}ab\x1b[0m{other} \x1b[0m{one}cd\x1b[0m{other}ef\x1b[0m") == f"{one}ab cd\x1b[38;2;4;5;6mef\x1b[0m"


def test_a_write_without_colours_is_left_alone():
    assert terse("\x1b[?2026h\x1b[1;1Hplain") == "\x1b[?2026h\x1b[1;1Hplain"


def test_an_update_goes_out_with_its_marks_in_one_write():
    """Each write wakes the thread that writes."""
    sent = []
    kind = terse_driver({})
    driver = kind.__new__(kind)
    driver._writer_thread = SimpleNamespace(write=sent.append)
    for data in ("\x07", "\x1b[?2026h", "\x1b[31mred\x1b[0m", "\x1b[?2026l", "\x1b[?2026h", "\x1b[?2026l", "plain"):
        driver.write(data)
    assert sent == ["\x07", "\x1b[?2026h\x1b[31mred\x1b[0m\x1b[?2026l", "\x1b[?2026h\x1b[?2026l", "plain"]


@given(WRITES)
def test_nothing_grows(writes):
    for write in writes:
        closed = f"{write}\x1b[0m"   # as Textual leaves every segment
        assert len(terse(closed)) <= len(closed) + 2 * closed.count("m")
