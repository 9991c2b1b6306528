"""What a person looks for: comparisons, texts, words and their opposites, and one line for what is none of these."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.errors import UsageError
from tuimon.record.catalogue import Entry
from tuimon.record.label import Label
from tuimon.record.query import FIELDS, NUMBERS, TEXTS, parse
from tuimon.record.status import RunStatus

NOW = 1_000_000.0


def entry(*, name="gpt2-base", state="died", lr=1e-2, loss=2.5, steps=1500, verdict="critical", headline="Exploding gradients", age=3600.0,
          best=2.4, note="two words here", size=5_000_000) -> Entry:
    found = RunStatus(state, 1, steps, 2000, loss, None, NOW - age, verdict, headline, "", 203, lr)
    return Entry(Path("/runs/dir-1"), found, Label("", note), name, NOW - age, best, 100, (), "AdamW", "GPT 12L", 124_000_000, "cuda", "node7", 1, ("train.py", "--wd", "0.1"), size)


def holds(text: str, **given_entry) -> bool:
    return parse(text).matches(entry(**given_entry), NOW)


@pytest.mark.parametrize("text", [
    "", "lr>1e-3", "lr>=1e-2", "lr=0.01", "lr!=0.02", "steps>=1.5k", "steps<1M", "steps=1,500", "age<2d", "age>59min", "age<=3600", "size>4M", "size<5.1MB",
    "state:died", "STATE:Die", "verdict:critical", "verdict:exploding", "name:gpt2", "gpt", "12l", '"two words"', 'note:"two words"', "-seed", "-state:running",
    "optimizer:adam", "opt:adamw", "model:gpt", "device:cuda", "host:node", "argv:wd", "params>100M", "val<2.5", "val_loss<2.5", "since=203", "loss:2.5", "state!=running",
    'lr>1e-3 state:died gpt -seed loss<3 age<2d steps>=1k verdict:critical "two words"', "dir-1", "-loss<2", "total=2k", "attempt=1",
])
def test_it_finds_the_run_that_is_meant(text):
    assert holds(text)


@pytest.mark.parametrize("text", [
    "lr>1e-2", "lr<1e-3", "steps>2k", "age>2h", "state:running", "verdict:healthy", "seed", "-gpt", "loss>3", "lr>1e-3 state:running", "-lr>1e-3", '"words two"', "state:live",
])
def test_and_not_the_others(text):
    assert not holds(text)


def test_a_live_run_is_found_as_live():
    assert holds("state:live", state="running")
    assert not holds("-state:live", state="held")


def test_learning_rates_are_equal_although_they_were_kept_in_single_precision():
    assert holds("lr=3e-4", lr=0.0003000000142492354)
    assert not holds("steps=1000000", steps=1_000_001)


def test_what_a_run_does_not_have_is_neither_more_nor_less():
    for text in ("loss>0", "loss<1e9", "loss=1", "loss!=1"):
        assert not holds(text, loss=None)
    assert holds("-loss>0", loss=None)


def test_not_a_number_is_no_number_but_can_be_looked_for():
    assert not holds("loss>0", loss=math.nan)
    assert holds("loss=nan", loss=math.nan)
    assert not holds("loss=nan")
    assert holds("loss>1e300", loss=math.inf)


@pytest.mark.parametrize(("text", "says"), [
    ("frobs>1", "there is no frobs; there are lr, loss"), ("lr>", "lr> wants a number behind it"), ("lr>abc", "lr wants a number, not 'abc'"),
    ("age<2x", "age knows s, min, h, d, w, not 'x'"), ("state>3", "state is a text: state:3 looks for it"), ('state>"a\nb"', "is a text"), ("note:", "note: wants a text behind it"), ("lr:fast", "lr wants a number"),
])
def test_what_cannot_be_understood_is_said_in_one_line(text, says):
    with pytest.raises(UsageError) as error:
        parse(f"gpt {text}")
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@given(st.text(max_size=60))
def test_any_text_is_a_query_or_one_line_of_complaint(text):
    said = "understood"
    try:
        parse(text).matches(entry(), NOW)
    except UsageError as error:
        said = str(error)
    assert len(said.splitlines()) == 1


words = st.one_of(
    st.sampled_from(["gpt", "seed", '"two words"', "state:died", "state:running", "note:words", "verdict:critical"]),
    st.builds("{}{}{}".format, st.sampled_from(list(NUMBERS)), st.sampled_from([">", ">=", "<", "<=", "=", "!="]), st.floats(-1e6, 1e6).map("{:.4g}".format)),
)


@given(st.lists(words, max_size=5))
def test_all_of_it_must_hold_in_any_order(terms):
    each = all(holds(term) for term in terms)
    assert holds(" ".join(terms)) == each
    assert holds("  ".join(reversed(terms))) == each


@given(words)
def test_a_dash_is_the_opposite(word):
    assert holds(f"-{word}") != holds(word)


@given(st.sampled_from(["lr", "loss", "steps", "age"]), st.floats(0, 1e5).map("{:.3g}".format))
def test_a_number_is_less_equal_or_more(field, number):
    found = [holds(f"{field}{operator}{number}") for operator in ("<", "=", ">")]
    assert any(found)
    assert holds(f"{field}<={number}") or found[2]
    assert holds(f"{field}!={number}") != found[1]


def test_every_field_is_of_one_kind():
    assert not set(NUMBERS) & set(TEXTS)
    assert set(FIELDS) == set(NUMBERS) | set(TEXTS)
