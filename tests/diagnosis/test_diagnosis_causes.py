"""One event is told once: what brought what about, and the manual that explains it."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labelled_curves import calm, judged

from tuimon.diagnosis.causes import CAUSES, causes_first, with_causes
from tuimon.diagnosis.engine import in_order
from tuimon.diagnosis.manual import MEASURED, PARTS, page, pages
from tuimon.diagnosis.model import SEVERITIES, Incident, diagnosis_json
from tuimon.diagnosis.rules import RULES
from tuimon.errors import UsageError
from tuimon.record.chunk import Chunk


def incident(rule, onset, severity="warning", state="open"):
    return Incident(rule, "T1", "loss", severity, state, onset, onset, None, None, "high", rule, "", (), (), rule)


def causes(*told):
    return {i.rule: i.cause for i in with_causes(told)}


def test_every_cause_and_consequence_is_a_rule():
    known = {rule.slug for rule in RULES}
    assert set(CAUSES) <= known
    assert all(slug in known and slug != cause for cause, slugs in CAUSES.items() for slug in slugs)


def test_an_explosion_is_one_event_with_its_consequences():
    columns, _ = calm(200)
    for name, factor in (("grad_norm", 80.0), ("loss", 4.0), ("update_ratio", 40.0), ("lr", 100.0)):
        columns[name][180:] = [v * factor for v in columns[name][180:]]
    diagnosis = judged(Chunk.of(**columns))
    found = {i.rule: i.cause for i in diagnosis.open_incidents}
    assert diagnosis.leading.rule == "exploding-gradients"
    assert found["exploding-gradients"] == "lr-schedule-fault"
    assert found["lr-schedule-fault"] is None
    assert found["loss-spike"] in ("exploding-gradients", "early-divergence", "divergence")
    roots = [i for i in diagnosis.open_incidents if i.cause is None]
    assert len(roots) == 1
    assert diagnosis.event(diagnosis.leading) == diagnosis.open_incidents
    assert diagnosis_json(diagnosis, source="x", state="running")["incidents"][0]["cause"] == "lr-schedule-fault"


def test_what_began_earlier_is_no_consequence():
    assert causes(incident("exploding-gradients", 300, "critical"), incident("loss-spike", 100)) == {
        "exploding-gradients": None, "loss-spike": None}
    assert causes(incident("exploding-gradients", 300, "critical"), incident("loss-spike", 295))["loss-spike"] == "exploding-gradients"


def test_a_cause_that_is_not_among_those_told_is_named_no_more():
    earlier = dataclasses.replace(incident("dead-units", 104), cause="learning-rate-too-high")
    assert causes(earlier) == {"dead-units": None}


SLUGS = [rule.slug for rule in RULES]


@pytest.mark.parametrize(("first", "then"), [
    (("attention-collapse", 100), ("exploding-gradients", 300)),
    (("logit-drift", 100), ("learning-rate-too-high", 300)),
    (("loss-scale-collapse", 100), ("non-finite", 100)),
    (("exploding-gradients", 100), ("attention-collapse", 102)),   # too near to say which was first: as the rules stand
])
def test_of_those_equally_severe_the_one_that_brought_the_others_about_leads(first, then):
    told = [incident(*then, "critical"), incident(*first, "critical"), incident("lr-schedule-fault", 50)]
    assert [i.rule for i in in_order(told, SLUGS)] == [first[0], then[0], "lr-schedule-fault"]


@given(st.lists(st.builds(incident, st.sampled_from(SLUGS), st.integers(0, 40), st.sampled_from(SEVERITIES)), max_size=8))
def test_all_are_told_once_and_the_worst_first(told):
    worst = sorted(told, key=lambda i: -SEVERITIES.index(i.severity))
    found = causes_first(worst)
    assert sorted(map(id, found)) == sorted(map(id, told))
    assert [i.severity for i in found] == [i.severity for i in worst]


def test_of_two_that_may_cause_each_other_the_one_told_first_is_the_cause():
    told = (incident("exploding-gradients", 100, "critical"), incident("learning-rate-too-high", 98))
    assert causes(*told) == {"exploding-gradients": None, "learning-rate-too-high": "exploding-gradients"}
    assert causes(*reversed(told)) == {"learning-rate-too-high": None, "exploding-gradients": "learning-rate-too-high"}


def test_of_two_that_may_cause_each_other_the_one_that_began_well_before_is_the_cause():
    told = (incident("exploding-gradients", 24, "critical"), incident("attention-collapse", 16, "critical"))
    assert causes(*told) == {"exploding-gradients": "attention-collapse", "attention-collapse": None}
    assert causes(*reversed(told)) == {"exploding-gradients": "attention-collapse", "attention-collapse": None}


def test_what_is_over_explains_what_began_while_it_lasted_and_nothing_later():
    over = dataclasses.replace(incident("exploding-gradients", 100, state="resolved"), resolved_step=150)
    assert causes(over, incident("loss-spike", 101))["loss-spike"] == "exploding-gradients"
    assert causes(over, incident("loss-spike", 151))["loss-spike"] is None


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.slug)
def test_every_rule_has_a_whole_manual_page(rule):
    found = page(rule.code.lower())
    assert found.slug == rule.slug
    assert [*found.parts] == [part for part in PARTS if part != MEASURED or part in found.parts]
    assert all(text.endswith(".") for text in found.parts.values())
    assert found.summary


def test_what_was_measured_of_false_alarms_is_a_part_of_its_own():
    assert page("loss-spike").parts[MEASURED] == "1 in 288,000 healthy steps, which recovered."
    assert page("vanishing-gradients").parts[MEASURED].startswith("No false alarm on 21")
    assert MEASURED not in page("sudden-drop").parts
    assert not any("false alarm" in p.parts["Rule"].lower() for p in pages())


def test_pages_are_found_by_slug_and_code_and_a_wrong_name_says_what_is_near():
    assert page("Loss-Spike") == page("T103")
    assert [p.code for p in pages()] == sorted(rule.code for rule in RULES)
    with pytest.raises(UsageError, match="did you mean loss-spike"):
        page("loss-spikes")
    with pytest.raises(UsageError, match="tuimon explain lists them"):
        page("qqq")
