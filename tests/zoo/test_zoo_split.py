"""What was tuned on does not score, and nobody chose."""

from __future__ import annotations

import pytest

from tests.zoo.split import HELD_OUT, PARTS, SMALL, TUNED, drawn, is_held_out, runs

KINDS = [*sorted(TUNED | HELD_OUT), "a-kind-of-tomorrow", "another"]


def test_no_run_is_in_two_parts():
    seen = [run for part in PARTS for run in runs(part, KINDS)]
    assert len(seen) == len(set(seen))


def test_what_is_held_out_is_in_the_score_and_never_tuned_on():
    tuned = {run.kind for run in runs("tuning", KINDS)}
    assert not tuned & HELD_OUT
    assert {run.kind for run in runs("score", KINDS)} == set(KINDS)
    assert tuned


def test_the_tables_are_the_draw_and_share_no_kind():
    assert not HELD_OUT & TUNED
    assert {kind for kind in HELD_OUT | TUNED if drawn(kind)} == HELD_OUT
    assert all(kind in HELD_OUT | TUNED for kind in SMALL)


def test_a_kind_that_no_table_knows_goes_where_its_hash_says():
    unknown = [f"kind-{i}" for i in range(400)]
    held_out = [kind for kind in unknown if is_held_out(kind)]
    assert 70 <= len(held_out) <= 130
    assert held_out == [kind for kind in unknown if drawn(kind)]


def test_a_part_that_does_not_exist_is_said():
    with pytest.raises(ValueError, match="no part is called 'test': tuning, score, small are"):
        runs("test", KINDS)
