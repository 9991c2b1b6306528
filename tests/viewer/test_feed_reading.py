"""Reading a run directory: what a Frame says at each moment of a run's life. Time is an argument throughout."""

from __future__ import annotations

import math
import os
import shutil
import threading
import time
from dataclasses import replace

import pytest
import synthetic

from tuimon.control.commands import Who
from tuimon.diagnosis.model import Diagnosis
from tuimon.diagnosis.story import KEPT_REQUESTS
from tuimon.record.liveness import identity
from tuimon.viewer.feed import Feed
from tuimon.viewer.lines import text_of
from tuimon.viewer.reading import Reading


def said(frame) -> str:
    return "\n".join(map(text_of, frame.verdict))


def read(run, ahead=0.0, **options):
    reading = Reading(run.dir, **options)
    return reading, reading.poll(time.time() + ahead, 1000.0)


def test_before_the_training_process_attaches_the_screen_says_what_is_awaited():
    run = synthetic.Run(info=False)
    reading, frame = read(run)
    assert "Torch is loading, 0 s" in said(frame)
    assert said(frame).lower().count("waiting for the first step") == 1   # said once
    assert synthetic.STATEMENT in said(frame)
    assert frame.header.status == "◌ waiting"
    assert reading.poll(time.time(), 1000.4) is None
    assert "Torch is loading, 2 s" in said(reading.poll(time.time(), 1002.0))
    run.attach()
    assert "has attached" in said(reading.poll(time.time(), 1003.0))
    run.go(3)
    frame = reading.poll(time.time(), 1004.0)
    assert frame.header.step == 3
    assert frame.header.status == "● LIVE"


def test_a_process_that_died_before_its_first_step_leaves_its_last_words():
    run = synthetic.Run(info=False, alive=False)
    run.dir.console.write_text("loading\nImportError: no \x1b[31mtorch\n\n")
    _, frame = read(run)
    assert frame.header.status == "✝ died"
    assert "Died before its first step" in said(frame)
    assert "Its last words: ImportError: no torch" in said(frame)
    assert str(run.dir.console) in said(frame)
    assert {chart.waiting for chart in frame.charts} == {"nothing was measured"}


def test_nothing_new_means_no_frame():
    run = synthetic.healthy()
    reading, frame = read(run)
    assert frame is not None
    assert reading.poll(time.time(), 1000.2) is None
    run.go(1)
    assert reading.poll(time.time(), 1000.4).header.step == 241


def test_live_turns_stale_after_three_usual_steps_but_a_held_run_never_does():
    run = synthetic.healthy()
    reading, frame = read(run)
    assert frame.header.status == "● LIVE"
    frame = reading.poll(time.time(), 1012.5)
    assert frame.header.status == "◌ stale 12 s"
    run.hold()
    assert reading.poll(time.time(), 1100.0).header.status == "◼ HELD"


def test_slow_steps_are_not_stale_steps():
    reading, _ = read(synthetic.healthy(step_time=30.0))
    frame = reading.poll(time.time(), 1080.0)
    assert frame is None or frame.header.status == "● LIVE"


def test_a_clock_that_jumps_does_not_make_data_old():
    run = synthetic.healthy()
    reading, _ = read(run)
    run.go(1)
    assert reading.poll(time.time() + 86_400, 1001.0).header.status == "● LIVE"


def test_an_old_run_is_old_at_first_sight():
    _, frame = read(synthetic.healthy(), ahead=3600)
    assert frame.header.status.startswith("◌ stale")


def test_progress_and_eta_come_from_the_usual_step_time():
    _, frame = read(synthetic.healthy(240))
    assert (frame.header.step, frame.header.total, frame.header.fraction) == (240, 600, 0.4)
    assert frame.header.eta == "0:18"


def test_another_attempt_is_measured_by_its_own_plan_and_its_own_process():
    run = synthetic.healthy(alive=False)
    reading, frame = read(run)
    assert (frame.state, frame.header.total) == ("died", 600)
    run.process, run.total = identity(), 900
    run.dir.write_info(replace(run.dir.read_info(), attempt=2, total_steps=900, process=run.process))
    run.resume(100).go(20)
    reading.poll(time.time(), 1001.0)
    frame = reading.poll(time.time(), 1002.5) or reading._last
    assert (frame.state, frame.header.total, frame.header.step) == ("running", 900, 120)


