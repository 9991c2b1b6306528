"""What the place is given: looks as they come, the run's account at most once a second, and a word when looks stay out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import SimpleNamespace

from tuimon.record.chunk import Chunk
from tuimon.record.history import History
from tuimon.record.liveness import identity
from tuimon.viewer.machine.model import Sample, Target
from tuimon.viewer.machine.ring import Ring
from tuimon.viewer.machine.sampler import Look
from tuimon.viewer.places.system.detail import SystemDetail
from tuimon.viewer.wanted import Wanted, Window

HERE = Wanted("system")


@dataclass
class Watching:
    """Sees what it is told."""

    look: Look = field(default_factory=Look)
    targets: list[Target] = field(default_factory=list)
    closed: int = 0

    def see(self, target, mono):
        self.targets.append(target)
        return self.look

    def saw(self, number, mono):
        ring = Ring()
        ring.add(mono, {"cpu": 0.5})
        self.look = Look(Sample(mono, "here", pid=7), ring.traces(), number)

    def close(self):
        self.closed += 1


class Reading:
    """As much of a run that is read as the place looks at."""

    def __init__(self, path):
        self.history, self.revision, self.whole_last, self.has_ended = History(), 0, 400.0, False
        self.process, self.info, self.run = identity(), SimpleNamespace(world_size=4), SimpleNamespace(path=path)

    def train(self, first, last, seconds):
        steps = range(first, last + 1)
        self.history.extend(Chunk.of(list(steps), step_time=[seconds] * len(steps), memory=[1e9 + 1e5 * s for s in steps]))
        self.revision += 1
        return self


def made(tmp_path):
    watching = Watching()
    return SystemDetail(lambda: watching), watching, Reading(tmp_path)


def test_the_looks_and_the_account_come_together(tmp_path):
    detail, watching, reading = made(tmp_path)
    reading.train(1, 300, 0.2)
    watching.saw(3, 10.0)
    view = detail.update(reading, HERE, 0.0, 10.2)
    assert watching.targets == [Target(reading.process, str(tmp_path))]
    assert (view.number, view.sample.pid, view.ranks, view.late) == (3, 7, 4, 0)
    assert (view.times.half, view.trend.word, view.x.last) == (0.2, "grows", 400.0)
    assert len(view.curve) and len(view.traces.times) == 1
    detail.close()
    detail.close()
    assert watching.closed == 1


def test_what_has_not_changed_is_equal_and_not_drawn_again(tmp_path):
    detail, watching, reading = made(tmp_path)
    reading.train(1, 30, 0.2)
    watching.saw(1, 10.0)
    first = detail.update(reading, HERE, 0.0, 10.0)
    assert detail.update(reading, HERE, 0.0, 10.25) == first
    watching.saw(2, 11.0)
    assert detail.update(reading, HERE, 0.0, 11.0) != first


def test_the_account_is_read_anew_once_a_second_and_at_once_where_another_moment_is_wanted(tmp_path):
    detail, watching, reading = made(tmp_path)
    reading.train(1, 100, 0.1)
    watching.saw(1, 0.0)
    first = detail.update(reading, HERE, 0.0, 0.0)
    reading.train(101, 300, 0.4)
    assert detail.update(reading, HERE, 0.0, 0.5).times is first.times
    assert detail.update(reading, HERE, 0.0, 1.0).times.half == 0.4
    past = detail.update(reading, replace(HERE, at=90), 0.0, 1.1)
    assert (past.times.half, past.times.last, past.scrubbed) == (0.1, 90, 90)
    near = detail.update(reading, replace(HERE, window=Window(50, 80)), 0.0, 1.2)
    assert (near.x.first, near.x.last) == (50, 80)
    assert near.curve.steps.min() >= 50


def test_looks_that_stay_out_are_called_old_and_those_that_were_seldom_are_not(tmp_path):
    detail, watching, reading = made(tmp_path)
    watching.saw(1, 100.0)
    for mono in (100.0, 102.0, 103.5):
        assert detail.update(reading, HERE, 0.0, mono).late == 0
    assert detail.update(reading, HERE, 0.0, 105.3).late == 5
    assert detail.update(reading, HERE, 0.0, 200.0).late == 0    # the place was away: looks were due seldom
    assert detail.update(reading, HERE, 0.0, 201.0).late == 0


def test_before_anything_is_known_there_is_a_view_too(tmp_path):
    detail, _, reading = made(tmp_path)
    reading.process = reading.info = None
    view = detail.update(reading, HERE, 0.0, 5.0)
    assert (view.number, view.times.count, view.curve, view.ranks) == (0, 0, None, 1)
