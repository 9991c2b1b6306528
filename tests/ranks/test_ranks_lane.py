"""Two ranks on a lane: both hear the same at the same boundary, and nobody waits for one that never comes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.ranks import lanes

Found = list[dict[str, Any]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What each of two ranks saw; the second is killed at the end."""
    place = tmp_path_factory.mktemp("lane")
    ranks = [
        subprocess.Popen([sys.executable, lanes.__file__, str(k), "2", str(place / "store"), str(place / f"{k}.json")],
                         env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])})
        for k in range(2)
    ]
    try:
        for process in ranks:
            process.wait(60)
    finally:
        for process in ranks:
            process.kill()
    return [json.loads((place / f"{k}.json").read_text()) for k in range(2)]


def test_all_ranks_hear_the_sum_of_one_boundary_at_the_same_boundary(found: Found) -> None:
    """Every sum is of the same step on both, and both hear all of them."""
    first, second = (one["heard"] for one in found)
    assert first == second
    assert len(first) > 100
    assert all(total % 2 == 0 and rank == 1 for total, rank in first)
    assert found[0]["tick"] == found[1]["tick"] == [2.0, 1.0]


def test_a_rank_that_works_alone_is_waited_for_longer_than_one_that_stands_still(found: Found) -> None:
    """A lane that waits for ages, and half a second while all stand."""
    assert [one["late"] for one in found] == ["", ""]
    assert found[0]["stood"].startswith("the ranks have lost each other")


def test_a_rank_that_is_not_attached_is_named_and_not_waited_for(found: Found) -> None:
    """Rank 0 alone: no lane, and why."""
    assert found[0]["partly"] == "tuimon is not attached on rank 1"


def test_a_rank_that_dies_brings_the_lane_down_and_not_the_other(found: Found) -> None:
    """The survivor goes on, and can say why."""
    assert found[0]["lost"].startswith("the ranks have lost each other")


def test_orders_are_settled_by_all_at_the_same_boundary_or_refused_with_rank_and_reason(found: Found) -> None:
    """Three orders, the second of which rank 1 cannot follow."""
    assert found[0]["orders"] == found[1]["orders"]
    assert [order[1:] for order in found[0]["orders"]] == [
        ["order 50", ""], ["order 51", "rank 1: no snapshot"], ["order 70", ""]]
