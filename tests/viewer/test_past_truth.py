"""Scrubbed to a step, the panel says what a viewer said who had read no further."""

from __future__ import annotations

import dataclasses
import math

import pytest
import synthetic

from tuimon.diagnosis.model import Diagnosis
from tuimon.diagnosis.past import as_of
from tuimon.viewer.lines import text_of
from tuimon.viewer.places.incidents.draw import Look, list_lines, text_lines
from tuimon.viewer.plots import spark_specs
from tuimon.viewer.reading import Reading
from tuimon.viewer.views import Frame
from tuimon.viewer.wanted import Wanted

LAST, EVERY = 320, 4


class Life:
    """One run's life: what was on the screen at every fourth step, and a reading that knows how it went on."""

    def __init__(self, *, alive: bool = True) -> None:
        run = synthetic.Run(alive=alive)
        self.then: dict[int, Frame] = {}
        self.reading = Reading(run.dir)
        self.shown: Frame | None = None
        for step in range(EVERY, LAST + 1, EVERY):
            run.go(EVERY)
            if step == 200:
                run.explode()
            if step == 260:
                run.rescue(warm=False)
            self.then[step] = self._told(Wanted())

    def _told(self, wanted: Wanted) -> Frame:
        self.shown = self.reading.poll(0.0, 1.0, wanted) or self.shown   # None: what was shown last still holds
        assert self.shown is not None and self.shown.wanted == wanted
        return self.shown

    def at(self, step: int) -> Frame:
        return self._told(Wanted(at=step))


@pytest.fixture(scope="module")
def life() -> Life:
    return Life()


def trouble(frame: Frame) -> list[tuple[str, str, str]]:
    return [(b.label, b.word, b.tone) for b in frame.badges if b.tone not in ("ok", "dim")]


def diary(frame: Frame) -> list[tuple[int, str]]:
    return [(line.step, line.text) for line in frame.events if not line.is_incident]


def test_what_was_in_force_then_stands_below_the_way_back(life):
    lines = [text_of(line) for line in life.at(300).verdict]
    assert lines[2].startswith("As it was at step 300")
    assert lines[3].startswith("Overrides in force: lr x0.1, clip 1.0.")
    assert not any("undo" in line for line in lines)


def test_a_range_of_the_past_knows_no_value_that_came_later(life):
    sparks = {spec.label: spec for spec in spark_specs(life.at(100))}
    assert sparks["lr"].note.endswith("3e-4")   # at 200 it runs away to 3e-2


def test_at_every_step_of_the_past_stands_the_verdict_of_then(life):
    wrong = {}
    for step, then in life.then.items():
        past = life.at(step) if step < LAST else then
        same = (past.verdict[0][0] == then.verdict[0][0], past.tone == then.tone, trouble(past) == trouble(then),
                diary(past) == diary(then), past.header.step == then.header.step,
                [c.current for c in past.charts] == [c.current for c in then.charts],
                [c.note for c in past.charts] == [c.note for c in then.charts],
                [c.bands for c in past.charts] == [c.bands for c in then.charts])
        if not all(same):
            wrong[step] = same, trouble(past), trouble(then)
    assert not wrong
    assert {frame.tone for frame in life.then.values()} == {"ok", "warning", "critical", "info"}


def test_the_past_offers_no_key_that_would_act_on_it_and_tells_the_way_back(life):
    for step in range(EVERY, LAST, EVERY):
        past = life.at(step)
        for lines in (past.verdict, past.narrow):
            said = [text_of(line) for line in lines]
            assert "esc back to now" in said[2]
            assert not any(words in " ".join(said) for words in ("roll back", "hold the run", "undo"))
        assert past.header.status == f"◂ {LAST - step} steps ago"
        assert not past.header.eta


def test_where_something_happened_is_the_same_whatever_moment_is_shown(life):
    now = life.then[LAST].moments
    assert {200, 260} <= set(now)
    assert life.at(100).moments == now == life.at(210).moments


def test_a_dead_run_was_alive_before_it_died():
    life = Life(alive=False)
    past = life.at(100)
    assert past.verdict[0][0].text == "● Healthy"
    assert (past.state, past.is_live) == ("died", False)


