"""The learning rate lately: what it grew by, and what is but the warm-up that a run begins with."""

from __future__ import annotations

import pytest

from tuimon.diagnosis.rates import Rates


def after(values):
    rates = Rates()
    for step, value in enumerate(values, 1):
        rates.add(step, value)
    return rates


def at_once(values):
    rates = Rates()
    rates.pass_over(range(1, len(values) + 1), values)
    return rates


WARM_UP = [3e-3 * min(1.0, (i + 1) / 40) for i in range(60)]


@pytest.mark.parametrize("seen", [after, at_once])
def test_the_warm_up_that_a_run_begins_with_is_no_growth_to_go_back_from(seen):
    for upto in (2, 15, 39, 60):
        assert seen(WARM_UP[:upto]).growth()[0] == 1.0


@pytest.mark.parametrize("seen", [after, at_once])
def test_what_it_grows_by_after_its_warm_up_is_counted_from_the_level_it_had_reached(seen):
    times, since, low = seen([*WARM_UP, *[3e-2] * 5]).growth()
    assert (times, since, low) == (pytest.approx(10), 61, pytest.approx(3e-3))


def test_a_second_warm_up_is_growth():
    assert after([*WARM_UP, *WARM_UP]).growth()[0] > 30


def test_a_new_attempt_may_warm_up_anew():
    rates = after(WARM_UP)
    rates.clear()
    for step, value in enumerate(WARM_UP[:30], 61):
        rates.add(step, value)
    assert rates.growth()[0] == 1.0
