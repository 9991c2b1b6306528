"""The whole zoo, trained where it has not been yet, and held to what tuimon promises. Minutes on many cores, hours on one."""

from __future__ import annotations

import os

import pytest

from tests.zoo import split
from tests.zoo.cache import default_dir, load_run
from tests.zoo.card import card
from tests.zoo.judges import OURS
from tests.zoo.summary import summary

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(4 * 3600)]


@pytest.fixture(scope="module")
def whole():
    pytest.importorskip("torch")
    from tests.zoo.kinds import KINDS
    from tests.zoo.making import make_all

    runs = split.runs("score", KINDS)
    assert make_all(runs, default_dir(), jobs=os.cpu_count() or 1) == []
    found = card("The score", (load_run(default_dir(), run) for run in runs), judges=(OURS,))
    print(found.text())
    return summary(found.ours)


def test_every_catastrophe_is_found_before_the_run_is_lost(whole):
    assert whole.in_time.part == 1


def test_the_right_cause_is_told_first_for_95_percent_of_all_faults(whole):
    assert whole.first.part >= 0.95


def test_ten_thousand_healthy_steps_see_at_most_one_false_warning_and_no_false_critical(whole):
    assert whole.warnings.per <= 1
    assert whole.criticals.count == 0
