"""One event is told once: what brought what about, and the manual that explains it."""

from __future__ import annotations

import dataclasses

import pytest
from labelled_curves import calm, judged

from tuimon.diagnosis.causes import CAUSES, with_causes
from tuimon.diagnosis.manual import MEASURED, PARTS, page, pages
from tuimon.diagnosis.model import Incident, diagnosis_json
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