def test_layers_of_steps_that_a_resumed_run_did_again_are_those_of_the_second_time():
    run = synthetic.exploding()
    reading, before = read(run)
    run.explodes_at = math.inf
    run.resume(100).go(20)
    after = reading.poll(time.time(), 1001.0).heat
    afresh = read(run)[1].heat
    assert before.heat.steps[-1] == 260
    assert after.steps.tolist() == afresh.steps.tolist() == list(range(1, 121))
    assert after.rms.tolist() == afresh.rms.tolist()


def test_after_a_rollback_no_trend_is_made_of_what_was_before_it():
    run = synthetic.exploding()
    assert read(run)[0]._trend > 0
    run.rescue(warm=False).go(10)
    reading, _ = read(run)
    assert reading._trend is None
    run.go(60)
    reading.poll(time.time(), 1001.0)
    assert reading._trend < 0


def test_a_run_on_another_machine_that_gives_no_sign_of_life_is_called_silent():
    run = synthetic.Run(began=time.time() - 20, root=None, name="far").go(40)
    reading, _ = read(run)
    assert reading.poll(time.time(), 1005.0).header.status.startswith("◌ stale")
    assert reading.poll(time.time(), 1090.0).header.status.startswith("◌ silent")


def test_damage_is_reported_and_the_rest_is_shown():
    run = synthetic.healthy()
    run.go(50)
    path = next(run.dir.metrics.iterdir())
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    path.write_bytes(raw)
    _, frame = read(run)
    assert "damaged" in frame.problem
    assert frame.header.step > 0


def test_a_directory_that_vanishes_leaves_what_was_read_on_the_screen():
    run = synthetic.healthy()
    reading, _ = read(run)
    shutil.rmtree(run.dir.path)
    frame = reading.poll(time.time(), 1001.0)
    assert "directory is gone" in frame.problem
    assert frame.header.step == 240
    reading.ask("hold", {}, time.time(), Who(), "")
    frame = reading.poll(time.time(), 1002.0)
    assert "✖ hold refused" in said(frame)


class Disk:
    """What the file system says of its room."""

    def __init__(self, monkeypatch, free):
        self.free, self.f_blocks, self.f_frsize = free, 1024, 4096
        monkeypatch.setattr(os, "statvfs", lambda path: self)

    @property
    def f_bavail(self):
        return self.free


def test_a_full_disk_is_said_where_rows_do_not_come_and_no_more_once_they_do(monkeypatch):
    disk, run = Disk(monkeypatch, free=0), synthetic.healthy()
    reading, frame = read(run)
    assert frame.header.status == "● LIVE"   # what comes shows that there is room yet
    assert not frame.problem
    frame = reading.poll(time.time(), 1017.5)
    assert frame.header.status == "◌ disk full 17 s"
    assert frame.problem == "the disk with this run is full: training goes on, its rows wait in memory"
    disk.free = 512
    frame = reading.poll(time.time(), 1018.5)
    assert frame.header.status == "◌ stale 18 s"   # not measured, as far as anybody knows
    assert not frame.problem
    run.event("gap", rows=1204, why="No space left on device", seconds=20.0)
    run.go(3)
    frame = reading.poll(time.time(), 1020.0)
    assert frame.header.status == "● LIVE"
    assert frame.events[-1].text == "1,204 rows not recorded: disk full for 20 s"


@pytest.mark.parametrize("ended", [False, True])
def test_a_full_disk_explains_a_run_without_an_end_and_nothing_of_one_that_has_ended(monkeypatch, ended):
    Disk(monkeypatch, free=0)
    run = synthetic.healthy(alive=False)
    if ended:
        run.end("finished")
    reading, _ = read(run)
    frame = reading.poll(time.time(), 1020.0) or read(run)[1]
    assert frame.header.status == ("✓ finished" if ended else "✝ died")
    assert frame.problem == ("" if ended else "the disk with this run is full: how it ended is not recorded")


