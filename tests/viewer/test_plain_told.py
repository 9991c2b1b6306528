"""A run told in sentences: what changes is said once, and nothing else."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import unicodedata
from dataclasses import replace

import pytest
import synthetic

from tuimon.diagnosis.model import Incident
from tuimon.record.far import Far, write_far
from tuimon.record.liveness import identity
from tuimon.record.rundir import RunDir
from tuimon.viewer import judging
from tuimon.viewer.plain import progress, sentences
from tuimon.viewer.reading import Reading
from tuimon.viewer.run import why_plain
from tuimon.viewer.telling import Teller, tell
from tuimon.viewer.views import IncidentView


class Told:
    """A run, and what is said about it from one look to the next."""

    def __init__(self, run, every=None):
        self.run, self.out, self.mono = run, io.StringIO(), 0.0
        self.teller = Teller(Reading(run.dir), self.out, every=every)
        self.goes_on = True

    def look(self, seconds: float = 1.0) -> str:
        self.mono += seconds
        begin = self.out.tell()
        self.goes_on = self.teller.step(1e9, self.mono)
        return self.out.getvalue()[begin:]


def test_a_run_that_goes_wrong_and_is_rescued_is_a_story():
    run = synthetic.healthy(198)
    told = Told(run)
    first = told.look()
    assert first.startswith("This is healthy, GPT 4L 64d 0.2M on cpu.\nThe run is running.\nStep 198 of 600, loss ")
    assert first.endswith("Nothing is wrong as far as can be told.\n")
    run.explode().go(62)
    wrong = told.look()
    assert re.search(r"^Warning: learning rate ran away from its schedule since step 199\. .*Confidence: high\. ", wrong, re.MULTILINE)
    assert re.search(r"^Critical: exploding gradients since step 20\d, worst in \w+, another sign of it\.$", wrong, re.MULTILINE)
    run.hold()
    assert told.look().startswith("The run is held at step 260")
    run.rescue().go(60)
    saved = told.look()
    for part in ("The run is running.", "At step 260: rescued: back to the weights of step 190.",
                 "At step 260: overrides: lr x0.1, clip 1.0.", "At step 280: rescue complete, warm-up over.",
                 "Over: exploding gradients, at step ", "Nothing is wrong any more, now at step 340."):
        assert part in saved
    run.event("checkpoint", snapshot_step=330, bytes=3e6)
    assert told.look() == "At step 330: checkpoint on disk, 3.0 MB.\n"
    run.end("crashed", "RuntimeError: out of [memory]")
    assert told.look().startswith("The run has crashed at step 340.\nRuntimeError: out of [memory].\nNewest checkpoint on disk: step 330.")
    assert not told.goes_on


@pytest.mark.parametrize("alive", [True, False])
def test_what_is_wrong_with_a_run_that_is_over_is_said_once(alive):
    run = synthetic.exploding(alive=alive)
    text = Told(run.end() if alive else run).look()
    assert "Last loss 10.9, gradient norm 352.\n" in text
    assert text.lower().count("exploding gradients since step") == 1


@pytest.mark.parametrize("is_late", [False, True])
def test_how_a_script_ended_is_told_by_whoever_started_it(is_late):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    run = synthetic.Run(info=False, name="script")
    launch = replace(run.dir.read_launch(), script="python script.py", statement="", process=identity(process.pid))
    run.dir.write_launch(launch)
    told = Told(run)
    assert "has not trained yet" in told.look()
    process.communicate(b"\n")
    if not is_late:
        run.dir.write_launch(replace(launch, status=7))
    said = told.look(2.0)
    run.dir.write_launch(replace(launch, status=7))
    said += told.look() if told.goes_on else ""
    assert not told.goes_on
    assert "The run has crashed before any training step.\nThe script ended with status 7." in said
    assert "died" not in said


def test_a_run_that_has_died_is_told_to_have_died_at_the_next_look():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    run = synthetic.Run(info=False)
    run.process = identity(process.pid)
    run.attach()
    told = Told(run.go(20))
    told.look()
    process.communicate(b"\n")
    assert told.look(2.0) == ""
    assert told.look().startswith("The run has died at step 20.")
    assert not told.goes_on


def test_what_happens_twice_is_said_twice_and_what_gets_worse_is_said_again():
    run = synthetic.healthy()
    reading = Reading(run.dir)
    before = reading.poll(0.0, 0.0)
    run.note("saved")
    once = reading.poll(0.0, 1.0)
    run.note("saved")
    twice = reading.poll(0.0, 2.0)
    assert sentences(before, once) == sentences(once, twice) == ("At step 240: saved.",)
    mild = Incident("loss-spike", "T103", "loss", "warning", "open", 230, 231, None, None, "high", "Loss spike", "It is 3.", (), (), "spike")
    view = IncidentView(("loss-spike", 231, 0), mild, 0, None)
    worse = replace(view, incident=replace(mild, severity="critical"))
    assert sentences(replace(twice, incidents=(view,)), replace(twice, incidents=(worse,))) == ("Critical now: loss spike. It is 3.",)


def test_of_a_long_run_nothing_is_said_before_all_of_it_is_judged(monkeypatch):
    monkeypatch.setattr(judging, "SLICE", 0.0)
    monkeypatch.setattr(judging, "PORTION", 1)
    run = synthetic.Run(total=20_000)
    run.explodes_at = 1_100
    for _ in range(60):
        run.go(20, snapshots=False)
    told = Told(run).look()
    assert re.search(r"Critical: exploding gradients since step 1,1\d\d", told)
    assert "Nothing is wrong" not in told


def test_the_name_of_a_directory_is_text_from_outside(tmp_path):
    run, err = synthetic.healthy().end(), io.StringIO()
    odd = tmp_path / "a\x1b]0;b\x07run\n"
    run.dir.path.rename(odd)
    assert tell(RunDir(odd), "as asked", out=io.StringIO(), err=err) == 0
    assert err.getvalue().splitlines()[0].rstrip().endswith("tuimon watch arun")
    assert err.getvalue().replace("\n", "").isprintable()


def test_what_was_not_measured_is_said_in_words():
    run = synthetic.Run(name="silent").values(lr=1e-3).values(lr=1e-3)
    told = Told(run)
    assert "Step 2 of 600, no loss measured." in told.look()
    run.end()
    assert "Neither loss nor gradient norm was measured." in told.look()
    half = synthetic.Run().values(grad_norm=1.0).end()
    assert "Last gradient norm 1.00." in Told(half).look()


def test_waiting_training_and_snapshots_are_no_news_and_the_first_step_is():
    run = synthetic.Run(info=False, name="later")
    told = Told(run)
    assert told.look() == "This is later.\nThe run has not trained yet.\n"
    assert told.look(90) == ""
    run.attach()
    assert told.look() == ""
    run.go(1)
    assert told.look() == "Training has begun: step 1 of 600.\n"
    for _ in range(5):
        run.go(20)
        assert told.look() == ""


def test_a_minute_without_a_step_is_told_once_and_so_is_its_end():
    run = synthetic.healthy()
    told = Told(run)
    told.look()
    assert told.look(20) == ""
    assert told.look(45) == "Nothing new has been written for a minute, since step 240.\n"
    assert told.look(600) == ""
    run.go(1)
    assert told.look() == "It writes again, now at step 241.\n"


def test_a_log_hears_of_progress_once_a_minute_and_only_while_there_is_some():
    run = synthetic.healthy()
    told = Told(run, every=60.0)
    told.look()
    run.go(10)
    assert told.look(30) == ""
    assert re.fullmatch(r"Step 250 of 600, loss [\d.]+, 0:18 to go\.\n", told.look(31))
    assert "Step" not in told.look(61)


@pytest.mark.parametrize("make", [synthetic.healthy, synthetic.exploding, synthetic.rescued, synthetic.collapsing])
def test_nothing_is_said_where_nothing_has_changed_and_every_sentence_is_one(make):
    frame = Reading(make().dir).poll(1e9, 0.0)
    assert sentences(frame, frame) == ()
    for sentence in (*sentences(None, frame), progress(frame)):
        assert sentence[-1] in ".!?"
        assert sentence[0] == sentence[0].upper()
        assert sentence.isprintable()
        assert sentence.isascii()


def test_what_the_run_says_can_do_nothing_to_the_terminal():
    run = synthetic.Run(name="a\x1b]0;evil\x07b").go(240)
    told = Told(run)
    said = told.look()
    run.note("line\r\x1b[2Jone\u202e two\x9b31m\n")
    run.event("checkpoint", outcome="failed", why="\x1b[5mdisk\x00 full")
    said += told.look()
    assert "This is ab" in said
    assert "disk full" in said
    assert all(c == "\n" or unicodedata.category(c)[0] != "C" for c in said)


@pytest.mark.parametrize(("env", "asked", "terminal", "why"), [
    ({"TERM": "xterm"}, False, True, None), ({"TERM": "xterm"}, True, True, "as asked"),
    ({"TERM": "xterm"}, False, False, "no terminal"), ({"TERM": "dumb"}, False, True, "TERM='dumb'"),
    ({}, False, True, "TERM=''"), ({"TERM": "xterm", "TUIMON_PLAIN": "1"}, False, True, "as asked"),
])
def test_there_is_no_screen_where_none_can_be_drawn_or_none_is_wanted(env, asked, terminal, why):
    found = why_plain(env, asked=asked, is_terminal=terminal)
    assert found is None if why is None else why in found


class Screenless(io.StringIO):
    """A terminal."""

    def isatty(self):
        return True


@pytest.mark.parametrize(("far", "out", "hint"), [
    (None, io.StringIO, "Keys and commands need a terminal: ssh -t HOST tuimon watch {}"),
    (None, Screenless, "Keys and commands need a screen: tuimon watch {}"),   # no ssh leads from here to here
    (Far("node7"), io.StringIO, "Keys need a terminal: tuimon watch node7:{}"),
    (Far("node7", control=True), Screenless, "Keys and commands need a terminal: tuimon watch --control node7:{}"),
])
def test_the_hint_how_to_come_to_a_screen_fits_where_the_run_is_and_who_looks(far, out, hint):
    run, err = synthetic.healthy(40).end().dir, io.StringIO()
    if far is not None:
        write_far(run, far)
    tell(run, "as asked", out=out(), err=err)
    assert err.getvalue() == f"tuimon: no screen, as asked: changes are told in sentences. {hint.format(run.name)}\n"
