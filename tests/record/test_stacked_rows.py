"""Rows put together stretch by stretch are what numpy's own reduceat makes of them, for wide tables and narrow ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.record.stacked import WIDE, same_bits, together


@given(st.data(), st.sampled_from([1, 3, WIDE - 1, WIDE, WIDE + 9]), st.integers(1, 40))
def test_it_is_reduceat(data, columns, rows):
    inner = data.draw(st.sets(st.integers(1, rows - 1))) if rows > 1 else set()
    starts = np.array(sorted({0} | inner))
    random = np.random.default_rng(rows * columns)
    values = random.normal(size=(rows, columns)).astype(np.float32)
    values[random.random(values.shape) < 0.3] = np.nan
    for ufunc, table in ((np.fmin, values), (np.fmax, values), (np.logical_or, np.isnan(values)),
                         (np.maximum, random.integers(-1, 10, values.shape).astype(np.int8))):
        found, expected = together(ufunc, table, starts), ufunc.reduceat(table, starts, axis=0)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("columns", [2, WIDE])
def test_no_stretch_is_no_row(columns):
    assert together(np.maximum, np.zeros((4, columns), np.int8), np.zeros(0, np.int64)).shape == (0, columns)


@given(st.lists(st.sampled_from([0.0, -0.0, 1.5, np.nan]), max_size=6), st.lists(st.sampled_from([0.0, -0.0, 1.5, np.nan]), max_size=6),
       st.sampled_from(["f8", "f4", "i2", "?"]), st.sampled_from([(-1,), (-1, 1), (-1, 1, 1)]), st.integers(1, 2))
def test_arrays_are_the_same_where_all_their_bytes_are(one, other, kind, shape, stride):
    with np.errstate(invalid="ignore"):
        a, b = (np.array(values).astype(kind).reshape(shape)[::stride] for values in (one, other))
    assert same_bits(a, a.copy())
    assert same_bits(a, b) == (a.shape == b.shape and a.tobytes() == b.tobytes())
    assert not same_bits(a, a.astype("f2"))