def test_a_run_that_takes_the_directory_of_another_is_said_not_shown_as_that_one():
    run = synthetic.healthy()
    reading, before = read(run)
    shutil.rmtree(run.dir.metrics)
    run.dir.metrics.mkdir()
    run.attach()
    run.go(5)
    frame = reading.poll(time.time(), 1001.0)
    assert frame.problem == "another run took this directory: open it again to see that one"
    assert frame.header.step == before.header.step


def test_run_json_that_is_not_ours_is_a_problem_to_show():
    run = synthetic.healthy()
    run.dir.run_json.write_text("{[")
    _, frame = read(run)
    assert "run.json" in frame.problem
    assert frame.header.step == 240


def test_a_problem_that_is_over_is_not_shown_any_longer():
    run = synthetic.healthy()
    whole = run.dir.run_json.read_bytes()
    run.dir.run_json.write_bytes(whole[:40])   # still being copied here
    reading, frame = read(run)
    assert "run.json" in frame.problem
    run.dir.run_json.write_bytes(whole)
    assert reading.poll(time.time(), 1001.0).problem == ""


def test_a_run_that_cannot_be_read_from_the_start_says_why(monkeypatch):
    monkeypatch.setattr(Reading, "poll", lambda *_: 1 / 0)
    feed = Feed(synthetic.healthy().dir, lambda: None, period=60.0)
    feed.start()
    deadline, frame = time.monotonic() + 10, None
    while frame is None:
        frame = feed.take()
        assert time.monotonic() < deadline
        os.sched_yield()
    feed.close()
    assert "cannot read on: ZeroDivisionError" in frame.problem
    assert "cannot read on: ZeroDivisionError" in said(frame)


def test_a_reader_that_fails_while_there_is_more_to_read_waits_before_it_tries_again(monkeypatch):
    feed = Feed(synthetic.healthy().dir, lambda: None)
    polls = []

    class Wake:
        def wait(self, period):
            feed._stopped.set()

        def clear(self):
            pass

    def poll(reading, *_):
        reading.is_behind = True
        polls.append(1)
        if len(polls) == 3:
            feed._stopped.set()
        raise ValueError("odd")

    monkeypatch.setattr(Reading, "poll", poll)
    feed._wake = Wake()
    feed._loop()
    assert len(polls) == 1


def test_a_judge_that_fails_takes_only_the_verdict_away():
    class Broken:
        diagnosis = Diagnosis.nothing()

        def feed(self, chunk):
            raise ZeroDivisionError(f"at {len(chunk)}")

    _, frame = read(synthetic.exploding(), judge=lambda *_: Broken())
    assert "diagnosis switched itself off" in frame.problem
    assert said(frame).startswith("◌ Not judged to its end   judged up to step 0 only")
    assert frame.charts[0].columns is not None


def test_the_learning_rate_that_the_script_asks_for_is_known_beside_the_one_in_force():
    run = synthetic.healthy().values(loss=2.0, lr=3e-4, lr_scheduled=3e-3)
    _, frame = read(run)
    assert (frame.facts.lr, frame.facts.lr_scheduled) == (3e-4, 3e-3)


def test_an_event_of_a_step_that_cannot_be_is_damage_and_what_comes_after_it_is_told():
    run = synthetic.healthy()
    run.step, step = 10**400, run.step
    run.note("from nowhere")
    run.step = step
    run.hold()
    _, frame = read(run)
    assert frame.state == "held"
    assert not frame.moments


def test_an_empty_and_a_one_step_run_have_frames():
    run = synthetic.Run()
    reading, frame = read(run)
    assert frame.charts[0].columns is None
    run.values(loss=float("nan"))
    frame = reading.poll(time.time(), 1001.0)
    assert frame.charts[0].current == "NaN"
    assert frame.charts[0].severity == "critical"
    assert frame.charts[1].current == ""


def test_the_x_axis_stays_put_while_a_run_grows():
    run = synthetic.healthy(210)
    reading, frame = read(run)
    ends = {frame.last}
    for i in range(30):
        run.go(1)
        ends.add(reading.poll(time.time(), 1001.0 + i).last)
    assert len(ends) == 1


