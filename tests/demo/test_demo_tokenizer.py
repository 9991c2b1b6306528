"""Text survives the tokenizers, and byte pairs are learned as they should be."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.demo import create_tokenizer
from tuimon.demo.tokenizer import UNKNOWN, learn_merges
from tuimon.errors import UsageError

LEARNED = create_tokenizer("the cat sat on the mat; the other cat sat on that mat. Ünïcödé ünïcödé\n\n\tdef f(x):\n    " * 4, "bpe", 300)
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=200)


@given(text=ANY_TEXT)
def test_any_text_comes_back_from_byte_pairs(text):
    tokens = LEARNED.encode(text)
    assert LEARNED.decode(tokens) == text
    assert all(0 <= t < LEARNED.vocab_size for t in tokens)


@given(text=ANY_TEXT.filter(bool), extra=st.integers(0, 60))
def test_any_text_comes_back_from_tokenizers_trained_on_it(text, extra):
    for tokenizer in (create_tokenizer(text, "char"), create_tokenizer(text, "bpe", 256 + extra)):
        assert tokenizer.decode(tokenizer.encode(text)) == text


@given(a=st.text(max_size=40), b=st.text(max_size=40))
def test_a_character_tokenizer_encodes_piece_by_piece(a, b):
    tokenizer = create_tokenizer(a + b + "x")
    assert tokenizer.encode(a + b) == tokenizer.encode(a) + tokenizer.encode(b)


@given(tokens=st.lists(st.integers(0, 255), max_size=30))
def test_tokens_cut_inside_a_character_still_become_text(tokens):
    assert isinstance(LEARNED.decode(tokens), str)


def test_an_unseen_character_becomes_the_replacement_character():
    tokenizer = create_tokenizer("abc")
    assert tokenizer.decode(tokenizer.encode("aZb")) == f"a{UNKNOWN}b"


def counted_afresh(text: str, size: int):
    """Byte pairs the slow way: every pair of every word counted again for every merge."""
    from tuimon.demo.tokenizer import _WORDS

    words = [list(w.encode()) for w in _WORDS.findall(text)]
    merges = []
    while len(merges) < size - 256:
        pairs = Counter(p for w in words for p in pairwise(w))
        if not pairs or max(pairs.values()) < 2:
            break
        best = max(pairs, key=lambda p: (pairs[p], (-p[0], -p[1])))
        for w in words:
            i = 0
            while i + 1 < len(w):
                if (w[i], w[i + 1]) == best:
                    w[i:i + 2] = [256 + len(merges)]
                i += 1
        merges.append(best)
    return tuple(merges)


@given(text=st.text("ab c\n", max_size=60))
def test_merges_are_those_of_counting_everything_again_each_time(text):
    assert learn_merges(text, 270) == counted_afresh(text, 270)


def test_byte_pairs_shorten_text_and_no_token_spans_two_words():
    text = "low lower lowest " * 50
    tokenizer = create_tokenizer(text, "bpe", 270)
    assert len(tokenizer.encode(text)) < len(text) / 2
    assert all(" " not in tokenizer.decode([t]).strip() for t in range(256, tokenizer.vocab_size))


@pytest.mark.parametrize(("kind", "size", "said"), [("word", 512, "char, bpe"), ("bpe", 255, "256"), ("bpe", True, "256")])
def test_bad_kinds_and_sizes_are_refused(kind, size, said):
    with pytest.raises(UsageError, match=said):
        create_tokenizer("text", kind, size)


def test_no_text_is_refused():
    with pytest.raises(UsageError, match="some text"):
        create_tokenizer("")
