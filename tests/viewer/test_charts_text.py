"""Text from outside cannot do anything but be read."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tuimon.viewer.charts.picture import Canvas
from tuimon.viewer.text import clean, fit, pad

nasty = st.text(st.one_of(
    st.characters(),
    st.sampled_from("\x1b\x07\x9b\x9c\x9d\x90[]()P^_;?0123456789mKJHhl\\\u202e\u200b\u2066\ufeff\ud800\x7f\x00\r\n\t"),
), max_size=80)


@pytest.mark.parametrize(("given_text", "read"), [
    ("step 1 loss 2.3", "step 1 loss 2.3"),
    ("\x1b[31mred\x1b[0m plain", "red plain"),
    ("\x1b]52;c;aGFja2Vk\x07after", "after"),
    ("\x1b]8;;http://evil\x1b\\click\x1b]8;;\x1b\\", "click"),
    ("\x1bP+q544e\x1b\\x", "x"),
    ("\x9b31mred", "red"),
    ("\x9d0;TITLE\x9cx", "x"),
    ("\x1b[2J\x1b[Hx\x1b(B", "x"),
    ("never ended \x1b]52;c;AAAA", "never ended "),
    ("half \x1b[", "half "),
    ("lone \x1b", "lone "),
    ("good\rEVIL", "good EVIL"),
    ("one\ntwo\tthree", "one two three"),
    ("a\u202eb\u200bc\u2066d\ufeff", "abcd"),
    ("a\x00b\x08c\x7f", "abc"),
    ("[bold]not markup[/bold]", "[bold]not markup[/bold]"),
    ("层归一化 é 100%|████| ✓", "层归一化 é 100%|████| ✓"),
    ("\ud800surrogate", "surrogate"),
    ("z" + "\u0301" * 60, "z" + "\u0301" * 4),
    ("warn ⚠\ufe0f", "warn ⚠"),
])
def test_what_is_left_is_what_a_person_would_have_read(given_text, read):
    assert clean(given_text) == read


@given(nasty)
def test_no_control_character_survives(text):
    for character in clean(text, 50):
        assert unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    clean(text).encode("utf-8")


@pytest.mark.parametrize(("text", "width", "cut"), [
    ("Learning rate ran away from its schedule   since 153", 51, "Learning rate ran away from its schedule   since…"),
    ("most often rank 0; median rank 81.2 ms", 36, "most often rank 0; median rank 81.2…"),
    ("most often rank 0; median rank 81.2 ms", 33, "most often rank 0; median rank…"),
    ("vanishing   since 1 · worst embed", 25, "vanishing   since 1…"),
    ("rank 6 silent for 8 s", 12, "rank 6 sile…"), ("step 1,204 of 9", 8, "step…"),
    ("learning rate ran away", 24, "learning rate ran away"),
    ("python train.py --run-dir=/home/ada/runs/one", 30, "python train.py --run-dir=/ho…"),
    ("exploding-20261128", 12, "exploding-2…"),
    ("run 7b2f9-exploding-on-host-cluster-a100", 24, "run 7b2f9-exploding-on-…"),
    ("漢字の名前の実行", 9, "漢字の名…"),
    ("abc", 0, ""), ("abc", 1, "…"),
])
def test_what_is_cut_is_cut_between_words_so_that_no_number_is_halved(text, width, cut):
    assert fit(text, width) == cut


@given(nasty, st.integers(0, 60))
def test_the_limit_holds_and_cleaning_again_changes_nothing(text, limit):
    once = clean(text, limit)
    assert len(once) <= limit
    assert clean(once, limit) == once


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=400))
def test_plain_ascii_is_left_alone(text):
    assert clean(text) is text


def test_a_megabyte_is_cut_without_being_read():
    assert len(clean("A" * 10**6, 400)) == 400
    assert clean("A" * 10**6, 400).endswith("…")
    assert len(clean("\x1b]" * 500_000, 400)) <= 400


@given(st.text(st.sampled_from("ab层é·"), max_size=20), st.integers(-1, 12), st.booleans())
def test_padding_is_exact_in_cells(text, width, right):
    assert cell_len(fit(text, width)) <= max(0, width)
    assert cell_len(pad(text, width, right=right)) == max(0, width)
    assert text.startswith(fit(text, width).removesuffix("…"))


@given(st.text(st.sampled_from("ab –…▸█é字漢\u0301\u200b"), max_size=12), st.integers(-6, 12))
def test_a_text_stands_as_its_characters_would_one_by_one(text, x):
    whole, single, at = Canvas(9, 1), Canvas(9, 1), x
    for character in text:
        at = single.put(at, 0, character, "value")
    assert whole.put(x, 0, text, "value") == at
    assert whole.picture() == single.picture()