def test_what_only_the_end_has_shown_is_not_said_of_before(life):
    incident = next(i for i in life.reading.diagnosis.incidents if i.resolved_step is not None)
    over = dataclasses.replace(incident, headline="Loss spike, recovered", word="recovered", onset_step=10,
                               detected_step=12, resolved_step=40, before=(), cause=None)
    told = dataclasses.replace(Diagnosis.nothing(), steps=50, incidents=(over,))
    assert as_of(told, 11).incidents == ()
    (before,) = as_of(told, 39).incidents
    assert (before.headline, before.word, before.state) == ("Loss spike", "rising", "open")
    assert as_of(told, 40).incidents == (over,)


def test_what_had_not_been_measured_could_not_be_fine():
    known = dataclasses.replace(Diagnosis.nothing(), badges=tuple(
        dataclasses.replace(b, word="ok") for b in Diagnosis.nothing().badges))
    words = {b.category: b.word for b in as_of(known, 5, ("generalisation",)).badges}
    assert (words["loss"], words["generalisation"]) == ("ok", "waiting")


@pytest.mark.parametrize(("cursor", "says"), [(None, "esc back to now"), (150, "esc no crosshair")])
def test_the_way_back_says_what_the_key_does_first(life, cursor, says):
    frame = life.reading.poll(0.0, 1.0, Wanted(at=160, cursor=cursor))
    assert says in "\n".join(map(text_of, frame.verdict))
    assert says in "\n".join(map(text_of, frame.narrow))


GROWN = {120: ("grad_norm",), 140: ("loss",), **dict.fromkeys(range(170, 200), ("loss", "grad_norm"))}
"""At these steps these are no numbers: worth a word, then a warning, then the end."""


@pytest.fixture(scope="module")
def grown() -> Reading:
    run = synthetic.Run(info=True)
    for step in range(1, 200):
        values = {"loss": 2.0 + 0.01 * (step % 3), "grad_norm": 1.0 + 0.1 * (step % 5)}
        run.values(**values | dict.fromkeys(GROWN.get(step, ()), math.nan))
    return Reading(run.dir)


@pytest.mark.parametrize(("step", "severity", "tone"), [(130, "info", "info"), (150, "warning", "warning"), (180, "critical", "critical")])
def test_how_bad_it_was_then_is_said_of_then_everywhere(grown, step, severity, tone):
    frame = grown.poll(0.0, 1.0, Wanted(at=step))
    assert frame.tone == tone
    assert next(b.tone for b in frame.badges if b.label == "NUMERICS") == tone
    (view,) = (v for v in frame.incidents if v.incident.rule == "non-finite")
    assert (view.incident.severity, view.incident.state, view.curve is None) == (severity, "open", False)
    assert {e.metric for e in view.incident.evidence} <= {"grad_norm", "loss"}
    assert ("loss" in {e.metric for e in view.incident.evidence}) == (step >= 140)
    look = Look(view.key)
    row = next(text_of(line) for line in list_lines(frame, look, 110, 12) if "▸" in text_of(line))
    assert f"{severity} " in row and f"since {view.incident.onset_step}" in row
    words = [text_of(line) for line in text_lines(frame, view, 80, numbers=True)]
    assert any(f"open at step {step}." in line for line in words)


def test_what_is_to_come_is_listed_as_it_will_be_found(grown):
    frame = grown.poll(0.0, 1.0, Wanted(at=100))
    assert trouble(frame) == []
    (view,) = (v for v in frame.incidents if v.incident.rule == "non-finite")
    assert (view.incident.severity, view.incident.state) == ("info", "open")
    row = next(text_of(line) for line in list_lines(frame, Look(view.key), 110, 12) if "▸" in text_of(line))
    assert "found at 120" in row
    words = " ".join(text_of(line) for line in text_lines(frame, view, 80, numbers=True))
    assert "so not yet known at step 100." in words
    assert frame.moments == grown.poll(0.0, 1.0, Wanted()).moments


def test_a_frame_carries_no_more_of_an_incident_than_is_shown(grown):
    for wanted in (Wanted(cursor=5), Wanted(at=151)):
        assert not any(view.incident.before for view in grown.poll(0.0, 1.0, wanted).incidents)