def test_asking_is_shown_as_requested_until_the_log_answers():
    run = synthetic.exploding()
    reading, _ = read(run)
    reading.ask("rescue", {"step": 170}, time.time(), Who(origin="viewer"), "")
    assert "◌ rescue requested" in said(reading.poll(time.time(), 1001.0))
    (command,) = run.commands()
    run.event("command", id=command.id, verb="rescue", args={}, who={}, outcome="received", why="")
    assert "◌ rescue received by the run" in said(reading.poll(time.time(), 1002.0))
    run.event("command", id=command.id, verb="rescue", args={}, who={}, outcome="applied", why="")
    assert "◌" not in said(reading.poll(time.time(), 1003.0))


def test_what_the_run_has_answered_is_never_shown_as_requested_again():
    run = synthetic.healthy()
    reading, _ = read(run)
    reading.ask("pause", {}, time.time(), Who(), "")
    assert "pause requested" in said(reading.poll(time.time(), 1001.0))
    (command,) = run.commands()
    run.event("command", id=command.id, verb="pause", outcome="applied", why="")
    for i in range(KEPT_REQUESTS):   # the story remembers only so many
        run.event("command", id=f"later-{i}", verb="checkpoint", outcome="applied", why="")
    assert "requested" not in said(reading.poll(time.time(), 1002.0))
    run.event("attempt", number=2, from_step=200)   # and of an attempt before none
    run.event("state", state="running", why="")
    assert "requested" not in said(reading.poll(time.time(), 1003.0))


def test_a_refusal_is_told_for_a_moment_also_while_the_run_stands_still():
    run = synthetic.exploding().hold()
    run.event("command", id="a", verb="checkpoint", args={}, who={}, outcome="refused", why="the disk is full")
    reading, frame = read(run)
    assert "✖ checkpoint refused   the disk is full" in said(frame)
    assert "refused" not in said(reading.poll(time.time() + 20, 1001.0))


def test_the_layers_strip_grows_with_the_log_and_names_the_worst():
    run = synthetic.exploding()
    reading, frame = read(run)
    assert frame.heat.layers == synthetic.LAYERS
    assert frame.heat.rms.shape == (260, 6)
    assert frame.heat.worst.startswith("worst head")
    run.go(5)
    assert reading.poll(time.time(), 1001.0).heat.rms.shape == (265, 6)


def test_a_feed_hands_over_the_newest_frame_and_ends_at_once():
    run, ready = synthetic.healthy(), threading.Event()
    feed = Feed(run.dir, ready.set, period=0.01)
    feed.start()
    assert ready.wait(10)
    run.go(10)
    deadline = time.monotonic() + 10
    frame = None
    while frame is None or frame.header.step < 250:
        frame = feed.take() or frame
        assert time.monotonic() < deadline
        os.sched_yield()
    feed.close()
    assert not feed._thread.is_alive()


def test_frames_that_nobody_takes_do_not_pile_up():
    run, calls = synthetic.healthy(), []
    feed = Feed(run.dir, lambda: calls.append(1), period=0.001)
    feed.start()
    deadline = time.monotonic() + 10
    for _ in range(20):
        run.go(1)
    while not calls or feed._newest is None or feed._newest.header.step < 260:
        assert time.monotonic() < deadline
        os.sched_yield()
    feed.close()
    assert len(calls) == 1
    assert feed.take().header.step == 260
    assert feed.take() is None


@pytest.mark.parametrize("rules", ["notebook"])
def test_the_notebooks_rules_bring_their_own_ratio_and_zones(rules):
    pytest.importorskip("tuimon.diagnosis.notebook")
    _, frame = read(synthetic.exploding(), rules=rules)
    assert [c.name for c in frame.charts][:4] == ["loss", "grad_norm", "grad_param_ratio", "lr"]
    assert (frame.charts[1].bands[0].low, frame.charts[1].bands[0].high) == (0.1, 10)
    assert frame.charts[1].bands[0].beyond == "danger >10, vanishing <0.1"
    assert (frame.charts[2].bands[0].low, frame.charts[2].bands[0].high) == (1e-5, 0.1)
