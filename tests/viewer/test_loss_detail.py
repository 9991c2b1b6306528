"""The loss is read seldom enough, often enough, and as of the moment that is looked at."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from read_run import Read, losses

from tuimon.record.chunk import Chunk
from tuimon.record.history import History, Series
from tuimon.viewer.places.loss import detail as place
from tuimon.viewer.places.loss.detail import MOST, LossDetail
from tuimon.viewer.places.loss.model import Ask
from tuimon.viewer.wanted import Wanted, Window

WANTED = Wanted(place="loss", ask=Ask())


def falling(count, first=1):
    steps = np.arange(first, first + count)
    return 2 + 4 * (steps + 20.0) ** -0.4 + 0.03 * np.random.default_rng(first).standard_normal(count)


class Clock:
    """A stopwatch on which every reading takes `cost` seconds; counts them."""

    def __init__(self, cost: float = 0.01) -> None:
        self.cost, self.calls = cost, 0

    def __call__(self) -> float:
        self.calls += 1
        return self.calls * self.cost

    @property
    def readings(self) -> int:
        return self.calls // 2


def more(read, count):
    first = read.history.last_step + 1
    return read.more(Chunk.of(np.arange(first, first + count), loss=list(falling(count, first))))


def test_the_first_look_reads_and_says_as_of_when():
    view = LossDetail().update(losses(falling(400), total=1000), WANTED, 0.0, 0.0)
    assert view.as_of == 400
    assert view.judged.reading.points == 400
    assert view.end == 1000
    assert view.pattern.name == "healthy"
    assert len(view.loss) == 400


def test_a_few_more_losses_wait_and_two_per_cent_more_or_some_seconds_do_not():
    clock = Clock()
    detail, read = LossDetail(clock), losses(falling(400))
    detail.update(read, WANTED, 0.0, 0.0)
    for mono, count, readings, as_of in ((0.5, 100, 1, 400), (1.5, 1, 2, 501), (3.0, 2, 2, 501), (6.0, 1, 2, 501),
                                         (6.6, 1, 3, 505)):
        view = detail.update(more(read, count), WANTED, 0.0, mono)
        assert (clock.readings, view.as_of) == (readings, as_of), mono
        assert view.step == read.history.last_step   # the curve itself is always the newest


def test_a_dear_reading_is_made_less_often():
    clock = Clock(cost=1.0)
    detail, read = LossDetail(clock), losses(falling(400))
    detail.update(read, WANTED, 0.0, 0.0)
    detail.update(more(read, 100), WANTED, 0.0, 19.0)
    assert clock.readings == 1
    detail.update(more(read, 100), WANTED, 0.0, 21.0)
    assert clock.readings == 2


def test_nothing_new_is_nothing_read_and_nothing_drawn():
    clock = Clock()
    detail, read = LossDetail(clock), losses(falling(400))
    first = detail.update(read, WANTED, 0.0, 0.0)
    assert detail.update(read, WANTED, 0.0, 100.0) is first
    assert clock.readings == 1


def test_what_an_ended_run_left_is_read_to_its_end():
    detail, read = LossDetail(Clock()), losses(falling(400))
    detail.update(read, WANTED, 0.0, 0.0)
    more(read, 1)
    read.is_live = False
    assert detail.update(read, WANTED, 0.0, 0.9).as_of == 401


def test_scrubbed_back_the_reading_is_that_of_then():
    detail, read = LossDetail(Clock()), losses(falling(800), total=1000)
    detail.update(read, WANTED, 0.0, 0.0)
    then = detail.update(read, replace(WANTED, at=300), 0.0, 1.0)
    assert (then.as_of, then.step) == (300, 300)
    assert then.judged.reading.points == 300
    assert then.loss.steps[-1] == 300
    assert detail.update(read, WANTED, 0.0, 2.0).as_of == 800


def test_a_target_costs_no_reading_and_is_answered():
    clock = Clock()
    detail, read = LossDetail(clock), losses(falling(400), total=1000)
    assert detail.update(read, WANTED, 0.0, 0.0).judged.reach is None
    view = detail.update(read, replace(WANTED, ask=Ask(2.2)), 0.0, 0.1)
    assert view.judged.reach.loss == 2.2
    assert clock.readings == 1


def test_the_window_cuts_the_curve_and_not_the_reading():
    view = LossDetail().update(losses(falling(400), total=1000), replace(WANTED, window=Window(100, 200)), 0.0, 0.0)
    assert (view.loss.steps[0], view.loss.steps[-1]) == (99, 201)   # and what the line comes from and goes to
    assert not view.is_whole
    assert view.judged.reading.points == 400


@pytest.mark.parametrize("values", [[], [np.nan, np.inf], [2.0], [3.0] * 50])
def test_poor_curves_are_shown_as_they_are(values):
    read = losses(values) if values else losses([1.0]).more(Chunk.of([2], lr=[1e-3]))
    if not values:
        read.history = type(read.history)()
    view = LossDetail().update(read, WANTED, 0.0, 0.0)
    assert view.awaited == ("" if values else "waiting for the first loss")
    assert (view.judged is None) == (not values)


def test_the_columns_are_few_however_long_the_run():
    view = LossDetail().update(losses(falling(30_000)), WANTED, 0.0, 0.0)
    assert len(view.loss) <= place.COLUMNS


def test_the_newest_loss_of_a_long_run_is_its_own_however_the_steps_before_it_went():
    read = Read(History(archive=Nowhere()))
    values = np.full(200_000, 2.0)
    values[-4] = math.nan
    for at in range(0, len(values), 20_000):
        read.more(Chunk.of(np.arange(at + 1, at + 20_001), loss=values[at:at + 20_000]))
    assert math.isnan(read.history.sample("loss", 200_000, MOST).values[-1])   # what the reading is made of
    view = LossDetail().update(read, Wanted("loss"), 0.0, 1.0)
    assert view.current == "2.00"


class Nowhere:
    """An archive whose log is too large to be looked through."""

    def cost(self, first: int, last: int) -> int:
        return 1 << 40

    def window(self, name: str, first: int, last: int) -> Series:
        raise AssertionError
