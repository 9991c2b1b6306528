"""A diagnosis out of the run's own events is the guard's, but for what only the log shows."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tuimon.diagnosis.engine import Engine
from tuimon.diagnosis.model import Diagnosis, RunContext
from tuimon.diagnosis.past import as_of
from tuimon.diagnosis.told import Told, incident_fields
from tuimon.instrument.guard import changes, keys
from tuimon.record.chunk import Chunk
from tuimon.record.events import Event
from tuimon.record.plain import finite


def told_while(engine: Engine, loss: list[float], grad: list[float]) -> tuple[Told, Diagnosis]:
    told, before = Told(), {}
    for step, (one, other) in enumerate(zip(loss, grad, strict=True), 1):
        engine.feed(Chunk.of([step], loss=[one], grad_norm=[other]))
        after = keys(engine.diagnosis)
        for change, incident in changes(before, after):
            fields = json.loads(json.dumps(finite(incident_fields(change, incident))))
            told.take(Event(0, 0.0, 1, step, "incident", fields))
        before = after
    return told, engine.diagnosis


def test_it_says_what_the_guard_says():
    rng = np.random.default_rng(3)
    loss = [*(4 - 0.004 * np.arange(300) + 0.02 * rng.normal(size=300)), *(3 * 1.3 ** np.arange(40)), float("nan"), float("nan")]
    grad = [*np.exp(0.1 * rng.normal(size=300)), *(1.4 ** np.arange(40)), float("inf"), float("nan")]
    told, judged = told_while(Engine(RunContext()), [float(v) for v in loss], [float(v) for v in grad])
    found = told.diagnosis(len(loss))
    assert judged.verdict == found.verdict == "critical"
    assert found.leading is not None

    def names(diagnosis: Diagnosis) -> set[tuple[object, ...]]:
        return {(i.rule, i.code, i.category, i.severity, i.state, i.onset_step, i.detected_step, i.resolved_step, i.headline, i.word, i.rescue_helps)
                for i in diagnosis.incidents}

    assert {(n[0], n[6]) for n in names(found)} == {(n[0], n[6]) for n in names(judged)}
    assert {b.category: b.severity for b in found.badges} == {b.category: b.severity for b in judged.badges}
    (one,) = [i for i in found.incidents if i.rule == "non-finite"]
    assert one.next
    assert one.evidence


def test_how_bad_it_was_between_is_known_of_the_guards_words_too():
    loss, grad = [3.0] * 120, [1.0] * 120
    grad[59] = loss[79] = float("nan")
    loss[99:] = grad[99:] = [float("nan")] * 21
    told, judged = told_while(Engine(RunContext()), loss, grad)
    found = told.diagnosis(120)
    assert found.verdict == judged.verdict == "critical"
    assert [as_of(found, step).verdict for step in (59, 70, 90, 110)] == ["healthy", "info", "warning", "critical"]


def test_an_incident_that_got_worse_in_another_layer_is_the_same_one():
    told, judged = told_while(Engine(RunContext()), [3.0] * 60 + [float("nan")] * 3, [1.0] * 60 + [float("nan")] * 3)
    (one,) = (i for i in judged.incidents if i.rule == "non-finite")
    worse = replace(one, severity="critical", layer="head")
    told.take(Event(0, 0.0, 1, 64, "incident", json.loads(json.dumps(finite(incident_fields("worsened", worse))))))
    assert [i.layer for i in told.diagnosis(64).open_incidents if i.rule == "non-finite"] == ["head"]


def test_a_new_attempt_closes_what_was_open():
    told, judged = told_while(Engine(RunContext()), [3.0] * 60 + [float("nan")] * 3, [1.0] * 60 + [float("nan")] * 3)
    assert judged.verdict == told.diagnosis(63).verdict == "critical"
    told.take(Event(0, 0.0, 2, 0, "attempt", {}))
    assert told.diagnosis(64).verdict == "healthy"
    assert told.diagnosis(0) == Diagnosis.nothing()
    assert replace(told.diagnosis(64), steps=0).incidents == ()


@given(st.dictionaries(st.sampled_from(["rule", "category", "severity", "change", "onset_step", "detected_step", "resolved_step", "next", "evidence", "headline", "layer"]),
                       st.none() | st.integers() | st.text(max_size=5) | st.lists(st.text(max_size=3) | st.dictionaries(st.text(max_size=6), st.floats() | st.text(max_size=3), max_size=3), max_size=3)
                       | st.sampled_from(["loss", "critical", "resolved", "NaN"])))
def test_odd_events_are_passed_over(fields):
    told = Told()
    told.take(Event(0, 0.0, 1, 5, "incident", fields))
    told.diagnosis(5)


def test_a_moment_in_the_past_leads_with_what_led_then():
    rng = np.random.default_rng(3)
    loss = [*(4 - 0.004 * np.arange(300) + 0.02 * rng.normal(size=300)), *(3 * 1.1 ** np.arange(40)), *(2.8 + 0.02 * rng.normal(size=200))]
    grad = [*np.exp(0.1 * rng.normal(size=300)), *(1.4 ** np.arange(40)), *np.exp(0.1 * rng.normal(size=200))]
    engine, led = Engine(RunContext()), {}
    for step, (one, other) in enumerate(zip(loss, grad, strict=True), 1):
        engine.feed(Chunk.of([step], loss=[float(one)], grad_norm=[float(other)]))
        led[step] = engine.diagnosis.leading
    assert not [i for i in engine.diagnosis.open_incidents if i.severity == "critical"]
    both = [step for step in range(300, 345) if led[step] and sum(
        i.severity == "critical" for i in as_of(engine.diagnosis, step).open_incidents) > 1]
    assert both
    for step in both:
        assert as_of(engine.diagnosis, step).leading.rule == led[step].rule
