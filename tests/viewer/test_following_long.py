"""A long run: charts first, the judge in slices behind them, and both remembered for the next time."""

from __future__ import annotations

import itertools
import re
import time

import pytest
import synthetic

from tuimon.diagnosis.context import context_of
from tuimon.diagnosis.engine import Engine
from tuimon.diagnosis.model import Diagnosis
from tuimon.diagnosis.stored import recalled, stored
from tuimon.record.cache import Cache
from tuimon.record.reader import LogReader, Place
from tuimon.viewer import following, judging
from tuimon.viewer.dressing import begins
from tuimon.viewer.first import empty_frame
from tuimon.viewer.lines import text_of
from tuimon.viewer.reading import Reading
from tuimon.viewer.wanted import Wanted


@pytest.fixture(autouse=True)
def _short_is_long(monkeypatch):
    """A few thousand steps are a long run."""
    monkeypatch.setattr(following, "AT_ONCE", 1000)
    monkeypatch.setattr(following, "LONG", 1000)
    monkeypatch.setattr(judging, "SLICE", 0.0)
    monkeypatch.setattr(judging, "PORTION", 1)


def long_run(steps=1500, **options):
    run = synthetic.Run(total=20_000, **options)
    run.explodes_at = 1100
    for _ in range(steps // 20):
        run.go(20, snapshots=False)
    return run


def said(frame) -> str:
    return "\n".join(map(text_of, frame.verdict))


def judged(run) -> Diagnosis:
    """What one engine makes of the whole log."""
    engine, log = Engine(context_of(run.dir.read_info())), LogReader(run.dir.metrics)
    while chunks := log.poll():
        for chunk in chunks:
            engine.feed(chunk)
    return engine.diagnosis


class Watcher:
    """A viewer that is opened on a run; time goes by between two looks."""

    def __init__(self, run, cache):
        self.reading = Reading(run.dir, cache=cache)
        self.mono = itertools.count(1000.0, 1000.0)
        self.frame = None

    def look(self):
        self.frame = self.reading.poll(time.time(), next(self.mono)) or self.frame
        return self.frame

    def until_judged(self):
        looks = 0
        while self.reading.is_behind:
            self.look()
            looks += 1
        self.look()
        return looks


def test_charts_come_first_and_the_verdict_says_how_far_it_has_come(tmp_path):
    run = long_run()
    watcher = Watcher(run, Cache(tmp_path))
    frame = watcher.look()
    assert frame.charts[0].columns.steps[-1] == 1500
    assert frame.header.step == 1500
    assert said(frame).startswith("◌ Not judged yet   ")
    assert "of 1,500 steps" in said(frame)
    assert "Healthy" not in said(frame)
    assert watcher.until_judged() > 3
    assert "Exploding gradients" in said(watcher.frame)
    assert "judged" not in said(watcher.frame)
    assert watcher.reading._diagnosis == judged(run)


def test_no_bell_rings_for_what_was_there_when_a_long_run_was_opened(tmp_path):
    run = long_run()
    watcher, before, rung = Watcher(run, Cache(tmp_path)), empty_frame("run", ""), []
    watcher.look()
    while watcher.reading.is_behind:
        watcher.look()
        rung.append(begins(before, watcher.frame))
        before = watcher.frame
    assert before.tone == "critical"
    assert not any(rung)


def test_what_comes_while_the_judge_lags_is_judged_once_and_in_order(tmp_path):
    run = long_run()
    watcher = Watcher(run, Cache(tmp_path))
    for _ in range(4):
        run.go(40, snapshots=False)
        watcher.look()
        assert watcher.reading.is_behind
    watcher.until_judged()
    assert watcher.reading._diagnosis == judged(run)
    run.go(30, snapshots=False)
    watcher.look()
    assert not watcher.reading.is_behind
    assert watcher.reading._diagnosis == judged(run)


@pytest.mark.parametrize(("near", "is_told"), [(0.9, False), (0.0, True)])
def test_what_is_open_where_the_judge_stands_is_not_said_of_a_present_that_is_far_ahead(
        tmp_path, monkeypatch, near, is_told):
    monkeypatch.setattr(judging, "NEAR", near)
    run = long_run().rescue()
    for _ in range(50):
        run.go(20, snapshots=False)
    watcher, heard = Watcher(run, Cache(tmp_path)), set()
    while watcher.look() and watcher.reading.is_behind:
        heard.add(said(watcher.frame).split("   ")[0])
    assert "◌ Not judged yet" in heard
    assert (len(heard) > 1) is is_told


def test_an_ordinary_run_is_judged_in_the_poll_that_read_it(tmp_path):
    run = synthetic.exploding()
    watcher = Watcher(run, Cache(tmp_path))
    watcher.look()
    assert not watcher.reading.is_behind
    assert watcher.reading._diagnosis == judged(run)
    assert not any(tmp_path.iterdir())


def test_what_was_judged_stands_the_next_time_without_being_judged_again(tmp_path):
    run, cache = long_run(), Cache(tmp_path)
    first = Watcher(run, cache)
    first.look()
    first.until_judged()
    again = Watcher(run, cache)
    frame = again.look()
    assert not again.reading.is_behind
    assert again.reading._diagnosis.incidents == judged(run).incidents
    assert said(frame).splitlines()[0] == said(first.frame).splitlines()[0]
    assert frame.charts[0].columns.steps.tolist() == first.frame.charts[0].columns.steps.tolist()
    assert frame.incidents == first.frame.incidents


def test_a_run_of_several_ranks_is_there_the_next_time_without_its_logs_being_read_or_judged_again(tmp_path):
    run, cache = synthetic.ranked(4, 1200, slow=(3, 200), silent=2), Cache(tmp_path)
    first = Watcher(run, cache)
    first.look()
    first.until_judged()
    again = Watcher(run, cache)
    frame = again.look()
    assert not again.reading.is_behind
    assert again.reading._log.several.consumed == 0
    assert said(frame) == said(first.frame)
    assert frame.charts[0].columns.steps.tolist() == first.frame.charts[0].columns.steps.tolist()
    assert (frame.incidents, frame.crew) == (first.frame.incidents, first.frame.crew)
    assert frame.crew.slow


def test_where_a_remembered_run_went_on_the_old_verdict_stands_with_its_step_until_the_new_one_is_there(tmp_path):
    run, cache = long_run(), Cache(tmp_path)
    first = Watcher(run, cache)
    first.look()
    first.until_judged()
    run.go(60, snapshots=False)
    again = Watcher(run, cache)
    frame = again.look()
    assert frame.header.step == 1560
    assert "Exploding gradients" in said(frame)
    assert "as of step 1,500, judged" in said(frame)
    again.until_judged()
    assert "as of step" not in said(again.frame)
    assert again.reading._diagnosis == judged(run)


def test_what_other_rules_judged_does_not_stand(tmp_path, monkeypatch):
    run, cache = long_run(), Cache(tmp_path)
    first = Watcher(run, cache)
    first.look()
    first.until_judged()
    monkeypatch.setattr(following, "_fingerprint", lambda: "others")
    again = Watcher(run, cache)
    again.look()
    assert again.reading.is_behind
    assert again.frame.header.step == 1500


def test_a_judge_that_fails_in_the_middle_takes_only_the_verdict_away(tmp_path):
    class Broken:
        diagnosis = Diagnosis.nothing()

        def feed(self, chunk):
            raise ZeroDivisionError

    run = long_run()
    reading = Reading(run.dir, judge=lambda *_: Broken(), cache=Cache(tmp_path))
    frame = reading.poll(time.time(), 1000.0)
    while reading.is_behind:
        frame = reading.poll(time.time(), 1000.0) or frame
    assert "diagnosis switched itself off" in frame.problem
    assert frame.charts[0].columns.steps[-1] == 1500


def test_what_a_judge_had_found_before_it_failed_stands_with_the_step_it_had_come_to(tmp_path):
    class Failing(Engine):
        def feed(self, chunk):
            if chunk.steps[-1] > 2000:
                raise ZeroDivisionError
            return super().feed(chunk)

    reading = Reading(long_run(3000).dir, judge=lambda _, info: Failing(context_of(info)), cache=Cache(tmp_path))
    frame = reading.poll(time.time(), 1000.0)
    while reading.is_behind:
        frame = reading.poll(time.time(), 1000.0) or frame
    assert "Exploding gradients" in said(frame)
    assert re.search(r"judged up to step 1,\d{3} only", said(frame))


def test_of_a_moment_that_the_judge_has_passed_is_told_what_it_found_while_it_lags(tmp_path):
    run, past = long_run(3000), Wanted(at=1200)
    reading, told = Reading(run.dir, cache=Cache(tmp_path)), []
    while not told or reading.is_behind:
        frame = reading.poll(time.time(), 1000.0, past)
        if frame is not None and reading.is_behind and reading._log._judging._found.steps >= 1200:
            told.append(said(frame).splitlines()[0])
    assert len(told) > 1
    assert all("Exploding gradients" in line for line in told), set(told)


def test_the_judge_never_reads_on_beyond_what_was_drawn(tmp_path):
    run = long_run()
    whole, log = judged(run), LogReader(run.dir.metrics)
    judge = judging.Judging(run.dir.metrics, Engine(context_of(run.dir.read_info())))
    log.poll(90_000)
    middle, step = log.place, log.place.last_step
    judge.take(Place(), middle, step, None)
    while judge.is_behind:
        judge.take(middle, middle, step, [])
    assert judge.diagnosis.steps == step < 1500
    judge.take(middle, log.place, step, log.poll())
    assert log.poll() == []
    assert judge.diagnosis.steps == 1500
    assert judge.diagnosis == whole


def test_a_log_that_goes_away_while_the_judge_lags_ends_its_lag():
    run = long_run()
    judge, log = judging.Judging(run.dir.metrics, Engine(context_of(run.dir.read_info()))), LogReader(run.dir.metrics)
    while log.poll():
        pass
    judge.take(Place(), log.place, 1500, None)
    assert judge.is_behind
    for path in run.dir.metrics.iterdir():
        path.unlink()
    for _ in range(3):
        judge.take(log.place, log.place, 1500, [])
    assert not judge.is_behind


def test_what_is_remembered_is_not_written_at_every_look(tmp_path):
    stores = []

    class Full(Cache):
        def store(self, *args, **options):
            stores.append(args[0])
            return False

    run = long_run()
    watcher = Watcher(run, Full(tmp_path))
    watcher.mono = itertools.count(1000.0, 1.0)
    watcher.look()
    watcher.until_judged()
    assert len(stores) == 2   # what was read, once, and in the end what was judged
    for _ in range(50):
        run.go(20, snapshots=False)
        watcher.look()
    assert len(stores) == 2
    watcher.mono = itertools.count(1000.0 + following.AGAIN + 100)
    watcher.look()
    assert len(stores) == 4


def test_a_diagnosis_comes_back_as_it_was():
    found = judged(long_run())
    assert found.incidents
    assert found.usual
    assert recalled(stored(found)) == found
    with pytest.raises((ValueError, KeyError, TypeError)):
        recalled({**stored(found), "incidents": [{"severity": "absurd"}]})
