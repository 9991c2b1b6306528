"""The terminal is asked for its background: whatever it answers, nothing is lost that somebody types."""

from __future__ import annotations

import os
import select
import sys
import termios
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.viewer import background as b
from tuimon.viewer.terminal import _sieving

FENCE = "\x1b[?62;22c"
WHITE, BLACK = "\x1b]11;rgb:ffff/fbfb/f7f7\x07", "\x1b]11;rgb:0f/13/17\x1b\\"
KEYS = st.text(st.sampled_from("qrx1 é\r\t?"), max_size=6)


@pytest.mark.parametrize(("answer", "colour"), [
    ("rgb:ffff/0000/8080", (1.0, 0.0, 0x8080 / 0xffff)), ("rgb:f/0/8", (1.0, 0.0, 8 / 15)), ("rgba:ff/00/80/cc", (1.0, 0.0, 128 / 255)),
    ("#FF0080", (1.0, 0.0, 128 / 255)), ("rgb:fffff/0/0", None), ("?", None), ("", None), ("rgb:ff/ff", None), ("rgb:gg/00/00", None),
])
def test_a_colour_is_read_in_every_form_that_terminals_use(answer, colour):
    assert b.colour_of(answer) == colour


@pytest.mark.parametrize(("value", "dark"), [("15;0", True), ("0;15", False), ("0;default;7", False), ("12;8", True), ("", None), ("a;b", None), ("0;99", None), ("0;default", None)])
def test_colorfgbg_is_a_guess(value, dark):
    assert b.guess({"COLORFGBG": value}) is dark


@given(KEYS, KEYS, KEYS, st.sampled_from([WHITE, BLACK, "\x1b]11;nonsense\x07", ""]), st.lists(st.integers(1, 6)), KEYS)
def test_whatever_is_typed_around_the_answers_comes_through_in_order(before, between, after, answer, cuts, later):
    data, sieve, typed = before + answer + between + FENCE + after, b.Sieve(), ""
    for cut in [*cuts, len(data)]:
        typed += sieve.feed(data[:cut])
        data = data[cut:]
    typed += sieve.feed(later)
    assert typed == before + between + after + later
    assert sieve.is_done
    assert sieve.dark is {WHITE: False, BLACK: True}.get(answer)


def test_an_escape_that_somebody_pressed_is_not_kept():
    sieve = b.Sieve()
    assert sieve.feed("a\x1b") == "a"
    assert (sieve.flush(), sieve.flush()) == ("\x1b", "")
    assert sieve.feed("\x1b[A\x1bOP\x1b[1;5C") == "\x1b[A\x1bOP\x1b[1;5C"
    assert sieve.feed("\x1b]11;" + "f" * 5000) == ""
    assert sieve.feed("f\x07q" + FENCE + "x") == "qx"


@given(KEYS, KEYS, st.sampled_from([WHITE, BLACK]), st.lists(st.integers(1, 6)))
def test_a_colour_that_comes_after_every_other_answer_is_no_key(before, after, answer, cuts):
    sieve, data, typed = b.Sieve(), before + answer + after, ""
    assert sieve.feed(FENCE) == ""
    for cut in [*cuts, len(data)]:
        typed += sieve.feed(data[:cut])
        data = data[cut:]
    typed += sieve.flush()
    assert typed in (before + after, before + "\x1b" + after), "an escape alone is a key, and is handed on at once"
    assert sieve.dark is {WHITE: False, BLACK: True}[answer]


def test_once_answered_an_escape_and_an_answer_to_somebody_else_pass_at_once():
    sieve = b.Sieve()
    assert sieve.feed(FENCE + "\x1b") == "\x1b"
    assert sieve.feed(FENCE) == FENCE


class Pty:
    """Two ends of a terminal; a thread plays the emulator."""

    def __init__(self, play=None):
        self.master, self.slave = os.openpty()
        self.thread = threading.Thread(target=self._answer, args=(play,))
        if play is not None:
            self.thread.start()

    def _answer(self, play):
        asked = b""
        while b.QUESTION not in asked:
            select.select([self.master], [], [])
            asked += os.read(self.master, 100)
        play(self)

    def says(self, text: str) -> None:
        os.write(self.master, text.encode())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.thread.ident:
            self.thread.join(10)
        os.close(self.master)
        os.close(self.slave)


