"""The state table: no hole, no way into an undeclared state, no way out of an end."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuimon.control.states import LIVE, STATES, TRANSITIONS, VERBS, WAITING, Apply, Defer, Refuse, outcome


def test_every_state_answers_every_verb_and_no_verb_leads_to_an_undeclared_state():
    assert set(TRANSITIONS) == set(STATES)
    for state in STATES:
        assert set(TRANSITIONS[state]) == set(VERBS)
        for verb in VERBS:
            result = outcome(state, verb)
            assert isinstance(result, Apply | Defer | Refuse)
            if isinstance(result, Apply):
                assert result.then in LIVE
            if isinstance(result, Refuse):
                assert result.why


@given(st.sampled_from(sorted(LIVE)), st.lists(st.sampled_from(VERBS), max_size=30))
def test_any_sequence_of_verbs_stays_among_live_states_and_a_stop_is_never_taken_back(state, verbs):
    stopped = state == "stopping"
    for verb in verbs:
        result = outcome(state, verb)
        if isinstance(result, Apply):
            state = result.then
        assert state in LIVE
        stopped = stopped or (isinstance(result, Apply) and verb == "stop")
        assert not stopped or state == "stopping"


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("state", sorted(LIVE))
def test_verbs_are_idempotent(state, verb):
    first = outcome(state, verb)
    if isinstance(first, Apply):
        again = outcome(first.then, verb)
        assert isinstance(again, Refuse) or (isinstance(again, Apply) and again.then == first.then)


def test_a_run_that_stands_still_can_always_be_resumed_and_stopped_and_a_hold_is_not_weakened_to_a_pause():
    for state in WAITING:
        assert outcome(state, "resume") == Apply("running")
        assert outcome(state, "stop") == Apply("stopping")
    assert outcome("held", "pause") == Apply("held")
    assert outcome("paused", "hold") == Apply("held")


def test_ended_runs_refuse_everything():
    for state in set(STATES) - LIVE:
        assert all(isinstance(outcome(state, v), Refuse) for v in VERBS)
