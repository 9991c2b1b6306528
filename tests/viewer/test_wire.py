"""Frames that go from one process to another arrive as they were sent, and cheaply."""

from __future__ import annotations

import gc
import io
import weakref
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuimon.viewer.wire import Receiver, Sender


@dataclass(frozen=True)
class Seen:
    values: np.ndarray
    other: np.ndarray | None = None
    words: str = ""


class Toned(NamedTuple):
    text: str
    tone: str = "plain"


class Stamp(tuple):
    """No record: it knows by itself how it is taken apart."""

    __slots__ = ()

    def __reduce__(self):
        return Stamp.of, (len(self),)

    @staticmethod
    def of(length):
        return Stamp(range(length))


class Wire:
    def __init__(self):
        self.pipe, self.arrays = io.BytesIO(), []
        self.sender = Sender(self.pipe)

    def carry(self, message):
        """What arrives, and the bytes it took."""
        at = self.pipe.tell()
        self.sender.send(message)
        took = self.pipe.tell() - at
        self.pipe.seek(at)
        return Receiver(self.pipe, self.arrays).receive(), took


ARRAYS = st.lists(st.tuples(st.integers(0, 300), st.sampled_from(["f8", "f4", "i8", "?"]), st.sampled_from([(), (3,), (0,)]), st.integers(0, 3)), max_size=4)


@given(st.lists(ARRAYS, min_size=1, max_size=6))
@settings(deadline=None)
def test_every_array_arrives_as_it_was_sent(messages):
    wire = Wire()
    for arrays in messages:
        sent = [np.full((length, *more), seed, kind) for length, kind, more, seed in arrays]
        got, _ = wire.carry({"step": len(sent), "arrays": sent})
        assert got["step"] == len(sent)
        for a, b in zip(sent, got["arrays"], strict=True):
            assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())


def test_of_a_series_that_grows_only_what_is_new_is_sent():
    wire, whole = Wire(), np.random.default_rng(0).random(5000)
    whole[7] = np.nan
    first, much = wire.carry(Seen(whole[:4000], whole[:4000] * 2))
    last = whole[:4003].copy()
    last[3999] = 9.0   # the column that was being filled
    second, little = wire.carry(Seen(last, whole[:4000] * 2, "words"))
    np.testing.assert_array_equal(second.values, last)
    np.testing.assert_array_equal(second.other, first.other)
    assert second.words == "words"
    assert little < much / 100


def test_records_and_other_tuples_arrive_as_what_they_were():
    sent = [Toned("a", "dim"), Seen(np.arange(3.0), None, "w"), Stamp(range(3)), (1, "a"), Toned("b")]
    got, _ = Wire().carry(sent)
    assert [type(one) for one in got] == [Toned, Seen, Stamp, tuple, Toned]
    assert (got[0], *got[2:]) == (sent[0], *sent[2:])


def test_what_nobody_looks_at_any_more_is_given_back_without_a_search_for_garbage():
    wire = Wire()
    gc.disable()
    try:
        first, _ = wire.carry(Seen(np.arange(1000.0)))
        seen = weakref.ref(first.values)
        del first
        wire.carry(Seen(np.arange(2000.0)))
        wire.carry(Seen(np.arange(3000.0)))
        assert seen() is None
    finally:
        gc.enable()


def test_a_message_that_is_cut_off_is_an_end():
    wire = Wire()
    wire.sender.send(Seen(np.zeros(1000)))
    with pytest.raises(EOFError):
        Receiver(io.BytesIO(), []).receive()
    with pytest.raises(Exception, match=r"truncated|Ran out"):
        Receiver(io.BytesIO(wire.pipe.getvalue()[:500]), []).receive()
