"""The interval of a rate is the textbook's."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.zoo.interval import poisson_cdf, poisson_interval


@pytest.mark.parametrize(("count", "low", "high"), [
    (0, 0.0, 3.6889), (1, 0.0253, 5.5716), (3, 0.6187, 8.7673), (10, 4.7954, 18.3904), (100, 81.364, 121.627),
])
def test_the_ends_are_those_of_the_tables(count, low, high):
    assert poisson_interval(count) == pytest.approx((low, high), abs=2e-3)


@given(st.integers(1, 20_000))
def test_so_many_are_as_rare_at_one_end_as_so_few_are_at_the_other(count):
    low, high = poisson_interval(count)
    assert 1 - poisson_cdf(count - 1, low) == pytest.approx(0.025, abs=1e-6)
    assert poisson_cdf(count, high) == pytest.approx(0.025, abs=1e-6)
    assert low < count < high


def test_the_sum_of_few_terms_is_the_distribution():
    assert poisson_cdf(2, 1.5) == pytest.approx(math.exp(-1.5) * (1 + 1.5 + 1.125))
    assert poisson_cdf(-1, 1.5) == 0
    assert poisson_cdf(0, 0.0) == 1
