"""A run of another machine says so: where it is, how the link stands, whose verdicts these are, and what is wished."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from synthetic import Run, exploding, healthy

from tuimon.control.commands import Who
from tuimon.diagnosis.engine import Engine
from tuimon.diagnosis.model import RunContext
from tuimon.diagnosis.told import incident_fields
from tuimon.instrument.guard import changes, keys
from tuimon.record.far import KEPT, LOOK, REFUSED, Far, read_far, write_far
from tuimon.record.locks import hold
from tuimon.record.reader import LogReader
from tuimon.viewer.actions import footer
from tuimon.viewer.arrange import events, footer_keys
from tuimon.viewer.lines import text_of
from tuimon.viewer.login import Login
from tuimon.viewer.places import PLACES
from tuimon.viewer.plain import sentences
from tuimon.viewer.reading import Reading
from tuimon.viewer.views import Frame
from tuimon.viewer.wanted import NOW, Wanted, Window


class Seen:
    """A viewer of a mirror; its clock is the test's."""

    def __init__(self, run: Run, far: Far) -> None:
        self.run, self.now, self.frame = run, time.time(), None
        write_far(run.dir, far)
        self.reading = Reading(run.dir)

    def after(self, seconds: float, wanted: Wanted = NOW, *, heard: bool = True) -> Frame:
        self.now += seconds
        if heard:
            os.utime(self.run.dir.path / "far.json", (self.now, self.now))
        self.frame = self.reading.poll(self.now, self.now, wanted) or self.frame
        assert self.frame is not None
        return self.frame


def test_the_header_says_where_and_counts_the_seconds_without_a_word():
    seen = Seen(healthy(), Far("node7", alive=True))
    frame = seen.after(1)
    assert frame.header.name == "healthy on node7"
    assert frame.header.status == "● LIVE"
    for seconds, status, tone in ((7, "◌ no word 7 s", "warning"), (12, "◌ no word 19 s", "critical")):
        header = seen.after(seconds, heard=False).header
        assert (header.status, header.tone) == (status, tone)
    write_far(seen.run.dir, Far("node7", state="reconnecting", why="Connection refused", alive=True))
    frame = seen.after(1)
    assert frame.header.status.startswith("◌ reconnecting")
    assert frame.problem == "node7: Connection refused"
    write_far(seen.run.dir, Far("node7", alive=True))
    assert seen.after(1).problem == ""


@pytest.mark.parametrize("environment", ["", "1"])
def test_a_far_view_that_only_looks_says_how_it_could_order(monkeypatch, environment):
    monkeypatch.setenv("TUIMON_READONLY", environment)
    said = {control: Seen(healthy(), Far("node7", control=control, alive=True)).after(1).barred for control in (False, True)}
    only, how = "this is a read-only view", "this is a read-only view; tuimon watch --control lets it order"
    assert said == ({False: only, True: only} if environment else {False: how, True: ""})


def test_a_far_run_is_not_ordered_about_before_anything_was_read_of_it():
    run = healthy()
    write_far(run.dir, Far("node7", alive=True))
    reading = Reading(run.dir)
    reading.ask("stop", {}, 2_000.0, Who(), "")
    assert [request.why for request in reading._asked.values()] == [
        "it could not be handed over: this is a read-only view; tuimon watch --control lets it order"]


def test_where_only_a_person_can_log_in_the_panel_says_which_key_does_it_and_sentences_what_to_do():
    seen = Seen(healthy(), Far("node7", alive=True))
    before = seen.after(1)
    assert all("log in" not in text_of(line) for _, line in footer(before))
    write_far(seen.run.dir, Far("node7", state=REFUSED, why="node7: Permission denied (password).", alive=True))
    frame = seen.after(1)
    assert frame.header.status.startswith("◌ logged out")
    assert text_of(events(frame, 80, 1)[0]) == " ▲ node7 asks for a login: press R to log in again"
    for place in PLACES:
        kept = text_of(footer_keys(frame, 60, 1, place=place)[0])
        assert "R log in again" in kept, place
    write_far(seen.run.dir, Far("node7", state=REFUSED, why="Host key verification failed.", alive=True))
    assert text_of(events(seen.after(1), 80, 1)[0]) == " ▲ node7: Host key verification failed: press R to log in again"
    assert sentences(before, frame) == (
        "Node7 asks for a login; nothing more comes until this is ended and begun again.",)


