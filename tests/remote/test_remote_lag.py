"""What is new has come soon, also where the link carries hardly more than that, and takes no more of it than it may."""

from __future__ import annotations

from pathlib import Path

import pytest
from modem import Modem, Noise

from tuimon.record.metrics import METRICS

ROUND = 0.1
SOON = 2 * ROUND + 0.2
"""Seconds."""


def names(count: int) -> list[str]:
    """Of so many metrics: what every run has, and the run's own."""
    return [*METRICS, *(f"own_{i}" for i in range(count))][:count]


@pytest.mark.parametrize(("metrics", "hertz", "rows", "most"), [(200, 10, 60, 8_000), (20, 20, 100, 4_000)])
def test_over_a_modem_what_is_new_has_come_within_two_round_trips_and_a_bit(tmp_path: Path, metrics: int, hertz: int, rows: int, most: int):
    run = Noise(tmp_path, names(metrics), rows)
    lags = Modem(tmp_path, rate=8_000, delay=ROUND / 2).watch(run, hertz, 15)
    assert lags.most <= SOON
    assert lags.rate <= most


def test_what_a_run_makes_of_more_than_the_link_carries_comes_in_outline_and_not_ever_later(tmp_path: Path):
    run, modem = Noise(tmp_path, names(200), 20), Modem(tmp_path)
    lags = modem.watch(run, 40, 9)
    assert lags.most <= 3 * SOON
    assert modem.agent._news.is_thin


def test_where_the_link_is_good_rows_come_as_they_are_and_take_no_more_than_they_may(tmp_path: Path):
    run, modem = Noise(tmp_path, names(200), 20), Modem(tmp_path, rate=1e7, delay=0.01)
    lags = modem.watch(run, 10, 9)
    assert lags.most <= 0.2
    assert lags.rate <= 10_000
    assert not modem.agent._news._coarse
    assert modem.watch(run, 100, 6).rate <= 10_000
    assert modem.watch(run, 0, 9).rate <= 300
