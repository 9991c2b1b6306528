"""The text is real, its two parts share nothing, and windows and batches are what training expects."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tuimon.demo import SimpleTextDataset, create_dataloader, create_tokenizer
from tuimon.demo.corpus import read_text, split_tokens, unigram_entropy
from tuimon.errors import UsageError


def test_every_machine_has_half_a_megabyte_of_english():
    text = read_text()
    assert 200_000 < len(text) < 2_000_000
    assert " the " in text
    assert read_text() == text


@given(count=st.integers(18, 400), window=st.integers(1, 8), share=st.floats(0.01, 0.99))
def test_the_split_is_contiguous_complete_and_shares_no_token(count, window, share):
    parts = split_tokens(list(range(count)), window, share)
    assert torch.cat((parts.train, parts.validation)).tolist() == list(range(count))
    seen = {int(t) for x, y in SimpleTextDataset(parts.train, max_seq_len=window, stride=1) for t in (*x, *y)}
    held = {int(t) for x, y in SimpleTextDataset(parts.validation, max_seq_len=window, stride=1) for t in (*x, *y)}
    assert seen
    assert held
    assert not seen & held


@given(count=st.integers(2, 60), window=st.integers(1, 20), stride=st.integers(1, 25))
def test_windows_cover_the_text_and_targets_are_one_token_ahead(count, window, stride):
    if count <= window:
        with pytest.raises(UsageError, match="too few"):
            SimpleTextDataset(torch.arange(count), max_seq_len=window, stride=stride)
        return
    data = SimpleTextDataset(torch.arange(count), max_seq_len=window, stride=stride)
    for i, (inputs, targets) in enumerate(data):
        assert inputs.tolist() == list(range(i * stride, i * stride + window))
        assert targets.tolist() == [t + 1 for t in inputs.tolist()]
    assert len(data) * stride + window + 1 > count  # one more would not fit
    with pytest.raises(IndexError):
        data[len(data)]


def test_text_and_tokens_give_the_same_dataset():
    tokenizer = create_tokenizer("hello world, hello text")
    by_text = SimpleTextDataset("hello world", tokenizer, 4)
    by_tokens = SimpleTextDataset(torch.tensor(tokenizer.encode("hello world")), max_seq_len=4)
    assert torch.equal(by_text[1][1], by_tokens[1][1])
    with pytest.raises(UsageError, match="tokenizer"):
        SimpleTextDataset("hello")


def batches(**how):
    return [x.tolist() for x, _ in create_dataloader(SimpleTextDataset(torch.arange(200), max_seq_len=4), 3, **how)]


def test_a_seed_decides_the_batches_and_a_resumed_run_sees_what_it_would_have_seen():
    whole = batches(seed=5, steps=20)
    assert whole == batches(seed=5, steps=20)
    assert whole != batches(seed=6, steps=20)
    assert len(whole) == 20
    assert batches(seed=5, steps=20, skip=7) == whole[7:]
    assert batches(seed=5, steps=20, skip=20) == []


def test_one_pass_without_steps_is_one_epoch():
    shown = [tuple(window) for batch in batches(seed=1) for window in batch]
    assert len(shown) == len(set(shown)) == 49
    assert batches(shuffle=False)[0] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_entropy_is_that_of_the_frequencies():
    assert unigram_entropy([1, 2, 3, 4]) == pytest.approx(math.log(4))
    assert unigram_entropy([7, 7]) == 0.0
    with pytest.raises(UsageError):
        unigram_entropy([])


def test_a_file_that_is_no_text_is_refused_in_one_line(tmp_path):
    (tmp_path / "a").write_bytes(b"ok \xff")
    (tmp_path / "b").write_text("näturlich")
    with pytest.raises(UsageError, match="byte 3"):
        read_text(str(tmp_path / "a"))
    with pytest.raises(UsageError, match="cannot read"):
        read_text(str(tmp_path / "missing"))
    assert read_text(str(tmp_path / "b")) == "näturlich"


@pytest.mark.parametrize("how", [{"tokens": [1] * 5, "max_seq_len": 4}, {"tokens": [1] * 50, "max_seq_len": 4, "validation": 1.0}])
def test_a_text_too_short_or_a_share_that_is_none_is_refused(how):
    with pytest.raises(UsageError):
        split_tokens(**how)