def test_where_nobody_keeps_the_link_any_more_the_panel_says_so_and_waits_for_no_login():
    seen = Seen(healthy(), Far("node7", alive=True))
    kept = hold(seen.run.dir.path / KEPT)
    before, login = seen.after(1), Login(seen.run.dir)
    assert before.way == "live"
    assert login.ask()
    assert not login.is_over
    os.close(kept)   # as where it is killed, with the terminal given away
    assert login.is_over
    assert not login.ask()
    frame = seen.after(5)
    assert frame.header.status == "◌ no link 0 s"
    assert text_of(events(frame, 80, 1)[0]) == " ▲ the process that held the link to node7 has ended: leave, and begin again"
    assert all("log in" not in text_of(line) for _, line in footer(frame))
    advice = "nothing more comes until this is ended and begun again."
    assert sentences(before, frame) == (f"The process that held the link to node7 has ended; {advice}",)


def test_a_process_of_this_machine_says_nothing_about_that_one():
    seen = Seen(healthy(), Far("node7", alive=False))   # the run's own process number is that of this test
    assert seen.after(1).state == "died"
    seen = Seen(healthy(alive=False), Far("node7", alive=True))
    assert seen.after(1).state == "running"
    ended = Seen(healthy(alive=False).end(), Far("node7", state="reconnecting", alive=False))
    assert ended.after(1).header.status == "✓ finished", "of what is over no link has to say more"


def guarded(run: Run) -> Run:
    """With the incidents in its events, as its own guard finds them."""
    engine, before = Engine(RunContext()), {}
    for chunk in LogReader(run.dir.metrics).poll():
        engine.feed(chunk)
        after = keys(engine.diagnosis)
        for change, incident in changes(before, after):
            run.event("incident", **incident_fields(change, incident))
        before = after
    return run


def test_of_an_outline_the_verdict_is_that_of_the_runs_own_guard():
    run = guarded(exploding())
    exact = Seen(run, Far("node7", alive=True)).after(1)
    outline = Seen(run, Far("node7", alive=True, thin=True))
    outline.after(1)
    frame = outline.after(1)
    assert frame.tone == exact.tone == "critical"
    assert frame.verdict[0][0].text == exact.verdict[0][0].text == "✖ Exploding gradients"
    silent = Seen(exploding(), Far("node7", alive=True, thin=True))
    silent.after(1)
    assert silent.after(1).tone == "ok", "rows that are extremes of many are judged by nobody here"


def test_a_finer_picture_takes_the_place_of_the_log():
    run = healthy()
    seen = Seen(run, Far("node7", alive=True))
    assert seen.after(1).newest == 240
    finer = healthy(300)
    (run.dir.metrics / "r0-000.tlog").unlink()
    os.rename(finer.dir.metrics / "r0-000.tlog", run.dir.metrics / "r0-001.tlog")
    seen.after(1)
    frame = seen.after(1)
    assert frame.newest == 300
    assert frame.problem == ""


def wish(run: Run) -> object:
    try:
        return json.loads((run.dir.path / LOOK).read_bytes())
    except FileNotFoundError:
        return "none"


def test_a_window_that_stands_is_wished_for_and_the_whole_again(tmp_path: Path):
    seen = Seen(healthy(), Far("node7", alive=True, thin=True))
    seen.after(1)
    closely = Wanted(window=Window(20.0, 60.0))
    seen.after(0.1, Wanted(window=Window(30.0, 90.0)))
    seen.after(0.1, closely)
    assert wish(seen.run) == "none", "while it moves nothing is asked for"
    seen.after(0.5, closely)
    assert wish(seen.run) == [20, 60]
    seen.after(0.1)
    seen.after(0.5)
    assert wish(seen.run) is None
    exact = Seen(healthy(), Far("node7", alive=True))
    for _ in range(3):
        exact.after(0.5, closely)
    assert wish(exact.run) == "none"
    assert read_far(healthy().dir) is None, "nor of a run of this machine"
