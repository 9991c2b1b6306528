"""Numbers read the same everywhere."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.diagnosis import figures as form


@pytest.mark.parametrize(("value", "words"), [
    (4.7123, "4.71"), (212.4, "212"), (0.0612, "0.0612"), (0.5, "0.500"), (21.23, "21.2"), (1234.5, "1,234"),
    (9.999, "10.0"), (999.9, "1,000"), (9999.9, "1.0e4"), (123456, "1.2e5"), (0.0009996, "0.00100"), (3e-4, "3.0e-4"),
    (-2.5, "-2.50"), (0.0, "0"), (-0.0, "0"), (math.nan, "NaN"), (math.inf, "inf"), (-math.inf, "-inf"),
    (1e-310, "1.0e-310"), (1e300, "1.0e300"),
])
def test_a_current_value_has_three_significant_digits(value, words):
    assert form.number(value) == words


@given(st.floats(-1e300, 1e300))
def test_a_number_reads_back_as_what_it_was_within_half_its_last_digit(value):
    words = form.number(value)
    assert len(words) <= 9
    scientific = "e" in words
    assert float(words.replace(",", "")) == pytest.approx(value, rel=0.06 if scientific else 0.006, abs=5e-324)
    assert scientific == (value != 0 and not 0.0009995 <= abs(value) < 9999.5) or abs(value) in {0.0009995, 9999.5}


@given(st.floats(1e-3, 9_000), st.floats(1e-3, 9_000))
def test_larger_numbers_read_no_smaller(a, b):
    a, b = min(a, b), max(a, b)
    assert float(form.number(a).replace(",", "")) <= float(form.number(b).replace(",", "")) * (1 + 1e-2)


@pytest.mark.parametrize(("low", "high", "words"), [
    (0.9, 1.4, "0.9–1.4"), (1e-4, 2e-2, "1e-4–2e-2"), (120, 4321, "120–4,300"), (0, 10, "0–10"), (2.03, 10.9, "2–11"),
    (0.0389, 0.58, "0.039–0.58"), (8e-4, 1500.0, "0.0008–1,500"), (5, 12_000, "5–12,000"), (1e-6, 0.3, "1e-6–0.3"), (1, 1.04, "1"), (0, 0.04, "0–0.04"),
    (1.5e-3, 0.06, "1.5e-3–6e-2"), (9_999, 25_000, "1e4–2.5e4"), (0.0999, 1, "0.1–1"),
])
def test_a_range_is_short(low, high, words):
    assert form.span(low, high) == words


@pytest.mark.parametrize(("seconds", "words"), [
    (34, "0:34"), (0.4, "0:00"), (59.6, "1:00"), (725, "12:05"), (3723, "1:02:03"), (86_400 * 2 + 11_040, "2 d 03:04"),
    (math.inf, "–"), (math.nan, "–"), (-1, "–"),
])
def test_durations_read_like_clocks(seconds, words):
    assert form.duration(seconds) == words


@pytest.mark.parametrize(("seconds", "words"), [
    (0, "0.0 s"), (-3, "0.0 s"), (0.44, "0.4 s"), (9.96, "10 s"), (12.2, "12 s"), (59.4, "59 s"), (59.6, "1 min"),
    (240, "4 min"), (3_599, "1 h"), (4 * 3_600, "4 h"), (47.4 * 3600, "47 h"), (48 * 3600, "2 d"), (math.inf, "–"),
])
def test_ages_are_rough(seconds, words):
    assert form.age(seconds) == words


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_an_older_age_never_reads_younger(a, b):
    def back(words):
        count, unit = words.replace(",", "").split()
        return float(count) * {"s": 1, "min": 60, "h": 3_600, "d": 86_400}[unit]

    a, b = min(a, b), max(a, b)
    assert back(form.age(a)) <= back(form.age(b))


@pytest.mark.parametrize(("count", "words"), [
    (0, "0 B"), (812, "812 B"), (999.6, "1.0 kB"), (3_120, "3.1 kB"), (9_960, "10 kB"), (2.1e9, "2.1 GB"),
    (999_600, "1.0 MB"), (4.2e15, "4.2 PB"), (math.nan, "–"),
])
def test_sizes_count_in_thousands(count, words):
    assert form.size(count) == words


@pytest.mark.parametrize(("fraction", "words"), [
    (0, "0 %"), (0.001, "1 %"), (0.43, "43 %"), (0.999, "99 %"), (1, "100 %"), (1.2, "120 %"), (math.nan, "–"),
])
def test_only_what_is_complete_is_100_percent(fraction, words):
    assert form.percent(fraction) == words


def test_steps_are_grouped():
    assert form.step(1212) == "1,212"
    assert form.step(81_204_000) == "81,204,000"