@pytest.mark.parametrize(("play", "dark", "typed"), [
    (lambda pty: pty.says(WHITE + FENCE), False, ""),
    (lambda pty: pty.says(BLACK + FENCE), True, ""),
    (lambda pty: pty.says(FENCE), None, ""),
    (lambda pty: pty.says("\x1b]11;garbage\x07" + FENCE), None, ""),
    (lambda pty: pty.says("r" + WHITE + "é" + FENCE + "q"), False, "réq"),
    (lambda pty: [pty.says(part) for part in (WHITE[:4], WHITE[4:] + FENCE[:3], FENCE[3:])], False, ""),
], ids=["white", "black", "knows not", "garbage", "typing", "in pieces"])
def test_a_terminal_is_asked_and_given_back_as_it_was(play, dark, typed):
    with Pty(play) as pty:
        before = termios.tcgetattr(pty.slave)
        question = b.Question(pty.slave, pty.slave)
        found = question.answer(30.0)
        assert (found.dark, found.typed, found.sieve.is_done) == (dark, typed, True)
        assert termios.tcgetattr(pty.slave) == before
        assert not select.select([pty.slave], [], [], 0)[0]


def test_a_terminal_without_answers_costs_the_patience_and_no_key():
    with Pty() as pty:
        before = termios.tcgetattr(pty.slave)
        question = b.Question(pty.slave, pty.slave)
        pty.says("q\x1b")
        found = question.answer(0.02)
        assert (found.dark, found.typed, found.sieve.is_done) == (None, "q\x1b", False)
        assert not termios.tcgetattr(pty.slave)[3] & termios.ECHO
        question.close()
        assert termios.tcgetattr(pty.slave) == before


def test_a_late_answer_is_no_key_and_is_told():
    from textual._xterm_parser import XTermParser

    with Pty() as pty:
        question = b.Question(pty.slave, pty.slave)
        pty.says("z" + WHITE[:7])
        found = question.answer(0.02)
        question.close()
    assert (found.typed, found.sieve.is_done) == ("z", False)
    told = []
    parser = _sieving(XTermParser, found, told.append)()
    keys = [event.key for data in (WHITE[7:], "r", FENCE + "x", "c") for event in parser.feed(data)]
    assert keys == ["z", "r", "x", "c"]
    assert told == [False]
    assert list(parser.feed("")) == []


def test_keys_typed_ahead_come_even_when_nothing_follows():
    from textual._xterm_parser import XTermParser

    sieve = b.Sieve()
    sieve.is_done = True
    parser = _sieving(XTermParser, b.Background(None, "qr", sieve), None)()
    assert [event.key for event in parser.tick()] == ["q", "r"]
    assert list(parser.tick()) == []


@pytest.mark.parametrize("env", [{"TERM": "linux"}, {"TERM": "dumb"}, {}])
def test_mute_terminals_pipes_and_background_jobs_are_not_asked(env):
    with Pty() as pty:
        with b.asking(env, pty.slave, pty.slave) as question:
            assert isinstance(question, b.Unasked)
        with b.asking({"TERM": "xterm"}, pty.slave, pty.slave) as question:
            assert isinstance(question, b.Unasked), "not our controlling terminal"
        assert not select.select([pty.master], [], [], 0)[0]
    read, write = os.pipe()
    with b.asking({"TERM": "xterm"}, read, write) as question:
        found = question.answer()
    assert (found.dark, found.sieve.is_done) == (None, True)
    assert not select.select([read], [], [], 0)[0]
    os.close(read)
    os.close(write)


PROGRAM = """
import sys
from tuimon.viewer.background import asking
with asking({"TERM": "xterm"}) as question:
    found = question.answer(30.0)
print(f"dark={found.dark} typed={found.typed!r}")
print(f"then={input()!r}")
"""


def test_a_program_on_its_own_terminal_hears_the_answer_and_shows_none_of_it(tmp_path):
    from pty_terminal import Terminal

    with Terminal([sys.executable, "-c", PROGRAM], 80, 24, {"PYTHONPATH": os.getcwd()}, tmp_path) as terminal:
        deadline = time.monotonic() + 30
        while b.QUESTION not in terminal.raw:
            assert terminal.pump(0.1)
            assert time.monotonic() < deadline
        terminal.press("k\r" + WHITE + FENCE)
        terminal.wait_for("typed='k\\r'")
        assert "dark=False" in terminal.text
        terminal.press("next\r")
        terminal.wait_for("then='next'")
        assert terminal.wait_for_exit() == 0
        assert "rgb" not in terminal.text
