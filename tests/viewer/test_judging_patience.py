"""While nothing is wrong the judge looks about once a second; what goes wrong is told in time all the same."""

from __future__ import annotations

import math

import pytest
import synthetic

from tuimon.viewer import judging
from tuimon.viewer.reading import Reading

LOOK = 0.25


class Watched:
    """A run and who watches it, four looks a second."""

    def __init__(self, **options: object) -> None:
        self.run = synthetic.Run(**options).go(200)
        self.reading = Reading(self.run.dir, patience=judging.PATIENCE)
        self.mono = 100.0
        self.look()

    def look(self, every: float = LOOK) -> int:
        """Read; the step up to which all is judged."""
        self.mono += every
        self.reading.poll(self.run.now, self.mono)
        return self.reading.diagnosis.steps


@pytest.mark.parametrize("every", [0.1, 0.25, 0.3, 0.5, 0.9, 1.5])
def test_no_row_waits_longer_for_the_judge_than_that(every):
    watched = Watched()
    written: list[tuple[int, float]] = []
    for _ in range(20):
        watched.run.go(1)
        written.append((watched.run.step, watched.mono))   # just after a look
        judged = watched.look(every)
        late = [watched.mono - when for step, when in written if step > judged]
        assert max(late, default=0.0) < judging.PATIENCE
    assert watched.reading.history.last_step == watched.run.step


@pytest.mark.parametrize("measured", [{}, {"weighed": True}, {"probed": True}, {"weighed": True, "probed": True}])
def test_what_waited_is_judged_as_if_it_had_not(measured):
    watched = Watched(**measured)
    patient, prompt = watched.reading, Reading(watched.run.dir)
    for step in range(100):
        if step == 20:
            watched.run.explode()
        watched.run.go(1)
        watched.look()
        prompt.poll(watched.run.now, watched.mono)
    for _ in range(4):
        watched.look()
    assert patient.diagnosis == prompt.diagnosis
    assert patient.diagnosis.open_incidents


def test_calm_rows_wait_and_are_judged_together(monkeypatch):
    watched, fed = Watched(), []
    feed = judging.Judging._feed
    monkeypatch.setattr(judging.Judging, "_feed", lambda self, chunk: fed.append(len(chunk)) or feed(self, chunk))
    for _ in range(12):
        watched.run.go(3)
        watched.look()
    assert fed == [9, 9, 9, 9]


@pytest.mark.parametrize("values", [{"loss": math.nan}, {"loss": 2.0, "grad_norm": math.inf}])
def test_what_is_not_finite_is_told_at_once(values):
    watched = Watched()
    watched.run.go(3)
    assert watched.look() < watched.run.step
    watched.run.values(**values)
    assert watched.look() == watched.run.step
    assert watched.reading.diagnosis.open_incidents


def test_a_run_in_trouble_is_judged_at_every_look():
    watched = Watched()
    watched.run.explode().go(60)
    for _ in range(4):
        watched.look()
    assert watched.reading.diagnosis.open_incidents
    for _ in range(4):
        watched.run.go(1)
        assert watched.look() == watched.run.step


def test_rows_that_wait_are_judged_before_a_flood_that_is_read_apart():
    watched = Watched()
    watched.run.go(3)
    assert watched.look() < watched.run.step
    watched.run.go(3_000)
    watched.look()
    while watched.reading.is_behind:
        watched.look()
    assert watched.reading.diagnosis.steps == watched.run.step
