"""The sanitiser: whatever is given to it, what comes out can only be read. And the judge of these tests finds offences."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.security.hostile_text import COLOURS, NASTY, NOTHING, PAYLOADS, TOKEN, odd_characters, strangers
from tuimon.record.text import clean, printable

NASTY_TEXT = st.lists(st.one_of(
    st.text(max_size=12), st.sampled_from(sorted(PAYLOADS.values())),
    st.text(st.sampled_from("\x1b\x07\x08\x0e\x9b\x9c\x9d\x90\x98[]()P^_X;?0123456789mKJHhl\\\u202e\u200b\u2066\u0301\u20dd\U000e0100\u3164\ud800\x7f\x00\r\n\t "), max_size=20),
), max_size=8).map("".join)


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_payload_that_is_cleaned_is_text_that_is_seen(name):
    for around in ("", "word", "ä 层"):
        for text in (PAYLOADS[name] + around, around + PAYLOADS[name], around + 3 * PAYLOADS[name] + around):
            found = clean(text)
            assert odd_characters(found) == []
            assert "\n" not in found
            assert strangers(found.encode(), NOTHING) == []
            assert clean(found) == found


@pytest.mark.parametrize("name", [n for n, payload in PAYLOADS.items() if "\x1b" in payload or "\x9d" in payload or "\x90" in payload])
def test_what_a_control_string_says_goes_with_it(name):
    assert TOKEN not in clean(f"before{PAYLOADS[name]}")
    assert clean(f"before{PAYLOADS[name]}").startswith("before")


def test_markup_is_text():
    assert clean("[@click=app.quit]x[/] [/red] [/") == "[@click=app.quit]x[/] [/red] [/"


@settings(max_examples=400)
@given(NASTY_TEXT, st.integers(0, 200))
@example("\x1b" * 300, 50)
@example("a\x1b]" + "x" * 900, 40)
@example("a" * 199 + "\u0301" * 9, 200)
def test_nothing_hidden_survives_the_limit_holds_and_once_is_enough(text, limit):
    found = clean(text, limit)
    assert odd_characters(found) == []
    assert len(found) <= limit
    assert clean(found, limit) == found
    found.encode("utf-8")


@settings(max_examples=300)
@given(NASTY_TEXT, NASTY_TEXT)
def test_two_clean_texts_side_by_side_are_one(first, second):
    assert odd_characters(clean(first) + " " + clean(second)) == []


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_megabyte_of_it_costs_no_more_than_the_part_that_is_shown(name):
    assert len(clean(PAYLOADS[name] * (1_000_000 // len(PAYLOADS[name])), 400)) <= 400


@settings(max_examples=300)
@given(st.lists(st.tuples(NASTY_TEXT, st.sampled_from(["\x1b[31m", "\x1b[38;2;1;2;3m", "\x1b[0m", "\n"])), max_size=4))
def test_what_is_printed_keeps_lines_and_colours_and_nothing_else(parts):
    text = "".join(words + ours for words, ours in parts)
    found = printable(text)
    assert strangers(found.encode(), COLOURS) == []
    assert printable(found) == found


def test_what_is_printed_is_otherwise_as_it_was():
    page = "╭─ loss ─╮\n│ \x1b[38;2;10;20;30m⣀⡤\x1b[0m  层 é │\n"
    assert printable(page) == page
    assert printable("plain") == "plain"
    assert printable("long " * 10_000) == "long " * 10_000


@pytest.mark.parametrize("name", [n for n in PAYLOADS if not n.startswith(("markup", "format", "carriage", "SGR"))])
def test_the_judge_of_these_tests_finds_every_payload(name):
    raw = f"a{PAYLOADS[name]}b\x1b\\".encode("utf-8", "surrogatepass")
    assert strangers(raw, NOTHING)
    if name not in ("CSI 2J, erase", "CSI 6n, an answer typed"):
        assert strangers(raw)


def test_the_judge_lets_our_own_vocabulary_pass():
    assert strangers(b"\x1b[?1049h\x1b[?25l\x1b[2J\x1b[3;4H\x1b[38;2;1;2;3mwords \xe2\xa3\x80\r\n\x1b[0m\x1b[?2026$p") == []
    assert strangers(f"{NASTY}".encode()) != []
